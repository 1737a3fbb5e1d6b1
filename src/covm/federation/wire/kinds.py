"""The kinds of signed content. A kind is part of what is signed, so one never passes for another."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """Payload types of signed envelopes (libp2p RFC 0002) in the domain `covm-federation-v1`."""

    MESSAGE = "/covm/message"
    RECORD = "/covm/record"
    """A record's header."""
    IDENTITY = "/covm/identity"
    """An entry of a member's identity log."""
    CONSENT = "/covm/consent"
    """A node's word that it is a member's."""
    CHARTER = "/covm/charter"
    """A federation's charter, signed once by each founder."""
    CREDENTIAL = "/covm/credential"
    """An admission, a removal or a type, for electors to approve."""
    RELAY_GRANT = "/covm/relay-grant"
    """A member's word to relays that who holds an invite may be carried."""
    RELAY_PROOF = "/covm/relay-proof"
    """Its holder's word to one relay."""
