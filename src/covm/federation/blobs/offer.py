"""`system.file`: the direct message that offers a file. Its content is fetched from the sender by its root."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from covm import _native
from covm.federation.blobs.chunks import MAX_SIZE

OFFER_TYPE: Final = "system.file"

HANDLER: Final = "covm.files"
"""What the store and events call the handler of offers."""

MAX_OFFERED_NAME: Final = 1_024
"""Characters of a name as it is offered: what it is called here is decided here."""


class FileOffer(Struct, frozen=True, kw_only=True):
    """A file that its sender keeps ready; the root names every byte of it (see `chunks`)."""

    name: Annotated[str, Meta(max_length=MAX_OFFERED_NAME)]
    size: Annotated[int, Meta(ge=0, le=MAX_SIZE)]
    root: _native.Link


def offer_payload(offer: FileOffer) -> dict[str, Any]:
    """The offer as it is signed."""
    return {"name": offer.name, "size": offer.size, "root": offer.root}


def read_offer(payload: Any) -> FileOffer:
    """The offer in a payload. Raises `msgspec.ValidationError`."""
    return msgspec.convert(payload, FileOffer, builtin_types=(bytes,))
