"""Whom a text means: a whole id, a name, or the beginning of one of them. Rules: no I/O.

A member may call itself by the beginning of another's id, or by just what people type for another's name. So none of
these goes before the others: what fits several is none of them. Who is not found by its name then is found by its id.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from covm.federation.errors import UnknownMember
from covm.federation.wire.member_id import distinct, is_member_id

if TYPE_CHECKING:
    from covm.federation.membership.views import MemberView, RequestView

MIN_PREFIX: Final = 4
"""Characters of an id that may stand for all of it, where no other has the same."""


MIN_NAME: Final = 3
"""Characters of a name that may stand for all of it, where no other begins like it."""


class Findable(NamedTuple):
    """Something that has a name, and one id or several: its own, and that of whom it is about."""

    key: str
    ids: tuple[str, ...]
    name: str


def found_member(everyone: Sequence[MemberView], text: str) -> MemberView:
    """The member that is meant. Raises `UnknownMember`."""
    found = matching(text, [Findable(each.id, (each.id,), each.name) for each in everyone])
    if not any(begins(each, text) for each in found):
        # Who is out has its name no longer, but who is meant by an id is never another.
        found = [each.id for each in everyone if each.id in found and each.is_member] or found
    if len(found) != 1:
        raise UnknownMember(text, tuple(found))
    return next(each for each in everyone if each.id == found[0])


def found_request(requests: Sequence[RequestView], text: str) -> RequestView:
    """The request that is meant, by its id, that of the member or the record that it is about, or a name.

    Raises `UnknownMember`.
    """
    # A type's subject is its name, and what is no erasure names no record.
    listed = [
        Findable(each.id, (each.id, *filter(is_member_id, (each.subject, each.record))), each.name) for each in requests
    ]
    found = matching(text, listed)
    if len(found) != 1:
        raise UnknownMember(text, tuple(found), what="request")
    return next(each for each in requests if each.id == found[0])


def matching(text: str, known: Iterable[Findable]) -> list[str]:
    """Keys of what a text stands for: by a whole id, a name or the beginning of one, or that of an id."""
    listed = list(known)
    whole = [each.key for each in listed if text in each.ids]
    return whole or [
        each.key for each in listed if is_called(each.name, text) or any(begins(one, text) for one in each.ids)
    ]


def is_called(name: str, text: str) -> bool:
    """Whether a text is this name, or the beginning of it, however it is written in small and capital letters."""
    whole, typed = name.casefold(), text.casefold()
    return whole == typed or (len(text) >= MIN_NAME and whole.startswith(typed))


def begins(member: str, text: str) -> bool:
    """Whether an id begins like this, or the part of it that tells it from others does, long enough to mean it."""
    return len(text) >= MIN_PREFIX and (member.startswith(text) or distinct(member).startswith(text))
