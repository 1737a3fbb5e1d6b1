"""Files that are carried from one machine to another: what is read from them, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from tests.unit.membership_world import Coop, charter_of, key_of

from covm.federation.identity.charter import encode_charter, open_charter, sign_charter
from covm.federation.identity.log import IdentityLog
from covm.federation.identity.member import MemberState
from covm.federation.membership.papers import (
    charter_paper,
    federation_in,
    identity_paper,
    node_paper,
    open_identity,
    read_charter,
    read_identity,
    read_node,
    write_paper,
)

MILL, FARM = Coop("Mill"), Coop("Farm")
LONGER = MILL.add_node(MILL.inception, 1)


def test_an_identity_comes_back_as_it_was_written() -> None:
    data = write_paper(identity_paper([MILL.inception, LONGER], "Mill"))
    assert [each.id for each in read_identity(data)] == [MILL.inception.id, LONGER.id]
    assert json.loads(data)["name"] == "Mill", "people can look at it"


def test_entries_in_any_order_are_one_log() -> None:
    third = MILL.rotate(LONGER, 1)
    data = write_paper(identity_paper([third, MILL.inception, LONGER], "Mill"))
    assert [each.id for each in read_identity(data)] == [MILL.inception.id, LONGER.id, third.id]


def test_an_identity_takes_a_new_node_to_its_federation() -> None:
    charter = charter_of([MILL, FARM])
    signed = open_charter([sign_charter(each.key(0), charter) for each in (MILL, FARM)])
    paper, _ = open_identity(write_paper(identity_paper([MILL.inception], "Mill", signed, ["/ip4/10.0.0.1/tcp/9"])))
    found = federation_in(paper)
    assert found is not None
    assert (found.id, paper.addresses) == (signed.id, ("/ip4/10.0.0.1/tcp/9",))
    assert federation_in(identity_paper([MILL.inception], "Mill")) is None
    for spoiled, said in (
        ({"charter": ()}, "without a signature"),
        ({"charter": signed.envelopes[:1]}, "not signed by all founders"),
        ({"federation": str(MILL.member)}, "of another federation"),
        ({"charter": (signed.envelopes[0], b"x")}, "envelope"),
    ):
        with pytest.raises(ValueError, match=said):
            federation_in(msgspec.structs.replace(paper, **spoiled))


def test_a_node_asks_and_only_its_own_request_is_taken() -> None:
    node = key_of("oven")
    data = write_paper(node_paper(node, "Oven", state(MILL)))
    entry = read_node(data, state(MILL), approver=True)
    assert (entry.node, entry.name, entry.approver) == (node.peer_id, "Oven", True)
    with pytest.raises(ValueError, match="of another member than Farm"):
        read_node(data, state(FARM), approver=False)
    with pytest.raises(ValueError, match="slash"):
        node_paper(node, "../oven", state(MILL))
    paper = json.loads(data)
    for changes, said in (
        ({"node": key_of("thief").peer_id}, "does not verify"),
        ({"member": str(FARM.member)}, "of another member"),
        ({"name": "../oven"}, "slash"),
        ({"consent": ""}, "does not verify"),
    ):
        with pytest.raises(ValueError, match=said):
            read_node(json.dumps(paper | changes).encode(), state(MILL), approver=False)


def state(coop: Coop) -> MemberState:
    head = IdentityLog(coop.member)
    head.add(coop.inception)
    assert head.head is not None
    return head.head


def test_a_charter_goes_round_and_gathers_signatures() -> None:
    charter = charter_of([MILL, FARM])
    paper = charter_paper(encode_charter(charter), "Three valleys", [[MILL.inception], [FARM.inception]])
    opened = read_charter(write_paper(paper))
    assert (opened.charter, opened.signed) == (charter, None)
    once = read_charter(write_paper(opened.with_signature(sign_charter(MILL.key(0), charter))))
    twice = read_charter(write_paper(once.with_signature(sign_charter(FARM.key(0), charter))))
    assert twice.signed is not None
    assert twice.signed.signers == {MILL.key(0).peer_id, FARM.key(0).peer_id}
    again = twice.with_signature(sign_charter(FARM.key(0), charter))
    assert len(again.signatures) == 2


def spoiled(**changes: Any) -> bytes:
    paper = json.loads(write_paper(identity_paper([MILL.inception, LONGER], "Mill")))
    return json.dumps(paper | changes).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"covm": "charter"}',
        spoiled(v=2),
        spoiled(entries=[]),
        spoiled(entries=["AAAA"]),
        spoiled(entries=json.loads(spoiled())["entries"][1:]),
        spoiled(entries=["not base64"]),
    ],
)
def test_what_is_no_identity_is_told(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"identity|inception|verify"):
        read_identity(data)


def test_signatures_of_another_charter_are_told() -> None:
    charter, other = charter_of([MILL, FARM]), charter_of([MILL, FARM], 2)
    paper = charter_paper(encode_charter(charter), "", [[MILL.inception], [FARM.inception]])
    mixed = read_charter(write_paper(paper)).with_signature(sign_charter(MILL.key(0), other))
    with pytest.raises(ValueError, match="of another charter"):
        read_charter(write_paper(mixed))
