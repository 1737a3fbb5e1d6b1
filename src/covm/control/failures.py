"""What can go wrong when a command is handed to a node: one tree, sorted by what the caller can do about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from covm.control.schema import Problem


class ControlError(Exception):
    """The command was not done. `code` names the error for programs, the text is for people."""

    kind = "failed"

    def __init__(self, message: str, *, code: str = "", details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.kind
        self.details: Mapping[str, Any] = details or {}


class Failed(ControlError):
    """It was tried and did not work; later it may."""

    kind = "failed"


class Invalid(ControlError):
    """What was asked makes no sense to the node: a bad address, type name, payload, or an ambiguous peer."""

    kind = "invalid"


class NoNode(ControlError):
    """No node runs on this home."""

    kind = "no_node"


class NotFound(ControlError):
    """The peer (or other thing) that was named is not known."""

    kind = "not_found"


class Refused(ControlError):
    """This node or the other one said no, and why."""

    kind = "refused"


class TimedOut(ControlError):
    """It did not happen in the time given; it may still."""

    kind = "timed_out"


KINDS: Mapping[str, type[ControlError]] = {
    error.kind: error for error in (Failed, Invalid, NoNode, NotFound, Refused, TimedOut)
}
"""The error of each kind, as failures travel."""

_KIND_OF: Mapping[str, str] = {
    "InvalidAddress": "invalid",
    "InvalidMessage": "invalid",
    "MessageTooLarge": "invalid",
    "UnknownMessageType": "invalid",
    "ConfigError": "invalid",
    "UnusableHome": "invalid",
    "UnknownPeer": "not_found",
    "UnknownMessage": "not_found",
    "UnknownMember": "not_found",
    "UnknownEntry": "not_found",
    "UnknownFork": "not_found",
    "NothingHeld": "not_found",
    "BrokenExport": "invalid",
    "FileUnusable": "invalid",
    "UnknownSyncType": "not_found",
    "AccessError": "refused",
    "MessageRefused": "refused",
    "NotRetriable": "refused",
    "QuotaExceeded": "refused",
    "DeliveryTimeout": "timed_out",
    "SyncStoreBusy": "timed_out",
}
"""Kinds of the federation's errors, by name, so that the light client needs none of their modules."""


_FOR_COMMANDS: Mapping[str, str] = {
    "PeerNotConnected": (
        "peer {peer} is not connected: {why}; connect with `covm federation connect ADDRESS`, or wait for it to return"
    ),
    "DeliveryTimeout": (
        "message {message_id} was not {awaited} within {timeout_s:g} s (it is {state}); it is still under way and need "
        "not be sent again: `covm federation outbox show {message_id}` tells what becomes of it"
    ),
    "UnknownMessageType": (
        "message type {type!r} is not registered; `covm federation types` lists those that are, and a name of your own "
        "carries JSON or text"
    ),
    "NotStarted": "the node is not running; start it with `covm federation start`",
    "AlreadyStarted": "the node was already started; stop it with `covm federation stop` first",
}
"""Sentences whose advice, as the federation gives it, is a call in Python: here it is a command."""


def problem_of(error: Exception) -> Problem:
    """An error of the federation, or one of ours, as it travels: what is not in the table has failed."""
    if isinstance(error, ControlError):
        return Problem(kind=error.kind, code=error.code, message=error.message, details=dict(error.details))
    names = [base.__name__ for base in type(error).__mro__]
    kind = next((_KIND_OF[name] for name in names if name in _KIND_OF), Failed.kind)
    fields = _fields(error)
    message = _FOR_COMMANDS[names[0]].format_map(fields) if names[0] in _FOR_COMMANDS else str(error)
    return Problem(kind=kind, code=_snake_case(names[0]), message=message, details=fields)


def _snake_case(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")


def _fields(error: Exception) -> dict[str, Any]:
    names = getattr(error, "__dataclass_fields__", {})
    return {name: msgspec.to_builtins(getattr(error, name), enc_hook=str) for name in names}
