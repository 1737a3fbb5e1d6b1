"""`system.skip`: what takes the place of a message that expired or was cancelled, so that no gap blocks those behind.

A skip is a message body like any other, signed by its author, with the payload `{"upto": last}`: it takes the places
`seq` to `upto`, one or several. Its id follows from its end and is no message's, so that a receiver which says up to
where it has everything says whether it has the message there or the skip, also to a sender that forgot which it sent.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

from covm import _native
from covm.federation.wire.incarnation import Incarnation
from covm.federation.wire.limits import MAX_INTEGER, MID_SIZE
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.message import MessageBody

SKIP_TYPE: Final = "system.skip"


def is_skip(body: MessageBody) -> bool:
    return body.type == SKIP_TYPE


def skip_payload(upto: int) -> dict[str, Any]:
    """The payload of a skip that ends at `upto`."""
    return {"upto": upto}


def skipped_upto(body: MessageBody) -> int:
    """The last place that a skip takes. Raises `Malformed`."""
    payload = body.payload
    upto = payload.get("upto") if type(payload) is dict else None
    if type(upto) is not int or not body.seq <= upto <= MAX_INTEGER:
        raise Malformed("a skip does not say up to where")
    return upto


def skip_mid(incarnation: Incarnation, to: str, upto: int) -> bytes:
    """The id of a skip that ends at `upto`: both sides can tell it."""
    said = _native.encode(["skip", incarnation.number, incarnation.nonce, to, upto])
    return hashlib.sha256(said).digest()[:MID_SIZE]
