"""Types without end: whoever writes or names them keeps no other type from anybody."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import msgspec
import pytest
from tests.adversarial.blob_peer import charges
from tests.adversarial.sync_peer import A_WHILE, NOTE, ROOT, Scribbler, SyncPeer, dropped, scene, still_syncs
from tests.adversarial.test_sync_sessions import hold
from tests.unit.members_world import in_time
from tests.unit.outbox_world import virtually
from tests.unit.test_sync_stories import all_have, eventually, met, notes, value_of

from covm.federation import message_type
from covm.federation.errors import InvalidMessage
from covm.federation.sync import fetching, logs, manager, partners, serving
from covm.federation.wire.limits import MAX_TYPES
from covm.federation.wire.record import SignedRecord
from covm.federation.wire.sync_frames import SyncHello, SyncNews
from covm.testing.world import World


@message_type("z.used")
class Used(msgspec.Struct, frozen=True):
    """Of a type that the application has registered."""

    text: str


def flood(count: int) -> list[SignedRecord]:
    """One record each of so many types, all before `notes.note` in the alphabet."""
    author = Scribbler("mallory")
    return [author.write("k", number, type=f"a.x{number}") for number in range(count)]


@pytest.fixture
def _small_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (serving, manager):
        monkeypatch.setattr(module, "MAX_TYPES", 8)


@pytest.mark.usefixtures("_small_frames")
@virtually
async def test_types_by_the_hundred_keep_nobody_from_any_other() -> None:
    async with World(names=["victim", "honest"]) as world:
        await met(world)
        victim, honest = world.machines
        await hold(victim, *flood(100))
        await notes(victim).put("after", 1)
        await eventually(lambda: all_have([honest], "after", 1))
        await in_time(lambda: len(honest.service._node.sync.keeper.logs.types()) == 101)
        await honest.stop()
        await notes(victim).put("while it was away", 2)
        await honest.start()
        await eventually(lambda: all_have([honest], "while it was away", 2))


@pytest.mark.usefixtures("_small_frames")
@virtually
async def test_who_comes_new_gets_all_types_though_it_knows_none_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partners, "MAX_TYPES", 8)
    async with World(names=["victim", "honest"]) as world:
        victim, honest = world.machines
        await victim.start()
        await hold(victim, *flood(100))
        await notes(victim).put("oven", 1)
        await honest.start()
        everything = timedelta(hours=2)
        await in_time(lambda: len(honest.service._node.sync.keeper.logs.types()) == 101, everything)
        assert await value_of(honest, "oven") == 1


@virtually
async def test_types_in_use_are_named_first_and_those_without_anything_valid_last() -> None:
    async with World(names=["victim"], types=[Used]) as world:
        [victim] = world.machines
        await victim.start()
        author, unseen = Scribbler("mallory"), Scribbler("unseen").write("k", 1)
        held = author.write("k", 1, type="a.held", on=[unseen])
        await hold(victim, held, author.write("k", 1, type="z.used"), author.write("k", 1, type="b.valid"))
        await world.sleep(A_WHILE)
        peer = await SyncPeer.join(world, victim)
        [hello] = peer.said_on(await peer.open(victim))
        assert isinstance(hello, SyncHello)
        assert [name for name, _ in hello.roots] == ["z.used", "b.valid", "a.held"]


@virtually
async def test_names_that_are_made_up_by_the_thousand_are_asked_for_a_few_at_a_time() -> None:
    async with World(names=["victim", "honest"]) as world:
        await met(world)
        victim, honest = world.machines
        peer = await SyncPeer.join(world, victim)
        for begin in range(0, 3000, 1000):
            peer.say(peer.theirs[0], SyncNews([(f"made.up{begin + n}", ROOT) for n in range(1000)]))
        await in_time(lambda: peer.asked)
        await still_syncs(world)
        shown = [each.type for each in await victim.service.replicas()]
        assert len(shown) == 1 + partners.MAX_STRANGE
        assert NOTE in shown
        assert victim.service.types_put_off() == {peer.peer: MAX_TYPES}
        assert honest.service.types_put_off() == {}


@virtually
async def test_who_writes_more_types_than_others_take_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MAX_TYPES_OF_AUTHOR", 3)
    async with World(names=["mill"]) as world:
        [mill] = world.machines
        await mill.start()
        for number in range(3):
            await notes(mill, f"notes.kind{number}").put("oven", number)
        with pytest.raises(InvalidMessage, match="has written 3 types"):
            await notes(mill, "notes.more").put("oven", 1)
        await notes(mill, "notes.kind0").put("oven", 2)


@pytest.mark.parametrize("name", ["not a type", "", "\x1b[31mred", "notes.note\u202e", "Notes.Note"])
@pytest.mark.parametrize("when", ["hello", "news"])
@virtually
async def test_names_that_no_type_can_have_are_charged_and_shown_to_nobody(name: str, when: str) -> None:
    async with scene() as world:
        victim, _ = world.machines
        charged = charges(victim.service)
        if when == "hello":
            peer = await SyncPeer.join(world, victim, roots=[(name, ROOT)])
        else:
            peer = await SyncPeer.join(world, victim)
            peer.say(peer.theirs[0], SyncNews([(NOTE, ROOT), (name, ROOT)]))
        await in_time(lambda: peer.is_closed(peer.theirs[0]))
        assert charged[peer.peer] >= 1
        assert dropped(victim, "sync_no_type_name") >= 1
        assert [each.type for each in await victim.service.replicas()] == [NOTE]
        for replica in await victim.service.replicas():
            assert victim.service.collection(replica.type).type == replica.type
            assert victim.service.sync_progress(replica.type).records >= 0


@virtually
async def test_who_asks_for_everything_waits_for_no_silent_peer_once_for_each_type_that_it_names() -> None:
    async with scene() as world:
        victim, _ = world.machines
        peer = await SyncPeer.join(world, victim)
        peer.say(peer.theirs[0], SyncNews([(NOTE, ROOT), *((f"made.up{n}", ROOT) for n in range(1000))]))
        await in_time(lambda: peer.asked)
        async with asyncio.timeout(2 * fetching.PATIENCE_S):
            await victim.service.request_sync_of_all()
        count = len(peer.asked)
        await world.sleep(timedelta(hours=1))
        assert len(peer.asked) - count < 500, "whoever does not answer is not asked all the time"
