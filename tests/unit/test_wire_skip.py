"""What takes the place of a message that expired or was cancelled."""

from __future__ import annotations

from typing import Any

import pytest

from covm.federation.wire.federation_id import open_federation
from covm.federation.wire.incarnation import Incarnation
from covm.federation.wire.limits import MAX_INTEGER
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.message import MessageBody, decode_body, encode_body
from covm.federation.wire.skip import SKIP_TYPE, is_skip, skip_mid, skip_payload, skipped_upto

LIFE = Incarnation(7, b"nonce-of")


def skip(payload: Any, seq: int = 5) -> MessageBody:
    return MessageBody(
        federation=open_federation("covm").cid,
        type=SKIP_TYPE,
        author="ada",
        incarnation=LIFE,
        seq=seq,
        mid=bytes(16),
        to="ben",
        sent_at=1,
        expires_at=None,
        payload=payload,
    )


def test_a_skip_takes_its_place_and_those_up_to_its_end() -> None:
    body = decode_body(encode_body(skip(skip_payload(9))))
    assert is_skip(body)
    assert skipped_upto(body) == 9
    assert skipped_upto(skip(skip_payload(5))) == 5


@pytest.mark.parametrize(
    "payload", [None, {}, 7, {"upto": 4}, {"upto": True}, {"upto": "9"}, {"upto": MAX_INTEGER + 1}]
)
def test_a_skip_that_does_not_say_up_to_where_is_malformed(payload: Any) -> None:
    with pytest.raises(Malformed):
        skipped_upto(skip(payload))


def test_both_sides_can_tell_the_id_of_a_skip_from_its_end() -> None:
    assert skip_mid(LIFE, "ben", 9) == skip_mid(LIFE, "ben", 9)
    others = {skip_mid(LIFE, "ben", 10), skip_mid(LIFE, "cleo", 9), skip_mid(Incarnation(8, LIFE.nonce), "ben", 9)}
    assert len({skip_mid(LIFE, "ben", 9), *others}) == 4
