"""PostgreSQL goes away and comes back: nothing is lost, nothing is written twice, nobody is told what is not known."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.postgresql import Server
from tests.store.conftest import fresh_url
from tests.store.cut_off import Cable, Cut
from tests.store.places import make_notes, note, numbers
from tests.store.test_trouble import Told

from covm.federation import FederationConfig, FederationService, Identity, node
from covm.federation.dispatch.transaction import Tx
from covm.federation.errors import HomeInUse, NotStarted, StoreCorrupt, StoreError, StoreFull, StoreUnavailable
from covm.federation.store import make_store, postgresql
from covm.federation.store.interface import Store, Transaction
from covm.testing import until


@pytest.fixture
def cable(server: Server) -> Iterator[Cable]:
    made = Cable(server.port)
    yield made
    made.close()


@pytest.fixture
def url(server: Server) -> str:
    return fresh_url(server)


@pytest.fixture
async def store(server: Server, cable: Cable, url: str, tmp_path: Path) -> AsyncIterator[Store]:
    """A store whose connections go over the cable."""
    made = make_store(tmp_path, url.replace(f":{server.port}/", f":{cable.port}/"))
    await made.open()
    await made.write(make_notes)
    yield made
    await made.close()


@pytest.mark.parametrize("cut", ["before commit", "after commit"])
async def test_a_commit_without_an_answer_takes_effect_once(store: Store, cable: Cable, cut: Cut) -> None:
    runs: list[int] = []

    def job(tx: Transaction) -> int:
        runs.append(1)
        tx.execute("INSERT INTO note (id, text) SELECT count(*), 'x' FROM note")
        return len(runs)

    cable.cut = cut
    assert await store.write(job) == len(runs)
    assert cable.cuts == 1
    assert len(runs) == {"before commit": 2, "after commit": 1}[cut]
    assert await store.read(numbers) == [0]
    await store.write(note(7))
    assert await store.read(numbers) == [0, 7]
    assert store.health().state == "ok"


async def test_a_connection_that_was_lost_between_writes_is_made_again(store: Store, cable: Cable) -> None:
    await store.write(note(1))
    cable.unplug()
    cable.plug()
    assert await store.read(numbers) == [1]
    await store.write(note(2))
    assert await store.read(numbers) == [1, 2]


async def test_a_restart_of_the_server_is_waited_for(
    store: Store, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("covm.federation.store.postgresql_engine.PATIENCE_S", 100.0)
    await asyncio.gather(*(store.write(note(number)) for number in range(50)))
    await asyncio.to_thread(server.stop, "immediate")
    writing = asyncio.gather(*(store.write(note(number)) for number in range(50, 100)))
    reading = asyncio.create_task(store.read(numbers))
    await asyncio.to_thread(server.start)
    await writing
    assert (await reading)[:50] == list(range(50))
    assert await store.read(numbers) == list(range(100))


async def test_a_server_that_stays_away_is_told_and_found_again_without_being_asked(
    store: Store, cable: Cable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("covm.federation.store.postgresql_engine.PATIENCE_S", 0.3)
    told = Told(store)
    cable.unplug()
    with pytest.raises(StoreUnavailable, match="goes on by itself"):
        await store.write(note(1))
    assert told.states == ["failing"]
    cable.plug()
    await told.until("ok")
    await store.write(note(2))
    assert await store.read(numbers) == [2]


async def test_a_commit_in_doubt_is_answered_only_when_it_is_known(
    store: Store, cable: Cable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "PATIENCE_S", 0.3)
    told = Told(store)

    def job(tx: Transaction) -> None:
        note(1)(tx)
        cable.is_plugged = False

    cable.cut = "after commit"
    writing = asyncio.create_task(store.write(job))
    await told.until("failing")
    assert not writing.done()
    cable.plug()
    await writing
    # It was asked for again and again, and not as fast as it could be.
    assert told.states[:2] == ["failing", "ok"]
    assert await store.read(numbers) == [1]


async def test_a_store_that_another_node_wrote_to_meanwhile_is_not_written_by_this_one(
    store: Store, cable: Cable, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("covm.federation.store.postgresql_engine.PATIENCE_S", 0.3)
    await store.write(note(1))
    cable.unplug()
    with pytest.raises(StoreError):
        await store.write(note(2))
    other = make_store(None, url)
    await other.open()
    await other.write(note(3))
    await other.close()
    cable.plug()
    with pytest.raises(HomeInUse):
        await store.write(note(4))
    assert await store.read(numbers) == [1, 3]


async def test_a_store_that_is_closed_is_free_at_once_though_its_server_has_not_noticed(
    server: Server, cable: Cable, url: str, tmp_path: Path
) -> None:
    cable.holds_ends = True
    first = make_store(tmp_path, url.replace(f":{server.port}/", f":{cable.port}/"))
    await first.open()
    await first.write(make_notes)
    await first.close()
    second = make_store(tmp_path, url)
    await second.open()
    assert await second.read(numbers) == []
    await second.close()


async def test_closing_does_not_wait_for_ever_for_a_server_that_fell_silent(
    server: Server, cable: Cable, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "PARTING_WAIT_S", 0.01)
    store = make_store(tmp_path, url.replace(f":{server.port}/", f":{cable.port}/"))
    await store.open()
    cable.is_silent = True
    await store.close()


async def test_closing_does_not_wait_for_a_server_that_is_away(store: Store, cable: Cable) -> None:
    cable.unplug()
    writing = asyncio.create_task(store.write(note(1)))
    await asyncio.sleep(0)
    await store.close()
    with pytest.raises(StoreUnavailable):
        await writing


@pytest.mark.parametrize("state", ["away", "starting up"])
async def test_a_server_that_comes_up_later_is_waited_for_at_the_start(
    state: str, server: Server, url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a reboot the order of the services does not decide."""
    monkeypatch.setattr("covm.federation.store.postgresql_engine.PATIENCE_S", 100.0)
    await asyncio.to_thread(server.stop)
    if state == "starting up":
        await asyncio.to_thread(server.start_without_end)
    store = make_store(None, url)
    opening = asyncio.create_task(store.open())
    await until(lambda: "is waited for" in caplog.text or opening.done())
    assert not opening.done()
    if state == "starting up":
        await asyncio.to_thread(server.stop)
    await asyncio.to_thread(server.start)
    await opening
    await store.write(make_notes)
    assert await store.read(numbers) == []
    await store.close()


@pytest.mark.parametrize(("right", "wrong"), [("/postgres?", "/no_such_database?"), ("covm@", "nobody_we_know@")])
async def test_what_waiting_does_not_mend_is_told_at_once_at_the_start(
    right: str, wrong: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("covm.federation.store.postgresql_engine.PATIENCE_S", 100.0)
    async with asyncio.timeout(50):
        with pytest.raises(StoreUnavailable, match=f"{wrong[1:-1]}.*is started again"):
            await make_store(None, url.replace(right, wrong)).open()


async def test_a_start_whose_server_stays_away_ends_and_says_what_to_do(
    server: Server, url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("covm.federation.store.postgresql_engine.PATIENCE_S", 0.5)
    with pytest.raises(StoreUnavailable, match="one that could not start is started again"):
        await make_store(None, url.replace(str(server.port), "1")).open()
    assert caplog.text.count("is waited for") == 1


async def test_a_start_that_waits_for_its_server_can_be_stopped(
    server: Server, url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("covm.federation.store.postgresql_engine.PATIENCE_S", 100.0)
    place = url.replace(str(server.port), "1")
    config = FederationConfig.preset(
        "local", membership="open", home=str(tmp_path), store_url=place, listen_addresses=[]
    )
    service = FederationService(Identity.generate(), config)
    starting = asyncio.create_task(service.start())
    await until(lambda: "is waited for" in caplog.text or starting.done())
    async with asyncio.timeout(50):
        await service.stop()
        with pytest.raises(NotStarted):
            await starting


async def test_a_password_is_not_shown(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("covm.federation.store.postgresql_engine.PATIENCE_S", 0.0)
    url = server.url.replace("covm@", "covm:secret-word@").replace(str(server.port), "1")
    with pytest.raises(StoreUnavailable) as raised:
        await make_store(None, url).open()
    assert "secret-word" not in str(raised.value)


async def test_an_address_that_is_none_is_explained() -> None:
    for url in ("nonsense", "mysql://host/db", "sqlite:///x"):
        with pytest.raises(StoreError, match="looks like postgresql://"):
            make_store(None, url)


@pytest.mark.parametrize(("code", "error"), [("53100", StoreFull), ("58030", StoreUnavailable)])
async def test_a_server_in_trouble_is_told(store: Store, code: str, error: type[StoreError]) -> None:
    told = Told(store)
    with pytest.raises(error, match="in trouble"):
        await store.write(lambda tx: tx.execute(in_trouble(code)))
    await told.until("ok")
    await store.write(note(1))


async def test_damage_stays_told_although_the_next_write_is_good(store: Store) -> None:
    told = Told(store)
    with pytest.raises(StoreCorrupt, match="in trouble"):
        await store.write(lambda tx: tx.execute(in_trouble("XX001")))
    await told.until("failing")
    await store.write(note(1))
    assert store.health().state == "failing"


def in_trouble(code: str) -> str:
    """A statement that fails as a server does that has this trouble."""
    return f"DO $$ BEGIN RAISE EXCEPTION 'in trouble' USING ERRCODE = '{code}'; END $$"


async def test_a_node_stops_although_its_database_went_away_at_a_commit(
    server: Server, cable: Cable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "PATIENCE_S", 0.3)
    monkeypatch.setattr(node, "CLOSING_S", 0.5)
    url = fresh_url(server).replace(f":{server.port}/", f":{cable.port}/")
    config = FederationConfig.preset("local", membership="open", home=str(tmp_path), store_url=url, listen_addresses=[])
    service = FederationService(Identity.generate(), config)
    await service.start()
    await service.transaction(lambda tx: tx.execute("CREATE TABLE loaf (id BIGINT)"))

    def bake(tx: Tx) -> None:
        tx.execute("INSERT INTO loaf VALUES (1)")
        cable.is_plugged = False

    cable.cut = "after commit"
    baking = asyncio.create_task(service.transaction(bake))
    await until(lambda: service.status()["store"]["state"] != "ok")
    async with asyncio.timeout(30):
        await service.stop()
    with pytest.raises(StoreUnavailable, match="whether it took effect is not known"):
        await baking
