"""What only some may read is published to each of them in person, also where one of them cannot get it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.unit.members_world import Valley, in_time, sees, valley
from tests.unit.outbox_world import virtually

from covm.federation.dispatch.resuming import Resuming
from covm.federation.errors import MessageRefused, MessageTooLarge, NotAMember, OutboxFull
from covm.federation.identity.roles import Role

ENTRY = "accounts.entry"
ROLES = {
    "member": Role(publish=("*",), send=("*",), read=("*",), write=("*",)),
    "observer": Role(read=("notes.*",)),
}


def readers(v: Valley, *names: str) -> dict[str, list[Any]]:
    """What each of these gets."""
    got: dict[str, list[Any]] = {name: [] for name in names}
    for name, seen in got.items():
        v[name].service.subscribe(ENTRY, lambda message, seen=seen: seen.append(message.payload))
    return got


@virtually
async def test_a_reader_that_is_banned_here_is_left_out_and_the_others_get_it() -> None:
    async with valley(("mill", "farm", "bank"), roles=ROLES) as v:
        got = readers(v, "mill", "farm", "bank")
        await v["mill"].service.ban_peer(v["farm"].peer_id)
        published = await v["mill"].service.publish(ENTRY, 1)
        assert published.peers == 1
        await in_time(lambda: got["bank"] == got["mill"] == [1])
        await v["mill"].service.unban_peer(v["farm"].peer_id)
        await v["mill"].service.publish(ENTRY, 2)
        await in_time(lambda: got == {"mill": [1, 2], "bank": [1, 2], "farm": [2]})


@virtually
async def test_a_reader_whose_outbox_is_full_keeps_it_from_nobody_else_and_it_is_counted() -> None:
    async with valley(("mill", "farm", "bank"), roles=ROLES, settings={"outbox_max_messages": 2}) as v:
        got = readers(v, "farm", "bank")
        await v["farm"].stop()
        went_to = []
        for number in range(3):
            went_to.append((await v["mill"].service.publish(ENTRY, number)).peers)
            await in_time(lambda number=number: got["bank"] == list(range(number + 1)))  # type: ignore[misc]
        assert went_to == [2, 2, 1]
        assert v["mill"].service.stats()["dropped"]["outbox_full"] == 1
        await v["farm"].start()
        again = readers(v, "farm")
        await in_time(lambda: again["farm"] == [0, 1])


@virtually
async def test_what_no_reader_has_room_for_is_refused() -> None:
    async with valley(roles=ROLES, settings={"outbox_max_messages": 1}) as v:
        got = readers(v, "mill")
        await v["farm"].stop()
        await v["mill"].service.publish(ENTRY, 1)
        with pytest.raises(OutboxFull):
            await v["mill"].service.publish(ENTRY, 2)
        await v.world.sleep(timedelta(seconds=1))
        assert got["mill"] == [1], "what was refused is not handed over here either"


@virtually
async def test_what_is_larger_than_a_message_may_be_is_refused_in_person_too() -> None:
    async with valley(roles=ROLES, settings={"max_message_size": 100_000}) as v:
        with pytest.raises(MessageTooLarge):
            await v["mill"].service.publish(ENTRY, "x" * 120_000)


@virtually
async def test_a_file_is_sent_to_members_only_and_to_a_member_by_its_id(tmp_path: Path) -> None:
    file = tmp_path / "accounts.csv"
    file.write_text("1;2")
    async with valley(others=("shop", "smith"), roles=ROLES) as v:
        mill = v["mill"].service
        await v.joined("shop", by="mill", roles=["observer"])
        await in_time(lambda: sees(v["farm"], v["mill"]))
        sent = await mill.send_file(str(v.coops["farm"].member), file)
        assert sent.peer == v["farm"].peer_id
        await (await mill.receipt(sent.id)).stored(timedelta(minutes=1))
        with pytest.raises(NotAMember, match="takes no part"):
            await mill.send_file(v["smith"].peer_id, file)
        await v.desk("mill").remove("Shop", "has closed")
        await in_time(lambda: bool(v.desk("farm").requests()))
        await v.desk("farm").approve("Shop")
        await in_time(lambda: not v.is_in("shop"))
        with pytest.raises(NotAMember, match="this node takes no part"):
            await v["shop"].service.send_file(v["mill"].peer_id, file)


@pytest.mark.parametrize("defended", [True, False])
@virtually
async def test_what_waits_for_a_member_is_not_sent_when_it_may_not_read_it_any_more(
    defended: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not defended:

        async def as_it_is(_self: Resuming, rows: Any) -> Any:
            return rows

        monkeypatch.setattr(Resuming, "_readable", as_it_is)
    async with valley(("mill",), ("shop",), roles=ROLES) as v:
        mill = v["mill"].service
        await v.joined("shop", by="mill", roles=["member"])
        await v["shop"].stop()
        assert (await mill.publish(ENTRY, "the accounts")).peers == 1
        direct = await mill.send_direct(v["shop"].peer_id, ENTRY, "directly")
        later = await mill.send_direct(v["shop"].peer_id, "notes.note", "for everyone")
        await v.desk("mill").remove("Shop", "keeps no books any more")
        link = await v.desk("mill").invite(mill.addresses, roles=["observer"])
        await v.invited("shop", link)
        got: list[Any] = []
        for name in (ENTRY, "notes.note"):
            v["shop"].service.subscribe(name, lambda message: got.append(message.payload))
        await later.handled(timedelta(minutes=1))
        assert got == (["for everyone"] if defended else ["the accounts", "directly", "for everyone"])
        if defended:
            with pytest.raises(MessageRefused, match="it may not be sent there any more"):
                await direct.handled(timedelta(minutes=1))
