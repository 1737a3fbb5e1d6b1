"""`ControlClient`: a running node, from another process of the same user.

    client = ControlClient(Path("~/.covm").expanduser())
    client.status().peer_id
    client.publish("governance.proposal", {...}).peers

Every call raises a `ControlError` of `covm.control.failures` with the node's sentence: `NoNode`, `Invalid`,
`NotFound`, `Refused`, `TimedOut`, `Failed`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, urlencode

from covm.control import delivery, diagnosis, membership, pings, records, schema
from covm.control.failures import Failed
from covm.control.forks import ForkCommands
from covm.control.record_files import RecordFiles
from covm.control.transport import Transport

CONNECT_TIMEOUT_S = 120.0
"""How long connecting may take: the configured retries with their backoff (31 s by default) and each dial."""

STOP_TIMEOUT_S = 60.0
"""How long a node may take to stop: connections are told, ports watched until they are free."""

DIAGNOSIS_TIMEOUT_S = 5.0
"""How long a node may take to say how it is: whoever asks suspects that it is not well."""

STORE_TIMEOUT_S = 24 * 3600.0
"""How long a backup or a check may take: it reads the whole store, whose size is the operator's."""

TRANSFER_SILENCE_S = 60.0
"""How long a node may say nothing of a file that it sends; it says something every few seconds."""

SETTLE_S = 5.0
"""What the client grants over the time that the node itself waits, so that the node's own sentence arrives."""


class ControlClient(RecordFiles, ForkCommands):
    """Commands to the node that runs on `home`. Light: no connection is kept between calls."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._node = Transport(home)

    def status(self) -> schema.Status:
        """Who the node is and how it is."""
        return self._node.ask(schema.Status, "GET", "/v1/status")

    def diagnosis(self) -> diagnosis.Diagnosis:
        """What is well with the node and what is not."""
        return self._node.ask(diagnosis.Diagnosis, "GET", "/v1/diagnosis", timeout_s=DIAGNOSIS_TIMEOUT_S)

    def peers(self, peer: str | None = None) -> list[schema.Peer]:
        """All peers that the node knows, or one. Raises `NotFound`."""
        query = "" if peer is None else f"?{urlencode({'peer': peer})}"
        return self._node.ask(schema.Peers, "GET", f"/v1/peers{query}").peers

    def ping(self, peer: str, count: int) -> pings.Pinged:
        """Measures round trips to a peer. Raises `NotFound`."""
        asked = pings.Ping(peer=peer, count=count)
        return self._node.ask(pings.Pinged, "POST", "/v1/ping", asked, timeout_s=CONNECT_TIMEOUT_S)

    def connect(self, target: str) -> schema.Connected:
        """Connects to a multiaddr or a known peer; returns when both sides are open."""
        return self._node.ask(
            schema.Connected, "POST", "/v1/connect", schema.Connect(target=target), timeout_s=CONNECT_TIMEOUT_S
        )

    def disconnect(self, peer: str) -> schema.Done:
        """Closes every connection to the peer."""
        return self._node.ask(schema.Done, "POST", "/v1/disconnect", schema.OnPeer(peer=peer))

    def ban(self, peer: str, duration_ms: int | None, reason: str, *, member: bool = False) -> schema.Done:
        """Bans the peer, or the member with all its nodes, for a time or until it is lifted."""
        request = schema.BanPeer(peer=peer, duration_ms=duration_ms, reason=reason, member=member)
        return self._node.ask(schema.Done, "POST", "/v1/ban", request)

    def unban(self, peer: str) -> schema.Done:
        """Lifts a ban."""
        return self._node.ask(schema.Done, "POST", "/v1/unban", schema.OnPeer(peer=peer))

    def bans(self) -> list[schema.Ban]:
        """All bans that stand."""
        return self._node.ask(schema.Bans, "GET", "/v1/bans").bans

    def publish(self, type_name: str, payload: Any) -> schema.Published:
        """Publishes to the whole federation."""
        return self._node.ask(schema.Published, "POST", "/v1/publish", schema.Publish(type=type_name, payload=payload))

    def send(
        self,
        peer: str,
        type_name: str,
        payload: Any,
        *,
        wait: Literal["queued", "stored", "handled"],
        timeout_ms: int,
        time_to_live_ms: int | None = None,
    ) -> schema.Sent:
        """Sends to one peer and waits until the message is `wait`. Raises `TimedOut`, `Refused`.

        `queued` is on this node's disk; the peer need not be connected. After `TimedOut` it is still under way.
        """
        request = schema.Send(
            peer=peer,
            type=type_name,
            payload=payload,
            wait=wait,
            timeout_ms=timeout_ms,
            time_to_live_ms=time_to_live_ms,
        )
        return self._node.ask(schema.Sent, "POST", "/v1/send", request, timeout_s=timeout_ms / 1000 + SETTLE_S)

    def wait(self, message_id: str, wait: Literal["stored", "handled"], timeout_ms: int) -> schema.Sent:
        """Waits until a message that was sent before is `wait`. Raises as `send`, and `NotFound`."""
        request = delivery.Wait(id=message_id, wait=wait, timeout_ms=timeout_ms)
        return self._node.ask(schema.Sent, "POST", "/v1/wait", request, timeout_s=timeout_ms / 1000 + SETTLE_S)

    def outbox(self, peer: str | None, state: str | None, limit: int) -> list[delivery.OutgoingMessage]:
        """Messages of this node, the newest first; of one peer or in one state if given."""
        query = {"limit": str(limit), **({"peer": peer} if peer else {}), **({"state": state} if state else {})}
        return self._node.ask(delivery.Outbox, "GET", f"/v1/outbox?{urlencode(query)}").messages

    def outbox_message(self, message_id: str) -> delivery.OutgoingMessage:
        """One of them. Raises `NotFound`, and `Invalid` when the beginning of an id means several."""
        return self._node.ask(delivery.Outgoing, "GET", f"/v1/outbox/{quote(message_id, safe='')}").message

    def on_outbox(self, message_id: str, action: Literal["retry", "cancel"]) -> delivery.OutgoingMessage:
        """Tries a message again that has come to its end, or gives one up that is not stored yet."""
        request = delivery.OnMessage(id=message_id)
        return self._node.ask(delivery.Outgoing, "POST", f"/v1/outbox/{action}", request).message

    def inbox(self, limit: int) -> list[delivery.IncomingMessage]:
        """Messages for this node that are not dealt with, the newest first."""
        return self._node.ask(delivery.Inbox, "GET", f"/v1/inbox?limit={limit}").messages

    def inbox_message(self, message_id: str) -> delivery.IncomingMessage:
        """One of them. Raises as `outbox_message`."""
        return self._node.ask(delivery.Incoming, "GET", f"/v1/inbox/{quote(message_id, safe='')}").message

    def quarantine(self, limit: int) -> list[delivery.IncomingMessage]:
        """Messages on which a handler of this node failed for good, the newest first."""
        return self._node.ask(delivery.Inbox, "GET", f"/v1/quarantine?limit={limit}").messages

    def quarantined(self, message_id: str) -> delivery.IncomingMessage:
        """One of them. Raises as `outbox_message`."""
        return self._node.ask(delivery.Incoming, "GET", f"/v1/quarantine/{quote(message_id, safe='')}").message

    def on_quarantine(self, message_id: str, action: Literal["retry", "discard"]) -> delivery.IncomingMessage:
        """Hands a quarantined message to its handlers again, or throws it away."""
        request = delivery.OnMessage(id=message_id)
        return self._node.ask(delivery.Incoming, "POST", f"/v1/quarantine/{action}", request).message

    def send_file(self, peer: str, path: Path) -> delivery.Transfer:
        """Begins to send a file; the node goes on by itself."""
        request = delivery.SendFile(peer=peer, path=str(path))
        return self._node.ask(
            delivery.TransferLine, "POST", "/v1/send-file", request, timeout_s=STORE_TIMEOUT_S
        ).transfer

    def transfers(self) -> list[delivery.Transfer]:
        """The files on their way, and those that ended lately."""
        return self._node.ask(delivery.Transfers, "GET", "/v1/transfers").transfers

    def follow_transfer(self, transfer_id: str) -> Iterator[delivery.TransferLine]:
        """How far a file is, again and again until it has ended."""
        path = f"/v1/transfers/{quote(transfer_id, safe='')}"
        yield from self._node.lines(delivery.TransferLine, "GET", path, silence_s=TRANSFER_SILENCE_S)

    def members(self) -> membership.Members:
        """Everyone who is or was a member."""
        return self._node.ask(membership.Members, "GET", "/v1/members")

    def requests(self) -> list[membership.Decision]:
        """What waits for approvals."""
        return self._node.ask(membership.Requests, "GET", "/v1/members/requests").requests

    def roles(self) -> membership.Roles:
        """The charter's roles, and the types that have rules of their own."""
        return self._node.ask(membership.Roles, "GET", "/v1/members/roles")

    def whoami(self) -> membership.WhoAmI:
        """Whose the node is."""
        return self._node.ask(membership.WhoAmI, "GET", "/v1/whoami")

    def invite(self, roles: list[str], expires_ms: int, uses: int) -> membership.Invited:
        """A link that lets members in."""
        request = membership.AskInvite(roles=roles, expires_ms=expires_ms, uses=uses)
        return self._node.ask(membership.Invited, "POST", "/v1/members/invite", request)

    def approve(self, request: str) -> membership.Decision:
        """Approves what waits."""
        asked = membership.Approve(request=request)
        return self._node.ask(membership.Decided, "POST", "/v1/members/approve", asked).decision

    def remove(self, member: str, reason: str) -> membership.Decision:
        """Proposes to remove a member, and approves it."""
        asked = membership.Remove(member=member, reason=reason)
        return self._node.ask(membership.Decided, "POST", "/v1/members/remove", asked).decision

    def propose_types(self, rules: str) -> list[membership.Decision]:
        """Proposes the types in a file of rules, and approves them."""
        asked = membership.ProposeTypes(rules=rules)
        return self._node.ask(membership.Requests, "POST", "/v1/members/types", asked).requests

    def identity(self) -> membership.OwnIdentity:
        """The identity log of the node's member, and where that one takes part."""
        return self._node.ask(membership.OwnIdentity, "GET", "/v1/identity")

    def take_identity(self, entries: list[bytes]) -> None:
        """Gives the node entries of its member's identity log."""
        asked = membership.IdentityEntries(entries=entries)
        self._node.ask(membership.IdentityEntries, "POST", "/v1/identity", asked)

    def written_by(self, node: str, until_ms: int | None = None) -> membership.Written:
        """What a node has written up to a time, and what would be otherwise if the rest counted no more."""
        query = "" if until_ms is None else f"?{urlencode({'until': until_ms})}"
        return self._node.ask(membership.Written, "GET", f"/v1/identity/written/{quote(node, safe='')}{query}")

    def back_up(self, path: Path, *, passphrase: str | None, recipient: str | None) -> delivery.BackedUp:
        """Writes a backup of the node while it runs, encrypted with a passphrase or for an age recipient."""
        request = delivery.BackUp(path=str(path), passphrase=passphrase, recipient=recipient)
        return self._node.ask(delivery.BackedUp, "POST", "/v1/store/backup", request, timeout_s=STORE_TIMEOUT_S)

    def check_store(self) -> delivery.Checked:
        """Reads everything in the node's store while it runs."""
        return self._node.ask(
            delivery.Checked, "POST", "/v1/store/check", delivery.CheckStore(), timeout_s=STORE_TIMEOUT_S
        )

    def gossip_log(self, type_name: str | None, limit: int) -> list[schema.GossipEntry]:
        """The newest entries of the gossip log, the oldest of them first."""
        return self._node.ask(schema.GossipLog, "GET", _log_path("gossip-log", type_name, limit)).entries

    def follow_gossip_log(self, type_name: str | None, limit: int) -> Iterator[schema.GossipEntry]:
        """The newest `limit` entries, then each as it is made, until the node stops."""
        for line in self._node.lines(schema.GossipLine, "GET", _log_path("gossip-log", type_name, limit, follow=True)):
            yield line.entry

    def messages(self, type_name: str | None, limit: int) -> schema.Messages:
        """The newest messages that the node holds, the oldest of them first."""
        return self._node.ask(schema.Messages, "GET", _log_path("messages", type_name, limit))

    def follow_messages(
        self, type_name: str | None, limit: int, *, silence_s: float | None = None
    ) -> Iterator[schema.MessageLine]:
        """The newest `limit` messages, then each as it arrives, until the node stops.

        Raises `TimedOut` when nothing arrives for `silence_s`.
        """
        path = _log_path("messages", type_name, limit, follow=True)
        yield from self._node.lines(schema.MessageLine, "GET", path, silence_s=silence_s)

    def stats(self) -> dict[str, Any]:
        """The node's counters."""
        return self._node.ask(schema.Stats, "GET", "/v1/stats").stats

    def types(self) -> schema.Types:
        """The message types that the node knows."""
        return self._node.ask(schema.Types, "GET", "/v1/types")

    def stop(self) -> int:
        """Stops the node and returns its process id once ports and home are free and the process is ending."""
        return self.begin_stop()()

    def begin_stop(self) -> Callable[[], int]:
        """Tells the node to stop; what is returned waits for it, as `stop` does. For stopping several at once."""
        states = self._node.lines(schema.Stopping, "POST", "/v1/stop", silence_s=STOP_TIMEOUT_S)
        begun = next(states, None)

        def wait() -> int:
            last = list(states)[-1:]
            if begun is None or not last or last[0].state != "stopped":
                raise Failed(f"the node on {self.home} ended before it had stopped in order; see its log")
            return begun.pid

        return wait

    def entries(self, type_name: str, prefix: str, after: str, limit: int) -> list[records.Entry]:
        """Entries of shared data by key, behind one. Where values are large, an answer holds a part of them."""
        found: list[records.Entry] = []
        while True:
            query = urlencode({"prefix": prefix, "after": after, "limit": limit - len(found)})
            path = f"/v1/records/{quote(type_name, safe='')}?{query}"
            page = self._node.ask(records.Entries, "GET", path).entries
            found += page
            if not page or len(found) >= limit:
                return found
            after = page[-1].key

    def entry(self, type_name: str, key: str) -> records.Entry:
        """One entry. Raises `NotFound`."""
        path = f"/v1/records/{quote(type_name, safe='')}/entry?{urlencode({'key': key})}"
        return self._node.ask(records.OneEntry, "GET", path).entry

    def history(self, type_name: str, key: str) -> records.History:
        """Every record of a key, a part of them in each answer. Raises `NotFound`."""
        path = f"/v1/records/{quote(type_name, safe='')}/history?{urlencode({'key': key})}"
        found = page = self._node.ask(records.History, "GET", path)
        while page.versions:
            after = urlencode({"after": page.versions[-1].id})
            page = self._node.ask(records.History, "GET", f"{path}&{after}")
            found.versions.extend(page.versions)
        return found

    def put(self, type_name: str, key: str, value: Any) -> records.Written:
        """Writes a value that replaces the one that is shown. Raises `Refused` where several are."""
        asked = records.Put(type=type_name, key=key, value=value)
        return self._node.ask(records.Written, "POST", "/v1/records/put", asked)

    def delete(self, type_name: str, key: str) -> records.Written:
        """Says that a key has no value any more. Raises `NotFound`."""
        asked = records.OnKey(type=type_name, key=key)
        return self._node.ask(records.Written, "POST", "/v1/records/delete", asked)

    def preview(self, asked: records.Resolve) -> records.Preview:
        """What `resolve` would write, and in place of what. Raises `NotFound`."""
        return self._node.ask(records.Preview, "POST", "/v1/records/preview", asked)

    def resolve(self, asked: records.Resolve) -> records.Written:
        """Writes what replaces all versions side by side. Raises `NotFound`, `Refused`."""
        return self._node.ask(records.Written, "POST", "/v1/records/resolve", asked)

    def erase(self, version: str, reason: str) -> records.Erasing:
        """Takes a version's value away, everywhere, or asks founders to. Raises `NotFound`, `Invalid`, `Refused`."""
        return self._node.ask(records.Erasing, "POST", "/v1/records/erase", records.Erase(id=version, reason=reason))

    def conflicts(self, type_name: str | None) -> list[records.Entry]:
        """Entries with several versions side by side, of one type or all."""
        query = f"?{urlencode({'type': type_name})}" if type_name else ""
        return self._node.ask(records.Entries, "GET", f"/v1/conflicts{query}").entries

    def replicas(self, type_name: str | None = None, peer: str | None = None) -> records.Replicas:
        """How the node stands in each type of shared data or one, beside all connected peers or one.

        Raises `NotFound`.
        """
        return self._node.ask(records.Replicas, "GET", _sync_path(type_name, peer))

    def sync(self, type_name: str | None, peer: str | None) -> Iterator[records.SyncLine]:
        """Fetches what connected peers, or one, have; says how far it is, and at last how the node stands."""
        path = _sync_path(type_name, peer)
        yield from self._node.lines(records.SyncLine, "POST", path, silence_s=TRANSFER_SILENCE_S)


def _sync_path(type_name: str | None, peer: str | None) -> str:
    return "/v1/sync?" + urlencode({name: value for name, value in (("type", type_name), ("peer", peer)) if value})


def _log_path(log: str, type_name: str | None, limit: int, *, follow: bool = False) -> str:
    query = {"limit": str(limit)}
    if type_name:
        query["type"] = type_name
    if follow:
        query["follow"] = "1"
    return f"/v1/{log}?{urlencode(query)}"
