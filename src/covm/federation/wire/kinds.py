"""The kinds of signed content. A kind is part of what is signed, so one never passes for another."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """Payload types of signed envelopes (libp2p RFC 0002) in the domain `covm-federation-v1`."""

    MESSAGE = "/covm/message"
