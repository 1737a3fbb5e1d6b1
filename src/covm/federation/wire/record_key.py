"""What a record's key may be, said once for who writes it, who looks for it, and who takes the records of others.

PostgreSQL holds no text with a NUL in it, SQLite does; and half of a surrogate pair has no UTF-8. What one node could
hold and another could not would keep them apart for good, so it is no key anywhere.
"""

from __future__ import annotations

from covm.federation.wire.limits import MAX_RECORD_KEY


def key_problem(key: object) -> str | None:
    """Why this is no record's key, as a sentence; None when it is one."""
    if (problem := text_problem(key)) is not None:
        return problem
    assert isinstance(key, str)  # noqa: S101 - it is a text
    if not 1 <= len(key) <= MAX_RECORD_KEY:
        return f"a key has 1 to {MAX_RECORD_KEY} characters, not {len(key):,}; choose another, as in shared-oven"
    return None


def text_problem(text: object) -> str | None:
    """Why this is not even a part of a key, as a sentence; None when it is."""
    if not isinstance(text, str):
        return f"a key is text, as in 'shared-oven', not {type(text).__name__}"
    if "\0" in text:
        return "a key has no NUL character in it, which not every store can hold; leave it out, or write it as text"
    if not is_unicode(text):
        return "a key is Unicode text, and this one has half of a surrogate pair in it; decode it with its own encoding"
    return None


def is_unicode(text: str) -> bool:
    """Whether a text has a form in UTF-8: one with half of a surrogate pair has none."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
