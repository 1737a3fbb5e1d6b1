"""How another process of the same user talks to a running node: the schema and its light client.

The daemon answers HTTP on a Unix socket, `<home>/control.sock`, with the versioned JSON of `schema` and `delivery`.
`client` has one method for each request, `transport` carries them with the standard library alone, so a command starts
fast. `home` knows where things lie in a node's home, and `failures` what can go wrong on the way. Nothing here imports
the federation; `cli`, `daemon` and users' own programs may import all of it.
"""
