"""Whole federations on made-up time, in which everything fails that can, as one seed says.

plan         what a seed has in store: machines, links, and which faults come how often
application  what runs on the nodes: handlers, sendings, and what they tell the ledger
weather      the faults, while the story lasts
scenario     a story from its start to the last check, and what came of it
shared_...   the same of shared data: its ledger, its writers, its scenario, and builds that break its promises
village_...  the same of members who share data, while some are removed and come back, and a thief writes on
traffic      what nodes are told and sent by sync
__main__     many seeds over all processors, or one of them again
"""
