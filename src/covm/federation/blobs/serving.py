"""A peer's stream to us: it asks for chunks, one after the other is read and sent.

The next chunk is read while the last one travels; a peer that does not read gets no more, by the stream's credit.
"""

from __future__ import annotations

from typing import Final, Protocol

from covm.federation.answering import AnsweringStream, Language
from covm.federation.blobs.chunks import Place
from covm.federation.surroundings import Surroundings
from covm.federation.wire.blob_frames import (
    BlobHello,
    Chunk,
    NoChunk,
    Want,
    decode_blob_frame,
    encode_blob_frame,
)
from covm.federation.wire.system import PROTOCOL_VERSION

MAX_WANTS: Final = 64
"""Questions of one peer that wait: eight times what we ask for at once ourselves."""


class NotHeld(Exception):
    """This node does not have the content, or not yet."""


class Gone(Exception):
    """The content is no longer what it was; its text says why. Asking again is of no use."""


class Shelf(Protocol):
    """What this node has for others."""

    async def read(self, peer: str, root: bytes, place: Place) -> bytes:
        """A chunk for this peer, by the binary id of the content's root. Raises `NotHeld`, `Gone`."""


class Server(AnsweringStream[Want]):
    """Answers one stream that a peer opened."""

    def __init__(self, stream: int, peer: str, around: Surroundings, shelf: Shelf) -> None:
        super().__init__(stream, peer, around, _LANGUAGE, MAX_WANTS, "too_many_wants")
        self._shelf = shelf

    async def _hello(self) -> BlobHello:
        return BlobHello(PROTOCOL_VERSION)

    async def _answer(self, question: Want) -> Chunk | NoChunk:
        try:
            data = await self._shelf.read(self.peer, question.root.bytes, Place(*question.place))
        except NotHeld:
            return NoChunk(question.number, final=False, reason="it is not held here")
        except Gone as gone:
            return NoChunk(question.number, final=True, reason=str(gone))
        return Chunk(question.number, data)


_LANGUAGE: Final = Language(decode_blob_frame, encode_blob_frame, BlobHello, Want, (Chunk, NoChunk))
