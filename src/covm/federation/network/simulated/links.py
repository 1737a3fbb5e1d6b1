"""Links between nodes: their faults, and the pipes that carry packets with them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from covm.federation.clock import Random
from covm.federation.network.simulated import limits
from covm.federation.network.simulated.packets import Gossip, Packet


@dataclass(frozen=True, slots=True)
class LinkFaults:
    """How a link between two nodes misbehaves, in both directions.

    `latency` is the time that every packet takes one way; `jitter` adds up to as much again, evenly spread; `loss`, at
    least 0 and below 1, is the share of packets lost. A lost gossip message is gone. Streams and the join exchange are
    reliable and in order: there a loss becomes the delay of another transmission. Raises `ValueError`.
    """

    latency: timedelta = timedelta(0)
    jitter: timedelta = timedelta(0)
    loss: float = 0.0

    def __post_init__(self) -> None:
        if self.latency < timedelta(0) or self.jitter < timedelta(0):
            raise ValueError(f"latency and jitter are not negative: {self.latency}, {self.jitter}")
        if not 0.0 <= self.loss < 1.0:
            raise ValueError(f"loss is at least 0 and below 1, not {self.loss}; to lose everything, cut the link")


class Link:
    """One link as packets meet it: the faults that hold now, drawn with the fabric's chance."""

    def __init__(self, faults: Callable[[], LinkFaults], random: Random) -> None:
        self._faults = faults
        self._random = random

    def delay_s(self) -> float:
        """How long the next packet takes, one way, with the retransmissions that loss costs it."""
        faults = self._faults()
        latency_s = faults.latency.total_seconds()
        delay_s = self._flight_s(faults)
        for _ in range(limits.RETRANSMISSIONS):
            if not self._lost(faults):
                break
            delay_s += max(2 * latency_s, limits.RETRANSMISSION_MIN_S)
        return delay_s

    def gossip_delay_s(self) -> float | None:
        """How long the next gossip message takes, or None if it is lost."""
        faults = self._faults()
        return None if self._lost(faults) else self._flight_s(faults)

    def _flight_s(self, faults: LinkFaults) -> float:
        jitter_s = faults.jitter.total_seconds()
        # No chance is drawn where nothing is left to it: adding a fault to one link leaves the others' traces alone.
        return faults.latency.total_seconds() + (self._random.uniform(0.0, jitter_s) if jitter_s else 0.0)

    def _lost(self, faults: LinkFaults) -> bool:
        return faults.loss > 0.0 and self._random.uniform(0.0, 1.0) < faults.loss


class Traffic:
    """How much is under way in a fabric, and who waits for it to end."""

    def __init__(self) -> None:
        self._count = 0
        self._begun = 0
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def under_way(self) -> int:
        return self._count

    @property
    def begun(self) -> int:
        """How much was ever begun: unchanged, nothing new has happened in between."""
        return self._begun

    def began(self) -> None:
        self._count += 1
        self._begun += 1

    def ended(self, count: int = 1) -> None:
        self._count -= count
        if self._count == 0:
            waiting, self._waiting = self._waiting, []
            for future in waiting:
                if not future.done():
                    future.set_result(None)

    async def idle(self) -> None:
        """Returns once nothing is under way."""
        if self._count:
            future = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            await future


class Pipe:
    """One direction of a connection: delivers packets in order, each after the link's delay and not before the last.

    What is due in one loop turn is delivered in one go, so that it becomes one batch at the receiver.
    """

    def __init__(self, link: Link, traffic: Traffic, deliver: Callable[[Packet], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._link = link
        self._traffic = traffic
        self._deliver = deliver
        self._flight: deque[tuple[float, Packet]] = deque()
        self._timer: asyncio.Handle | None = None
        self._gossip = 0

    def send(self, packet: Packet) -> bool:
        """Takes the packet; False only for gossip that was lost, or that the pipe has no more place for."""
        if isinstance(packet, Gossip):
            delay_s = self._link.gossip_delay_s() if self._gossip < limits.GOSSIP_IN_FLIGHT else None
            if delay_s is None:
                return False
            self._gossip += 1
        else:
            delay_s = self._link.delay_s()
        self._flight.append((self._loop.time() + delay_s, packet))
        self._traffic.began()
        if self._timer is None:
            self._arm()
        return True

    def sever(self) -> None:
        """Drops what is under way."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        dropped = len(self._flight)
        self._flight.clear()
        self._gossip = 0
        self._traffic.ended(dropped)

    def _arm(self) -> None:
        due = self._flight[0][0]
        if due <= self._loop.time():
            self._timer = self._loop.call_soon(self._arrive, due)
        else:
            self._timer = self._loop.call_at(due, self._arrive, due)

    def _arrive(self, armed_for: float) -> None:
        self._timer = None
        # A loop may wake a timer within its clock's resolution before it is due.
        until = max(armed_for, self._loop.time())
        while self._flight and self._flight[0][0] <= until:
            _, packet = self._flight.popleft()
            if isinstance(packet, Gossip):
                self._gossip -= 1
            self._deliver(packet)
            # After delivery: what the packet set off has begun by now, so the fabric is not idle in between.
            self._traffic.ended()
        if self._flight and self._timer is None:
            self._arm()
