"""The verdict on a gossiped message (gossipsub 1.1, extended validators). A rule: no I/O, no clock of its own.

*Reject* punishes who handed it over, so it is given only for what every honest node would reject: a body that does
not decode, another federation, an author who did not sign, the wrong topic, a recipient in what is for everybody, a
payload above the limit, whether it is here or to be fetched. *Ignore* is for everything else that this node does not
want: an honest forwarder is never punished for knowing less or for being asked less of. Types that are unknown here
are accepted: others may know them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from covm.federation.gossip.allowance import Allowances
from covm.federation.gossip.authors import nobody_is_connected
from covm.federation.gossip.replay import ReplayWindows, Seen
from covm.federation.network.interface import GossipReceived, Verdict
from covm.federation.ports import Membership
from covm.federation.wire.federation_id import FederationId
from covm.federation.wire.limits import MAX_DIRECT_PAYLOAD, MAX_GOSSIP_BODY
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.message import MessageBody, decode_body, payload_size
from covm.federation.wire.names import SYSTEM_PREFIX


@dataclass(slots=True)
class Judgement:
    """A verdict, its reason (a snake_case name, empty when accepted), and the body when it could be read."""

    verdict: Verdict
    reason: str
    body: MessageBody | None


class Judge:
    """Judges messages one by one; what it remembers (windows, allowances) is bounded."""

    def __init__(
        self,
        federation: FederationId,
        own_peer_id: str,
        allowance_per_s: float,
        is_banned: Callable[[str], bool],
        membership: Membership,
        is_connected: Callable[[str], bool] = nobody_is_connected,
    ) -> None:
        self._federation = federation
        self._own_peer_id = own_peer_id
        self._is_banned = is_banned
        self._membership = membership
        self.windows = ReplayWindows(is_connected=is_connected)
        self._allowances = Allowances(allowance_per_s, is_connected=is_connected)

    def judge(self, received: GossipReceived, now_ms: int, now_s: float) -> Judgement:
        try:
            body = decode_body(received.body)
        except Malformed:
            return Judgement(Verdict.REJECT, "malformed_body", None)
        wrong = self._wrong_for_everyone(received, body)
        if wrong:
            return Judgement(Verdict.REJECT, wrong, body)
        unwanted = self._unwanted_here(body, now_ms, now_s)
        if unwanted:
            return Judgement(Verdict.IGNORE, unwanted, body)
        return Judgement(Verdict.ACCEPT, "", body)

    def _wrong_for_everyone(self, received: GossipReceived, body: MessageBody) -> str:
        if body.author != received.author:
            return "author_mismatch"
        if body.federation != self._federation.cid:
            return "wrong_federation"
        if received.topic != self._federation.topic:
            return "wrong_topic"
        if body.to is not None:
            return "addressed_to_one"
        # Only a body above the limit can hold a payload above it; encoding the payload alone is for those few.
        if len(received.body) > MAX_GOSSIP_BODY and payload_size(body.payload) > MAX_GOSSIP_BODY:
            return "too_large"
        return _wrong_content(body)

    def _unwanted_here(self, body: MessageBody, now_ms: int, now_s: float) -> str:
        author = body.author
        if author == self._own_peer_id:
            return "own"
        if self._is_banned(author):
            return "banned_author"
        unfit = self._membership.why_not_gossip(author, body.type)
        if unfit:
            return unfit
        if body.type.startswith(SYSTEM_PREFIX):
            return "system_type"
        if body.expires_at is not None and body.expires_at <= now_ms:
            return "expired"
        # Before the allowance: whoever repeats an author's old messages must not use up what it may say now.
        seen = self.windows.check(author, body.incarnation, body.seq)
        if seen is not Seen.NEW:
            return str(seen.value)
        return "" if self._allowances.take(author, now_s) else "over_allowance"


def _wrong_content(body: MessageBody) -> str:
    if body.content is None:
        return ""
    if body.payload is not None:
        return "content_and_payload"
    return "too_large" if body.content.size > MAX_DIRECT_PAYLOAD else ""
