"""The first application type: a proposal, as the example that the demo shows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from covm import _native
from covm.federation.errors import InvalidMessage
from covm.federation.wire.limits import MAX_GOSSIP_BODY
from covm.federation.wire.message import payload_size
from covm.federation.wire.registry import TypeRegistry
from covm.governance import Proposal

EXAMPLE = json.loads((Path(__file__).resolve().parents[2] / "examples" / "proposal.json").read_text())


def test_the_example_is_a_proposal_and_arrives_as_one() -> None:
    registry = TypeRegistry([Proposal])
    name, payload = registry.to_payload("Governance.Proposal", EXAMPLE)
    proposal = registry.from_payload(name, _native.decode(_native.encode(payload)))
    assert isinstance(proposal, Proposal)
    assert proposal.title == EXAMPLE["title"]
    assert proposal.options == EXAMPLE["options"]
    assert proposal.metadata == EXAMPLE["metadata"]


def test_the_longest_proposal_can_be_gossiped() -> None:
    bread = "\N{BAGUETTE BREAD}"
    longest = Proposal(
        id=bread * 128, title=bread * 200, description=bread * 8_000, author=bread * 128, options=[bread * 200] * 32,
        created_at=1,
    )  # fmt: skip
    assert payload_size(TypeRegistry([Proposal]).to_payload(None, longest)[1]) < MAX_GOSSIP_BODY


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"title": ""}, "payload.title"),
        ({"options": ["yes", ""]}, "payload.options[1]"),
        ({"created_at": -1}, "payload.created_at"),
        ({"created_at": "today"}, "payload.created_at"),
        ({"metadata": ["budget"]}, "payload.metadata"),
    ],
)
def test_a_proposal_that_does_not_fit_is_told_with_its_path(change: dict[str, object], path: str) -> None:
    with pytest.raises(InvalidMessage) as caught:
        TypeRegistry([Proposal]).to_payload("governance.proposal", EXAMPLE | change)
    assert caught.value.path == path
