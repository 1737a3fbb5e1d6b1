"""What is published of durable types: it becomes records, which reach also who is away.

Nothing of it is gossiped: peers hear that there is something new of the type, and fetch it. What a transaction leaves
behind is in the store, and leaves it in the commit in which it becomes a record: once, whatever fails.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from covm import _native
from covm.federation.allowed import require
from covm.federation.clock import Random
from covm.federation.counters import Counters
from covm.federation.errors import AccessError, InvalidMessage, MessageTooLarge, StoreError
from covm.federation.gossip.protocol import PublishedMessage
from covm.federation.identity.roles import Action, TypeRule
from covm.federation.ports import Membership
from covm.federation.supervisor import Supervisor
from covm.federation.sync.scribe import Scribe, Write
from covm.federation.wire.limits import MID_SIZE, SALT_SIZE
from covm.federation.wire.message import payload_size
from covm.federation.wire.names import is_system_type
from covm.federation.wire.record import encode_record_body
from covm.federation.wire.record_key import key_problem
from covm.federation.wire.registry import TypeRegistry

if TYPE_CHECKING:
    from covm.federation.store.interface import Store, Transaction

logger = logging.getLogger("covm.federation")

AT_ONCE: Final = 256
"""Publications of transactions that are written together: as many as share a commit."""

PAUSE_S: Final = 1.0
"""Before what the store did not take is tried again."""

_ENVELOPE_BYTES: Final = len(encode_record_body(bytes(SALT_SIZE), None)) - 1
"""What a record's body has around its value."""


class Staged(NamedTuple):
    """What a transaction has left to be published."""

    id: int
    type: str
    key: str
    payload: Any


class Recorder:
    """The `Recording` of a node."""

    def __init__(
        self,
        *,
        registry: TypeRegistry,
        membership: Membership,
        rule: Callable[[str], TypeRule],
        peer_id: str,
        scribe: Scribe,
        connected: Callable[[], list[str]],
        store: Store,
        random: Random,
        counters: Counters,
    ) -> None:
        self._registry = registry
        self._membership = membership
        self._rule = rule
        self._peer_id = peer_id
        self._scribe = scribe
        self._connected = connected
        self._store = store
        self._random = random
        self._counters = counters
        self._wake = asyncio.Event()

    def start(self, supervisor: Supervisor) -> None:
        """Begins to publish what transactions left, also before a restart. Once the scribe can write."""
        supervisor.keep(self._run, "publishing what transactions left")

    def look(self) -> None:
        """A transaction left something."""
        self._wake.set()

    def is_durable(self, type_name: str) -> bool:
        """Whether what is published of a type is a record: as the charter says, else as the type was registered."""
        if is_system_type(type_name):
            return False
        agreed = self._membership.durable(type_name)
        return self._registry.is_durable(type_name) if agreed is None else agreed

    def on_demand(self) -> set[str]:
        """Types of which bodies are fetched when somebody looks: not durable ones, whose handlers look at all."""
        return {name for name in self._registry.on_demand() if not self.is_durable(name)}

    def key_for(self, type_name: str, payload: object, limit_bytes: int) -> str:
        """The key of the record that a payload becomes.

        Raises `NotAMember`, `NotAuthorized`, `MessageTooLarge`, `InvalidMessage` where it cannot become one.
        """
        require(self._membership, self._peer_id, Action.WRITE, type_name)
        rule = self._rule(type_name)
        _require_size(type_name, payload, min(limit_bytes, rule.size_limit_bytes - _ENVELOPE_BYTES))
        owner = (self._membership.member_of(self._peer_id) or "") if rule.writers == "owner" else ""
        key = self._registry.key_of(type_name, payload)
        if key is None:
            mid = self._random.bytes(MID_SIZE).hex()
            return f"{owner}/{mid}" if owner else mid
        if (problem := key_problem(key)) is not None:
            raise InvalidMessage(type_name, f"payload.{self._key_field(type_name)}", f"it is the key, and {problem}")
        if not key.startswith(owner):
            why = f"is the key, which has to begin with this node's member id, {owner}"
            raise InvalidMessage(type_name, f"payload.{self._key_field(type_name)}", why)
        return key

    def require_room(self, type_name: str, records: int, size_bytes: int) -> None:
        """Raises `QuotaExceeded` where so many more of a type, of so many bytes, are too much. On any thread."""
        self._scribe.require_room(type_name, records, size_bytes)

    async def publish(self, type_name: str, payload: object, limit_bytes: int) -> PublishedMessage:
        """Writes the record; it is on disk when this returns. Raises as `key_for`, `QuotaExceeded` and `StoreError`."""
        key = self.key_for(type_name, payload, limit_bytes)
        written = await self._scribe.write(Write(type_name, key, "put", payload, None))
        readers = [peer for peer in self._connected() if self._membership.may(peer, Action.READ, type_name).holds]
        return PublishedMessage(str(written.record.id), len(readers))

    def _key_field(self, type_name: str) -> str:
        description = self._registry.get(type_name)
        return description.key if description is not None else ""

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            try:
                # A write, so that it comes behind what is being written.
                staged = await self._store.write(_load)
                await self._record(staged)
            except StoreError as error:
                logger.warning("what transactions published is not written yet: %s", error)
                await asyncio.sleep(PAUSE_S)
                continue
            if len(staged) < AT_ONCE:
                await self._wake.wait()

    async def _record(self, staged: Sequence[Staged]) -> None:
        """Raises `StoreError`; some may be written all the same."""
        writes = (
            Write(
                each.type,
                each.key,
                "put",
                each.payload,
                None,
                also=partial(_remove, staged_id=each.id),
                is_promised=True,
            )
            for each in staged
        )
        outcomes = await asyncio.gather(*map(self._scribe.write, writes), return_exceptions=True)
        for each, outcome in zip(staged, outcomes, strict=True):
            if isinstance(outcome, AccessError | InvalidMessage | MessageTooLarge):
                self._counters.drop("publication_refused")
                logger.error("what a transaction published of %s is given up: %s", each.type, outcome)
                await self._store.write(partial(_remove, staged_id=each.id))
        for outcome in outcomes:
            if isinstance(outcome, BaseException) and not isinstance(
                outcome, AccessError | InvalidMessage | MessageTooLarge
            ):
                raise outcome


def _require_size(type_name: str, payload: object, limit_bytes: int) -> None:
    try:
        size = payload_size(payload)
    except _native.EncodeError as error:
        path = f"payload.{error.path}" if error.path else "payload"
        raise InvalidMessage(type_name, path, str(error).removeprefix(f"{error.path}: ")) from None
    if size > limit_bytes:
        raise MessageTooLarge(f"the payload of {type_name}", size, limit_bytes)


def _load(tx: Transaction) -> list[Staged]:
    rows = tx.execute(
        "SELECT id, type, key, payload FROM covm_staged_records ORDER BY id LIMIT :limit", {"limit": AT_ONCE}
    )
    return [Staged(at, name, key, _native.decode(bytes(payload))) for at, name, key, payload in rows]


def _remove(tx: Transaction, staged_id: int) -> None:
    tx.execute("DELETE FROM covm_staged_records WHERE id = :id", {"id": staged_id})
