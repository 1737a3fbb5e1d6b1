"""What gossip remembers over a restart: which messages came, and which numbers of our own were used."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pysqlite3
import pytest
from tests.unit.simulated_world import leaping

from covm.federation.clock import SystemClock
from covm.federation.counters import Counters
from covm.federation.errors import StoreUnavailable
from covm.federation.events import EventHub
from covm.federation.gossip import journal as journal_module
from covm.federation.gossip.journal import WindowJournal, packed, unpacked
from covm.federation.gossip.numbers import BLOCK, OwnNumbers
from covm.federation.gossip.replay import WINDOW, ReplayWindows, Seen
from covm.federation.ports import GOSSIP, Arrival
from covm.federation.store.inline import InlineStore
from covm.federation.supervisor import Supervisor
from covm.federation.wire.federation_id import open_federation
from covm.federation.wire.incarnation import Incarnation
from covm.federation.wire.message import MessageBody

LIFE, NEXT_LIFE = Incarnation(1, b"nonce-01"), Incarnation(2, b"nonce-02")
FEDERATION = open_federation("test")
TOPIC = FEDERATION.topic


class Disk:
    """What outlives a start; it can fail and be slow."""

    def __init__(self, *, is_durable: bool = True) -> None:
        self.is_durable = is_durable
        self.connection = pysqlite3.connect(":memory:", isolation_level=None)
        self.fails = False
        self.slow_s = 0.0

    def latency_s(self) -> float:
        return self.slow_s

    def before_commit(self) -> None:
        if self.fails:
            raise StoreUnavailable("the test's disk", "it is broken")

    def after_commit(self) -> None:
        pass

    @asynccontextmanager
    async def store(self) -> AsyncIterator[InlineStore]:
        store = InlineStore(connect=lambda: self.connection, is_durable=self.is_durable, faults=self)
        await store.open()
        yield store
        await store.close()


class Gossip:
    """The windows of one life of a node, with the messages that its handlers got."""

    def __init__(self, store: InlineStore, supervisor: Supervisor) -> None:
        self.store = store
        self.handled: list[tuple[str, int]] = []
        self.counters = Counters()
        self.windows = ReplayWindows()
        self.journal = WindowJournal(
            store=store,
            topic=TOPIC,
            windows=self.windows,
            inbound=self,
            supervisor=supervisor,
            counters=self.counters,
            hub=EventHub(),
            clock=SystemClock(),
        )

    def deliver(self, arrivals: Sequence[Arrival]) -> None:
        self.handled += [(arrival.body.author, arrival.body.seq) for arrival in arrivals]

    def receive(self, author: str, *numbers: int, life: Incarnation = LIFE) -> list[Seen]:
        """Judges messages and hands on what is new, as one batch."""
        seen = [self.windows.check(author, life, number) for number in numbers]
        fresh = [number for number, each in zip(numbers, seen, strict=True) if each is Seen.NEW]
        self.journal.add([message(author, number, life) for number in fresh])
        return seen


def message(author: str, number: int, life: Incarnation) -> Arrival:
    body = MessageBody(
        federation=FEDERATION.cid,
        type="a.note",
        author=author,
        incarnation=life,
        seq=number,
        mid=bytes(16),
        to=None,
        sent_at=0,
        expires_at=None,
        payload=None,
    )
    return Arrival(body, GOSSIP, 100)


@asynccontextmanager
async def started(disk: Disk) -> AsyncIterator[Gossip]:
    """One life of a node."""
    async with disk.store() as store:
        supervisor, ready = Supervisor(), asyncio.get_running_loop().create_future()
        main = asyncio.create_task(supervisor.run(ready))
        await ready
        gossip = Gossip(store, supervisor)
        await gossip.journal.start()
        yield gossip
        main.cancel()
        await asyncio.wait([main])
        assert supervisor.failures == 0


@leaping
async def test_yesterdays_message_has_no_second_effect_after_a_restart() -> None:
    disk = Disk()
    async with started(disk) as gossip:
        gossip.receive("ada", 1, 2, 7)
        await asyncio.sleep(1)
        assert gossip.handled == [("ada", 1), ("ada", 2), ("ada", 7)]
    async with started(disk) as gossip:
        assert gossip.receive("ada", 1, 2, 7) == [Seen.DUPLICATE] * 3
        assert gossip.receive("ada", 3) == [Seen.NEW], "what had not come yet still does"
        await asyncio.sleep(1)
        assert gossip.handled == [("ada", 3)]


@leaping
async def test_without_the_journal_it_would_be_handled_again() -> None:
    disk = Disk(is_durable=False)
    async with started(disk) as gossip:
        gossip.receive("ada", 1)
    async with started(disk) as gossip:
        gossip.receive("ada", 1)
        assert gossip.handled == [("ada", 1)]


@leaping
async def test_an_authors_earlier_life_stays_stale_after_a_restart() -> None:
    disk = Disk()
    async with started(disk) as gossip:
        gossip.receive("ada", 1, life=NEXT_LIFE)
        await asyncio.sleep(1)
    async with started(disk) as gossip:
        assert gossip.receive("ada", 5, life=LIFE) == [Seen.STALE]


@leaping
async def test_the_verdict_is_given_at_once_and_handlers_wait_for_the_disk() -> None:
    disk = Disk()
    disk.slow_s = 0.5
    async with started(disk) as gossip:
        assert gossip.receive("ada", 1) == [Seen.NEW]
        await asyncio.sleep(0.4)
        assert gossip.handled == []
        await asyncio.sleep(0.2)
        assert gossip.handled == [("ada", 1)]


@leaping
async def test_a_node_without_a_disk_waits_for_nothing_and_writes_nothing() -> None:
    async with started(Disk(is_durable=False)) as gossip:
        gossip.receive("ada", 1)
        assert gossip.handled == [("ada", 1)]
        assert gossip.store.stats()["jobs"] == 0


@leaping
async def test_what_comes_during_a_commit_shares_the_next_one() -> None:
    disk = Disk()
    disk.slow_s = 0.5
    async with started(disk) as gossip:
        for number in range(1, 101):
            gossip.receive("ada", number)
            await asyncio.sleep(0.001)
        await asyncio.sleep(2)
        assert len(gossip.handled) == 100
        assert gossip.store.stats()["jobs"] == 2


@leaping
async def test_while_the_store_fails_messages_wait_and_are_judged_all_the_same() -> None:
    disk = Disk()
    async with started(disk) as gossip:
        disk.fails = True
        assert gossip.receive("ada", 1) == [Seen.NEW]
        await asyncio.sleep(60)
        assert gossip.receive("ben", 1) == [Seen.NEW]
        assert gossip.handled == []
        disk.fails = False
        await asyncio.sleep(6)
        assert gossip.handled == [("ada", 1), ("ben", 1)]
    async with started(disk) as gossip:
        assert gossip.receive("ada", 1) == [Seen.DUPLICATE]


@leaping
async def test_what_waits_for_a_failing_store_is_bounded_and_one_author_cannot_fill_it() -> None:
    disk = Disk()
    async with started(disk) as gossip:
        disk.fails = True
        share = journal_module.MAX_WAITING // journal_module.AUTHORS_SHARE
        gossip.receive("spammer", *range(1, share + 501))
        gossip.receive("ada", 1)
        assert gossip.counters.dropped["store_too_slow"] == 500
        assert gossip.journal.waiting == share + 1
        disk.fails = False
        await asyncio.sleep(6)
        assert gossip.handled[-1] == ("ada", 1)


@leaping
async def test_authors_that_are_forgotten_leave_the_disk_too() -> None:
    disk = Disk()
    async with started(disk) as gossip:
        gossip.windows._max_authors = 2
        for author in ("ada", "ben", "cem"):
            gossip.receive(author, 1)
            await asyncio.sleep(1)
        rows = await gossip.store.read(lambda tx: tx.execute("SELECT author FROM covm_gossip_windows").all())
        assert sorted(author for (author,) in rows) == ["ben", "cem"]


@leaping
async def test_after_a_restart_the_longest_silent_author_is_still_the_first_to_go() -> None:
    disk = Disk()
    async with started(disk) as gossip:
        for author in ("zoe", "ada", "ben"):
            gossip.receive(author, 1)
            await asyncio.sleep(1)
    async with started(disk) as gossip:
        gossip.windows._max_authors = 3
        gossip.receive("cem", 1)
        assert gossip.receive("ada", 1) == [Seen.DUPLICATE]
        assert gossip.receive("zoe", 1) == [Seen.NEW]


def test_a_full_window_takes_a_few_bytes() -> None:
    full = (1 << WINDOW) - 1
    assert unpacked(packed(full)) == full
    assert len(packed(full)) < 40


# --- our own numbers


async def taken(numbers: OwnNumbers, count: int) -> list[int]:
    found = []
    for _ in range(count):
        await numbers.ready()
        found.append(numbers.following)
        numbers.take()
    return found


@leaping
async def test_no_number_of_our_own_is_used_twice_in_one_incarnation() -> None:
    disk = Disk()
    used: list[int] = []
    for _ in range(3):
        async with disk.store() as store:
            numbers = OwnNumbers(store, TOPIC)
            await numbers.begin(LIFE)
            used += await taken(numbers, 3)
    assert used == sorted(set(used))
    assert used[:4] == [1, 2, 3, BLOCK + 1]


@leaping
async def test_a_block_is_on_disk_before_the_first_of_it_is_used() -> None:
    disk = Disk()
    async with disk.store() as store:
        numbers = OwnNumbers(store, TOPIC)
        await numbers.begin(LIFE)
        await taken(numbers, BLOCK)
        disk.fails = True
        with pytest.raises(StoreUnavailable):
            await numbers.ready()
        disk.fails = False
        assert await taken(numbers, 1) == [BLOCK + 1]
        assert store.stats()["jobs"] >= 2


@leaping
async def test_a_new_incarnation_begins_at_one() -> None:
    disk = Disk()
    async with disk.store() as store:
        numbers = OwnNumbers(store, TOPIC)
        await numbers.begin(LIFE)
        await taken(numbers, 5)
        await numbers.begin(NEXT_LIFE)
        assert await taken(numbers, 2) == [1, 2]


@leaping
async def test_many_who_publish_at_once_share_one_reservation() -> None:
    disk = Disk()
    disk.slow_s = 0.1
    async with disk.store() as store:
        numbers = OwnNumbers(store, TOPIC)
        await numbers.begin(LIFE)
        found = await asyncio.gather(*(taken(numbers, 1) for _ in range(50)))
        assert sorted(number for (number,) in found) == list(range(1, 51))
        assert store.stats()["jobs"] == 1
