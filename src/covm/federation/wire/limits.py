"""Every bound on what travels, each with its reason."""

from __future__ import annotations

from datetime import timedelta

MAX_GOSSIP_BODY = 64 * 1024
"""Bytes of an encoded payload that may be gossiped: each member's node forwards it to several others."""

MAX_DIRECT_PAYLOAD = 1024 * 1024
"""Bytes of an encoded payload sent directly: one message must not hold up a stream for long."""

MAX_FRAME = MAX_DIRECT_PAYLOAD + 64 * 1024
"""Bytes of one frame of the direct stream: the largest message with its body, envelope and frame around it."""

MAX_BODY_OVERHEAD = 1024
"""Bytes that a body adds to its payload, at most: eleven short keys, a type name, two peer ids, a CID, integers."""

MAX_FRAME_MESSAGES = 4096
"""Envelopes in one frame: the smallest envelope has some 400 bytes, so more do not fit in `MAX_FRAME`."""

MAX_FRAME_OUTCOMES = 4096
"""Outcomes in one frame: as many as one frame of messages can ask for."""

MAX_UNKNOWN_KIND = 32
"""Characters kept of the kind of a frame that this node does not know: enough for a log."""

MAX_JOIN_HELLO = 4095
"""Bytes of our HELLO to strangers: the join stream's frames have 4 KiB, one of them for the frame's kind."""

MAX_PROCESS = 16
"""Bytes by which a node's process calls itself: enough that no two ever draw the same."""

MAX_JOIN_TALK = 4095
"""Bytes of one TALK frame of the join stream, before the decision: a frame of 4 KiB without its kind."""

MAX_JOIN_TALK_AT_ONCE = 1024 * 1024
"""Bytes of TALK frames that may wait to be written on one connection, and so at once."""

MIN_JOIN_TALK_COUNTED = 64
"""Bytes that a TALK frame counts as, however small: each is an event to handle."""

MAX_TYPE_NAME = 128
"""Characters of a message type's name: shown in tables, kept in counters."""

MAX_TYPES = 1024
"""Registered types of one node: the registry's digest and the counters by type stay small."""

MAX_PEER_ID = 64
"""Characters of a peer id: an Ed25519 one in base58 has 52."""

MAX_NETWORK_NAME = 64
"""Characters of a network's name: people tell it each other."""

MAX_NAME = 64
"""Characters of a node's shown name: one column of a table."""

MAX_AGENT = 64
"""Characters of a program's name and version."""

MAX_REASON = 256
"""Characters of a reason given to another node: a sentence, for a log."""

MAX_ADDRESSES = 32
"""Addresses that a node says of itself: several interfaces with several transports each."""

MAX_ADDRESS = 256
"""Characters of one multiaddr: a relayed one with two peer ids has some 200."""

MAX_CAPABILITIES = 32
"""Capabilities that a node says it has."""

MAX_CAPABILITY = 64
"""Characters of one capability."""

DIGEST_SIZE = 32
"""Bytes of a SHA-256 digest."""

MID_SIZE = 16
"""Bytes of a message id: random, so that nobody has to count."""

NONCE_SIZE = 8
"""Bytes that tell two incarnations of one number apart."""

MAX_INTEGER = 2**63 - 1
"""Largest sequence or incarnation number: what a signed 64-bit column holds."""

MAX_TIME_MS = 253_402_300_799_999
"""Latest time, in milliseconds: the end of the year 9999, the last that a calendar date can show."""

MAX_COUNTER = 2**32 - 1
"""Highest counter of a hybrid logical clock: no honest node writes so much in one millisecond. Whoever has to be ahead
of it goes on with the next millisecond, so a record with a full counter is in nobody's way."""

MAX_RECORD_KEY = 256
"""Characters of a record's key: a path of names and ids, shown in one line."""

MAX_PARENTS = 128
"""Entries that a record is based on: eight authors with all the heads that a log may leave of one key."""

SALT_SIZE = 16
"""Bytes that keep an erased short value, or two bodies that say the same, from being told by their ids."""
MAX_NODES = 64
"""Nodes of one member: a machine for each of its shops, and room to replace them."""

MAX_IDENTITY_DEPTH = 4096
"""Entries of an identity log behind one another: a change a week for eighty years."""

MAX_IDENTITY_BYTES = 8 * 1024 * 1024
"""Bytes of entries behind one another, rotations and recoveries aside: every node holds every member's log."""

MAX_CUT = 4096
"""Logs that a cut lists: the envelope around as many has less than half of the largest size."""

MAX_ROLES = 64
"""Roles of a charter, and of one member."""

MAX_ROLE_NAME = 32
"""Characters of a role's name: a word or two."""

MAX_PATTERNS = 256
"""Type patterns that a role lists for one action."""

MAX_FOUNDERS = 64
"""Founders of a federation: all of them sign the charter by hand."""

MAX_CHARTER_TYPES = 256
"""Types with a rule in the charter; credentials add others."""

MAX_AFTER = 64
"""Removals that a re-admission overrides."""

MAX_RESOLVER_NAME = 64
"""Characters of a resolver's name."""

MAX_TIME_TO_LIVE = timedelta(days=30)
"""The longest that a message may be under way: message ids are remembered for a day more."""


def clamped_ms(time_ms: int) -> int:
    """The nearest time that may travel: a clock that is decades wrong must not make what we send malformed."""
    return min(max(time_ms, 0), MAX_TIME_MS)
