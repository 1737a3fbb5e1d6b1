"""What holds for the address book, the order of dialling and who gives way, whatever happens."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from covm.federation.peers.book import (
    CONFIGURED,
    DISCOVERY,
    MAX_ADDRESSES,
    MAX_PER_GIVER,
    AddressBook,
    Known,
    Shelf,
    Source,
)
from covm.federation.peers.dial_order import in_order
from covm.federation.peers.trimming import Held, Standing, displaced_by

PEERS = [f"peer-{number}" for number in range(12)]
ADDRESSES = st.integers(0, 30).map("/memory/{}".format)
STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("add"),
            st.sampled_from(PEERS),
            st.lists(ADDRESSES, min_size=1, max_size=4),
            st.sampled_from(Source),
            st.sampled_from(["", "giver"]),
        ),
        st.tuples(st.sampled_from(["fail", "meet", "remove", "expire"]), st.sampled_from(PEERS), ADDRESSES),
    ),
    max_size=60,
)


@given(STEPS, st.integers(1, 10**9))
def test_the_book_stays_bounded_and_what_is_written_down_is_what_is_in_it(steps: list[Any], pace_ms: int) -> None:
    book = AddressBook(needed=lambda peer: False)
    written: dict[str, dict[str, Known]] = {}
    found: set[str] = set()
    configured: set[tuple[str, str]] = set()
    for step, (what, peer, *rest) in enumerate(steps):
        now_ms = step * pace_ms
        match what, *rest:
            case "add", addresses, source, giver:
                if book.add(peer, addresses, source, now_ms, giver):
                    found |= {peer} if source in DISCOVERY else set()
                    configured |= {(peer, each) for each in addresses if source in CONFIGURED}
            case "fail", address:
                book.note_tried(peer, [address], now_ms)
                book.note_failed(peer, {address: "refused"})
            case "meet", address:
                book.note_met(peer, [address], now_ms)
            case "remove", address:
                book.remove(peer, address)
                configured.discard((peer, address))
            case _:
                book.expire(now_ms)
        for changed, entry in book.take_changes().items():
            written.pop(changed, None)
            if entry is not None:
                written[changed] = dict(entry.known)
        assert all(0 < len(book.known(each)) <= MAX_ADDRESSES for each in book.peers())
        assert written == {each: book.known(each) for each in book.peers()}
        # A peer with more configured addresses than it may have keeps the latest of them.
        assert {each for each, _ in configured} <= set(book.peers())
    assert {each for each in book.peers() if book.is_found(each)} <= found


@given(st.lists(st.tuples(st.integers(0, 2_000), st.sampled_from(DISCOVERY), st.integers(0, 3)), max_size=400))
def test_no_kind_of_hint_and_no_giver_has_more_than_its_share(hints: list[tuple[int, Source, int]]) -> None:
    book = AddressBook(needed=lambda peer: False)
    for number, source, giver in hints:
        named_by = f"giver-{giver}" if source is Source.EXCHANGE else ""
        book.add(f"{source.name}-{number}", ["/memory/1"], source, 0, named_by)
    for source in DISCOVERY:
        assert sum(peer.startswith(source.name) for peer in book.peers()) <= Shelf[source.name].places
    assert sum(peer.startswith("EXCHANGE") for peer in book.peers()) <= 4 * MAX_PER_GIVER


KNOWN = st.builds(
    Known,
    source=st.sampled_from(Source),
    first_ms=st.just(0),
    heard_ms=st.integers(0, 100),
    tried_ms=st.none(),
    worked_ms=st.none() | st.integers(0, 100),
    error=st.sampled_from(["", "refused"]),
)
PLACES = st.sampled_from(
    [
        *(f"/ip4/198.51.100.{number}/tcp/1" for number in range(4)),
        *(f"/ip6/2001:db8::{number}/udp/1/quic-v1" for number in range(4)),
        "/dns4/coop.example/tcp/1",
        "/ip4/10.0.0.1/tcp/1",
    ]
)


@given(st.dictionaries(PLACES, KNOWN, max_size=8))
def test_every_address_is_tried_once_and_what_worked_before_all_that_did_not(known: dict[str, Known]) -> None:
    ordered = in_order(known, [])
    assert sorted(ordered) == sorted(known)
    works = [known[address].worked_ms is not None and not known[address].error for address in ordered]
    assert works == sorted(works, reverse=True)
    assert ordered == in_order(dict(reversed(known.items())), []), "however the book has them"


HELD = st.builds(
    Held,
    peer=st.uuids().map(str),
    standing=st.sampled_from(Standing),
    is_direct=st.booleans(),
    is_healthy=st.booleans(),
    since_s=st.floats(0, 100),
)


@given(st.sampled_from(Standing), st.lists(HELD, max_size=8), st.floats(0, 200))
def test_whoever_gives_way_has_less_standing_and_a_place_is_never_taken_twice(
    newcomer: Standing, held: list[Held], now_s: float
) -> None:
    gone = displaced_by(newcomer, held, now_s)
    if gone is None:
        return
    loser = next(each for each in held if each.peer == gone)
    assert loser.standing < newcomer
    # Knocking again, it displaces nobody of the standing that displaced it: there is no going round.
    rest = [each for each in held if each.peer != gone]
    assert displaced_by(loser.standing, [*rest, Held("new", newcomer, True, True, 0.0)], now_s) != "new"
