"""A disk changes a message after it was stored: no handler sees it, and its sender learns of it."""

from __future__ import annotations

import pytest
from tests.unit.outbox_world import LONG, NOTE, in_time, post, virtually

from covm.federation.dispatch.inbox_journal import DAMAGED
from covm.federation.errors import MessageQuarantined, StoreCorrupt


@virtually
async def test_what_the_disk_changed_goes_into_quarantine_and_blocks_nothing() -> None:
    async with post() as p:
        await p.ben.stop()
        p.handles = False
        await p.ben.start()
        await p.connected()
        receipts = await p.send(1, 2, 3, 4)
        for receipt in receipts:
            await receipt.stored(LONG)
        p.ben.crash()
        [(sound,)] = p.ben.disk.query("SELECT body FROM covm_inbox WHERE seq = 2")
        assert b"\x02" in sound
        # Another message that is sound in itself, and one that is none.
        p.ben.disk.query("UPDATE covm_inbox SET body = ? WHERE seq = 2", (sound.replace(b"\x02", b"\x07"),))
        p.ben.disk.query("UPDATE covm_inbox SET body = ? WHERE seq = 3", (sound[:-1],))
        p.handles = True
        await p.ben.start()
        await in_time(lambda: p.received == [1, 4])
        for damaged in receipts[1:3]:
            with pytest.raises(MessageQuarantined, match="its disk damaged the message"):
                await damaged.handled(LONG)

        inbox = p.ben.service.inbox
        listed = await inbox.listed(state="quarantined")
        assert [(entry.type, entry.reason) for entry in listed] == [(NOTE, DAMAGED)] * 2
        with pytest.raises(StoreCorrupt, match=f"message {listed[0].id} is not any more what was stored"):
            await inbox.payload(listed[0].id)
        # Another try finds it as it is; and what comes after it is handled.
        await inbox.retry(listed[0].id)
        await p.send(5)
        await in_time(lambda: p.received == [1, 4, 5])
        assert [entry.id for entry in await inbox.listed(state="quarantined")] == [listed[0].id, listed[1].id]
