"""The charter: what founders sign, when it counts, and what can be no charter."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.unit.membership_world import Coop, charter_of, plain_rule, salt

from covm import _native
from covm.federation.identity.charter import (
    Charter,
    charter_verdict,
    decode_charter,
    encode_charter,
    open_charter,
    sign_charter,
    unsigned,
)
from covm.federation.identity.identities import Identities
from covm.federation.identity.roles import Grants, Role
from covm.federation.identity.verdicts import Status
from covm.federation.wire.kinds import Kind
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.signed import seal

ASH, BIRCH, CEDAR = Coop("Ash Bakery"), Coop("Birch Mill"), Coop("Cedar Farm")
FOUNDERS = (ASH, BIRCH, CEDAR)
LOGS = Identities([each.inception for each in FOUNDERS])


def test_a_charter_that_all_founders_signed_counts_and_its_id_is_that_of_its_bytes() -> None:
    charter = charter_of(FOUNDERS)
    signed = open_charter([sign_charter(each.key(0), charter) for each in FOUNDERS])
    assert charter_verdict(signed, LOGS).holds
    assert signed.id == _native.cid(encode_charter(charter))
    assert unsigned(signed) == []
    assert charter.electors == {each.member for each in FOUNDERS}


def test_a_charter_that_lacks_a_signature_says_whose() -> None:
    charter = charter_of(FOUNDERS)
    signed = open_charter([sign_charter(each.key(0), charter) for each in (ASH, CEDAR)])
    verdict = charter_verdict(signed, LOGS)
    assert verdict.status is Status.WAITING
    assert str(BIRCH.member)[:20] in verdict.reason
    assert [founder.member for founder in unsigned(signed)] == [BIRCH.member]


def test_a_signature_of_somebody_else_adds_nothing() -> None:
    charter = charter_of((ASH, BIRCH))
    envelopes = [sign_charter(ASH.key(0), charter), seal(CEDAR.key(0), Kind.CHARTER, encode_charter(charter))]
    assert not charter_verdict(open_charter(envelopes), LOGS).holds
    with pytest.raises(ValueError, match="no founder with the key"):
        sign_charter(CEDAR.key(0), charter)


def test_signatures_of_different_charters_are_no_charter() -> None:
    first, second = charter_of((ASH, BIRCH)), charter_of((ASH, BIRCH), 2)
    with pytest.raises(Malformed, match="different charters"):
        open_charter([sign_charter(ASH.key(0), first), sign_charter(BIRCH.key(0), second)])
    with pytest.raises(Malformed, match="without a signature"):
        open_charter([])


def test_a_charter_in_another_envelope_is_none() -> None:
    data = encode_charter(charter_of((ASH,)))
    with pytest.raises(Malformed, match="wrong_kind"):
        open_charter([seal(ASH.key(0), Kind.CREDENTIAL, data)])


def test_the_key_of_a_founder_must_be_its_own() -> None:
    [mine, theirs] = charter_of((ASH, BIRCH)).founders
    swapped = (
        msgspec.structs.replace(mine, key=theirs.key),
        msgspec.structs.replace(theirs, key=mine.key),
    )
    charter = charter_of((ASH, BIRCH), founders=swapped)
    signed = open_charter([sign_charter(each.key(0), charter) for each in (ASH, BIRCH)])
    verdict = charter_verdict(signed, LOGS)
    assert verdict.status is Status.WAITING
    assert "never had the key" in verdict.reason


def test_a_key_that_was_rotated_away_since_still_counts() -> None:
    charter = charter_of(FOUNDERS)
    signed = open_charter([sign_charter(each.key(0), charter) for each in FOUNDERS])
    later = Identities([*(each.inception for each in FOUNDERS), ASH.rotate(ASH.inception, 1)])
    assert charter_verdict(signed, later).holds


def test_without_the_founders_logs_a_charter_waits_for_them() -> None:
    charter = charter_of((ASH, BIRCH))
    signed = open_charter([sign_charter(each.key(0), charter) for each in (ASH, BIRCH)])
    verdict = charter_verdict(signed, Identities([ASH.inception]))
    assert (verdict.status, verdict.missing) == (Status.WAITING, (BIRCH.member,))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"name": "a/b"}, "slash"),
        ({"name": "\u202eyellav"}, "direction"),
        ({"k": 4}, "4 electors"),
        ({"k": 0}, ">= 1"),
        ({"founders": ()}, "length >= 1"),
        ({"salt": b"short"}, "length >= 16"),
        ({"roles": {}}, "length >= 1"),
        ({"roles": {"Boss": Role()}}, "not a role's name"),
        ({"roles": {"member": Role(write=("governance.*.vote",))}}, "pattern that is none"),
        ({"roles": {"bookkeeper": Role()}}, "has no role member"),
        ({"types": {"accounts.entry": plain_rule(grants=Grants(read=("auditor",)))}}, "has no role auditor"),
        ({"types": {"system.approval": plain_rule()}}, "no type name of an application"),
        ({"types": {"accounts.*": plain_rule()}}, "no type name of an application"),
        ({"types": {"a.b": plain_rule(size_limit_bytes=0)}}, ">= 1"),
    ],
)
def test_what_can_be_no_charter(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        encode_charter(charter_of(FOUNDERS, **changes))


def test_founders_are_in_order_and_each_once() -> None:
    founders = charter_of(FOUNDERS).founders
    for wrong in (founders[::-1], (founders[0], founders[0])):
        with pytest.raises(ValueError, match="twice, or its founders are not in order"):
            encode_charter(charter_of(FOUNDERS, founders=wrong))
    no_key = (msgspec.structs.replace(founders[0], key="\x1b[1m"), founders[1])
    with pytest.raises(ValueError, match="no peer id"):
        encode_charter(charter_of(FOUNDERS, founders=no_key))
    one_key = (founders[0], msgspec.structs.replace(founders[1], key=founders[0].key))
    with pytest.raises(ValueError, match="one key"):
        encode_charter(charter_of(FOUNDERS, founders=one_key))


def test_it_comes_back_as_it_was_signed_and_what_does_not_fit_is_refused() -> None:
    charter = charter_of(FOUNDERS, types={"*": plain_rule()})
    data = encode_charter(charter)
    assert decode_charter(data) == charter
    assert charter.default_rule == plain_rule()
    fields = _native.decode(data)
    unfit: list[dict[str, Any]] = [
        {"v": 2},
        {"salt": "sixteen letters."},
        {"founders": {}},
        {"roles": {"member": {"read": "*"}}},
    ]
    for spoilt in unfit:
        with pytest.raises(Malformed):
            decode_charter(_native.encode({**fields, **spoilt}))
    with pytest.raises(Malformed):
        decode_charter(_native.encode([1]))


@pytest.mark.parametrize(
    ("founders", "of_a_founder", "of_another", "a_type"),
    [(1, None, 1, 1), (2, 1, 2, 2), (3, 2, 2, 2), (4, 2, 3, 3), (5, 3, 3, 3), (7, 4, 4, 4)],
)
def test_how_many_it_takes(founders: int, of_a_founder: int | None, of_another: int, a_type: int) -> None:
    coops = [Coop(f"Founder {number}") for number in range(founders)]
    charter: Charter = charter_of(coops)
    assert charter.removal_threshold(coops[0].member) == of_a_founder
    assert charter.removal_threshold(Coop("Another").member) == of_another
    assert charter.type_threshold == a_type


def test_two_federations_of_one_name_are_two() -> None:
    one, other = charter_of(FOUNDERS), charter_of(FOUNDERS, salt=salt("another"))
    assert _native.cid(encode_charter(one)) != _native.cid(encode_charter(other))
