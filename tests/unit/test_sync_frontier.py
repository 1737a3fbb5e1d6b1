"""What a frontier says of its logs: its format, pinned by hand, and what stays as it was when something changes."""

from __future__ import annotations

import hashlib
from itertools import count

from covm._native import Link, cid
from covm.federation.sync.frontier import EMPTY_ROOT, Fork, Frontier, Leaf, Tips, nibble, path_of
from covm.federation.wire.sync_frames import Tip


def tips(*numbers: int) -> Tips:
    return tuple(Tip(number, cid(b"record %d" % number)) for number in numbers)


def logs_at(*beginnings: str) -> list[Link]:
    """For each of these, in hexadecimal, another log whose path begins so."""
    found: list[Link] = []
    for beginning in beginnings:
        candidates = (cid(b"log %d" % number) for number in count())
        found.append(next(log for log in candidates if log not in found and path_of(log).hex().startswith(beginning)))
    return found


def sha256(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def leaf_digest(log: Link, held: Tips) -> bytes:
    return sha256(b"\x00", log.bytes, *(tip.seq.to_bytes(8, "big") + tip.id.bytes for tip in held))


# --- the format: two nodes that disagree on it never see that they hold the same


def test_without_logs_the_root_is_32_zeros() -> None:
    empty = Frontier()
    assert empty.root == EMPTY_ROOT == bytes(32)
    assert (len(empty), list(empty.logs()), empty.at(b"")) == (0, [], None)


def test_one_log_is_a_leaf_whose_digest_covers_its_id_and_all_its_tips() -> None:
    [log] = logs_at("a")
    assert Frontier.of({log: tips(3, 300)}).root == leaf_digest(log, tips(3, 300))


def test_a_forks_digest_covers_which_children_it_has_and_what_they_are() -> None:
    low, high = logs_at("0", "e")
    children = leaf_digest(low, tips(1)) + leaf_digest(high, tips(2))
    assert Frontier.of({high: tips(2), low: tips(1)}).root == sha256(b"\x01", b"\x80\x02", children)


def test_logs_whose_paths_part_late_have_a_fork_at_every_nibble_before() -> None:
    one, other = logs_at("c50", "c5f")
    lowest = sha256(b"\x01", b"\x80\x01", leaf_digest(one, tips(1)), leaf_digest(other, tips(1)))
    above = sha256(b"\x01", b"\x04\x00", lowest)
    assert Frontier.of({one: tips(1), other: tips(1)}).root == sha256(b"\x01", b"\x00\x08", above)


def test_a_log_with_the_tips_of_another_is_told_from_it() -> None:
    one, other = logs_at("0", "1")
    assert Frontier.of({one: tips(1)}).root != Frontier.of({other: tips(1)}).root


# --- what changes, and what stays


def test_what_is_taken_away_leaves_no_trace() -> None:
    stays, goes = logs_at("c50", "c5f")
    frontier = Frontier.of({stays: tips(1)})
    assert frontier.changed({goes: tips(4)}).changed({goes: ()}).root == frontier.root
    assert frontier.changed({stays: ()}).root == EMPTY_ROOT


def test_forks_that_lead_to_two_logs_or_more_stay_when_a_third_goes() -> None:
    one, other, goes = logs_at("c50", "c5f", "2")
    both = {one: tips(1), other: tips(1)}
    assert Frontier.of({**both, goes: tips(1)}).changed({goes: ()}).root == Frontier.of(both).root


def test_taking_away_what_is_not_there_changes_nothing() -> None:
    here, near, far = logs_at("c50", "c5f", "2")
    frontier = Frontier.of({here: tips(1)})
    assert frontier.changed({near: (), far: ()}).root == frontier.root
    assert Frontier().changed({here: ()}).root == EMPTY_ROOT


def test_a_session_goes_on_with_the_frontier_that_it_began_with() -> None:
    one, other = logs_at("0", "1")
    before = Frontier.of({one: tips(1), other: tips(1)})
    root = before.root
    after = before.changed({one: tips(2)})
    assert (before.root, before.get(one), after.get(one)) == (root, tips(1), tips(2))
    assert after.root != root


def test_a_change_shares_whatever_it_does_not_touch() -> None:
    changes, same, near = logs_at("0", "1", "1")
    before = Frontier.of({changes: tips(1), same: tips(1), near: tips(1)})
    after = before.changed({changes: tips(2)})
    assert isinstance(before.at(b"\x01"), Fork)
    assert after.at(b"\x01") is before.at(b"\x01")
    assert after.at(b"\x00") is not before.at(b"\x00")


def test_many_changes_at_once_come_to_the_same_as_one_by_one() -> None:
    logs = [cid(b"author %d" % number) for number in range(300)]
    at_once = Frontier.of({log: tips(1) for log in logs}).changed({log: tips(2) for log in logs[::3]})
    one_by_one = Frontier()
    for log in logs:
        one_by_one = one_by_one.changed({log: tips(1)})
    for log in logs[::3]:
        one_by_one = one_by_one.changed({log: tips(2)})
    assert one_by_one.root == at_once.root
    assert len(one_by_one) == len(at_once) == 300


# --- looking something up


def test_what_is_not_held_has_no_tips() -> None:
    held, near, far = logs_at("c50", "c5f", "2")
    assert Frontier().get(held) == ()
    frontier = Frontier.of({held: tips(1)})
    assert (frontier.get(held), frontier.get(near), frontier.get(far)) == (tips(1), (), ())


def test_a_leaf_is_found_at_its_place_and_at_every_path_below_it_that_is_its_own() -> None:
    log, beside = logs_at("c50", "2")
    frontier = Frontier.of({log: tips(1), beside: tips(1)})
    for path in (b"\x0c", b"\x0c\x05", b"\x0c\x05\x00", bytes(nibble(path_of(log), depth) for depth in range(64))):
        found = frontier.at(path)
        assert isinstance(found, Leaf)
        assert found.log == log
    for path in (b"\x0d", b"\x0c\x06", b"\x0c\x05\x01"):
        assert frontier.at(path) is None


def test_logs_come_in_the_order_of_their_paths() -> None:
    logs = [cid(b"author %d" % number) for number in range(100)]
    frontier = Frontier.of({log: tips(1) for log in logs})
    assert [log for log, _ in frontier.logs()] == sorted(logs, key=path_of)
