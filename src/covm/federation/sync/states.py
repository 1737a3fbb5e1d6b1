"""Values that many edit at once and that merge without losing a letter: full states of Yjs documents, as bytes.

A document has parts with names: a text, a map, an array. Here the first of each is called `text`, `map` and `array`;
one name is one kind of part, for everyone. To edit, take the document, change it with pycrdt, and put its state:

    from pycrdt import Text

    document = doc_of(entry.value)
    document.get("text", type=Text).insert(0, "Minutes: ")
    await minutes.put(key, state_of(document), based_on=entry)

or, where a form hands over the whole text: `with_text(entry.value, edited)`.

What is put is the *whole* state, never `get_update(since)`: that is only what came after, and alone it is nothing. Who
begins a document should put it before others edit: what two people begin on their own is both there after merging, one
beginning behind the other. pycrdt counts a text's positions in bytes of UTF-8.

Yjs relies on each client id being used by one document at a time. They are random, so leave them to chance; a number
handed in, as tests and simulations do, must be used once.

pycrdt is loaded when a function is called, so that a node without such values starts without it. A document stays in
the thread in which it was made.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pycrdt import Doc

_EMPTY: Final = b"\0\0"
"""The state of a document to which nothing was ever done."""


class NoState(ValueError):
    """These bytes are not the full state of a document."""


def doc_of(state: bytes | None = None, *, client_id: int | None = None) -> Doc[Any]:
    """A document in this state, to read and to edit; a new one for None. Raises `NoState`."""
    from pycrdt import Doc

    document: Doc[Any] = Doc(client_id=client_id)
    if state is not None:
        _apply(document, state)
    return document


def state_of(document: Doc[Any]) -> bytes:
    """The document's full state: what to put as a value."""
    with _no_state():
        return document.get_update()


def text_of(state: bytes | None, name: str = "text") -> str:
    """The text of this name, empty if there is none. Raises `NoState`."""
    from pycrdt import Text

    document = doc_of(state)
    with _no_state():
        return str(document.get(name, type=Text))


def map_of(state: bytes | None, name: str = "map") -> dict[str, Any]:
    """The map of this name with all that is in it, as plain values; empty if there is none. Raises `NoState`."""
    from pycrdt import Map

    document = doc_of(state)
    with _no_state():
        return document.get(name, type=Map).to_py() or {}


def array_of(state: bytes | None, name: str = "array") -> list[Any]:
    """The array of this name with all that is in it, as plain values; empty if there is none. Raises `NoState`."""
    from pycrdt import Array

    document = doc_of(state)
    with _no_state():
        return document.get(name, type=Array).to_py() or []


def with_text(state: bytes | None, text: str, name: str = "text", *, client_id: int | None = None) -> bytes:
    """The state in which the text of this name reads so; None begins a document. Raises `NoState`.

    What is the same at both ends stays, and what is between is replaced: an edit in one place merges with edits
    elsewhere. For several edits at once, edit the document itself.
    """
    from pycrdt import Text

    document = doc_of(state, client_id=client_id)
    with _no_state():
        part = document.get(name, type=Text)
        now = str(part)
        start, end, new = _replaced(now, text)
        at = len(now[:start].encode())
        with document.transaction():
            if end > start:
                del part[at : at + len(now[start:end].encode())]
            if new:
                part.insert(at, new)
    return state_of(document)


def is_state(data: object) -> bool:
    """Whether this is the full state of a document, from which every node reads the same.

    A state that says other things after it was read and written once is none: what it becomes would depend on who read
    it before. An update without what it builds on is none, as far as nothing in it stands by itself; one that builds on
    the missing only in places loses these.
    """
    if not isinstance(data, bytes):
        return False
    try:
        once = state_of(doc_of(data))
        return (once != _EMPTY or data == _EMPTY) and state_of(doc_of(once)) == once
    except NoState:
        return False


def joined(states: Iterable[bytes]) -> bytes:
    """One state with everything that is in these. Raises `NoState`.

    The bytes follow from the sequence alone. States that honest documents reached give the same bytes in any order;
    those in which one client id says two things do not, so who wants the same everywhere hands them over in an order
    that is the same everywhere. Another version of pycrdt may write the same document in other bytes.
    """
    document = doc_of(client_id=0)  # it says nothing itself, so that its id appears nowhere
    for state in states:
        _apply(document, state)
    return state_of(document)


def _apply(document: Doc[Any], state: bytes) -> None:
    with _no_state():
        document.apply_update(state)


@contextmanager
def _no_state() -> Iterator[None]:
    """Makes `NoState` of all that pycrdt raises at bytes that somebody made up."""
    try:
        yield
    except (ValueError, RuntimeError) as error:
        raise NoState(f"these bytes are not the full state of a document: {error}") from None
    except BaseException as error:
        if not is_panic(error):
            raise
        raise NoState("these bytes are not the full state of a document: reading them failed") from None


def is_panic(error: BaseException) -> bool:
    """Whether Rust code panicked; the error has no `Exception` above it and a class that cannot be imported."""
    return type(error).__name__ == "PanicException"


def _replaced(old: str, new: str) -> tuple[int, int, str]:
    """From where to where to replace the old text, and by what, for it to become the new one."""
    shorter = min(len(old), len(new))
    start = 0
    while start < shorter and old[start] == new[start]:
        start += 1
    same = 0
    while same < shorter - start and old[-1 - same] == new[-1 - same]:
        same += 1
    return start, len(old) - same, new[start : len(new) - same]
