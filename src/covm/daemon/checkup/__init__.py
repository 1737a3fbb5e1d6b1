"""What `covm doctor` sees of a node's home and machine, with the node running or not.

house       rules: configuration, permissions, socket path, disk, store, clock       facts in, findings out
outside     rules: names, ports to listen on
look        gathers the facts: files, ports, names
holders     which process holds a port or a lock
side_by_side    checks at once, each with a deadline
telling     findings as they travel
examination     puts it together with what a running node says of itself
"""
