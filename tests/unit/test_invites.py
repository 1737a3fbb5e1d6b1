"""Invites, by calling the rules: what a link is, and when one is redeemed."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest
from tests.unit.membership_world import Coop, World, key_of

from covm import _native
from covm.federation.membership.invites import (
    CHECK_SIZE,
    MAX_LINK,
    SCHEME,
    Invite,
    decode_invite,
    encode_invite,
    hash_of,
    invite_row,
    refusal,
)
from covm.federation.membership.tables import InviteRow
from covm.federation.wire.incarnation import Incarnation
from covm.federation.wire.malformed import Malformed

FEDERATION = World([Coop("Mill")]).federation
NODE = key_of("mill: node").peer_id
LIFE = Incarnation(7, b"nonce-00")
SECRET = b"s" * 32


def invite(**changes: Any) -> Invite:
    fields: dict[str, Any] = {
        "federation": FEDERATION,
        "node": NODE,
        "addresses": (f"/ip4/192.0.2.1/tcp/9000/p2p/{NODE}",),
        "id": b"i" * 16,
        "secret": SECRET,
        "expires_at": 2_000,
        "name": "Three Valleys",
    }
    return Invite(**(fields | changes))


def test_a_link_says_what_was_put_into_it_also_when_it_was_broken_into_lines() -> None:
    link = encode_invite(invite())
    assert decode_invite(link) == invite()
    assert decode_invite(f"  {link[:40]}\n{link[40:]}\n") == invite()
    assert len(link) < 700


def test_every_altered_character_is_told() -> None:
    link = encode_invite(invite())
    for place in range(len(SCHEME), len(link)):
        spoiled = link[:place] + ("A" if link[place] != "A" else "B") + link[place + 1 :]
        # The last character has bits that mean nothing.
        if base64.urlsafe_b64decode(_padded(spoiled)) != base64.urlsafe_b64decode(_padded(link)):
            with pytest.raises(Malformed, match="damaged or not whole"):
                decode_invite(spoiled)


def _padded(link: str) -> str:
    text = link.removeprefix(SCHEME)
    return text + "=" * (-len(text) % 4)


@pytest.mark.parametrize(
    "link",
    ["", "covm-invite", "https://valley.example", SCHEME, SCHEME + "ümlaut", SCHEME + "A" * MAX_LINK, SCHEME + "AAAA"],
)
def test_what_is_no_link_is_told(link: str) -> None:
    with pytest.raises(Malformed):
        decode_invite(link)


@pytest.mark.parametrize(
    "fields",
    [
        {"v": 2},
        {"node": "nobody"},
        {"secret": b"short"},
        {"addresses": ["x"] * 9},
        {"name": "\x1b[31mred"},
        {"expires_at": -1},
    ],
)
def test_a_link_that_says_what_none_may_say_is_told(fields: dict[str, Any]) -> None:
    whole = _native.decode(base64.urlsafe_b64decode(_padded(encode_invite(invite())))[:-CHECK_SIZE])
    assert isinstance(whole, dict)
    data = _native.encode(whole | fields)
    text = base64.urlsafe_b64encode(data + hashlib.sha256(data).digest()[:CHECK_SIZE]).decode().rstrip("=")
    with pytest.raises(Malformed):
        decode_invite(SCHEME + text)


def test_an_invite_shows_no_secret() -> None:
    assert "ssss" not in repr(invite())
    assert SECRET not in repr(row()).encode()


def row(**changes: Any) -> InviteRow:
    made = invite_row(invite(), ["member"], 1, LIFE, 1_000, ["before"])
    return made._replace(**changes)


@pytest.mark.parametrize(
    ("found", "secret", "now_ms", "why"),
    [
        (None, SECRET, 1_500, "no such invite"),
        (row(), b"x" * 32, 1_500, "no such invite"),
        (row(number=8), SECRET, 1_500, "restored from a backup"),
        (row(), SECRET, 2_001, "has expired"),
        (row(used_by=("somebody",)), SECRET, 1_500, "used up"),
        (row(used_by=("me",)), SECRET, 1_500, None),
        (row(used_by=("somebody",), uses=2), SECRET, 1_500, None),
        (row(), SECRET, 2_000, None),
    ],
)
def test_an_invite_is_redeemed_only_where_and_while_it_is_good(
    found: InviteRow | None, secret: bytes, now_ms: int, why: str | None
) -> None:
    told = refusal(found, secret, "me", LIFE, now_ms, ())
    assert (told is None) == (why is None)
    assert why is None or (told is not None and why in told)


def test_an_invite_overrides_the_removals_that_its_maker_knew_of_and_no_later_one() -> None:
    assert refusal(row(), SECRET, "me", LIFE, 1_500, ["before"]) is None
    told = refusal(row(used_by=("me",)), SECRET, "me", LIFE, 1_500, ["before", "after"])
    assert told == "the invite was made before you were removed; ask for another"


def test_a_wrong_secret_is_told_nothing_about_the_invite() -> None:
    guesses = {
        refusal(each, b"x" * 32, "me", LIFE, 9_999, ()) for each in (None, row(), row(used_by=("a",)), row(number=8))
    }
    assert len(guesses) == 1


def test_the_secret_is_not_kept() -> None:
    assert hash_of(SECRET) == row().secret_hash
    assert SECRET not in b"".join(each for each in row() if isinstance(each, bytes))
