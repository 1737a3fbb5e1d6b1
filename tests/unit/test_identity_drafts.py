"""Entries as a member drafts them: they have their place once they are sealed, and what is wrong is told before."""

from __future__ import annotations

import pytest
from tests.unit.membership_world import Coop, key_of, opened
from tests.unit.test_identity_log import head

from covm._native import Keypair
from covm.federation.identity.drafts import (
    draft_add_node,
    draft_inception,
    draft_recovery,
    draft_remove_node,
    draft_rename,
    draft_rotation,
)
from covm.federation.identity.log import IdentityLog
from covm.federation.identity.member import MemberState
from covm.federation.identity.update import Inception, Update, open_updates, seal_update

ASH = Coop("Ash Bakery")


def peer(key: Keypair) -> str:
    return key.peer_id


def inception(name: str = "Ash Bakery") -> Inception:
    return draft_inception(
        name,
        peer(ASH.key(0)),
        next_key=peer(ASH.key(1)),
        recovery_key=peer(ASH.recovery(0)),
        nodes=[ASH.node_entry(number) for number in (0, 1)],
    )


class Life:
    """A member's log, written by drafts."""

    def __init__(self) -> None:
        first = opened(open_updates([seal_update(ASH.key(0), inception())]))
        self.log = IdentityLog(first.id)
        assert self.log.add(first).verdict.holds

    @property
    def state(self) -> MemberState:
        return head(self.log)

    def write(self, draft: Update, key: Keypair) -> None:
        assert self.log.add(opened(open_updates([seal_update(key, draft)]))).verdict.holds


def test_a_life_of_drafts() -> None:
    life = Life()
    life.write(draft_rename(life.state, "Ash & Rye"), ASH.key(0))
    life.write(draft_add_node(life.state, ASH.node_entry(2, False)), ASH.key(0))
    life.write(draft_remove_node(life.state, peer(ASH.node(1)), []), ASH.key(0))
    life.write(draft_rotation(life.state, key=peer(ASH.key(1)), next_key=peer(ASH.key(2))), ASH.key(1))
    before = life.state
    life.write(draft_add_node(life.state, ASH.node_entry(9)), ASH.key(1))
    life.write(
        draft_recovery(
            before,
            recovery_key=peer(ASH.recovery(0)),
            key=peer(ASH.key(5)),
            next_key=peer(ASH.key(6)),
            next_recovery_key=peer(ASH.recovery(1)),
        ),
        ASH.recovery(0),
    )
    assert (life.state.name, life.state.key) == ("Ash & Rye", peer(ASH.key(5)))
    assert sorted(life.state.nodes) == sorted(peer(ASH.node(number)) for number in (0, 2))


def test_what_every_node_would_refuse_is_told_before_anybody_signs_it() -> None:
    state = Life().state
    with pytest.raises(ValueError, match="a name that has a slash"):
        draft_rename(state, "../ash")
    with pytest.raises(ValueError, match="adds a node that the member has"):
        draft_add_node(state, ASH.node_entry(0))
    with pytest.raises(ValueError, match="does not have"):
        draft_remove_node(state, peer(ASH.node(7)), [])
    with pytest.raises(ValueError, match="the key whose hash the log committed to"):
        draft_rotation(state, key=peer(key_of("another")), next_key=peer(ASH.key(2)))
    with pytest.raises(ValueError, match="the recovery key that the log committed to"):
        draft_recovery(state, recovery_key="a", key=peer(ASH.key(5)), next_key="b", next_recovery_key="c")
    with pytest.raises(ValueError, match="a name that is empty"):
        inception("")
    with pytest.raises(ValueError, match="one key for rotation and recovery"):
        draft_inception("Ash", "a", next_key="b", recovery_key="b", nodes=[ASH.node_entry(0)])
