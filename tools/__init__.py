"""What `make` runs: setting up, testing, checking, building wheels. Standard library only, one file per task."""
