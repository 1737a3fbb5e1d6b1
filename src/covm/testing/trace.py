"""What happened, in order, as one hash: two runs of one seed that are the same have the same."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable


class Trace:
    """Takes down what happens. `lines`, when it is set, is called with each line, to be read by a person."""

    def __init__(self, lines: Callable[[str], object] | None = None) -> None:
        self._hash = hashlib.sha256()
        self._lines = lines
        self.count = 0

    def note(self, who: str, what: str, *details: object) -> None:
        """Takes one line down, with the loop's time. Details count by their `repr`."""
        line = f"{asyncio.get_running_loop().time():.6f} {who} {what} {' '.join(map(repr, details))}"
        self._hash.update(line.encode() + b"\n")
        self.count += 1
        if self._lines is not None:
            self._lines(line)

    @property
    def hash(self) -> str:
        """The hash of everything up to now: 16 hexadecimal characters."""
        return self._hash.hexdigest()[:16]
