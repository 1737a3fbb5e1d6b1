"""What a member proposes is approved by nobody who meant something else, and everybody sees what it would do.

THREATS.md, row *peers*: a member that lies.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest
from tests.adversarial.knocker import ledger_of
from tests.unit.members_world import Valley, in_time, sees, valley
from tests.unit.outbox_world import virtually

from covm import _native
from covm.cli.members import what_for
from covm.control.membership import Decision
from covm.federation.identity.credentials import Admission, Removal, SignedCredential
from covm.federation.identity.roles import Role
from covm.federation.membership import proposals

ROLES = {
    "member": Role(publish=("*",), send=("*",), read=("notes.*",), write=("notes.*",)),
    "treasurer": Role(publish=("*",), send=("*",), read=("*",), write=("*",)),
}


class Plot:
    """The shop's node, which proposes what it likes."""

    def __init__(self, v: Valley) -> None:
        self.v = v
        node = v["shop"].service._node
        assert node.members is not None
        self.members, self.pen = node.members, node.pen

    async def admission(
        self, of: str, roles: Iterable[str], after: Iterable[_native.Link] = (), seen_by: str = "mill"
    ) -> SignedCredential:
        coop = self.v.coops[of]
        made = self.pen.admission(ledger_of(self.v, "shop"), coop.member, roles, after)
        await self.members.commit([made, coop.inception])
        await in_time(lambda: made.id in ledger_of(self.v, seen_by).credentials)
        return made

    async def removal(self, of: str, reason: str, seen_by: str = "mill") -> SignedCredential:
        made = self.pen.removal(ledger_of(self.v, "shop"), self.v.coops[of].member, reason, ())
        await self.members.commit([made])
        await in_time(lambda: made.id in ledger_of(self.v, seen_by).credentials)
        return made


def let_in_by(v: Valley, name: str, seen_by: str = "mill") -> Admission:
    """The one admission that lets a member in."""
    ledger = ledger_of(v, seen_by)
    assert ledger.standing is not None
    [admission] = ledger.standing.membership(v.coops[name].member).admissions
    body = ledger.credentials[admission].body
    assert isinstance(body, Admission)
    return body


@pytest.mark.parametrize("defended", [True, False])
@virtually
async def test_an_invite_gives_its_own_roles_whatever_somebody_has_proposed_for_the_same_member(
    defended: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not defended:
        monkeypatch.setattr(proposals, "says_the_same", lambda *_: True)
    async with valley(others=("shop", "smith"), roles=ROLES) as v:
        await v.joined("shop", by="mill")
        await Plot(v).admission("smith", ["treasurer"])
        await v.joined("smith", by="mill", roles=["member"])
        assert let_in_by(v, "smith").roles == (("member",) if defended else ("treasurer",))


@pytest.mark.parametrize("defended", [True, False])
@virtually
async def test_an_invite_overrides_no_removal_that_waits_because_somebody_has_proposed_so(
    defended: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not defended:
        monkeypatch.setattr(proposals, "says_the_same", lambda *_: True)
    async with valley(others=("shop", "smith"), roles=ROLES) as v:
        await v.joined("shop", by="mill")
        plot = Plot(v)
        removal = await plot.removal("smith", "will be approved one day")
        await plot.admission("smith", ["member"], after=[removal.id])
        await v.joined("smith", by="mill", roles=["member"])
        assert let_in_by(v, "smith").after == (() if defended else (removal.id,))


@virtually
async def test_a_second_founders_invite_approves_what_the_first_one_proposed() -> None:
    async with valley(k=2) as v:
        await v.invited("shop", await v.desk("mill").invite(v["mill"].service.addresses))
        await in_time(lambda: len(v.desk("farm").requests()) == 1)
        await v["shop"].stop()
        await v.joined("shop", by="farm")
        assert len(ledger_of(v).credentials) == 1


@virtually
async def test_who_removes_a_member_signs_its_own_reason_and_not_that_of_anybody() -> None:
    async with valley(("mill", "farm", "bank")) as v:
        await v.joined("shop", by="mill")
        await in_time(lambda: v.agree("mill", "farm", "bank", "shop"))
        await Plot(v).removal("bank", "they are thieves, every one of them")
        asked = await v.desk("mill").remove("Bank", "has closed")
        assert (asked.reason, asked.approved_by) == ("has closed", ("Mill",))
        # What a founder has approved gathers the others' approvals.
        await in_time(lambda: len(v.desk("farm").requests()) == 2)
        done = await v.desk("farm").remove("Bank", "as the mill says")
        assert (done.id, done.reason, done.status) == (asked.id, "has closed", "valid")


@pytest.mark.parametrize("defended", [True, False])
@virtually
async def test_a_removal_with_a_false_cut_gathers_no_approvals_of_who_means_to_keep_what_was_written(
    defended: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not defended:
        monkeypatch.setattr(proposals, "keeps", lambda *_: True)
    founders = ("mill", "farm", "bank", "barn")
    async with valley(founders) as v:
        # The bank has let the shop in: its approval is what the shop is a member by.
        await v.joined("shop", by="bank")
        await in_time(lambda: v.agree(*founders, "shop"))
        farm = v["farm"].service._node
        assert farm.members is not None
        false = farm.pen.removal(ledger_of(v, "farm"), v.coops["bank"].member, "has closed", ())
        await farm.members.commit([false])
        seen = await v.desk("farm").approve(str(false.id))
        assert seen.takes_back == 1
        await in_time(lambda: len(v.desk("mill").requests()) == 1)
        asked = await v.desk("mill").remove("Bank", "has closed")
        await in_time(lambda: v.agree("mill", "farm", "barn"))
        assert v.is_in("bank", seen_by="mill") is defended
        assert v.is_in("shop", seen_by="mill") is defended
        if defended:
            assert asked.takes_back == 0
            await v.desk("barn").approve(asked.id)
            await in_time(lambda: not v.is_in("bank", seen_by="mill"))
            await v.world.sleep(timedelta(minutes=1))
            assert v.is_in("shop", seen_by="mill")
            assert sees(v["shop"], v["mill"])


@virtually
async def test_who_approves_by_hand_sees_which_removals_an_admission_overrides() -> None:
    async with valley(("mill", "farm", "bank"), ("shop", "smith")) as v:
        await v.joined("shop", by="mill")
        await v.joined("smith", by="mill")
        await in_time(lambda: v.agree("mill", "farm", "bank", "shop"))
        waiting = await v.desk("mill").remove("Smith", "steals")
        made = await Plot(v).admission("smith", ["member"], after=[_native.Link(waiting.id)])
        [shown] = [each for each in v.desk("mill").requests() if each.id == str(made.id)]
        assert shown.overrides == ("steals",)
        body = ledger_of(v).credentials[_native.Link(waiting.id)].body
        assert isinstance(body, Removal)


@virtually
async def test_who_approves_by_hand_sees_what_a_removal_takes_back() -> None:
    async with valley(("mill", "farm", "bank")) as v:
        asked = await v.desk("mill").remove("Bank", "has closed")
        assert asked.takes_back == 0
        await v.joined("shop", by="bank")
        await in_time(lambda: v.agree("mill", "farm", "bank"))
        [shown] = v.desk("farm").requests()
        assert (shown.id, shown.takes_back) == (asked.id, 1)
        # It would not be a member any more: the farm asks for a removal that keeps what the bank has approved.
        kept = await v.desk("farm").remove("Bank", "has closed")
        assert (kept.id != asked.id, kept.takes_back) == (True, 0)


@virtually
async def test_a_removal_that_its_subject_has_approved_since_hinders_nobody() -> None:
    founders = ("mill", "farm", "bank", "barn")
    async with valley(founders) as v:
        await v.joined("shop", by="mill")
        await in_time(lambda: v.agree(*founders, "shop"))
        asked = await v.desk("farm").remove("Bank", "has closed")
        # Approvals of removals count whatever a cut says.
        await v.desk("bank").remove("Shop", "steals")
        await in_time(lambda: v.agree(*founders))
        assert {each.name: each.takes_back for each in v.desk("mill").requests()} == {"Bank": 0, "Shop": 0}
        done = await v.desk("mill").remove("Bank", "as the farm says")
        assert (done.id, done.status) == (asked.id, "valid")


def test_what_an_approval_would_do_is_said_in_words() -> None:
    fields: dict[str, Any] = {
        "id": "i",
        "short_id": "i",
        "subject": "s",
        "subject_short_id": "",
        "rule": None,
        "name": "Bank",
        "proposed_by": "p",
        "proposed_at": 0,
        "approved_by": [],
        "needed": 2,
        "status": "waiting",
        "why": "",
    }
    admission: dict[str, Any] = {"kind": "admission", "roles": ["member"], "reason": "", "takes_back": 0}
    removal: dict[str, Any] = {"kind": "removal", "roles": [], "reason": "closed", "overrides": []}
    said = [
        what_for(Decision(**fields, **admission, overrides=[])),
        what_for(Decision(**fields, **admission, overrides=["steals", "lies"])),
        what_for(Decision(**fields, **removal, takes_back=0)),
        what_for(Decision(**fields, **removal, takes_back=2)),
    ]
    assert said == [
        "member",
        "member, although removed: steals; lies",
        "closed",
        "closed - and 2 of its approvals count no more",
    ]


@virtually
async def test_what_is_so_already_does_not_wait() -> None:
    founders = ("mill", "farm", "bank")
    async with valley(founders) as v:
        await v.joined("shop", by="mill")
        await in_time(lambda: v.agree(*founders, "shop"))
        plot = Plot(v)
        await plot.removal("bank", "a removal")
        again = await plot.admission("bank", ["member"])
        assert [each.kind for each in v.desk("mill").requests()] == ["removal"], "it is a member in this role"
        asked = await v.desk("mill").remove("Bank", "has closed")
        await in_time(lambda: v.agree("mill", "farm"))
        await v.desk("farm").approve(asked.id)
        await in_time(lambda: not v.is_in("bank", seen_by="mill"))
        assert [each.kind for each in v.desk("mill").requests()] == ["admission"]
        assert again.id in ledger_of(v).credentials
