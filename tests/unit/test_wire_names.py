"""Names of types, ids of federations, incarnations."""

from __future__ import annotations

import pytest

from covm.federation.clock import SeededRandom
from covm.federation.errors import InvalidMessage
from covm.federation.wire.federation_id import open_federation
from covm.federation.wire.incarnation import Incarnation, next_incarnation
from covm.federation.wire.limits import MAX_INTEGER
from covm.federation.wire.names import check_type_name, is_system_type, is_type_name


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("governance.proposal", "governance.proposal"),
        ("Governance.Proposal", "governance.proposal"),
        ("a.b2.c_d", "a.b2.c_d"),
        ("a." + "b" * 126, "a." + "b" * 126),
    ],
)
def test_a_type_name_is_lower_case_and_dotted(written: str, name: str) -> None:
    assert check_type_name(written) == name
    assert is_type_name(name)


@pytest.mark.parametrize(
    "text",
    ["", "proposal", ".", "a.", ".b", "a..b", "a b.c", "1a.b", "a.b\n", "a.é", "a.\u212a", "a/b.c", "a." + "b" * 127],
)
def test_what_is_no_type_name_is_refused(text: str) -> None:
    with pytest.raises(InvalidMessage, match="type name"):
        check_type_name(text)


def test_upper_case_never_travels() -> None:
    assert not is_type_name("Governance.Proposal")


def test_the_federations_own_names_are_known() -> None:
    assert is_system_type("system.heartbeat")
    assert not is_system_type("systematic.review")


def test_one_network_name_is_one_federation_everywhere() -> None:
    ours = open_federation("covm")
    assert str(ours) == "bafyreide6elfmb35womupjlxppmu74tozf5un4islm4rsljmvmkfvwiusi"
    assert ours.topic == f"/covm/{ours.cid}"
    assert ours.kademlia == f"/covm/kad/{ours.cid}"
    assert open_federation("covm") == ours
    assert open_federation("bakers").cid != ours.cid


def test_a_later_life_is_above_an_earlier_one_whatever_the_clock_says() -> None:
    random = SeededRandom(1)
    ahead = next_incarnation(2_000, -1, random)
    back = next_incarnation(1_000, ahead.number, random)
    assert (ahead.number, back.number) == (2_000, 2_001)
    assert back > ahead
    assert len(back.nonce) == 8


def test_incarnations_of_one_number_are_ordered_by_nonce() -> None:
    assert Incarnation(5, b"b" * 8) > Incarnation(5, b"a" * 8)
    assert Incarnation(6, b"a" * 8) > Incarnation(5, b"b" * 8)


def test_an_incarnation_number_stays_within_its_bound() -> None:
    assert next_incarnation(MAX_INTEGER + 5, MAX_INTEGER, SeededRandom(1)).number == MAX_INTEGER
