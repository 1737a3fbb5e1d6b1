"""Who is a member, as a property: of a set, never of an order; and as a slow reading of the rules says it."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.membership_world import Coop, Desk, World, plain_rule

from covm._native import Link, cid
from covm.federation.identity.approvals import ApprovalLogs
from covm.federation.identity.credentials import Admission, ErasureCredential, Removal, TypeCredential
from covm.federation.identity.cuts import Cut
from covm.federation.identity.identities import Identities
from covm.federation.identity.standing import Standing, judge
from covm.federation.wire.record import Place, SignedRecord, place_of

FOUNDERS = [Coop(f"Founder {number}", approvers=(0, 1)) for number in range(4)]
OTHERS = [Coop(f"Cooperative {number}") for number in range(2)]
EVERYONE = [*FOUNDERS, *OTHERS]
RECORDS = [cid(b"one"), cid(b"another")]

picks = st.integers(0, 1000)
step = st.tuples(
    st.sampled_from([*["admit", "remove"] * 2, "readmit", "type", "erase", *["approve"] * 3, "back", "identity"]),
    picks,
    picks,
    picks,
)
stories = st.lists(step, min_size=4, max_size=30)
orders = st.randoms(use_true_random=False)


class Story:
    """A federation in which everything may happen that the format allows."""

    def __init__(self, founders: int, k: int, steps: Sequence[tuple[str, int, int, int]]) -> None:
        self.world = World(FOUNDERS[:founders], min(k, founders))
        self.world.know(*(coop.inception for coop in EVERYONE[founders:]))
        self.world.desks += [Desk(self.world.federation, coop.node(1), coop.inception) for coop in self.world.founders]
        for op, *chosen in steps:
            getattr(self, op)(*chosen)

    def _coop(self, pick: int) -> Coop:
        return EVERYONE[:6][pick % 6]

    def _cut(self, pick: int) -> list[Place]:
        """Some of what was written, by whomever; now and then what nobody wrote."""
        ends: dict[Link, Place] = {}
        for record in self.world.records:
            if (pick + record.body.seq * 7 + len(ends)) % 3:
                ends[record.body.log] = place_of(record)
        return list(ends.values())

    def admit(self, who: int, role: int, by: int) -> None:
        self._approved(self.world.admission(self._coop(who), ["member"] if role % 9 else ["nobody"]), by)

    def readmit(self, who: int, after: int, by: int) -> None:
        removals = [each for each in self.world.credentials if isinstance(each.body, Removal)]
        chosen = [each for number, each in enumerate(removals) if after % (number + 2)]
        self._approved(self.world.admission(self._coop(who), after=chosen), by)

    def remove(self, who: int, cut: int, by: int) -> None:
        self._approved(self.world.removal(self._coop(who), self._cut(cut)), by)

    def type(self, size: int, _: int, by: int) -> None:
        self._approved(self.world.type("tools.loan", plain_rule(size_limit_bytes=size + 1)), by)

    def erase(self, who: int, which: int, by: int) -> None:
        self._approved(self.world.erasure(self._coop(who), RECORDS[which % 2]), by)

    def _approved(self, credential: Any, by: int) -> None:
        desks = self.world.desks
        self.world.approve(credential, *{by % len(desks), (by // 7) % len(desks)})

    def approve(self, what: int, by: int, _: int) -> None:
        if self.world.credentials:
            credential = self.world.credentials[what % len(self.world.credentials)]
            self.world.approve(credential, self.world.desks[by % len(self.world.desks)])

    def back(self, what: int, who: int, node: int) -> None:
        """A desk in a new life, under an admission: its own, or somebody else's."""
        admissions = [each for each in self.world.credentials if isinstance(each.body, Admission)]
        if admissions:
            coop = self.world.founders[who % len(self.world.founders)]
            own = [each for each in admissions if isinstance(each.body, Admission) and each.body.member == coop.member]
            mine = own if what % 4 else []
            under = (mine or admissions)[what % len(mine or admissions)]
            life = len(self.world.desks) + 1
            self.world.desks.append(
                Desk(self.world.federation, coop.node(node % 2), coop.inception, under=under.id, life=life)
            )

    def identity(self, who: int, what: int, cut: int) -> None:
        coop = self.world.founders[who % len(self.world.founders)]
        match what % 3:
            case 0:
                self.world.know(coop.remove_node(coop.inception, what % 2, self._cut(cut)))
            case 1:
                self.world.know(coop.recover(coop.inception, 0, 5))
            case _:
                theft = coop.add_node(coop.inception, 9)
                self.world.know(theft)
                self.world.desks.append(
                    Desk(self.world.federation, coop.node(9), theft, life=len(self.world.desks) + 1)
                )


def judged(world: World, order: random.Random | None = None) -> Standing:
    updates, credentials, records = list(world.updates), list(world.credentials), list(world.records)
    if order is not None:
        for each in (updates, credentials, records):
            order.shuffle(each)
    identities, logs = Identities(updates), ApprovalLogs(world.federation, records)
    return judge(world.federation, world.signed.charter, identities, credentials, logs)


def said(standing: Standing, world: World) -> Any:
    return (
        {each.id: (standing.verdict(each.id), standing.approvers(each.id)) for each in world.credentials},
        {each.id: standing.approval_verdict(each.id) for each in world.records},
        standing.memberships,
        standing.nodes,
        standing.type_rule("tools.loan"),
        standing.erasures,
    )


@given(st.integers(1, 4), st.integers(1, 3), stories, orders)
def test_the_same_set_is_the_same_members_in_any_order(
    founders: int, k: int, steps: list[tuple[str, int, int, int]], order: random.Random
) -> None:
    world = Story(founders, k, steps).world
    assert said(judged(world, order), world) == said(judged(world), world)


@given(st.integers(1, 4), st.integers(1, 3), stories, orders)
def test_partitions_that_merge_agree(
    founders: int, k: int, steps: list[tuple[str, int, int, int]], order: random.Random
) -> None:
    """Each side judges what it has, then gets what the other has."""
    world = Story(founders, k, steps).world
    sides = []
    for _ in range(2):
        identities, logs = Identities(), ApprovalLogs(world.federation)
        halves: list[list[Any]] = [[], [], []]
        wholes: list[Sequence[Any]] = [world.updates, world.credentials, world.records]
        for half, everything in zip(halves, wholes, strict=True):
            half += [each for each in everything if order.random() < 0.6]
            order.shuffle(half)
        for update in halves[0]:
            identities.add(update)
        for record in halves[2]:
            logs.add(record)
        judge(world.federation, world.signed.charter, identities, halves[1], logs)
        for update in world.updates:
            identities.add(update)
        for record in world.records:
            logs.add(record)
        credentials = {each.id: each for each in [*halves[1], *world.credentials]}.values()
        sides.append(judge(world.federation, world.signed.charter, identities, credentials, logs))
    assert said(sides[0], world) == said(sides[1], world) == said(judged(world), world)


# --- a slow reading


def reach(world: World, cut: Cut, log: Link) -> set[Link]:
    by_id = {record.id: record for record in world.records}
    reached: set[Link] = set()
    for place in cut:
        record = by_id.get(place.id)
        if place.log == log and record and (record.body.log, record.body.seq) == (log, place.seq):
            while record is not None:
                reached.add(record.id)
                record = by_id[record.body.prev] if record.body.prev else None
    return reached


def first_of(world: World, record: SignedRecord) -> SignedRecord:
    by_id = {each.id: each for each in world.records}
    while record.body.prev is not None:
        record = by_id[record.body.prev]
    return record


def by_identity(world: World, identities: Identities) -> Iterator[tuple[SignedRecord, Link]]:
    """The approvals that identity logs let count, each with its elector."""
    for record in world.records:
        auth = first_of(world, record).body.auth
        log = identities.log_of(auth.identity)
        state, head = (log.at(auth.identity), log.head) if log else (None, None)
        if log is None or state is None or head is None or record.body.author not in state.nodes:
            continue
        cuts = [each.cut for each in head.removals if each.node == record.body.author and each.seq > state.seq]
        if all(record.id in reach(world, cut, record.body.log) for cut in cuts):
            yield record, log.member


class SlowReading:
    """The rules of `standing`, read one by one without a thought of speed."""

    def __init__(self, world: World) -> None:
        self.world, self.charter = world, world.signed.charter
        self.bodies = {
            each.id: each.body
            for each in world.credentials
            if not (isinstance(each.body, Admission) and not set(each.body.roles) <= self.charter.roles.keys())
        }
        self.approvals = [
            (record, elector)
            for record, elector in by_identity(world, Identities(world.updates))
            if elector in self.charter.electors
        ]
        self.removals = {key for key in self.bodies if self._removal_stands(key)}
        self.stand: set[Link] = set()
        while more := {key for key in self.bodies if self._other_stands(key)} - self.stand:
            self.stand |= more

    def _removal_stands(self, key: Link) -> bool:
        body = self.bodies[key]
        if not isinstance(body, Removal):
            return False
        others = self.charter.electors - {body.member}
        by = {elector for record, elector in self.approvals if record.body.key == str(key)} & others
        return len(by) * 2 > len(others) > 0

    def _other_stands(self, key: Link) -> bool:
        body = self.bodies[key]
        by = {
            elector
            for record, elector in self.approvals
            if record.body.key == str(key) and self._counts(record, elector)
        }
        if isinstance(body, TypeCredential):
            return len(by) * 2 > len(self.charter.founders)
        if isinstance(body, ErasureCredential):
            others = self.charter.electors - {body.member}
            return len(by & others) * 2 > len(others) > 0
        return isinstance(body, Admission) and len(by) >= self.charter.k

    def _counts(self, record: SignedRecord, elector: Link) -> bool:
        under, after = record.body.auth.credential, tuple[Link, ...]()
        if under != self.world.federation:
            body = self.bodies.get(under)
            if under not in self.stand or not isinstance(body, Admission) or body.member != elector:
                return False
            after = body.after
        cuts = [each.cut for each in self._binding(elector, after)]
        return all(record.id in reach(self.world, cut, record.body.log) for cut in cuts)

    def _binding(self, member: Link, after: Iterable[Link]) -> list[Removal]:
        bodies = [self.bodies[key] for key in self.removals - set(after)]
        return [body for body in bodies if isinstance(body, Removal) and body.member == member]

    def erasures(self) -> set[Link]:
        """The erasures that stand."""
        return {key for key in self.stand if isinstance(self.bodies[key], ErasureCredential)}

    def members(self) -> dict[Link, set[str]]:
        """Everyone who is in, with their roles."""
        roles: dict[Link, set[str]] = {}
        for founder in self.charter.founders:
            if not self._binding(founder.member, ()):
                roles.setdefault(founder.member, set()).update(founder.roles)
        for key in self.stand:
            body = self.bodies[key]
            if isinstance(body, Admission) and not self._binding(body.member, body.after):
                roles.setdefault(body.member, set()).update(body.roles)
        return roles


@given(st.integers(1, 4), st.integers(1, 3), stories)
def test_the_members_are_those_of_a_slow_reading_of_the_rules(
    founders: int, k: int, steps: list[tuple[str, int, int, int]]
) -> None:
    world = Story(founders, k, steps).world
    standing, slow = judged(world), SlowReading(world)
    assert {each.member: set(each.roles) for each in standing.members()} == slow.members()
    assert {each.id for some in standing.erasures.values() for each in some} == slow.erasures()
    for each in world.credentials:
        stands = each.id in slow.stand | slow.removals
        assert (standing.verdict(each.id).status in ("valid", "ended", "void")) == stands


@given(st.integers(2, 4), stories, stories)
def test_a_removal_that_stands_is_undone_by_identity_logs_alone(
    founders: int, before: list[tuple[str, int, int, int]], after: list[tuple[str, int, int, int]]
) -> None:
    later = [each for each in after if each[0] != "identity"]
    early = judged(Story(founders, 1, before).world)
    world = Story(founders, 1, before + later).world
    standing = judged(world)
    for membership in early.memberships.values():
        for removal in membership.removals:
            assert standing.verdict(removal).holds


def test_the_stories_are_about_something() -> None:
    """Among random stories are founders that were removed, that came back, and approvals beyond a cut."""
    order, reasons, ends = random.Random(7), set(), set()
    ops = ["admit", "readmit", "remove", "type", "erase", "approve", "back", "identity"]
    for _ in range(60):
        steps = [
            (order.choice(ops), order.randrange(1000), order.randrange(1000), order.randrange(1000)) for _ in range(40)
        ]
        world = Story(3, 1, steps).world
        standing = judged(world)
        reasons |= {standing.approval_verdict(each.id).reason[:23] for each in world.records}
        for founder in world.founders:
            membership = standing.membership(founder.member)
            ends.add((membership.verdict.holds, bool(membership.removals)))
    assert ends == {(False, True), (True, True), (True, False)}
    told = {"its elector was removed", "it counts", "nobody has a say in its", "its node was removed by"}
    assert told <= reasons
