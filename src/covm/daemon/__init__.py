"""A node as a process: it lives until it is told to stop, and answers the control API meanwhile.

`process` is its life from start to stop. `server`, `credentials` and `unheard` keep the control socket, `routes`
answers the requests of `covm.control.schema`, `answers` and `failures` put what the service says into that schema,
`peer_names` finds whom a request means. `received` keeps the latest messages for reading, `journal` and `logs` write
the log. Only the command line starts it; it stands on `covm.federation`'s public names alone.
"""
