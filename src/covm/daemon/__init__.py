"""A node as a process: it lives until it is told to stop, and answers the control API meanwhile.

`process` is its life from start to stop. `server`, `credentials` and `unheard` keep the control socket. `routes`,
`delivery_routes`, `file_routes`, `ping_routes` and `store_routes` answer the requests of `covm.control`, `requests` has
what all of them need, `answers`, `delivery_answers`, `payloads` and `failures` put what the service says into the
schema, `peer_names` and `message_ids` find whom and what a request means. `received` keeps the latest messages for
reading, `acquaintances` with `guest_book`, `sent_lately` and `notices` remember what status and lists tell, `journal`
and `logs` write the log. `home_key` is the node's key.
Only the command line starts it; it stands on `covm.federation`'s public names alone.
"""
