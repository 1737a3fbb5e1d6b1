"""What a node reads back from its home: its own words, or a clear refusal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from covm.federation import Identity
from covm.federation.errors import StateDamaged
from covm.federation.home import Home
from covm.federation.peers.bans import MAX_BAN_REASON, Ban
from covm.federation.wire.limits import MAX_TIME_MS

SELF, OTHER = (Identity.from_seed(bytes([index]) * 32).peer_id for index in (1, 2))
GOOD: dict[str, Any] = {"peer": OTHER, "reason": "spam", "since_ms": 1, "until_ms": 2}


def written(folder: Path, **changes: Any) -> Path:
    path = folder / "node-state.json"
    path.write_text(json.dumps({"version": 1, "incarnation": 7, "bans": [{**GOOD, **changes}]}))
    return path


def test_what_was_saved_is_read_back(tmp_path: Path) -> None:
    bans = [Ban(OTHER, "x" * MAX_BAN_REASON, 0, MAX_TIME_MS), Ban(OTHER, "", MAX_TIME_MS, None)]
    first = Home(tmp_path, SELF)
    first.open()
    first.save_incarnation(7)
    first.save_bans(bans)
    first.close()
    again = Home(tmp_path, SELF)
    again.open()
    again.close()
    assert (again.incarnation, again.bans) == (7, bans)


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"peer": "zzz"}, "'zzz', which is no peer id"),
        ({"peer": ""}, "no peer id"),
        ({"peer": SELF}, "this node itself"),
        ({"until_ms": MAX_TIME_MS + 1}, "until_ms"),
        ({"until_ms": 2**63 - 1}, "until_ms"),
        ({"until_ms": 2**63}, "until_ms"),
        ({"until_ms": 10**30}, "until_ms"),
        ({"until_ms": -1}, "until_ms"),
        ({"since_ms": 2**63 - 1}, "since_ms"),
        ({"since_ms": -1}, "since_ms"),
        ({"reason": "x" * (MAX_BAN_REASON + 1)}, "reason"),
        ({"reason": "\ud800"}, "cannot be read"),
    ],
)
def test_a_ban_that_cannot_be_is_told_and_the_home_is_given_back(
    tmp_path: Path, changes: dict[str, Any], wrong: str
) -> None:
    path = written(tmp_path, **changes)
    before = path.read_bytes()
    with pytest.raises(StateDamaged, match=wrong):
        Home(tmp_path, SELF).open()
    assert path.read_bytes() == before
    path.unlink()
    mended = Home(tmp_path, SELF)
    mended.open()
    mended.close()


def test_a_file_nested_without_end_is_told(tmp_path: Path) -> None:
    (tmp_path / "node-state.json").write_text('{"bans": [{"x": ' + "[" * 1_000_000)
    with pytest.raises(StateDamaged):
        Home(tmp_path).open()
