"""The control API's requests about messages under way."""

from __future__ import annotations

import time
from datetime import timedelta

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from covm.control import delivery, schema
from covm.control.failures import Invalid, NotFound, Refused
from covm.daemon import delivery_answers as answers
from covm.daemon.message_ids import SHOWN_MATCHES, find_id
from covm.daemon.node import RunningNode, now_ms
from covm.daemon.requests import answer, limit_of, node_of, read, since
from covm.federation import Receipt

QUARANTINED = "quarantined"

MATCHES = SHOWN_MATCHES + 1
"""Ids of one beginning that are looked for: enough to say that there are more than are shown."""


async def send(request: Request) -> Response:
    node, asked = node_of(request), await read(request, schema.Send)
    peer = node.find_anyone(asked.peer)
    began = time.monotonic()
    lifetime = None if asked.time_to_live_ms is None else timedelta(milliseconds=asked.time_to_live_ms)
    receipt = await node.service.send_direct(peer, asked.type, asked.payload, time_to_live=lifetime)
    node.sent_lately.hold(receipt)
    await _reached(receipt, asked.wait, asked.timeout_ms)
    elapsed_ms = since(began)
    return answer(answers.sent(node, await node.service.outbox.show(receipt.id), asked.wait, elapsed_ms))


async def wait(request: Request) -> Response:
    node, asked = node_of(request), await read(request, delivery.Wait)
    message_id = await _outgoing_id(node, asked.id)
    receipt = node.sent_lately.get(message_id) or await node.service.receipt(message_id)
    await _reached(receipt, asked.wait, asked.timeout_ms)
    message = await node.service.outbox.show(receipt.id)
    return answer(answers.sent(node, message, asked.wait, max(now_ms() - message.queued_at_ms, 0)))


async def outbox(request: Request) -> Response:
    node, limit = node_of(request), limit_of(request)
    peer, state = request.query_params.get("peer"), request.query_params.get("state")
    if state is not None and state not in delivery.OUTBOX_STATES:
        known = ", ".join(delivery.OUTBOX_STATES)
        raise Invalid(f"{state!r} is no state of a message; the states are {known}", code="bad_state")
    whom = None if peer is None else node.find_anyone(peer)
    found = await node.service.outbox.listed(whom, state, limit) if limit else []
    return answer(delivery.Outbox(messages=[answers.outgoing(node, message) for message in found]))


async def outbox_message(request: Request) -> Response:
    node = node_of(request)
    return await _outgoing(node, await _outgoing_id(node, request.path_params["id"]))


async def retry(request: Request) -> Response:
    node, asked = node_of(request), await read(request, delivery.OnMessage)
    message_id = await _outgoing_id(node, asked.id)
    node.sent_lately.hold(await node.service.outbox.retry(message_id))
    return await _outgoing(node, message_id)


async def cancel(request: Request) -> Response:
    node, asked = node_of(request), await read(request, delivery.OnMessage)
    message = await node.service.outbox.cancel(await _outgoing_id(node, asked.id))
    if message.state != "cancelled":
        # What the receiver just said may not be on our own disk yet.
        state = "stored" if message.state == "queued" else message.state
        raise Refused(
            f"message {message.id} is {state} and cannot be called back: only what is queued is given up",
            code="not_queued",
            details={"message_id": message.id, "state": state},
        )
    return answer(delivery.Outgoing(message=answers.outgoing(node, message)))


async def inbox(request: Request) -> Response:
    return await _listed(request, None)


async def inbox_message(request: Request) -> Response:
    node = node_of(request)
    found = await node.service.inbox.show(await _incoming_id(node, request.path_params["id"]))
    return answer(delivery.Incoming(message=answers.incoming(node, found)))


async def quarantine(request: Request) -> Response:
    return await _listed(request, QUARANTINED)


async def quarantined(request: Request) -> Response:
    node = node_of(request)
    found = await node.service.inbox.show(await _incoming_id(node, request.path_params["id"]))
    if found.state != QUARANTINED:
        raise NotFound(
            f"message {found.id} is {found.state}, not quarantined; `covm federation quarantine` lists what is",
            code="not_quarantined",
            details={"message_id": found.id, "state": found.state},
        )
    return answer(delivery.Incoming(message=answers.incoming(node, found)))


async def retry_quarantined(request: Request) -> Response:
    node, asked = node_of(request), await read(request, delivery.OnMessage)
    found = await node.service.inbox.retry(await _incoming_id(node, asked.id))
    return answer(delivery.Incoming(message=answers.incoming(node, found)))


async def discard(request: Request) -> Response:
    node, asked = node_of(request), await read(request, delivery.OnMessage)
    found = await node.service.inbox.discard(await _incoming_id(node, asked.id))
    return answer(delivery.Incoming(message=answers.incoming(node, found)))


async def _listed(request: Request, state: str | None) -> Response:
    node, limit = node_of(request), limit_of(request)
    found = await node.service.inbox.listed(state=state, limit=limit) if limit else []
    return answer(delivery.Inbox(messages=[answers.incoming(node, entry) for entry in found]))


async def _outgoing(node: RunningNode, message_id: str) -> Response:
    message = await node.service.outbox.show(message_id)
    return answer(delivery.Outgoing(message=answers.outgoing(node, message)))


async def _outgoing_id(node: RunningNode, text: str) -> str:
    """The whole id of a message in the outbox. Raises `NotFound`, `Invalid`."""
    return find_id(text, await node.service.outbox.ids_from(text.strip(), MATCHES), "message", "outbox")


async def _incoming_id(node: RunningNode, text: str) -> str:
    """The whole id of a message in the inbox. Raises `NotFound`, `Invalid`."""
    return find_id(text, await node.service.inbox.ids_from(text.strip(), MATCHES), "message", "inbox")


async def _reached(receipt: Receipt, wanted: str, timeout_ms: int) -> None:
    timeout = timedelta(milliseconds=timeout_ms)
    if wanted == "stored":
        await receipt.stored(timeout=timeout)
    elif wanted == "handled":
        await receipt.handled(timeout=timeout)


ROUTES = [
    Route("/v1/send", send, methods=["POST"]),
    Route("/v1/wait", wait, methods=["POST"]),
    Route("/v1/outbox", outbox),
    Route("/v1/outbox/retry", retry, methods=["POST"]),
    Route("/v1/outbox/cancel", cancel, methods=["POST"]),
    Route("/v1/outbox/{id:path}", outbox_message),
    Route("/v1/inbox", inbox),
    Route("/v1/inbox/{id:path}", inbox_message),
    Route("/v1/quarantine", quarantine),
    Route("/v1/quarantine/retry", retry_quarantined, methods=["POST"]),
    Route("/v1/quarantine/discard", discard, methods=["POST"]),
    Route("/v1/quarantine/{id:path}", quarantined),
]
