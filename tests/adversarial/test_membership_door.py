"""A stranger at the door of a federation with members: shown nothing, bounded in all it says, and nobody waits for it.

THREATS.md, rows *peers*: a non-member connects.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from tests.adversarial.knocker import Knocker, ledger_of, pieces
from tests.unit.members_world import Coop, Valley, in_time, sees, valley
from tests.unit.membership_world import salt
from tests.unit.outbox_world import virtually

from covm.federation.identity.credentials import Admission, seal_credential
from covm.federation.membership import aside, hearing
from covm.federation.membership.hearing import Hearings
from covm.federation.membership.invites import decode_invite
from covm.federation.wire.frames import encode_frame
from covm.federation.wire.membership import (
    BUCKET_SIZE,
    BUCKETS,
    JoinRequest,
    MembersAsk,
    MembersGive,
    MembersHave,
    MembersKnown,
    MembersWant,
)

EVERYTHING = MembersAsk(buckets=bytes(BUCKETS * BUCKET_SIZE), charter=True)


def ids(count: int, start: int = 0) -> list[bytes]:
    return sorted(hashlib.sha256(b"%d" % number).digest() for number in range(start, start + count))


def junk(v: Valley, count: int, key: Any, start: int = 0) -> list[bytes]:
    """Credentials that verify, by nobody."""
    member = v.coops["mill"].member
    return [
        seal_credential(
            key,
            Admission(
                federation=v.charter.id,
                author=key.peer_id,
                salt=salt(f"junk {number}"),
                proposed_at=0,
                member=member,
                roles=("member",),
                after=(),
            ),
        )
        for number in range(start, start + count)
    ]


def hearings(v: Valley, name: str = "mill") -> Hearings:
    found = v[name].service._node.hearings
    assert found is not None
    return found


@virtually
async def test_a_stranger_that_asks_for_everything_is_shown_nothing() -> None:
    async with valley() as v:
        stranger = Knocker(v)
        await stranger.knock(v["mill"])
        stranger.say(EVERYTHING, MembersWant(ids=sorted(ledger_of(v)._items)))
        await in_time(lambda: len(stranger.told) >= 3)
        answers = [frame for frame in stranger.told if not isinstance(frame, MembersAsk)]
        assert answers == [MembersHave(), MembersGive()]
        await in_time(lambda: stranger.is_out)


@virtually
async def test_a_stranger_that_never_answers_is_gone_in_half_a_minute_and_forgotten() -> None:
    async with valley() as v:
        stranger = Knocker(v)
        await stranger.knock(v["mill"])
        await v.world.sleep(timedelta(seconds=31))
        assert stranger.is_out
        assert hearings(v)._of == {}


SAYS: dict[str, Sequence[Any]] = {
    "that it knows us, and is not known": [MembersKnown()],
    "items that nobody asked for": [MembersGive(entries=[b"junk"])],
    "items twice": [MembersHave(ids=ids(2)), MembersGive(), MembersGive(entries=[b"junk"])],
    "ids out of order": [MembersHave(ids=ids(9)[::-1])],
    "more, and nothing here": [MembersHave(more=True)],
    "an envelope that does not verify": [MembersHave(ids=ids(1)), MembersGive(credentials=[b"junk"])],
    "ids that nobody asked for": [MembersHave(ids=ids(2)), MembersHave(ids=ids(2))],
    "the charter, unasked": [MembersHave(charter=[b"junk"])],
}


@pytest.mark.parametrize("what", SAYS)
@virtually
async def test_a_stranger_that_says_what_makes_no_sense_is_turned_away_and_nothing_is_kept(what: str) -> None:
    async with valley() as v:
        before = v.digest("mill")
        stranger = Knocker(v)
        await stranger.knock(v["mill"])
        stranger.say(*SAYS[what])
        await v.world.sleep(timedelta(seconds=31))
        assert stranger.is_out
        assert not stranger.is_in
        assert v.digest("mill") == before
        assert len(ledger_of(v)._aside) == 0
        assert v["mill"].service.stats()["faults"] == 0
        assert sees(v["mill"], v["farm"])


@pytest.mark.parametrize(
    "data",
    [[b"\x01"], [b"\x02talk"], [b"\x01" + b"\xff" * 100], [b"\x00" + b"x" * 4000] * 16, [b"\x01\xa0"] * 500],
    ids=["an empty frame", "no piece", "no frame", "a frame that never ends", "five hundred frames"],
)
@virtually
async def test_a_stranger_that_talks_nonsense_is_turned_away(data: list[bytes]) -> None:
    async with valley() as v:
        stranger = Knocker(v)
        await stranger.knock(v["mill"])
        stranger.say_pieces(data)
        await v.world.sleep(timedelta(seconds=31))
        assert stranger.is_out
        assert hearings(v)._of == {}
        assert v["mill"].service.stats()["faults"] == 0


@pytest.mark.parametrize("defended", [True, False])
@virtually
async def test_who_says_more_at_once_than_an_answer_takes_is_turned_away(
    defended: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not defended:
        monkeypatch.setattr(hearing, "MAX_UNDER_WAY", 10**9)
    async with valley() as v:
        stranger = Knocker(v)
        await stranger.knock(v["mill"])
        stranger.say(*[MembersWant(ids=ids(1))] * 500)
        answers = [MembersGive()] * 500
        await in_time(lambda: stranger.is_out or stranger.told[-500:] == answers)
        assert (stranger.refusal == "you say more at once than an answer takes") == defended
        assert (stranger.told.count(MembersGive()) == 500) == (not defended)


@virtually
async def test_a_stranger_that_shows_a_log_unasked_is_nobody_by_it_and_shows_one_at_most() -> None:
    async with valley() as v:
        before = v.digest("mill")
        stranger = Knocker(v)
        coop = Coop("stranger", stranger.key)
        await stranger.knock(v["mill"])
        stranger.say(MembersGive(entries=[coop.inception.envelope]), EVERYTHING)
        await in_time(lambda: MembersHave() in stranger.told)
        assert not stranger.is_out
        stranger.say(MembersGive(entries=[v.coops["mill"].inception.envelope]))
        await in_time(lambda: stranger.is_out)
        assert stranger.refusal == "you showed what was not asked for, or does not verify"
        assert v.digest("mill") == before


@virtually
async def test_have_without_end_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    async with valley() as v:
        stranger = Knocker(v)
        await stranger.knock(v["mill"])
        for page in range(2000):
            await in_time(lambda: stranger.is_out or isinstance(last(stranger), MembersAsk | MembersWant))
            if stranger.is_out:
                break
            asked = stranger.told.pop()
            found = ids(4096)
            reply = MembersHave(ids=found[page : page + 1], more=True) if isinstance(asked, MembersAsk) else None
            stranger.say(reply or MembersGive())
        assert stranger.is_out
        assert page < 1030


def last(knocker: Knocker) -> Any:
    return knocker.told[-1] if knocker.told else None


async def show_junk(v: Valley, name: str, count: int) -> Knocker:
    """Has ids, is asked for them, and shows what belongs nowhere."""
    stranger = Knocker(v, name)
    await stranger.knock(v["mill"])
    await in_time(lambda: isinstance(last(stranger), MembersAsk))
    made = junk(v, count, stranger.key)
    by_id = {aside.item_id(each): each.envelope for each in opened(made)}
    stranger.say(MembersHave(ids=sorted(by_id)))
    while not stranger.is_out:
        await in_time(lambda: stranger.is_out or isinstance(last(stranger), MembersWant))
        if isinstance(last(stranger), MembersWant):
            wanted: Any = stranger.told.pop()
            stranger.say(MembersGive(credentials=[by_id[each] for each in wanted.ids]))
    return stranger


def opened(envelopes: list[bytes]) -> list[Any]:
    from covm.federation.identity.credentials import open_credentials

    return list(open_credentials(envelopes))


@pytest.mark.parametrize("defended", [True, False])
@virtually
async def test_twice_the_junk_costs_no_more_memory_than_once(defended: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if defended:
        monkeypatch.setattr(aside, "MAX_ASIDE", 600)
    async with valley() as v:
        sizes = []
        for name in ("one", "another"):
            await show_junk(v, name, 600)
            sizes.append(len(ledger_of(v)._aside))
        assert sizes == ([600, 600] if defended else [600, 1200])


@virtually
async def test_who_shows_too_much_junk_is_turned_away_before_it_has_shown_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hearing, "MAX_NOWHERE", 1024)
    async with valley() as v:
        stranger = await show_junk(v, "stranger", 3000)
        assert stranger.refusal == "you showed too much that belongs nowhere"
        assert len(ledger_of(v)._aside) <= hearing.MAX_NOWHERE + 512


@virtually
async def test_without_the_bound_a_stranger_could_go_on_showing_junk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hearing, "MAX_NOWHERE", 10**9)
    async with valley() as v:
        await show_junk(v, "stranger", 3000)
        assert len(ledger_of(v)._aside) == 3000


@virtually
async def test_a_member_keeps_connecting_while_twenty_strangers_for_each_member_knock_without_end() -> None:
    async with valley() as v:
        strangers = [Knocker(v, f"sybil {number}") for number in range(60)]
        for number, stranger in enumerate(strangers):
            await stranger.knock(v[("mill", "farm")[number % 2]])
        await v.joined("shop", by="mill")
        for _ in range(3):
            for number, stranger in enumerate(strangers):
                if stranger.is_out:
                    await stranger.again(v[("mill", "farm")[number % 2]])
                stranger.say_pieces([b"\x00" + b"x" * 4000] * 10)
            await v["shop"].stop()
            await v["shop"].start()
            await in_time(lambda: sees(v["shop"], v["mill"]) and sees(v["shop"], v["farm"]), timedelta(minutes=1))
        got: list[Any] = []
        v["farm"].service.subscribe("notes.note", lambda message: got.append(message.payload))
        await v["shop"].service.publish("notes.note", "through all of them")
        await in_time(lambda: got == ["through all of them"])
        assert not any(stranger.is_in for stranger in strangers)
        await v.world.sleep(timedelta(minutes=2))
        assert hearings(v)._of == {}


def heard_all_the_same(self: Hearings, event: Any) -> None:
    if event.connection not in self._of:
        self.begin(event.connection, event.peer)
    self._of[event.connection].on_talked(event.data)


@pytest.mark.parametrize("defended", [True, False])
@virtually
async def test_who_was_turned_away_for_its_hello_redeems_nothing_whatever_it_says_behind_it(
    defended: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not defended:
        monkeypatch.setattr(Hearings, "on_event", heard_all_the_same)
    async with valley() as v:
        link = decode_invite(await v.desk("mill").invite(v["mill"].service.addresses))
        foreign = Knocker(v)
        coop = Coop("pirate", foreign.key)
        request = JoinRequest(invite=link.id, secret=link.secret, entries=[coop.inception.envelope])
        foreign.says_first = list(pieces(encode_frame(request)))
        await foreign.knock(v["mill"], federation=coop.member)
        await in_time(lambda: foreign.is_out)
        [[used]] = v["mill"].disk.query("SELECT used_by FROM covm_invites")
        assert used == ("[]" if defended else f'["{coop.member}"]')
