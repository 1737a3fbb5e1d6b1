"""How this node reaches others: one interface, two implementations.

    interface    events in batches, commands that say how they failed; all that components see
    ways         its part about addresses, connections, relays and hints
    talk         what fits into the join exchange
    libp2p       the native core: real sockets
    simulated    one process, one event loop: tests, and users' own tests through `covm.testing`

Only `wiring` (and tests) may import an implementation; components know `interface` alone.
"""
