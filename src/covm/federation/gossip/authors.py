"""Which author is forgotten when there is no room for another. A rule: no I/O.

A key costs nothing, so whoever invents authors must not push out what is known of those that take part: authors that
are connected now stay, the one not heard for longest among the others goes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any


def forget_one(authors: OrderedDict[str, Any], is_connected: Callable[[str], bool]) -> str:
    """Forgets an author, the longest silent first; a connected one only if all are. At least one is there."""
    for _ in range(len(authors)):
        author = next(iter(authors))
        if not is_connected(author):
            break
        authors.move_to_end(author)
    author, _ = authors.popitem(last=False)
    return author


def nobody_is_connected(_author: str) -> bool:
    """For whoever has no connections to look at."""
    return False
