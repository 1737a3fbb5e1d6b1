"""The bounds of the simulated network: those of the native core, so that what fits here fits there.

Their reasons are told in `native/core/src/limits.rs`, under the same names without the unit, and a test holds the two
together. Below them stand those that the simulation adds.
"""

from __future__ import annotations

JOIN_FRAME_BYTES = 4096
JOIN_HELLO_BYTES = JOIN_FRAME_BYTES - 1
JOIN_REASON_BYTES = 256
JOIN_DEADLINE_S = 5.0
JOIN_TALK_BYTES = 64 * 1024
JOIN_TALK_GRANTED_BYTES = 16 * 1024 * 1024
JOIN_TALK_LEAST_BYTES = 64
JOIN_TALK_UNSENT_BYTES = 1024 * 1024
JOIN_TALK_DEADLINE_S = 30.0
REFUSAL_DEADLINE_S = 1.0
STRANGERS_INBOUND = 16
CONNECTIONS_PER_PEER = 4

GOSSIP_ENVELOPE_BYTES = 68 * 1024
GOSSIP_QUEUE_MESSAGES = 8192
GOSSIP_QUEUE_BYTES = 32 * 1024 * 1024
GOSSIP_AWAITING = 65_536
GOSSIP_TOPICS_PER_PEER = 64
PENALTIES = 4096
PENALTY_MOST = 1000.0

STREAM_FRAME_BYTES = 1024 * 1024 + 64 * 1024
STREAM_BUFFER_BYTES = 1024 * 1024
STREAM_BATCH_BYTES = STREAM_BUFFER_BYTES + STREAM_FRAME_BYTES
STREAM_OPEN_DEADLINE_S = 10.0
STREAM_CLOSE_DEADLINE_S = 5.0
FIRST_FRAME_DEADLINE_S = 10.0
STREAMS_PER_CONNECTION = 16

# --- the simulation's own ---

VERDICT_DEADLINE_S = 30.0
"""How long a message waits for a verdict before it is ignored. Handlers answer within two seconds; nobody waits for
this one."""

GOSSIP_SEEN = 65_536
"""Gossip ids remembered against duplicates: as many as may wait for a verdict."""

GOSSIP_IN_FLIGHT = 16_384
"""Gossip under way on one connection, one way. A slow link under a fast publisher loses the rest, as a full send
queue does."""

INVALID_MESSAGE_PENALTY = 10.0
"""What one invalid message costs its carrier. Ten in a row, and it is cut off: gossipsub's squared count (P4) reaches
its threshold with the tenth too."""

CUT_OFF_PENALTY = 100.0
"""The penalty at which a peer is disconnected and its gossip no longer looked at: gossipsub's graylist threshold."""

PENALTY_HALF_LIFE_S = 60.0
"""Half of a penalty is forgotten in this time, as in the core."""

RETRANSMISSIONS = 8
"""How often in a row one packet can be lost before it arrives all the same: a reliable stream turns loss into delay,
and the delay stays bounded."""

RETRANSMISSION_MIN_S = 0.2
"""The least delay that one loss costs a reliable stream: TCP's usual lower bound for its retransmission timer."""
