"""What the demonstration tells. Every line is said once it has happened, from what the nodes themselves answered."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from covm.cli.demo_node import DemoNode
from covm.cli.output import as_text, safe
from covm.cli.rendering import duration, size
from covm.control import schema
from covm.control.failures import Failed

PROPOSAL_TYPE = "governance.proposal"
PRIVATE_TYPE = "private.message"

FEDERATION = "Three Valleys"

INVITED_MS = 10 * 60 * 1000
"""How long the invite is good for."""

ARRIVAL_S = 10.0
"""How long anything may take to arrive; it takes milliseconds."""

SHOWN_CHARACTERS = 200
"""How much of a text of any length fits into a line of the story."""


class Story:
    """A publisher and a receiver; `tell` takes each line."""

    def __init__(self, publisher: DemoNode, receiver: DemoNode, tell: Callable[[str], None]) -> None:
        self._publisher = publisher
        self._receiver = receiver
        self._tell = tell

    def tell_all(self, proposal: Mapping[str, Any]) -> None:
        """The whole story. Raises the `ControlError` of what did not happen."""
        self._founded()
        self._joined()
        self._connected()
        self._proposal_travels(proposal)
        self._message_acknowledged()
        self._peers()
        self._gossip_log()
        self._stats()
        self._both_stop()

    def _founded(self) -> None:
        self._publisher.create(FEDERATION)
        self._start(self._publisher)
        self._tell(f"{self._publisher.name} founded the federation {FEDERATION} and is its only member so far")

    def _joined(self) -> None:
        link = self._publisher.client.invite(["member"], INVITED_MS, 1).link
        self._tell(f"{self._publisher.name} invites one more: {link[:28]}…")
        self._receiver.join(link)
        names = [member.name for member in self._publisher.client.members().members if member.member]
        if self._receiver.name not in names:
            raise Failed(f"{self._receiver.name} was not let in", code="demo_not_joined")
        self._tell(f"{self._receiver.name} joined with the invite; members now: {', '.join(map(safe, names))}")
        self._start(self._receiver)

    def _start(self, node: DemoNode) -> None:
        node.start()
        ready = node.wait_ready()
        address = ready.addresses[0].split("/p2p/")[0]
        self._tell(f"{safe(ready.name)} runs as process {ready.pid}: peer {ready.peer_id} at {address}")

    def _connected(self) -> None:
        address = self._publisher.client.status().addresses[0]
        answer = self._receiver.client.connect(address)
        self._tell(
            f"{self._receiver.name} connected to {safe(answer.name)} in {duration(answer.elapsed_ms)}; each proved its "
            "key, and that it is a member's"
        )

    def _proposal_travels(self, proposal: Mapping[str, Any]) -> None:
        arriving = self._receiver.client.follow_messages(PROPOSAL_TYPE, 100, silence_s=ARRIVAL_S)
        published = self._publisher.client.publish(PROPOSAL_TYPE, proposal)
        self._tell(
            f"{self._publisher.name} published the proposal {_quoted(proposal.get('title', ''))} "
            f"to {published.peers} peer (message {published.id[:8]})"
        )
        received = _arrived(arriving, published.id, self._receiver.name)
        content = received.payload
        for field in content.keys() & proposal.keys():
            if content[field] != proposal[field]:
                raise Failed(f"the proposal arrived with another {field}", code="demo_payload_differs")
        self._tell(
            f"{self._receiver.name} received {_quoted(content['title'])} from {safe(received.author_name)}, "
            f"its signature checked: {_short(content['description'])}"
        )
        options = " / ".join(_short(option) for option in content["options"]) or "yes / no / abstain"
        self._tell(f"{self._receiver.name} can choose between: {options}")

    def _message_acknowledged(self) -> None:
        words = f"{self._receiver.name} read your proposal and would like to talk about it on Thursday."
        acknowledged = self._receiver.client.send(
            self._publisher.name, PRIVATE_TYPE, words, wait="handled", timeout_ms=int(ARRIVAL_S * 1000)
        )
        arriving = self._publisher.client.follow_messages(PRIVATE_TYPE, 100, silence_s=ARRIVAL_S)
        received = _arrived(arriving, acknowledged.id, self._publisher.name)
        if received.payload != words:
            raise Failed("the direct message arrived with other words", code="demo_payload_differs")
        self._tell(
            f"{self._publisher.name} received directly from {safe(received.author_name)}: {_quoted(received.payload)}"
        )
        self._tell(
            f"{self._receiver.name} has the acknowledgement: {acknowledged.state} "
            f"after {duration(acknowledged.elapsed_ms)} (message {acknowledged.id[:8]})"
        )

    def _peers(self) -> None:
        connected = [peer for peer in self._publisher.client.peers() if peer.connected]
        if not connected:
            raise Failed(f"{self._publisher.name} lost its peer", code="demo_not_connected")
        listed = "; ".join(f"{safe(peer.name)} {safe(peer.state)}, {_distance(peer)}" for peer in connected)
        self._tell(f"Peers of {self._publisher.name}: {listed}")

    def _gossip_log(self) -> None:
        entries = self._receiver.client.gossip_log(PROPOSAL_TYPE, 100)
        if not entries:
            raise Failed(f"{self._receiver.name} has nothing in its gossip log", code="demo_log_empty")
        listed = "; ".join(
            f"{safe(each.direction)} {safe(each.type)} of {safe(each.author_name)}, "
            f"{size(each.size_bytes)}, {safe(each.verdict)}"
            for each in entries
        )
        self._tell(f"Gossip log of {self._receiver.name}: {listed}")

    def _stats(self) -> None:
        counters = self._receiver.client.stats()
        self._tell(f"Stats of {self._receiver.name}: {_counted(counters)}")

    def _both_stop(self) -> None:
        nodes = (self._publisher, self._receiver)
        for wait in [node.client.begin_stop() for node in nodes]:
            wait()
        for node in nodes:
            if (code := node.exit_code()) != 0:
                raise Failed(f"{node.name} stopped with exit code {code}", code="demo_node_failed")


def _arrived(lines: Iterator[schema.MessageLine], message_id: str, name: str) -> schema.Received:
    """The message with this id. Raises `TimedOut` when nothing more comes, `Failed` when the node ends first."""
    for line in lines:
        if line.message.id == message_id:
            return line.message
    raise Failed(f"{name} stopped before the message arrived", code="demo_node_failed")


def _distance(peer: schema.Peer) -> str:
    return "round trip not measured yet" if peer.round_trip_ms is None else f"round trip {duration(peer.round_trip_ms)}"


def _counted(stats: Mapping[str, Any]) -> str:
    ways = (
        f"{way} {traffic['messages']} {direction} ({size(traffic['bytes'])})"
        for way, directions in stats["messages"].items()
        for direction, traffic in directions.items()
        if traffic["messages"]
    )
    dropped = sum(stats["dropped"].values())
    return f"{', '.join(ways)}, dropped {dropped}, up {duration(stats['uptime_s'] * 1000)}"


def _short(value: object) -> str:
    text = as_text(value)
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


def _quoted(value: object) -> str:
    return f"“{_short(value)}”"
