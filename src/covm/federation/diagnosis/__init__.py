"""What is wrong with a running node, and what to do about it: facts in, findings out.

    finding     a verdict on one area, its cause and the next step
    ways        listening, reachability, relay
    company     peers, clock
    upkeep      the store
    running     gathers the facts of a node and asks all rules

The rules are plain functions on plain values. `covm doctor` adds what can be seen without a node (`daemon/checkup`).
"""
