"""A member goes on from other machines and under other names, and the others follow, told on made-up time."""

from __future__ import annotations

from functools import partial

import pytest
from tests.unit.members_world import (
    head_of,
    headed,
    in_time,
    new_node,
    sees,
    signed,
    valley,
)
from tests.unit.outbox_world import virtually

from covm.federation.identity.drafts import draft_add_node, draft_remove_node, draft_rename
from covm.federation.identity.update import SignedUpdate, open_updates
from covm.federation.membership import tables

NOTE = "notes.note"


@pytest.mark.parametrize("renamed", [0, 100])
@virtually
async def test_a_members_new_machine_gets_in_though_its_old_one_is_lost_and_nobody_has_heard_of_it(
    renamed: int,
) -> None:
    async with valley(others=("shop", "attic")) as v:
        await v.joined("shop", by="farm")
        await in_time(lambda: v.is_in("shop", seen_by="mill"))
        mill, log = v.coops["mill"], list[SignedUpdate]()
        for number in range(renamed):
            log.append(signed(mill, draft_rename(headed(mill, log), f"Mill {number}")))
        await v.desk("mill").take_entries([each.envelope for each in log])
        await in_time(lambda: v.agree("mill", "farm", "shop"))
        await v["mill"].stop()
        # What the new machine has: the charter, and the log that the keys, which were elsewhere, have gone on with.
        log.append(signed(mill, draft_add_node(headed(mill, log), new_node(mill, v.coops["attic"].node))))
        log.append(signed(mill, draft_remove_node(headed(mill, log), v["mill"].peer_id, ())))
        entries = [mill.inception, *log]
        await v.write("attic", partial(tables.save_founded, charter=v.charter, entries=entries, own=mill.member))
        await v["attic"].start()
        await in_time(lambda: sees(v["farm"], v["attic"]) and sees(v["shop"], v["attic"]))
        assert v.agree("farm", "shop", "attic")
        receipt = await v["attic"].service.send_direct(v["shop"].peer_id, NOTE, "back again")
        await receipt.stored()


@virtually
async def test_a_member_that_waits_to_be_let_in_can_change_its_keys_twice() -> None:
    async with valley(k=2) as v:
        await v.invited("shop", await v.desk("mill").invite(v["mill"].service.addresses))
        await in_time(lambda: len(v.desk("farm").requests()) == 1)
        coop, state = v.coops["shop"], head_of(v.coops["shop"])
        for name in ("Corner Shop", "Village Shop"):
            renamed = signed(coop, draft_rename(state, name))
            await v.desk("shop").take_entries([renamed.envelope])
            state = headed(coop, open_updates(v.desk("shop").own_entries()))
            assert state.name == name
        await v.desk("farm").approve("Shop")
        await in_time(lambda: v.is_in("shop", seen_by="mill") and v.desk("mill").show("Village Shop").is_member)
