"""The benchmarks: `make bench`, or `python -m benchmarks --help`.

Each row is measured through `FederationService` (`benchmarks/service`, in processes of its own) and, in the same run,
on what it stands beside: mostly the native core without Python, the *floor* (`native/core/examples/floor`); for durable
delivery NATS JetStream (`benchmarks/jetstream`) or the disk alone (`benchmarks/disk`). All take words and answer with
figures, so a row is one list of words. What is compared is the ratio: it holds on a busy machine too.
"""
