"""A member's identity log: keys that change, nodes that come and go, thieves, forks, and any order of arrival."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import pytest
from tests.unit.membership_world import Coop, key_of, opened

from covm import _native
from covm.federation.identity.commitments import commitment
from covm.federation.identity.consent import seal_consent
from covm.federation.identity.identities import Identities
from covm.federation.identity.log import IdentityLog
from covm.federation.identity.member import MemberState, advance
from covm.federation.identity.update import (
    Inception,
    NodeEntry,
    Profile,
    Rotate,
    SignedUpdate,
    decode_update,
    encode_update,
    open_updates,
    seal_update,
)
from covm.federation.identity.verdicts import Status
from covm.federation.wire.kinds import Kind
from covm.federation.wire.limits import MAX_IDENTITY_BYTES, MAX_IDENTITY_DEPTH, MAX_NODES
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.signed import seal

ASH = Coop("Ash Bakery", approvers=(0, 1))


def log_of(coop: Coop, *updates: SignedUpdate, max_held: int | None = None) -> IdentityLog:
    log = IdentityLog(coop.member) if max_held is None else IdentityLog(coop.member, max_held)
    for update in (coop.inception, *updates):
        log.add(update)
    return log


def head(log: IdentityLog) -> MemberState:
    state = log.head
    assert state is not None
    return state


def names(nodes: Iterable[str], coop: Coop = ASH) -> list[int]:
    numbers = {coop.node(number).peer_id: number for number in range(10)}
    return sorted(numbers[node] for node in nodes)


# --- a quiet life


def test_a_member_begins_with_a_name_a_key_and_nodes_that_consented() -> None:
    state = head(log_of(ASH))
    assert (state.member, state.name, state.key) == (ASH.inception.id, "Ash Bakery", ASH.key(0).peer_id)
    assert names(state.nodes) == [0, 1]
    assert all(node.approver for node in state.nodes.values())


def test_a_node_is_added_and_removed_and_added_again() -> None:
    added = ASH.add_node(ASH.inception, 2, approver=False)
    removed = ASH.remove_node(added, 2)
    again = ASH.add_node(removed, 2)
    log = log_of(ASH, added, removed)
    assert names(head(log).nodes) == [0, 1]
    log.add(again)
    state = head(log)
    assert names(state.nodes) == [0, 1, 2]
    assert state.nodes[ASH.node(2).peer_id].since == 4
    assert [removal.seq for removal in state.removals] == [3]


def test_a_member_changes_its_name_and_its_key() -> None:
    renamed = ASH.profile(ASH.inception, "Ash & Rye")
    rotated = ASH.rotate(renamed, 1)
    after = ASH.profile(rotated, "Ash and Rye", ASH.key(1))
    state = head(log_of(ASH, renamed, rotated, after))
    assert (state.name, state.key, state.seq) == ("Ash and Rye", ASH.key(1).peer_id, 4)


# --- what has no place


def refusal(update: SignedUpdate, *before: SignedUpdate) -> str:
    log = log_of(ASH, *before)
    state = log.head
    verdict = log.add(update).verdict
    assert verdict.status is Status.REFUSED
    assert log.head == state
    return verdict.reason


def test_a_key_that_was_rotated_away_signs_nothing_more() -> None:
    rotated = ASH.rotate(ASH.inception, 1)
    assert "not the member's at this place" in refusal(ASH.profile(rotated, "Thief"), rotated)


def test_a_rotation_by_a_key_already_rotated_away_is_refused() -> None:
    rotated = ASH.rotate(ASH.inception, 1)
    second = ASH.rotate(rotated, 2)
    again = ASH.rotate(second, 1)
    assert "committed to" in refusal(again, rotated, second)


def test_a_rotation_needs_the_next_key_and_a_recovery_the_recovery_key() -> None:
    assert "the key whose hash" in refusal(ASH.rotate(ASH.inception, 2))
    assert "the recovery key" in refusal(ASH.recover(ASH.inception, by=1, to=5))


def test_a_used_recovery_key_recovers_nothing_more_on_its_branch() -> None:
    recovered = ASH.recover(ASH.inception, by=0, to=5)
    assert "the recovery key" in refusal(ASH.recover(recovered, by=0, to=7), recovered)


def test_a_key_in_use_is_no_next_key() -> None:
    assert "in use" in refusal(ASH.rotate(ASH.inception, 1, next=1))


def test_one_key_is_not_both_next_and_recovery() -> None:
    rotation = ASH.rotate(ASH.inception, 1).body
    assert isinstance(rotation, Rotate)
    both = msgspec.structs.replace(rotation, next=commitment(ASH.recovery(0).peer_id))
    assert "one key for rotation and recovery" in refusal(ASH.signed(both, ASH.key(1)))


def test_a_recovery_commits_to_another_recovery_key_than_it_uses_up() -> None:
    recovery = ASH.recover(ASH.inception, by=0, to=5).body
    again = msgspec.structs.replace(recovery, recovery=commitment(ASH.recovery(0).peer_id))
    assert "the recovery key that it uses up" in refusal(ASH.signed(again, ASH.recovery(0)))


def test_a_node_is_added_once_and_removed_only_if_it_is_there() -> None:
    assert "adds a node that the member has" in refusal(ASH.add_node(ASH.inception, 0))
    assert "does not have" in refusal(ASH.remove_node(ASH.inception, 2))


def test_a_member_has_so_many_nodes_and_no_more() -> None:
    log, before = log_of(ASH), ASH.inception
    for number in range(2, MAX_NODES):
        before = ASH.add_node(before, number)
        assert log.add(before).verdict.holds
    assert str(MAX_NODES) in log.add(ASH.add_node(before, MAX_NODES)).verdict.reason


def test_another_members_node_cannot_be_claimed() -> None:
    birch = Coop("Birch Mill")
    stolen = NodeEntry(node=birch.node(0).peer_id, name="ours", approver=True, consent=birch.node_entry(0).consent)
    entry = msgspec.structs.replace(ASH.add_node(ASH.inception, 2).body, node=stolen)
    assert "consented to be of another member" in refusal(ASH.signed(entry, ASH.key(0)))


def test_a_consent_forged_by_the_member_is_none() -> None:
    node = key_of("somebody's node").peer_id
    forged = NodeEntry(node=node, name="n", approver=True, consent=seal_consent(ASH.key(0), ASH.key(0).peer_id))
    entry = msgspec.structs.replace(ASH.add_node(ASH.inception, 2).body, node=forged)
    [found] = open_updates([seal_update(ASH.key(0), entry)])
    assert isinstance(found, Malformed)
    assert "has not consented" in found.reason


def test_nodes_that_consented_to_different_members_are_not_one_members() -> None:
    body = ASH.inception.body
    assert isinstance(body, Inception)
    other = ASH.node_entry(1, of=key_of("another first key").peer_id)
    nodes = tuple(other if entry.node == other.node else entry for entry in body.nodes)
    [found] = open_updates([seal_update(ASH.key(0), msgspec.structs.replace(body, nodes=nodes))])
    assert isinstance(found, Malformed)
    assert "different members" in found.reason


def test_an_inception_whose_nodes_consented_to_another_is_none() -> None:
    body = ASH.inception.body
    assert isinstance(body, Inception)
    other = key_of("another first key")
    update = opened(open_updates([seal_update(other, msgspec.structs.replace(body, author=other.peer_id))]))
    log = IdentityLog(update.id)
    assert log.add(update).verdict.status is Status.REFUSED
    assert log.head is None


def test_an_entry_signed_by_another_than_it_names_never_stands_in_the_way_of_the_true_one() -> None:
    update = ASH.profile(ASH.inception, "Ash & Rye")
    [forged] = open_updates([seal(key_of("thief"), Kind.IDENTITY, encode_update(update.body))])
    assert isinstance(forged, Malformed)
    assert log_of(ASH, update).head != log_of(ASH).head


def test_an_entry_of_another_member_is_refused() -> None:
    assert "another member" in refusal(Coop("Birch Mill").inception)


def test_numbers_and_members_that_contradict_each_other_are_refused() -> None:
    right = ASH.profile(ASH.inception, "Ash & Rye").body
    wrong = msgspec.structs.replace(right, seq=3)
    assert "contradict" in refusal(ASH.signed(wrong, ASH.key(0)))
    with pytest.raises(ValueError, match="nothing before it"):
        encode_update(msgspec.structs.replace(right, prev=None))


# --- names


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("../../etc/passwd", "slash"),
        ("\x1b[31mred", "control"),
        ("Ash \u202egnp", "direction"),
        ("A" * 10_240, "64"),
        ("", "empty"),
    ],
)
def test_a_member_is_not_named_so(name: str, why: str) -> None:
    body = Profile(author=ASH.key(0).peer_id, member=ASH.member, seq=2, prev=ASH.member, name=name)
    with pytest.raises(ValueError, match=why):
        encode_update(body)


def test_a_node_is_not_named_so_either() -> None:
    entry = msgspec.structs.replace(ASH.node_entry(2), name="a/b")
    body = msgspec.structs.replace(ASH.add_node(ASH.inception, 2).body, node=entry)
    with pytest.raises(ValueError, match="node whose name has a slash"):
        encode_update(body)


def test_an_operation_of_a_later_version_is_refused_and_further_keys_are_ignored() -> None:
    fields = _native.decode(encode_update(ASH.profile(ASH.inception, "Ash & Rye").body))
    assert decode_update(_native.encode({**fields, "more": 1})) == decode_update(_native.encode(fields))
    recovery = _native.decode(encode_update(ASH.recover(ASH.inception, by=0, to=5).body))
    with pytest.raises(Malformed, match="no peer id"):
        decode_update(_native.encode({**recovery, "key": "\x1b[1m"}))
    for spoilt in ({"op": "merge"}, {"v": 2}, {"name": b"bytes"}, {"seq": True}, {"author": ""}):
        with pytest.raises(Malformed):
            decode_update(_native.encode({**fields, **spoilt}))


# --- any order


def test_entries_out_of_order_wait_for_what_they_follow() -> None:
    first = ASH.profile(ASH.inception, "one")
    second = ASH.profile(first, "two")
    log = IdentityLog(ASH.member)
    verdict = log.add(second).verdict
    assert (verdict.status, verdict.missing) == (Status.WAITING, (first.id,))
    assert log.missing() == [first.id]
    assert log.add(first).verdict.missing == (ASH.member,)
    assert log.head is None
    placement = log.add(ASH.inception)
    assert placement.placed == (ASH.inception, first, second)
    assert head(log).name == "two"
    assert log.missing() == []


def test_a_log_a_thousand_deep_backwards() -> None:
    chain = [ASH.inception]
    for number in range(1000):
        chain.append(ASH.profile(chain[-1], f"name {number}"))
    log = IdentityLog(ASH.member)
    for update in reversed(chain):
        log.add(update)
    assert (head(log).name, head(log).seq, len(log)) == ("name 999", 1001, 1001)
    rotated = ASH.rotate(ASH.inception, 1)
    log.add(rotated)
    assert head(log).entry == rotated.id
    assert log.at(chain[-1].id) == log.at(ASH.member)


def test_a_log_is_as_deep_as_it_may_be_and_no_deeper() -> None:
    body = ASH.profile(ASH.inception, "deep").body
    encode_update(msgspec.structs.replace(body, seq=MAX_IDENTITY_DEPTH))
    with pytest.raises(ValueError, match=str(MAX_IDENTITY_DEPTH)):
        encode_update(msgspec.structs.replace(body, seq=MAX_IDENTITY_DEPTH + 1))


def test_a_log_has_so_many_bytes_and_still_takes_rotations_and_recoveries() -> None:
    """Whoever fills a log with cuts of logs that do not exist fills it up to a bound."""
    state = head(log_of(ASH))
    assert state.size_bytes == len(ASH.inception.envelope)
    renamed, rotated = ASH.profile(ASH.inception, "Ash & Rye"), ASH.rotate(ASH.inception, 1)
    recovered = ASH.recover(ASH.inception, by=0, to=5)
    room = MAX_IDENTITY_BYTES - len(renamed.envelope)
    last = advance(msgspec.structs.replace(state, size_bytes=room), renamed)
    assert isinstance(last, MemberState)
    assert last.size_bytes == MAX_IDENTITY_BYTES
    assert "bytes" in str(advance(msgspec.structs.replace(state, size_bytes=room + 1), renamed))
    for entry in (rotated, recovered):
        assert isinstance(advance(msgspec.structs.replace(state, size_bytes=MAX_IDENTITY_BYTES), entry), MemberState)


def test_an_entry_twice_is_one() -> None:
    log = log_of(ASH)
    placement = log.add(ASH.inception)
    assert placement.verdict.holds
    assert placement.placed == ()


# --- many members


def test_entries_find_their_members_log() -> None:
    birch = Coop("Birch Mill")
    renamed = birch.profile(birch.inception, "Birch")
    identities = Identities([renamed, ASH.inception])
    assert identities.head(birch.member) is None
    assert identities.log_of(renamed.id) is None
    identities.add(birch.inception)
    found = identities.log_of(renamed.id)
    assert found is identities.log(birch.member)
    assert len(identities) == 2
    identities.forget(birch.member)
    assert identities.log_of(renamed.id) is None
    assert [log.member for log in identities] == [ASH.member]
