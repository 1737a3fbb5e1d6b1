"""Frames by which nodes tell each other who is a member: one asks, the other answers with what the first lacks.

What two nodes hold of a membership (entries of identity logs, credentials, approvals) is compared by *buckets*: all
items whose id begins with the same byte, under one digest. An id here is the 32 bytes of hash in the CID.

    members_ask    buckets: 256 digests of 16 bytes · after: an id, to page on, or null · charter: whether it is wanted
    members_have   ids, sorted: those behind `after` in buckets that differ · more · charter: envelopes of the founders
    members_want   ids: of what the asker lacks
    members_give   entries, credentials, approvals: envelopes
    members_known  you are a member's: as far as I am concerned, come in
    relay_pass     grant, proof: envelopes; I want to be carried to who invited me, see `membership.passes`
    join_request   invite: its id · secret: 32 bytes · entries: the identity log of who wants to be let in

They travel as frames of the direct stream between admitted peers, and before admission in the join stream; there each
side admits the other when both have said `members_known`. A give that nobody asked for is news, and small.
"""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta, Struct

from covm.federation.wire.limits import DIGEST_SIZE, MAX_FOUNDERS
from covm.federation.wire.system import Digest

BUCKETS: Final = 256
"""Buckets of a membership: with ten thousand items each has forty."""

BUCKET_SIZE: Final = 16
"""Bytes of a bucket's digest: nobody finds two sets of items that share one."""

MAX_IDS: Final = 4096
"""Ids in one frame: 140 KiB."""

MAX_WANTED: Final = 512
"""Items asked for at once."""

MAX_GIVEN: Final = 512
"""Items in one frame."""

MAX_GIVEN_BYTES: Final = 768 * 1024
"""Bytes of envelopes in one frame, unless one alone is larger: with ids and keys it stays below a frame's limit."""

MAX_ITEM: Final = 512 * 1024
"""Bytes of one envelope: a removal with the longest cut has less than half of it."""

MAX_JOIN_ENTRIES: Final = 64
"""Entries of an identity log that asks to be let in: it need not be told all that happened since."""

MAX_JOIN_BYTES: Final = 48 * 1024
"""Bytes of their envelopes: what a stranger may say at all is 64 KiB."""

MAX_PASS: Final = 1024
"""Bytes of one envelope of a relay pass: each has some 300."""

INVITE_ID_SIZE: Final = 16
SECRET_SIZE: Final = 32

_Ids = Annotated[list[Digest], Meta(max_length=MAX_IDS)]
_Envelope = Annotated[bytes, Meta(min_length=1, max_length=MAX_ITEM)]
_Envelopes = Annotated[list[_Envelope], Meta(max_length=MAX_GIVEN)]


class MembersAsk(Struct, frozen=True, kw_only=True):
    """What do you hold that I do not?"""

    buckets: Annotated[bytes, Meta(min_length=BUCKETS * BUCKET_SIZE, max_length=BUCKETS * BUCKET_SIZE)]
    after: Annotated[bytes, Meta(min_length=DIGEST_SIZE, max_length=DIGEST_SIZE)] | None = None
    charter: bool = False


class MembersHave(Struct, frozen=True, kw_only=True):
    """Everything in the buckets that differ, behind `after`."""

    ids: _Ids = []
    more: bool = False
    charter: Annotated[list[_Envelope], Meta(max_length=MAX_FOUNDERS)] = []

    @property
    def size_bytes(self) -> int:
        """Bytes of what is in it."""
        return DIGEST_SIZE * len(self.ids) + sum(map(len, self.charter))


class MembersWant(Struct, frozen=True, kw_only=True):
    """Give me these."""

    ids: Annotated[list[Digest], Meta(min_length=1, max_length=MAX_WANTED)]


class MembersGive(Struct, frozen=True, kw_only=True):
    """Items, in any order."""

    entries: _Envelopes = []
    credentials: _Envelopes = []
    approvals: _Envelopes = []

    @property
    def count(self) -> int:
        """How many items are in it."""
        return len(self.entries) + len(self.credentials) + len(self.approvals)

    @property
    def size_bytes(self) -> int:
        """Bytes of what is in it."""
        return sum(len(envelope) for each in (self.entries, self.credentials, self.approvals) for envelope in each)


class MembersKnown(Struct, frozen=True):
    """I know you for a member's, and have no more questions."""


class JoinRequest(Struct, frozen=True, kw_only=True):
    """Let me in: I have an invite of yours."""

    invite: Annotated[bytes, Meta(min_length=INVITE_ID_SIZE, max_length=INVITE_ID_SIZE)]
    secret: Annotated[bytes, Meta(min_length=SECRET_SIZE, max_length=SECRET_SIZE)]
    entries: Annotated[list[_Envelope], Meta(min_length=1, max_length=MAX_JOIN_ENTRIES)]

    def __repr__(self) -> str:
        return f"JoinRequest(invite={self.invite.hex()}, {len(self.entries)} entries)"


class RelayPass(Struct, frozen=True, kw_only=True):
    """Carry me to who invited me: its word that you may, and mine that I am who it gave that to."""

    grant: Annotated[bytes, Meta(min_length=1, max_length=MAX_PASS)]
    proof: Annotated[bytes, Meta(min_length=1, max_length=MAX_PASS)]


MembershipFrame = MembersAsk | MembersHave | MembersWant | MembersGive | MembersKnown | JoinRequest | RelayPass
