"""The benchmarks: `make bench`, or `python -m benchmarks --help`.

Each row is measured through `FederationService` (`benchmarks/service`, in processes of its own) and, in the same run,
on the native core without Python: the *floor* (`native/core/examples/floor`). Both take the same commands and answer
with the same figures, so a row is one list of words. What is compared is the ratio: it holds on a busy machine too.
"""
