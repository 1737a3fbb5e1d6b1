"""A member that lies to the others about who is a member: bounded in memory, in work and in what it is answered.

THREATS.md, rows *peers* and *sync* (amplification). The liar is a node that was let in, and then says what it likes.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from tests.adversarial.knocker import ledger_of
from tests.adversarial.test_membership_door import EVERYTHING, junk
from tests.unit.members_world import Valley, in_time, valley
from tests.unit.membership_world import Coop as Cooperative
from tests.unit.membership_world import key_of, salt
from tests.unit.outbox_world import virtually

from covm.federation.identity.credentials import Admission, open_credentials, seal_credential
from covm.federation.membership import exchange
from covm.federation.membership import ledger as ledger_rules
from covm.federation.membership.aside import item_id
from covm.federation.membership.members import Members
from covm.federation.wire.membership import MembersAsk, MembersGive, MembersHave, MembersKnown, MembersWant
from covm.federation.wire.system import Heartbeat

ENDLESS = 10**9


class Liar:
    """The shop, once it is let in. `told` counts what the mill says to it about the membership."""

    def __init__(self, v: Valley) -> None:
        self.v = v
        self.node = v["shop"].service._node
        self.key = self.node.identity.keypair
        self.told: Counter[str] = Counter()
        self.answers: Any = None
        """What it answers to questions of the mill, instead of the truth."""
        members = self.node.members
        assert members is not None
        received = members.received

        def note(peer: str, frame: Any) -> None:
            if peer == v["mill"].peer_id:
                self.told[type(frame).__name__] += 1
                if self.answers is not None and isinstance(frame, MembersAsk | MembersWant):
                    self.says_at_once(self.answers(frame))
                    return
            received(peer, frame)

        members.received = note  # type: ignore[method-assign]

    async def says(self, *frames: Any, pause_s: float = 0.05) -> None:
        """Says frames to the mill, a moment apart."""
        for frame in frames:
            self.says_at_once(frame)
            await self.v.world.sleep(timedelta(seconds=pause_s))

    def says_at_once(self, frame: Any) -> bool:
        return self.node.direct.send_control(self.v["mill"].peer_id, frame)

    @staticmethod
    def opened(envelopes: list[bytes]) -> list[Any]:
        return list(open_credentials(envelopes))

    def proposals(self, count: int) -> list[bytes]:
        """Admissions of people whom nobody knows."""
        return [
            seal_credential(
                self.key,
                Admission(
                    federation=self.v.charter.id,
                    author=self.key.peer_id,
                    salt=salt(f"proposal {number}"),
                    proposed_at=0,
                    member=Cooperative(f"Nobody {number}").member,
                    roles=("member",),
                    after=(),
                ),
            )
            for number in range(count)
        ]


async def let_in(v: Valley) -> Liar:
    await v.joined("shop", by="mill")
    await in_time(lambda: v.agree("mill", "farm", "shop"))
    return Liar(v)


async def all_is_well(v: Valley) -> None:
    """Somebody is let in, and everybody hears of it."""
    await v.joined("smith", by="mill")
    await in_time(lambda: v.is_in("smith", seen_by="farm") and v.is_in("smith", seen_by="mill"))
    assert v["mill"].service.stats()["faults"] == v["farm"].service.stats()["faults"] == 0


def dropped(v: Valley, reason: str) -> int:
    return int(v["mill"].service.stats()["dropped"].get(reason, 0))


def chunks(envelopes: list[bytes], size: int = 64) -> list[MembersGive]:
    return [MembersGive(credentials=envelopes[at : at + size]) for at in range(0, len(envelopes), size)]


@pytest.mark.parametrize("defended", [True, False])
@virtually
async def test_ten_thousand_items_of_junk_are_not_all_looked_at(
    defended: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not defended:
        monkeypatch.setattr(exchange, "MAX_NEWS_AT_ONCE", ENDLESS)
    looked_at = 0
    plain = Members.opened

    async def opened(members: Members, give: MembersGive) -> Any:
        nonlocal looked_at
        looked_at += give.count
        return await plain(members, give)

    async with valley(others=("shop", "smith")) as v:
        liar = await let_in(v)
        envelopes = junk(v, 100, key_of("nobody at all"))
        monkeypatch.setattr(Members, "opened", opened)
        await liar.says(*chunks(envelopes * 100, 50), pause_s=0.001)
        assert (looked_at <= 1024 + 64 + 64) is defended
        assert len(ledger_of(v)._aside) <= 100
        assert bool(dropped(v, "membership_news_too_much")) is defended
        await all_is_well(v)


@virtually
async def test_more_than_news_holds_is_dropped_unseen_and_what_does_not_verify_is_charged() -> None:
    async with valley(others=("shop", "smith")) as v:
        liar = await let_in(v)
        await liar.says(MembersGive(credentials=[b"junk"] * 65), MembersGive(credentials=[b"junk"]))
        await liar.says(MembersKnown(), MembersHave(ids=[bytes(32)], more=True))
        assert dropped(v, "membership_news_too_large") == 1
        assert dropped(v, "bad_membership_item") == 1
        assert dropped(v, "join_frame_of_a_member") == 1
        assert dropped(v, "membership_ids_unasked") == 1
        await all_is_well(v)


@pytest.mark.parametrize("defended", [True, False])
@virtually
async def test_junk_that_was_asked_for_ends_the_exchange(defended: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "MAX_NOWHERE", 600 if defended else ENDLESS)
    async with valley(others=("shop", "smith")) as v:
        liar = await let_in(v)
        by_id = {item_id(each): each.envelope for each in liar.opened(junk(v, 3000, key_of("nobody at all")))}
        liar.answers = lambda frame: (
            MembersHave(ids=sorted(by_id))
            if isinstance(frame, MembersAsk)
            else MembersGive(credentials=[by_id[each] for each in frame.ids])
        )
        await liar.says(Heartbeat(sequence=1, sent_at=0, membership=bytes(32)), pause_s=5)
        assert (len(ledger_of(v)._aside) <= 600 + 512) is defended
        liar.answers = None
        await all_is_well(v)


@pytest.mark.parametrize("defended", [True, False])
@virtually
async def test_proposals_without_end_leave_a_bounded_number_the_same_everywhere(
    defended: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_rules, "MAX_PROPOSALS", 20 if defended else ENDLESS)
    async with valley(others=("shop", "smith")) as v:
        liar = await let_in(v)
        envelopes = liar.proposals(300)
        await liar.says(*chunks(envelopes, 30))
        await in_time(lambda: v.agree("mill", "farm"))
        open_ones = v.desk("farm").requests()
        assert len(open_ones) == (20 if defended else 300)
        ids = sorted(each.id.bytes for each in open_credentials(envelopes))  # type: ignore[union-attr]
        lowest = set(ids[:20])
        if defended:
            assert {each.id.bytes for each in ledger_of(v, "farm").credentials.values()} >= lowest
        await all_is_well(v)
        await in_time(lambda: v.agree("mill", "farm"))


@pytest.mark.parametrize("defended", [True, False])
@virtually
async def test_a_digest_that_changes_with_every_heartbeat_makes_nobody_ask_for_ever(
    defended: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not defended:
        monkeypatch.setattr(exchange, "MAX_PAUSE_S", 0.0)
    async with valley(others=("shop", "smith")) as v:
        liar = await let_in(v)
        liar.told.clear()
        beats = [
            Heartbeat(sequence=n, sent_at=0, load=0, membership=hashlib.sha256(b"%d" % n).digest()) for n in range(3000)
        ]
        await liar.says(*beats, pause_s=0.2)
        assert (liar.told["MembersAsk"] <= 30) is defended
        await all_is_well(v)


@pytest.mark.parametrize("defended", [True, False])
@virtually
async def test_who_asks_for_everything_for_ever_is_answered_its_share(
    defended: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "MAX_ANSWERED_BYTES", 50_000 if defended else ENDLESS)
    monkeypatch.setattr(exchange, "ANSWERED_PER_S", 1_000.0)
    async with valley(others=("shop", "smith")) as v:
        liar = await let_in(v)
        await v.world.sleep(timedelta(minutes=1))
        liar.told.clear()
        everything = MembersWant(ids=sorted(ledger_of(v)._items))
        await liar.says(*[EVERYTHING, everything] * 200, pause_s=0.01)
        answers = liar.told["MembersHave"] + liar.told["MembersGive"]
        assert (answers <= 15) is defended
        assert bool(dropped(v, "membership_asked_too_much")) is defended
        await v.world.sleep(timedelta(minutes=1))
        await all_is_well(v)


@pytest.mark.parametrize("defended", [True, False])
@virtually
async def test_whoever_floods_keeps_nobody_else_waiting(defended: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not defended:
        monkeypatch.setattr(exchange, "MAX_QUEUED_OF_ONE", ENDLESS)
    async with valley(others=("shop", "smith")) as v:
        liar = await let_in(v)
        mill = v["mill"].service._node.members
        assert mill is not None
        # Within one turn of the mill's loop, as a busy moment is.
        for _ in range(5_000):
            mill.received(liar.key.peer_id, MembersKnown())
        mill.received(v["farm"].peer_id, MembersKnown())
        waiting = [peer for peer, _ in mill.exchange._queue._queue]  # type: ignore[attr-defined]
        assert (v["farm"].peer_id in waiting) is defended
        await v.world.sleep(timedelta(seconds=1))
        await all_is_well(v)


@virtually
async def test_what_is_remembered_of_peers_is_let_go_with_them(monkeypatch: pytest.MonkeyPatch) -> None:
    async with valley(others=("shop", "smith")) as v:
        await let_in(v)
        mill = v["mill"].service._node.members
        assert mill is not None
        for number in range(3_000):
            mill.exchange.wanted(f"peer {number}")
        assert len(mill.exchange._wanted_s) <= exchange.MAX_REMEMBERED + 1
        assert len(mill.exchange._askers) <= exchange.MAX_REMEMBERED + 1
