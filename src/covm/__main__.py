"""`python -m covm`: the command line."""

from __future__ import annotations

from covm.cli import main

if __name__ == "__main__":
    main()
