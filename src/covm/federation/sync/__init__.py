"""Replicas converge: whatever order records arrive in, every node ends with the same heads and shows the same value.

Rules: `resolvers`, what is shown where several versions of one key stand side by side. Values: `states`, which merge.
"""
