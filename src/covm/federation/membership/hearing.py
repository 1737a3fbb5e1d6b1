"""Who knocks and is not known: heard before the gate opens, in the join stream, and then let in or sent away.

    ours ──known──> theirs      I know you for a member's
         ──ask──>               or: who are you? Show what makes you one; members alone are answered
         ──join_request──>      or: I have an invite of yours
         ──relay_pass──>        or: I have one of a node that is reached through you; carry me
         ──give──>              or: I am new here; this is my member's log, which you may know the beginning of
    both have said `known`: admitted; or one refuses, with the reason

What a stranger says costs it its time and its 64 KiB; what it was asked for is granted piece by piece. Nothing that a
non-member says is kept, and no list of anything is shown to one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator
from typing import Any, Final

from covm.federation.counters import Counters
from covm.federation.errors import StoreError
from covm.federation.membership import tables
from covm.federation.membership.aside import Item, item_id
from covm.federation.membership.asking import Asker, answer_ask, answer_want
from covm.federation.membership.invites import Invite, decode_invite
from covm.federation.membership.members import NOT_FOUNDED, Members
from covm.federation.membership.passes import relays_of, show_pass
from covm.federation.membership.passing import Passing
from covm.federation.membership.unasked import introduction, is_introduction, is_little
from covm.federation.network.interface import JoinTalked, Network
from covm.federation.ports import Gate
from covm.federation.supervisor import Supervisor
from covm.federation.wire.frames import Frame, KnownFrame, decode_frame, encode_frame
from covm.federation.wire.limits import MAX_FRAME
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.membership import (
    BUCKET_SIZE,
    BUCKETS,
    MAX_GIVEN_BYTES,
    MAX_ITEM,
    JoinRequest,
    MembersAsk,
    MembersGive,
    MembersHave,
    MembersKnown,
    MembersWant,
    RelayPass,
)

TALK_PIECE: Final = 4094
"""Bytes of one talk frame beside the byte that says whether more follows."""

MAX_NOWHERE: Final = 8192
"""Items of a stranger that belong nowhere here, or not yet: whoever shows more shows junk.

They come in the order of their ids, so that what some build on comes behind them.
"""

MAX_UNDER_WAY: Final = 64
"""Frames of one hearing that wait to be dealt with: both sides ask one thing at a time, so there are a few."""

GRANT_HAVE: Final = 320 * 1024
"""Bytes that the answer to a question may have: a page of ids, and the charter with it."""

GRANT_GIVE: Final = MAX_GIVEN_BYTES + MAX_ITEM
"""Bytes that the items which were asked for may have."""

LAST, MORE = b"\x01", b"\x00"

NOTHING: Final = MembersHave()

Redeem = Callable[[str, JoinRequest], Coroutine[Any, Any, str | None]]
"""Redeems an invite for who knocks; why not, as a sentence that it is told, or None."""


class Hearings:
    """The component's shell at the door: one hearing for each connection whose peer is not known."""

    def __init__(
        self,
        members: Members,
        network: Network,
        gate: Gate,
        redeem: Redeem,
        passing: Passing,
        supervisor: Supervisor,
        counters: Counters,
    ) -> None:
        self.members = members
        self.network = network
        self.gate = gate
        self.redeem = redeem
        self.passing = passing
        self.counters = counters
        self.request: tuple[str, JoinRequest] | None = None
        """The node that invited this one, and what it is told, while this node is no member."""
        self._invite: Invite | None = None
        self._supervisor = supervisor
        self._of: dict[int, Hearing] = {}

    async def load(self) -> Invite | None:
        """Takes up an invite that is not redeemed yet; returns it. Raises `StoreError`."""
        link = await self.members.store.read(tables.load_link)
        log = self.members.own_log
        if link is None or log is None:
            return None
        invite = decode_invite(link)
        entries = [update.envelope for update in log.updates()]
        self._invite = invite
        self.request = (invite.node, JoinRequest(invite=invite.id, secret=invite.secret, entries=entries))
        return invite

    def pass_for(self, relay: str) -> RelayPass | None:
        """What this node shows to a relay on the way to who invited it; None where it has nothing to show."""
        invite = self._invite if self.request is not None else None
        if invite is None or relay not in relays_of(invite.addresses):
            return None
        return show_pass(invite.relay_pass, invite.secret, relay, self.network.peer_id)

    def redeemed(self, peer: str) -> None:
        """A node has no more questions to this one: if it is the one who invited it, the invite is used."""
        if self.request is not None and self.request[0] == peer:
            self.request = None
            self._supervisor.launch(self.members.journal.insist(tables.forget_link), "forgetting a redeemed invite")

    def begin(self, connection: int, peer: str) -> None:
        """A peer has said HELLO: known or asked who it is."""
        hearing = self._of[connection] = Hearing(self, connection, peer)
        hearing.task = self._supervisor.spawn(hearing.run(), f"hearing of {peer}")
        hearing.begin()

    def on_event(self, event: JoinTalked) -> None:
        """A peer that is not admitted on this connection, or whose side is not open yet, says something."""
        hearing = self._of.get(event.connection)
        if hearing is not None:
            hearing.on_talked(event.data)
        else:
            # It was turned away for what its HELLO says, and nothing more is heard of it.
            self.counters.drop("join_talk_unheard")

    def on_admitted(self, connection: int, peer: str) -> None:
        """Both sides are open; whoever was removed while they opened is sent away again."""
        self.on_closed(connection)
        self.gate.reconsider_one(peer)

    def on_closed(self, connection: int) -> None:
        """The connection is gone: there is nothing more to be heard."""
        hearing = self._of.pop(connection, None)
        if hearing is not None:
            hearing.end()


class Hearing:
    """What is said on one connection, dealt with in order."""

    def __init__(self, owner: Hearings, connection: int, peer: str) -> None:
        self.task: asyncio.Task[None] | None = None
        self._owner = owner
        self._members = owner.members
        self._connection = connection
        self._peer = peer
        self._piece = bytearray()
        self._frames: asyncio.Queue[Frame | None] = asyncio.Queue()
        self._asker: Asker | None = None
        self._is_asking = False
        self._knows_us = False
        self._decided = False
        self._refused = False
        self._is_carried = False
        """Whether it showed a pass: it is not let in, and not sent away, which would cut its way through this node."""
        self._introduced = False
        """Whether it has shown its member's log, unasked."""
        self._nowhere: set[bytes] = set()

    def end(self) -> None:
        """Nothing more is said; what was is still dealt with."""
        self._frames.put_nowait(None)

    def begin(self) -> None:
        """Asks who it is, unless it is known; if it is the one who invited this node, says so first."""
        request = self._owner.request
        if request is not None and request[0] == self._peer:
            self._say(request[1])
        shown = self._owner.pass_for(self._peer)
        if shown is not None:
            self._say(shown)
        if self._members.node_verdict(self._peer).holds:
            self._decide()
            return
        if shown is not None:
            # Its time is for the way through it; who it is can be asked when this node is somebody itself.
            return
        self._is_asking = True
        ledger = self._members.ledger
        if ledger is not None:
            if self._members.standing is None and self._members.own_log is not None:
                # Whom this node needs to answer it cannot have heard of it, nor can it answer anybody yet.
                self._say(introduction(self._members.own_log))
            self._asker = Asker(ledger)
            self._question(self._asker.begin())
        elif request is not None and request[0] == self._peer:
            self._question(MembersAsk(buckets=bytes(BUCKETS * BUCKET_SIZE), charter=True))
        else:
            self._refuse(NOT_FOUNDED.reason)

    def on_talked(self, data: bytes) -> None:
        """Puts pieces together. Raises nothing: who talks nonsense is refused."""
        if self._refused:
            return
        self._piece += data[1:]
        if len(self._piece) > MAX_FRAME or data[:1] not in (LAST, MORE):
            self._refuse("what you say before you are let in makes no sense")
        elif data[:1] == LAST:
            whole, self._piece = bytes(self._piece), bytearray()
            if self._frames.qsize() >= MAX_UNDER_WAY:
                self._refuse("you say more at once than an answer takes")
                return
            try:
                self._frames.put_nowait(decode_frame(whole))
            except Malformed:
                self._refuse("what you say before you are let in makes no sense")

    async def run(self) -> None:
        while True:
            frame = await self._frames.get()
            match frame:
                case None:
                    return
                case _ if self._refused:
                    continue
                case MembersAsk():
                    self._on_ask(frame)
                case MembersWant():
                    self._on_want(frame)
                case JoinRequest():
                    await self._on_request(frame)
                case RelayPass():
                    await self._on_pass(frame)
                case MembersKnown():
                    self._knows_us = True
                    self._let_in()
                case MembersHave():
                    await self._on_have(frame)
                case MembersGive():
                    await self._on_give(frame)
                case _:
                    self._refuse("what you say before you are let in makes no sense")

    # --- as who answers

    def _on_ask(self, ask: MembersAsk) -> None:
        ledger = self._members.ledger
        is_member = self._members.node_verdict(self._peer).holds
        self._say(answer_ask(ledger, ask) if ledger is not None and is_member else NOTHING)

    def _on_want(self, want: MembersWant) -> None:
        ledger = self._members.ledger
        is_member = self._members.node_verdict(self._peer).holds
        self._say(answer_want(ledger, want) if ledger is not None and is_member else MembersGive())

    async def _on_request(self, request: JoinRequest) -> None:
        if self._members.node_verdict(self._peer).holds:
            return
        try:
            why = await self._owner.redeem(self._peer, request)
        except StoreError as error:
            why = f"this node cannot keep that it let you in: {type(error).__name__}; try again later"
        if why is not None:
            self._refuse(why)
        else:
            self._decide()

    async def _on_pass(self, shown: RelayPass) -> None:
        why = None if self._is_carried else await self._owner.passing.let_through(self._peer, shown)
        self._is_carried = self._is_carried or why is None
        if why is not None:
            self._refuse(why)

    # --- as who asks

    async def _on_have(self, have: MembersHave) -> None:
        if self._decided or not self._is_asking:
            return
        if self._asker is None:
            try:
                adopted = await self._members.adopt(have.charter)
            except StoreError as error:
                self._refuse(f"this node cannot keep your charter now: {type(error).__name__}")
                return
            if not adopted or self._members.ledger is None:
                self._refuse("you did not show the charter of the federation that you invited to")
                return
            self._asker = Asker(self._members.ledger)
            self._question(self._asker.begin())
            return
        try:
            question = self._asker.on_have(have)
        except ValueError:
            self._refuse("your answers contradict each other")
            return
        self._go_on(question)

    async def _on_give(self, give: MembersGive) -> None:
        asker = self._asker
        if self._decided or asker is None:
            await self._on_news(give)
            return
        items = await self._members.opened(give)
        introduces = not self._introduced and is_introduction(give)
        if items is None or not (introduces or asker.was_asked(items)):
            self._refuse("you showed what was not asked for, or does not verify")
            return
        was_asked = asker.was_asked(items)
        self._introduced |= not was_asked
        self._members.take(items)
        if self._is_junk(items):
            self._refuse("you showed too much that belongs nowhere")
        elif was_asked:
            self._go_on(asker.after_give(items))

    def _is_junk(self, items: Iterable[Item]) -> bool:
        ledger, request = self._members.ledger, self._owner.request
        if ledger is None or (request is not None and request[0] == self._peer):
            # Whose invite was accepted is believed that there is so much to show.
            return False
        self._nowhere |= {item_id(item) for item in items}
        if len(self._nowhere) > MAX_NOWHERE:
            self._nowhere = {each for each in self._nowhere if ledger.get(each) is None}
        return len(self._nowhere) > MAX_NOWHERE

    async def _on_news(self, give: MembersGive) -> None:
        """What a member shows unasked before it sends this node away: that this one was removed."""
        if is_little(give) and self._members.node_verdict(self._peer).holds:
            items = await self._members.opened(give)
            if items is not None:
                self._members.take(items)

    def _go_on(self, question: MembersAsk | MembersWant | None) -> None:
        if self._members.node_verdict(self._peer).holds and self._owner.request is None:
            # The rest can wait until the gate is open.
            self._decide()
        elif question is not None:
            self._question(question)
        else:
            self._decide()

    # --- what comes of it

    def _decide(self) -> None:
        if self._decided:
            return
        verdict = self._members.node_verdict(self._peer)
        if verdict.holds:
            self._decided = True
            self._say(MembersKnown())
            self._let_in()
        elif not self._is_carried:
            farewell = self._members.farewell(self._peer)
            if farewell is not None:
                self._say(farewell)
            self._refuse(verdict.reason)

    def _let_in(self) -> None:
        """Once both sides have no more questions: what lets in is the last word."""
        if not self._refused and self._decided and self._knows_us and self._members.node_verdict(self._peer).holds:
            self._owner.redeemed(self._peer)
            self._owner.gate.let_in(self._connection, self._peer)

    def _refuse(self, reason: str) -> None:
        if not self._decided:
            self._decided = self._refused = True
            self._owner.gate.turn_away(self._connection, self._peer, reason)

    def _question(self, frame: MembersAsk | MembersWant) -> None:
        granted = GRANT_HAVE if isinstance(frame, MembersAsk) else GRANT_GIVE
        self._owner.network.grant(self._connection, granted)
        self._say(frame)

    def _say(self, frame: KnownFrame) -> None:
        pieces = list(_pieces(encode_frame(frame)))
        if not self._owner.network.talk(self._connection, pieces):
            # It does not read what it asked for, or is gone: the join's deadline ends it.
            self._owner.counters.drop("join_talk_unread")


def _pieces(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), TALK_PIECE):
        piece = data[start : start + TALK_PIECE]
        yield (LAST if start + TALK_PIECE >= len(data) else MORE) + piece
