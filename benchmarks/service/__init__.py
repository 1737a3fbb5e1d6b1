"""The benchmarks' commands through `FederationService`: `python -m benchmarks.service`, the floor's twin."""
