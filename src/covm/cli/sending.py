"""`covm federation send-msg`: what is sent, what has become of it, and what one may expect."""

from __future__ import annotations

from typing import Literal

from covm.cli.durations import milliseconds
from covm.cli.message_argument import AsText, MessageArgument, read_message
from covm.cli.options import DEFAULT, Common
from covm.cli.output import note, safe, say, say_json
from covm.cli.rendering import duration, moment
from covm.control import schema
from covm.control.client import ControlClient
from covm.control.failures import TimedOut

SHORT_ID = 8
"""Digits of a message id in a sentence: one in four billion, and a command takes them for the whole."""


def send_msg(
    peer: str,
    type: str,
    message: MessageArgument,
    /,
    *,
    wait: Literal["queued", "stored", "handled"] = "stored",
    timeout: str = "30s",
    time_to_live: str | None = None,
    text: AsText = False,
    common: Common = DEFAULT,
) -> None:
    """Send a message to one peer, which need not be connected, and wait for its acknowledgement.

    It is on this node's disk before anything is waited for, and is tried until it arrives, whatever becomes of this
    command.

    Parameters
    ----------
    peer
        A peer id, the beginning of one, or a name.
    type
        The message's type, such as private.message.
    message
        JSON or text; `-` reads standard input, `@FILE` a file. At most 1 MiB; see `send-file` for more.
    wait
        For what: that it is on this node's disk (queued), on the peer's (stored), or that a handler there has dealt
        with it (handled). Only who waits for handled learns whether it was refused there.
    timeout
        How long to wait, such as 10s or 1m; then the exit code is 6, and the message is still under way.
    time_to_live
        How long the message is tried, such as 1h or 7d; otherwise as configured (message_time_to_live).
    text
        Send it as text, even if it looks like JSON.
    """
    timeout_ms = milliseconds(timeout, "--timeout")
    lifetime_ms = None if time_to_live is None else milliseconds(time_to_live, "--time-to-live")
    payload = read_message(message, as_text=text, may_ask=not common.no_input)
    client = ControlClient(common.folder)
    answer = client.send(peer, type, payload, wait="queued", timeout_ms=timeout_ms, time_to_live_ms=lifetime_ms)
    if wait != "queued":
        answer = _waited(client, answer, wait, timeout_ms, quiet=common.json)
    if common.json:
        say_json(answer)
    else:
        say(_told(answer))


def _waited(
    client: ControlClient, queued: schema.Sent, wait: Literal["stored", "handled"], timeout_ms: int, *, quiet: bool
) -> schema.Sent:
    try:
        # Within: who reads this sentence may press Ctrl-C at once.
        if not quiet and not queued.connected:
            note(f"{_told(queued)}; waiting for it {duration(timeout_ms)}")
        return client.wait(queued.id, wait, timeout_ms)
    except TimedOut as error:
        is_stored = error.details.get("state") == "stored"
        raise TimedOut(
            (_undealt if is_stored else _underway)(queued, wait, duration(timeout_ms)),
            code=error.code,
            details={**error.details, "message_id": queued.id, "expires_at": queued.expires_at},
        ) from error
    except KeyboardInterrupt:
        note(f"{_short(queued.id)} stays under way; `covm federation outbox show {_short(queued.id)}` shows it")
        raise


def _underway(queued: schema.Sent, wait: str, waited: str) -> str:
    """What to expect of a message that the peer has not acknowledged."""
    return (
        f"{_short(queued.id)} is not {wait} yet, after {waited}{_offline(queued)}; it is still under way until "
        f"{moment(queued.expires_at)} and need not be sent again: `covm federation outbox show {_short(queued.id)}` "
        "shows it"
    )


def _undealt(queued: schema.Sent, wait: str, waited: str) -> str:
    """What to expect of one that it has: from there on only what happens there counts, not how long it was tried."""
    return (
        f"{_short(queued.id)} is not {wait} yet, after {waited}: it is stored by {_name(queued)}, and nobody there has "
        "dealt with it; it need not be sent again: "
        f"`covm federation outbox show {_short(queued.id)}` tells what becomes of it, and "
        f"`covm federation inbox show {_short(queued.id)}` there what it waits for"
    )


def _told(answer: schema.Sent) -> str:
    if answer.state != "queued":
        told = f"{answer.state} by {_name(answer)} after {duration(answer.elapsed_ms)}"
        return f"{told}: {answer.type} {answer.id}"
    return f"queued {_short(answer.id)}{_offline(answer)}; will keep trying until {moment(answer.expires_at)}"


def _offline(answer: schema.Sent) -> str:
    """Why it may take a while; nothing when the peer is connected."""
    if answer.connected:
        return ""
    if answer.offline_since is None:
        return f"; {_name(answer)} is not connected"
    return f"; {_name(answer)} has been offline since {moment(answer.offline_since)}"


def _name(answer: schema.Sent) -> str:
    return safe(answer.peer_name) or answer.peer


def _short(message_id: str) -> str:
    return message_id[:SHORT_ID]
