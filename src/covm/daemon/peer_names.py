"""Whom a person means: a peer's id, its member's id, the peer's name, or a unique beginning of one of them.

Names are claims that any peer may make, so a peer's id or a beginning of one always goes before a name, and what two
peers claim, or one claims that is the beginning of another's name or of its member's id, names neither.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from covm.control.failures import Invalid, NotFound
from covm.federation.membership.finding import begins, is_called

ED25519_PREFIX = "12D3KooW"
"""How every peer id of an Ed25519 key begins in base58; people leave it out."""

SHOWN_MATCHES = 8
"""Peers that an ambiguity names: enough to choose from, no flood."""


def find_peer(
    text: str,
    names: Mapping[str, str],
    members: Mapping[str, str] | None = None,
    taking_part: Collection[str] = (),
) -> str:
    """The full id of the one peer that `text` means, among `names` (id to name); `members` has whose each is.

    Of several that are called alike it is the one that is `taking_part`: who was removed is sent nothing.

    Raises `NotFound` when there is none, `Invalid` listing them when there are several.
    """
    wanted = text.strip()
    if wanted in names:
        return wanted
    matches = [peer for peer in names if wanted and _begins(peer, wanted)]
    if not matches:
        of = members or {}
        matches = [
            peer
            for peer, name in names.items()
            if (name and is_called(name, wanted)) or (peer in of and begins(of[peer], wanted))
        ]
        if len(matches) > 1 and not any(peer in of and begins(of[peer], wanted) for peer in matches):
            matches = [peer for peer in matches if peer in taking_part] or matches
    if len(matches) == 1:
        return matches[0]
    if not matches:
        raise NotFound(
            f"no peer here is called {text!r}; see `covm federation peers`, or give the full peer id",
            code="unknown_peer",
            details={"peer": text},
        )
    listed = "; ".join(f"{peer} ({names[peer] or 'no name'})" for peer in sorted(matches)[:SHOWN_MATCHES])
    raise Invalid(
        f"{text!r} may mean {len(matches)} peers: {listed}; give more of the peer id",
        code="ambiguous_peer",
        details={"peer": text, "matches": sorted(matches)[:SHOWN_MATCHES]},
    )


def _begins(peer: str, beginning: str) -> bool:
    return peer.startswith(beginning) or peer.removeprefix(ED25519_PREFIX).startswith(beginning)
