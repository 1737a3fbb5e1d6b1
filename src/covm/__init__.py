"""covm: federations of cooperatives, each on a node of its own, with no server in the middle.

`covm.federation` is what programs import; `covm.cli` is the `covm` command. This package imports neither.
"""
