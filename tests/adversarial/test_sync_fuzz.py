"""A hundred thousand frames of the sync stream, whole and broken: nothing crashes, nothing grows, nothing is believed.

Cheap mutations of what honest nodes say, from one seed: the decoder, both halves of the stream, and whole sessions.
THREATS.md, rows *sync*.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from types import SimpleNamespace
from typing import Any

import pytest
from tests.unit.records_world import TYPE, Author, Shelf

from covm import _native
from covm.federation.errors import SyncInterrupted
from covm.federation.sync.asking import Asker
from covm.federation.sync.leases import Leases
from covm.federation.sync.library import answered
from covm.federation.sync.serving import MAX_QUESTIONS, Server
from covm.federation.sync.session import Means, Session
from covm.federation.wire.frames import Unknown
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.record import SignedRecord
from covm.federation.wire.sync_frames import (
    Carried,
    Found,
    Inner,
    KnownSyncFrame,
    NoSync,
    Probe,
    SyncHello,
    SyncNews,
    SyncRequest,
    SyncResponse,
    Tip,
    Told,
    Wanted,
    decode_sync_frame,
    encode_sync_frame,
)

DECODED, SAID, SESSIONS = 78_000, 20_000, 2_000

ODD: tuple[Any, ...] = (
    None,
    True,
    0,
    2**63,
    "",
    "x" * 300,
    b"",
    b"\0" * 70,
    [],
    {},
    [[]],
    _native.cid(b"odd"),
)


def written() -> tuple[list[SignedRecord], dict[_native.Link, bytes | None]]:
    """Two logs, one of them forked; and the bodies."""
    ash, birch = Author("ash"), Author("birch")
    records = [ash.write("oven", 0)]
    records += [ash.write("oven", number, after=records[0]) for number in (1, 2)]
    records += [birch.write("mill", 0)]
    records += [birch.write("mill", number, after=records[-1]) for number in (1,)]
    return records, {**ash.bodies, **birch.bodies}


RECORDS, BODIES = written()
LOG = RECORDS[0].body.log


def frames() -> list[KnownSyncFrame]:
    """What honest nodes say."""
    carried = [Carried(each.envelope, BODIES[each.id] if number % 2 else None) for number, each in enumerate(RECORDS)]
    told = Told(LOG, (Tip(2, RECORDS[1].id), Tip(2, RECORDS[2].id)))
    return [
        SyncHello((1, 0), [(TYPE, b"r" * 32)]),
        SyncHello((1, 0)),
        SyncNews([(TYPE, b"n" * 32)], [TYPE]),
        SyncRequest(number=1, type=TYPE, probes=[Probe(b"", 0, b""), Probe(b"\1", 3, b"d" * 32)]),
        SyncRequest(number=2, type=TYPE, wants=[Wanted(LOG, [RECORDS[0].id], deep=False)]),
        SyncRequest(number=3, type=TYPE, wants=[Wanted(LOG, [], deep=True)]),
        SyncResponse(number=1, found=[Found(b"", [Inner(3, 5, b"d" * 32)], [told])]),
        SyncResponse(number=2, records=carried, more=True),
        SyncResponse(number=3, strange=[LOG]),
        NoSync(1, "not now"),
    ]


WHOLE = [encode_sync_frame(each) for each in frames()]


def mutated(chance: random.Random) -> bytes:
    """A frame, and one to four things done to it."""
    data = bytearray(chance.choice(WHOLE))
    if chance.random() < 0.3:
        return _oddly(chance, bytes(data))
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(5):
            case 0 if at < len(data):
                data[at] ^= 1 << chance.randrange(8)
            case 1:
                del data[at : at + chance.randint(1, 8)]
            case 2:
                data[at:at] = chance.randbytes(chance.randint(1, 4))
            case 3:
                other = chance.choice(WHOLE)
                data[at:] = other[chance.randrange(len(other)) :]
            case _ if at < len(data):
                data[at] = chance.choice((0x00, 0x18, 0x5F, 0x7F, 0x80, 0x9B, 0xA0, 0xBB, 0xD8, 0xF6, 0xFB, 0xFF))
    return bytes(data)


def _oddly(chance: random.Random, data: bytes) -> bytes:
    """Canonical, with another value in one place."""
    fields: Any = _native.decode(data)
    inside: Any = fields
    while True:
        at = chance.choice(list(inside) if isinstance(inside, dict) else range(len(inside)))
        if isinstance(inside[at], dict | list) and inside[at] and chance.random() < 0.8:
            inside = inside[at]
            continue
        inside[at] = chance.choice(ODD)
        return _native.encode(fields)


def test_the_decoder_takes_what_it_would_have_encoded_and_refuses_all_else() -> None:
    chance, taken = random.Random(1), 0
    for _ in range(DECODED):
        data = mutated(chance)
        try:
            frame = decode_sync_frame(data)
        except Malformed:
            continue
        taken += 1
        if not isinstance(frame, Unknown):
            assert decode_sync_frame(encode_sync_frame(frame)) == frame
    assert taken > DECODED // 100


class Line:
    """What surrounds one end of a stream; takes everything and charges what is to be charged."""

    def __init__(self) -> None:
        self.charged: list[str] = []
        self.sent: list[bytes] = []
        self.network = SimpleNamespace(try_send=self._try_send)
        self.presence = SimpleNamespace(heard=lambda _peer: None)

    def _try_send(self, _stream: int, frames: list[bytes]) -> bool:
        self.sent += frames
        return True

    def close_stream(self, _stream: int) -> None: ...

    def release(self, _stream: int, _size: int) -> None: ...

    def violation(self, _peer: str, reason: str) -> None:
        self.charged.append(reason)


class Books:
    """A library on a shelf."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    def roots(self, _peer: str, _types: Any = None, _turn: int = 0) -> Any:
        return [(TYPE, self._shelf.root())]

    async def owed(self) -> set[str]:
        return {TYPE}

    async def answer(self, _peer: str, request: SyncRequest) -> Any:
        return await answered(self._shelf.keeper, request)


def some_frames(chance: random.Random) -> list[bytes]:
    said = [mutated(chance) if chance.random() < 0.3 else chance.choice(WHOLE) for _ in range(8)]
    return [WHOLE[chance.randrange(2)], *said] if chance.random() < 0.8 else said


async def test_whoever_is_asked_answers_what_can_be_meant_and_charges_the_rest() -> None:
    chance, said = random.Random(2), 0
    shelf = await Shelf().open()
    await shelf.take(*RECORDS)
    while said < SAID // 2:
        line = Line()
        server = Server(1, "peer", line, Books(shelf))  # type: ignore[arg-type]
        task = server.task = asyncio.ensure_future(server.run())
        for data in some_frames(chance):
            said += 1
            server.on_frames([data])
            assert len(server._questions) <= MAX_QUESTIONS
            await asyncio.sleep(0)
        assert len(line.charged) <= said
        task.cancel()
        [ended] = await asyncio.gather(task, return_exceptions=True)
        assert isinstance(ended, asyncio.CancelledError), ended
        for answer in line.sent:
            decode_sync_frame(answer)
    assert len(await shelf.states()) == len(RECORDS)
    await shelf.store.close()


async def test_whoever_asks_believes_no_answer_that_it_did_not_ask_for() -> None:
    chance, said = random.Random(3), 0
    while said < SAID // 2:
        line = Line()
        asker = Asker("peer", line, lambda *_: None)  # type: ignore[arg-type]
        asker.stream = 1
        waiting: asyncio.Future[SyncResponse] | None = None
        for data in some_frames(chance):
            said += 1
            asker.on_frames([data])
            if waiting is None and asker._greeted.is_set():
                waiting = asyncio.ensure_future(asker.ask(SyncRequest(number=0, type=TYPE)))
                await asyncio.sleep(0)
            assert len(asker._asked) <= 1
        if waiting is not None:
            asker.on_closed("the end")
            [ended] = await asyncio.gather(waiting, return_exceptions=True)
            assert isinstance(ended, SyncResponse | SyncInterrupted), ended
        assert not asker._asked


class Liar:
    """Answers as an honest node would, and then spoils it."""

    peer = "liar"

    def __init__(self, chance: random.Random, shelf: Shelf) -> None:
        self._chance = chance
        self._shelf = shelf
        self.asked = 0

    def violation(self, _reason: str) -> None: ...

    async def ask(self, request: SyncRequest) -> SyncResponse:
        self.asked += 1
        honest = await answered(self._shelf.keeper, request)
        if self._chance.random() < 0.4 and isinstance(honest, SyncResponse):
            return honest
        try:
            frame = decode_sync_frame(_oddly(self._chance, encode_sync_frame(honest)))
        except Malformed:
            frame = decode_sync_frame(self._chance.choice(WHOLE[6:9]))
        if not isinstance(frame, SyncResponse):
            raise SyncInterrupted(TYPE, self.peer, "it says nothing")
        return frame


@pytest.mark.timeout(120)
async def test_a_session_with_whoever_spoils_its_answers_comes_to_an_end_and_keeps_only_what_is_sound() -> None:
    chance = random.Random(4)
    source = await Shelf().open()
    await source.take(*RECORDS)
    victim, leases = await Shelf().open(), Leases()
    for number in range(SESSIONS):
        if number % 100 == 0:
            await victim.store.close()
            victim, leases = await Shelf().open(), Leases()
        liar, may_read = Liar(chance, source), chance.random() < 0.5
        means = Means(victim.keeper, leases, victim.clock, lambda may_read=may_read: may_read, lambda *_: None)  # type: ignore[misc]
        with contextlib.suppress(SyncInterrupted):
            await Session(TYPE, liar, {}, means).run(only_small=chance.random() < 0.5)  # type: ignore[arg-type]
        assert liar.asked < 100
        assert not leases._held
        assert set(await victim.states()) <= {each.id for each in RECORDS}
    await victim.store.close()
    await source.store.close()
