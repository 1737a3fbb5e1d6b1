"""What is not allowed, and keys that cannot be used."""

from __future__ import annotations

from dataclasses import dataclass

from covm.federation.errors.root import FederationError
from covm.federation.wire.display import shown


class AccessError(FederationError):
    """Not allowed."""


@dataclass(eq=False)
class PeerBanned(AccessError):
    """This node has banned the peer."""

    peer: str
    reason: str
    until: str

    def __str__(self) -> str:
        why = f" ({self.reason})" if self.reason else ""
        return f"peer {self.peer} is banned until {self.until}{why}; lift it with `covm federation unban`"


@dataclass(eq=False)
class NotAdmitted(AccessError):
    """A peer answered, and one side refused the other. `by` is the peer id of the side that refused."""

    peer: str
    by: str
    why: str

    def __str__(self) -> str:
        side = "it refused this node" if self.by == self.peer else "this node refused it"
        return f"peer {self.peer} was reached, but {side}: {self.why}"


@dataclass(eq=False)
class NotAuthorized(AccessError):
    """The act is not allowed here."""

    what: str
    why: str

    def __str__(self) -> str:
        return f"{self.what} is not allowed: {self.why}"


@dataclass(eq=False)
class NotAMember(AccessError):
    """This node, or who is meant, is no member of the federation."""

    why: str

    def __str__(self) -> str:
        return self.why


@dataclass(eq=False)
class UnknownMember(AccessError):
    """No member, or no request, is called so; or several are (`fitting`: their ids)."""

    member: str
    fitting: tuple[str, ...] = ()
    what: str = "member"

    def __str__(self) -> str:
        if self.fitting:
            several = ", ".join(self.fitting)
            return f"{len(self.fitting)} of them fit {shown(self.member)!r}: {several}; give more of the id"
        return f"no {self.what} is called {shown(self.member)!r} here; see `covm federation {self.what}s`"


@dataclass(eq=False)
class IdentityError(FederationError):
    """A key file cannot be used, or a folder of them.

    `code`: missing, exists, permissions, owner, symlink, damaged, changed, unfinished, io.
    """

    path: str
    code: str
    why: str

    def __str__(self) -> str:
        return self.why


class PassphraseNeeded(IdentityError):
    """The key file is encrypted, and no passphrase was given. Its `code` is passphrase_needed."""


class WrongPassphrase(IdentityError):
    """The key file is whole, and encrypted with another passphrase. Its `code` is wrong_passphrase."""
