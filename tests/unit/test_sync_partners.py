"""Which of the types that a peer names are looked at, and which wait for their turn."""

from __future__ import annotations

import asyncio
from typing import Any

from covm._native import cid
from covm.federation.sync.frontier import EMPTY_ROOT
from covm.federation.sync.partners import MAX_STRANGE, Partner
from covm.federation.wire.limits import MAX_TYPES

ROOT = bytes([7]) * 32


def partner(known: set[str], secret: set[str]) -> Partner:
    nobody: Any = None
    places = asyncio.Semaphore(), asyncio.Semaphore()
    return Partner(nobody, *places, known.__contains__, lambda name: name not in secret)


def named(count: int) -> list[str]:
    return [f"made.up{number}" for number in range(count)]


def test_what_is_known_is_always_looked_at_and_of_the_rest_a_few() -> None:
    peer = partner({"notes.note"}, set())
    for name in [*named(3000), "notes.note"]:
        peer.hear(name, ROOT)
    assert set(peer.types) == {*named(MAX_STRANGE), "notes.note"}
    assert len(peer.put_off) == MAX_TYPES


def test_what_came_to_nothing_makes_room_for_the_next_and_what_is_known_now_needs_none() -> None:
    known: set[str] = set()
    peer = partner(known, set())
    for name in named(MAX_STRANGE + 2):
        peer.hear(name, ROOT)
    peer.give_way("made.up3")
    assert peer.take_turns() == [f"made.up{MAX_STRANGE}"]
    known.add("made.up4")
    assert peer.take_turns() == [f"made.up{MAX_STRANGE + 1}"]
    peer.give_way("made.up5")
    assert "made.up5" in peer.types, "nobody waits for its room"


def test_a_type_that_may_not_be_read_yet_has_its_turn_once_it_may() -> None:
    secret = {"accounts.entry"}
    peer = partner(set(), secret)
    assert peer.hear("accounts.entry", ROOT) is None
    assert peer.take_turns() == []
    secret.clear()
    assert peer.take_turns() == ["accounts.entry"]


def test_of_a_strange_type_nothing_is_not_worth_a_place() -> None:
    peer = partner(set(), set())
    assert peer.hear("made.up", EMPTY_ROOT) is None
    assert not peer.types
    assert not peer.put_off


def test_what_was_declined_and_is_forgotten_is_asked_for_again_of_whoever_says_the_same() -> None:
    peer = partner({"notes.note"}, set())
    standing = peer.hear("notes.note", ROOT)
    assert standing is not None
    standing.asked, standing.declined[cid(b"a log")] = ROOT, ()
    standing.forget_declined()
    assert not standing.declined
    assert standing.asked is None
