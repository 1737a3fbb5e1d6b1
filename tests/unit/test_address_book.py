"""The address book's rules: whose place is whose, what makes room, what is forgotten, what is written down."""

from __future__ import annotations

import pytest

from covm.federation.peers.book import (
    DAY_MS,
    HOUR_MS,
    MAX_ADDRESSES,
    MAX_CHANGES,
    MAX_PEERS,
    MAX_PER_GIVER,
    AddressBook,
    Entry,
    Known,
    Shelf,
    Source,
)

HINTS = (Source.MDNS, Source.KADEMLIA, Source.EXCHANGE, Source.PEER_INFO)


def address(number: int) -> str:
    return f"/ip4/198.51.100.{number % 250 + 1}/tcp/{number // 250 + 1}"


def book(needed: frozenset[str] = frozenset(), members: frozenset[str] = frozenset()) -> AddressBook:
    return AddressBook(needed=needed.__contains__, is_member=members.__contains__)


def flood(into: AddressBook, source: Source, count: int, now_ms: int = 0) -> None:
    for number in range(count):
        into.add(f"{source.name}-{number}", [address(number)], source, now_ms)


def addresses(of: AddressBook, peer: str) -> set[str]:
    return set(of.known(peer))


def test_a_hundred_thousand_hostile_hints_leave_the_book_bounded_and_push_out_nobody() -> None:
    held = book(members=frozenset({"member"}))
    held.add("bootstrap", [address(1)], Source.BOOTSTRAP, 0)
    held.add("pinned", [address(2)], Source.PINNED, 0)
    held.add("asked", [address(3)], Source.OPERATOR, 0)
    held.add("remembered", [address(4)], Source.MDNS, 0)
    held.note_met("remembered", [address(4)], 0)
    held.add("came", [address(5)], Source.PEER_INFO, 0)
    held.note_met("came", [], 0)
    held.add("member", [address(6)], Source.MDNS, 0)
    held.add("first", [address(7)], Source.MDNS, 0)
    for source in HINTS:
        flood(held, source, 25_000, now_ms=1_000)
    assert len(held) <= MAX_PEERS
    for peer in ("bootstrap", "pinned", "asked", "remembered", "came", "member", "first"):
        assert peer in held


@pytest.mark.parametrize("full", HINTS)
def test_no_source_fills_the_place_of_another(full: Source) -> None:
    held = book()
    flood(held, full, 5_000)
    for source in HINTS:
        if source is not full:
            assert held.add("honest", [address(1)], source, 0), source
            held.remove("honest", address(1))


def test_one_peer_cannot_fill_the_place_of_all_that_peers_name() -> None:
    held = book()
    for number in range(10_000):
        held.add(f"invented-{number}", [address(number)], Source.EXCHANGE, 0, giver="liar")
    assert len(held) == MAX_PER_GIVER
    assert held.add("real", [address(1)], Source.EXCHANGE, 0, giver="honest")


def test_what_was_tried_in_vain_makes_room_and_what_waits_for_its_turn_does_not() -> None:
    held = book()
    flood(held, Source.MDNS, Shelf.MDNS.places)
    assert not held.add("good", [address(1)], Source.MDNS, 0)
    held.note_failed("MDNS-100", {address(100): "refused"})
    assert held.add("good", [address(1)], Source.MDNS, 0)
    assert "MDNS-100" not in held
    assert not held.add("another", [address(1)], Source.MDNS, 0)


def test_hints_that_nobody_repeats_make_room_after_an_hour() -> None:
    held = book()
    flood(held, Source.MDNS, Shelf.MDNS.places)
    assert not held.add("good", [address(1)], Source.MDNS, HOUR_MS)
    assert held.add("good", [address(1)], Source.MDNS, HOUR_MS + 1)
    assert "MDNS-0" not in held


def test_a_members_node_takes_the_place_of_a_stranger_and_loses_its_own_to_none() -> None:
    held = book(members=frozenset(f"member-{number}" for number in range(Shelf.KADEMLIA.places)))
    flood(held, Source.KADEMLIA, Shelf.KADEMLIA.places)
    for number in range(Shelf.KADEMLIA.places):
        assert held.add(f"member-{number}", [address(number)], Source.KADEMLIA, 0)
    assert not held.add("stranger", [address(1)], Source.KADEMLIA, 10 * HOUR_MS)
    assert all(f"member-{number}" in held for number in range(Shelf.KADEMLIA.places))


def test_those_who_were_connected_lately_keep_their_place_beside_others_that_are_met_now() -> None:
    held = book()
    for number in range(Shelf.REACHED.places + 100):
        held.add(f"met-{number}", [address(number)], Source.KADEMLIA, DAY_MS)
        held.note_met(f"met-{number}", [address(number)], DAY_MS)
    assert all(f"met-{number}" in held for number in range(Shelf.REACHED.places))
    held.add("later", [address(1)], Source.MDNS, 9 * DAY_MS)
    held.note_met("later", [address(1)], 9 * DAY_MS)
    assert "met-0" not in held, "a week is over"


def test_whoever_is_needed_stays_on_a_full_shelf() -> None:
    held = book(needed=frozenset({"MDNS-0"}))
    flood(held, Source.MDNS, Shelf.MDNS.places)
    assert held.add("good", [address(1)], Source.MDNS, 2 * HOUR_MS)
    assert "MDNS-0" in held


def test_a_peers_addresses_are_bounded_and_what_is_believed_stays() -> None:
    held = book()
    held.add("ada", [address(1)], Source.OPERATOR, 0)
    held.add("ada", [address(number) for number in range(100, 200)], Source.KADEMLIA, 5)
    held.add("ada", ["/ip4/198.51.100.1/tcp/1/" + "x" * 300], Source.OPERATOR, 9)
    assert len(held.known("ada")) == MAX_ADDRESSES
    assert address(1) in addresses(held, "ada")


def test_invented_addresses_of_a_peer_make_room_for_a_true_one_once_they_were_tried() -> None:
    held = book()
    invented = [address(number) for number in range(MAX_ADDRESSES)]
    held.add("ada", invented, Source.KADEMLIA, 0)
    held.add("ada", [address(99)], Source.KADEMLIA, 1)
    assert addresses(held, "ada") == set(invented)
    held.note_failed("ada", {invented[3]: "refused"})
    held.add("ada", [address(99)], Source.KADEMLIA, 2)
    assert addresses(held, "ada") == {*invented, address(99)} - {invented[3]}


@pytest.mark.parametrize(
    ("source", "kept_ms"),
    [(Source.MDNS, DAY_MS), (Source.KADEMLIA, DAY_MS), (Source.EXCHANGE, 7 * DAY_MS), (Source.OPERATOR, 30 * DAY_MS)],
)
def test_what_nobody_confirms_is_forgotten_in_time(source: Source, kept_ms: int) -> None:
    held = book()
    held.add("ada", [address(1)], source, 0)
    held.expire(kept_ms)
    assert "ada" in held
    held.expire(kept_ms + 1)
    assert "ada" not in held


def test_what_the_configuration_says_is_never_forgotten_and_a_peer_that_worked_for_a_month() -> None:
    held = book()
    held.add("bootstrap", [address(1)], Source.BOOTSTRAP, 0)
    held.add("ada", [address(2)], Source.CONNECTED, 0)
    held.note_met("ada", [address(2)], 0)
    held.expire(30 * DAY_MS)
    assert "ada" in held
    held.expire(40 * DAY_MS)
    assert held.peers() == ["bootstrap"]


def test_the_addresses_of_whoever_is_needed_are_kept_however_old_they_are() -> None:
    held = book(needed=frozenset({"connected"}))
    for peer in ("connected", "gone"):
        held.add(peer, [address(1)], Source.CONNECTED, 0)
    held.expire(40 * DAY_MS)
    assert ("connected" in held, "gone" in held) == (True, False)


def test_each_address_tells_when_it_was_heard_of_tried_and_worked_and_why_it_failed() -> None:
    held = book()
    held.add("ada", [address(1)], Source.MDNS, 1)
    held.add("ada", [address(1)], Source.KADEMLIA, 2)
    held.note_tried("ada", [address(1)], 3)
    held.note_failed("ada", {address(1): "refused"})
    assert held.known("ada")[address(1)] == Known(Source.KADEMLIA, 1, 2, 3, None, "refused", is_found=True)
    held.note_tried("ada", [address(1)], 4)
    assert held.known("ada")[address(1)].error == "refused", "nothing better is known yet"
    held.note_met("ada", [address(1)], 4)
    assert held.known("ada")[address(1)] == Known(Source.KADEMLIA, 1, 2, 4, 4, "", is_found=True)
    assert held.is_remembered("ada")


def test_only_what_changed_is_written_down_and_what_is_gone_is_told() -> None:
    held = book()
    held.add("ada", [address(1)], Source.MDNS, 0)
    held.add("ben", [address(2)], Source.MDNS, 0)
    assert set(held.take_changes()) == {"ada", "ben"}
    assert held.take_changes() == {}
    held.remove("ada", address(1))
    assert held.take_changes() == {"ada": None}
    held.put_back(["ada"])
    assert held.take_changes() == {"ada": None}


def test_changes_that_nobody_writes_down_are_bounded() -> None:
    held = book()
    for number in range(2 * MAX_CHANGES):
        held.add(f"peer-{number}", [address(1)], Source.MDNS, 0)
        held.remove(f"peer-{number}", address(1))
    assert len(held.take_changes()) == MAX_CHANGES


def test_what_was_written_down_comes_back_unless_it_is_too_old() -> None:
    held = book()
    ada = Entry({address(1): Known(Source.CONNECTED, 0, 0, 0, DAY_MS)}, met_ms=DAY_MS)
    old = Entry({address(2): Known(Source.MDNS, 0, 0)})
    held.restore("ada", ada, 2 * DAY_MS)
    held.restore("old", old, 2 * DAY_MS)
    assert held.peers() == ["ada"]
    assert held.is_remembered("ada")
    assert held.take_changes() == {"old": None}, "it is taken off the disk"
