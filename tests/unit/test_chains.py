"""Things that follow one another, and the room in which they wait: bounded, and in nobody's way."""

from __future__ import annotations

from covm._native import Link, cid, encode
from covm.federation.identity.chains import MAX_WAITING_BYTES, Chains
from covm.federation.identity.verdicts import Status
from covm.federation.wire.signed import Signed


def thing(number: int, size_bytes: int = 0) -> Signed[int]:
    return Signed(id_of(number), "somebody", number, bytes(size_bytes))


def id_of(number: int) -> Link:
    return cid(encode(number))


class Line:
    """Numbers behind one another from 0; odd ones above 100 are refused."""

    def __init__(self, room: int = 4) -> None:
        self.placed: list[int] = []
        self.chains: Chains[Signed[int]] = Chains(
            lambda each: id_of(each.body - 1) if each.body else None,
            lambda link: link in {id_of(number) for number in self.placed},
            self.place,
            room,
        )

    def place(self, each: Signed[int]) -> str | None:
        if each.body > 100 and each.body % 2:
            return "it is odd"
        self.placed.append(each.body)
        return None

    def add(self, *numbers: int) -> None:
        for number in numbers:
            self.chains.add(thing(number))


def test_what_waits_is_placed_in_order_once_it_can_be() -> None:
    line = Line()
    line.add(3, 2, 2, 1)
    assert line.placed == []
    assert line.chains.missing() == [id_of(0)]
    line.add(0)
    assert line.placed == [0, 1, 2, 3]
    assert line.chains.missing() == []


def test_the_room_is_bounded_and_the_oldest_leave_first() -> None:
    line = Line(room=3)
    line.add(10, 20, 30, 40)
    assert line.chains.missing() == [id_of(19), id_of(29), id_of(39)]
    line.add(0, 1, 2, 3)
    assert line.placed == [0, 1, 2, 3]


def test_the_room_is_bounded_by_bytes_as_well() -> None:
    line = Line(room=100)
    for number in (10, 20, 30):
        line.chains.add(thing(number, MAX_WAITING_BYTES // 2))
    assert line.chains.missing() == [id_of(19), id_of(29)]
    line.chains.add(thing(40, MAX_WAITING_BYTES + 1))
    assert line.chains.missing() == []


def test_what_is_refused_is_forgotten_and_what_follows_it_waits() -> None:
    line = Line(room=200)
    line.add(*range(101))
    assert line.chains.add(thing(101)).verdict.status is Status.REFUSED
    assert line.chains.add(thing(102)).verdict.status is Status.WAITING
    assert line.chains.add(thing(100)).placed == ()
