"""The rules of gossip, by calling them: windows, allowances, verdicts, the log."""

from __future__ import annotations

from typing import Any

import pytest

from covm.federation.gossip.allowance import Allowances
from covm.federation.gossip.log import FOLLOWER_QUEUE, GossipLog, GossipLogEntry
from covm.federation.gossip.replay import WINDOW, ReplayWindows, Seen
from covm.federation.gossip.verdicts import Judge
from covm.federation.membership.everyone import Everyone
from covm.federation.network.interface import GossipReceived, Verdict
from covm.federation.wire.federation_id import open_federation
from covm.federation.wire.incarnation import Incarnation
from covm.federation.wire.message import MessageBody, encode_body

LIFE, LATER = Incarnation(1, b"nonce-01"), Incarnation(2, b"nonce-00")
FEDERATION = open_federation("test")


def judge(**changes: Any) -> Judge:
    options: dict[str, Any] = {
        "allowance_per_s": 100,
        "is_banned": lambda peer: peer == "banned",
        "membership": Everyone(),
    }
    return Judge(FEDERATION, "self", **{**options, **changes})


def gossip(author: str = "ada", *, signer: str = "", topic: str = FEDERATION.topic, **changes: Any) -> GossipReceived:
    fields: dict[str, Any] = {
        "federation": FEDERATION.cid,
        "type": "a.note",
        "author": author,
        "incarnation": LIFE,
        "seq": 1,
        "mid": bytes(16),
        "to": None,
        "sent_at": 0,
        "expires_at": None,
        "payload": 1,
    }
    encoded = encode_body(MessageBody(**{**fields, **changes}))
    return GossipReceived(1, topic, "carrier", signer or author, b"id", encoded, len(encoded))


@pytest.mark.parametrize(
    ("received", "reason"),
    [
        (gossip(signer="mallory"), "author_mismatch"),
        (gossip(federation=open_federation("other").cid), "wrong_federation"),
        (gossip(topic="/covm/other"), "wrong_topic"),
        (gossip(to="ben"), "addressed_to_one"),
        (gossip(payload=b"x" * 65_537), "too_large"),
        (GossipReceived(1, FEDERATION.topic, "carrier", "ada", b"id", b"\xff", 1), "malformed_body"),
    ],
)
def test_what_every_honest_node_would_reject_is_rejected(received: GossipReceived, reason: str) -> None:
    found = judge().judge(received, 0, 0.0)
    assert (found.verdict, found.reason) == (Verdict.REJECT, reason)


@pytest.mark.parametrize(
    ("received", "reason"),
    [
        (gossip("banned"), "banned_author"),
        (gossip("self"), "own"),
        (gossip(type="system.heartbeat"), "system_type"),
        (gossip(expires_at=1_000), "expired"),
    ],
)
def test_what_only_this_node_does_not_want_costs_the_forwarder_nothing(received: GossipReceived, reason: str) -> None:
    found = judge().judge(received, 1_000, 0.0)
    assert (found.verdict, found.reason) == (Verdict.IGNORE, reason)


def test_an_unknown_type_is_accepted_because_others_may_know_it() -> None:
    assert judge().judge(gossip(type="nobody.knows"), 0, 0.0).verdict is Verdict.ACCEPT


def test_the_largest_payload_is_accepted() -> None:
    largest = gossip(payload=b"x" * (65_536 - 5))
    assert judge().judge(largest, 0, 0.0).verdict is Verdict.ACCEPT


def test_the_same_message_again_is_ignored() -> None:
    one = judge()
    assert one.judge(gossip(), 0, 0.0).verdict is Verdict.ACCEPT
    assert one.judge(gossip(), 0, 0.0).reason == "duplicate"


def test_an_author_above_its_allowance_is_ignored_and_others_are_not() -> None:
    one = judge()
    accepted = [one.judge(gossip(seq=seq), 0, 0.0).verdict is Verdict.ACCEPT for seq in range(1, 201)]
    assert sum(accepted) == 100
    assert one.judge(gossip("ben"), 0, 0.0).verdict is Verdict.ACCEPT
    assert one.judge(gossip(seq=500), 0, 1.0).verdict is Verdict.ACCEPT, "a second later there is more"


def test_numbers_out_of_order_are_new_within_the_window_and_stale_beyond_it() -> None:
    windows = ReplayWindows()
    assert windows.check("ada", LIFE, 20_000) is Seen.NEW
    assert windows.check("ada", LIFE, 20_000 - WINDOW + 1) is Seen.NEW
    assert windows.check("ada", LIFE, 20_000 - WINDOW + 1) is Seen.DUPLICATE
    assert windows.check("ada", LIFE, 20_000 - WINDOW) is Seen.STALE


def test_an_earlier_incarnation_is_stale_and_a_later_one_begins_anew() -> None:
    windows = ReplayWindows()
    assert windows.check("ada", LIFE, 5) is Seen.NEW
    assert windows.check("ada", LATER, 5) is Seen.NEW
    assert windows.check("ada", LIFE, 6) is Seen.STALE
    assert windows.check("ada", LATER, 5) is Seen.DUPLICATE


def test_windows_and_allowances_hold_so_many_authors_and_no_more() -> None:
    windows, allowances = ReplayWindows(max_authors=10), Allowances(1.0, max_authors=10)
    for number in range(1_000):
        windows.check(str(number), LIFE, 1)
        allowances.take(str(number), 0.0)
    assert (len(windows), len(allowances)) == (10, 10)
    assert windows.check("999", LIFE, 1) is Seen.DUPLICATE


def entry(number: int, type_name: str = "a.note") -> GossipLogEntry:
    return GossipLogEntry(number, "in", type_name, str(number), "ada", "ben", 1, "accept", "")


def test_the_log_keeps_the_newest_and_shows_the_oldest_of_them_first() -> None:
    log = GossipLog(3)
    for number in range(5):
        log.add(entry(number, "b.note" if number == 3 else "a.note"))
    assert [each.time_ms for each in log.latest(10)] == [2, 3, 4]
    assert [each.time_ms for each in log.latest(1)] == [4]
    assert [each.time_ms for each in log.latest(10, "b.note")] == [3]
    assert log.latest(0) == []


async def test_a_follower_gets_what_comes_loses_the_oldest_and_ends_with_the_log() -> None:
    log = GossipLog(3)
    follower = log.follow()
    for number in range(FOLLOWER_QUEUE + 5):
        log.add(entry(number))
    log.close()
    assert [each.time_ms async for each in follower] == list(range(5, FOLLOWER_QUEUE + 5))
    assert [each async for each in log.follow()] == []


def test_repeating_an_authors_old_messages_leaves_its_allowance_alone() -> None:
    judging = judge(allowance_per_s=3)
    assert judging.judge(gossip(seq=1), 0, 0.0).verdict is Verdict.ACCEPT
    for _ in range(100):
        assert judging.judge(gossip(seq=1), 0, 0.0).reason == Seen.DUPLICATE.value
    assert [judging.judge(gossip(seq=seq), 0, 0.0).reason for seq in (2, 3, 4)] == ["", "", "over_allowance"]
