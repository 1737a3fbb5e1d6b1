"""Dispatch: messages to this node's handlers, and messages to one peer, stored and acknowledged.

Out: see `direct` (the direct protocol's shell, with `line`, `sending` and what it names). In:

receiving     one stream of a peer: frames, acknowledgements, credit          incoming   one peer's sequence to us
inbox         the rules: judging a batch, runs of outcomes, bounds            batching   what one job stores of it
inbox_jobs · settlement_jobs · inbox_queries   what is done in transactions   inbox_journal   who has them written
dispatcher    who handles what; what lies on the `shelf` until somebody does; `sweeping` ends what nobody comes for
lane_runner   `lanes` in their order, retries, quarantine                     handling   one attempt at a message
transactional · transaction   handlers inside the store's transaction         inbox_desk   what people do with the inbox
feeds · feed · feed_jobs      records of durable types to their handlers, one after the other, each once

Called by `wiring` alone; others use `ports`.
"""
