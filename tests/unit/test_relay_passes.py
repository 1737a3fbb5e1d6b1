"""Passes for relays, by calling the rules: what is shown, and what of it a relay takes."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.membership_world import Coop, World, key_of

from covm.federation.membership.passes import (
    MOST_CIRCUITS,
    Pass,
    Proof,
    read_shown,
    relays_of,
    seal_pass,
    show_pass,
)
from covm.federation.membership.passes import key_of as pass_key
from covm.federation.membership.passing import CIRCUITS, CLEANED_S, HOUR_S, MOST_OF_ONE_AUTHOR, Used
from covm.federation.wire.kinds import Kind
from covm.federation.wire.membership import RelayPass
from covm.federation.wire.signed import Signed, seal, write_map

FEDERATION = World([Coop("Mill")]).federation
OTHER_FEDERATION = World([Coop("Forge")]).federation
INVITER, RELAY, JOINER = key_of("mill: node"), key_of("square: node").peer_id, key_of("shop: node").peer_id
SECRET = b"s" * 32


def grant(**changes: Any) -> bytes:
    fields: dict[str, Any] = {"federation": FEDERATION, "secret": SECRET, "circuits": 10, "expires_at_ms": 2_000}
    return seal_pass(INVITER, **(fields | changes))


def shown(relay: str = RELAY, joiner: str = JOINER, secret: bytes = SECRET, **changes: Any) -> RelayPass:
    made = show_pass(grant(**changes), secret, relay, joiner)
    assert made is not None
    return made


def read(made: RelayPass, relay: str = RELAY, joiner: str = JOINER, now_ms: int = 1_000) -> Signed[Pass] | str:
    return read_shown(made, FEDERATION, relay, joiner, now_ms)


def test_a_relay_reads_who_made_the_pass_for_whom_and_how_much() -> None:
    found = read(shown())
    assert isinstance(found, Signed)
    body = found.body
    assert (body.author, body.key, body.circuits) == (INVITER.peer_id, pass_key(SECRET).peer_id, 10)
    assert read(shown(), now_ms=2_000) == found


def test_a_pass_gives_no_more_circuits_than_any_may() -> None:
    found = read(shown(circuits=100_000))
    assert isinstance(found, Signed)
    assert found.body.circuits == MOST_CIRCUITS


@pytest.mark.parametrize(
    ("made", "how", "why"),
    [
        (shown(joiner=RELAY), {}, "for another pass, relay or node"),
        (shown(), {"joiner": INVITER.peer_id}, "for another pass, relay or node"),
        (shown(), {"relay": INVITER.peer_id}, "for another pass, relay or node"),
        (shown(secret=b"t" * 32), {}, "for another pass, relay or node"),
        (RelayPass(grant=grant(), proof=shown(expires_at_ms=3_000).proof), {}, "for another pass, relay or node"),
        (RelayPass(grant=grant(), proof=grant()), {}, "you do not prove that the pass is yours: the envelope"),
        (RelayPass(grant=shown().proof, proof=shown().proof), {}, "your pass cannot be read: the envelope"),
        (RelayPass(grant=b"junk", proof=shown().proof), {}, "your pass cannot be read"),
        (shown(federation=OTHER_FEDERATION), {}, "of another federation"),
        (shown(), {"now_ms": 2_001}, "has expired"),
    ],
)
def test_what_is_not_the_holders_own_pass_for_this_relay_is_refused_with_the_reason(
    made: RelayPass, how: dict[str, Any], why: str
) -> None:
    told = read(made, **how)
    assert isinstance(told, str)
    assert why in told


def test_a_pass_or_a_proof_that_names_another_author_than_who_signed_is_refused() -> None:
    thief = key_of("thief")
    theirs = Pass(federation=FEDERATION, author=INVITER.peer_id, key=thief.peer_id, circuits=1, expires_at=2_000)
    forged = seal(thief, Kind.RELAY_GRANT, write_map(theirs))
    assert show_pass(forged, SECRET, RELAY, JOINER) is None
    assert "not the one who signed" in str(read(RelayPass(grant=forged, proof=shown().proof)))
    found = read(shown())
    assert isinstance(found, Signed)
    proof = Proof(author=pass_key(SECRET).peer_id, grant=found.id, relay=RELAY, joiner=JOINER)
    made = RelayPass(grant=grant(), proof=seal(thief, Kind.RELAY_PROOF, write_map(proof)))
    assert "not the one who signed" in str(read(made))


def test_the_relays_of_addresses_are_those_that_stand_before_the_circuit() -> None:
    addresses = [
        f"/ip4/192.0.2.1/tcp/1/p2p/{RELAY}/p2p-circuit/p2p/{JOINER}",
        f"/ip4/192.0.2.1/tcp/1/p2p/{JOINER}",
        f"/ip4/192.0.2.1/tcp/1/p2p-circuit/p2p/{JOINER}",
        "",
    ]
    assert relays_of(addresses) == {RELAY}


def one_pass(key: str, author: str = "ann", circuits: int = MOST_CIRCUITS) -> Pass:
    return Pass(federation=FEDERATION, author=author, key=key, circuits=circuits, expires_at=2_000)


def test_however_many_passes_one_node_makes_few_are_carried_and_remembered() -> None:
    used, now_s, carried = Used(), 1_000_000.0, 0
    for number in range(10_000):
        carried += used.take(one_pass(f"key {number}", circuits=1), now_s + number / 1_000)
    assert carried <= MOST_OF_ONE_AUTHOR // CIRCUITS + 2
    assert len(used) <= carried
    assert used.take(one_pass("of another", author="ben"), now_s + 10)


def test_a_pass_that_is_used_up_costs_its_author_nothing() -> None:
    used, now_s = Used(), 1_000_000.0
    taken = [used.take(one_pass("overused"), now_s) for _ in range(10_000)]
    assert sum(taken) == MOST_CIRCUITS // CIRCUITS
    assert used.take(one_pass("another"), now_s)


def test_what_has_nothing_to_make_up_for_is_forgotten() -> None:
    used, now_s = Used(), 1_000_000.0
    for number in range(100):
        used.take(one_pass(f"key {number}"), now_s)
    used.take(one_pass("late"), now_s + HOUR_S + CLEANED_S)
    assert len(used) == 1
