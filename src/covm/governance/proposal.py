"""`governance.proposal`: something that members are asked to decide."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct, field

from covm.federation.wire.message_type import message_type

# Room for a real proposal, and far below the 64 KiB of a gossiped message when all of it is used in one language's
# longest letters: 8,000 + 32 x 200 characters of four bytes each.
_Id = Annotated[str, Meta(min_length=1, max_length=128)]
_Title = Annotated[str, Meta(min_length=1, max_length=200)]
_Text = Annotated[str, Meta(max_length=8_000)]
_Options = Annotated[list[Annotated[str, Meta(min_length=1, max_length=200)]], Meta(max_length=32)]


@message_type("governance.proposal")
class Proposal(Struct, frozen=True, kw_only=True):
    """A proposal as it is published; what members answer to it are messages of their own."""

    id: _Id
    """Chosen by the author, unique among the author's proposals, as in `solar-roof-2030`."""
    title: _Title
    """What is shown in lists, 1 to 200 characters."""
    description: _Text = ""
    """The whole text, up to 8,000 characters."""
    author: _Id
    """Who proposes, as people know them. Which node published it is proven by `Message.author`."""
    options: _Options = []
    """What can be chosen; empty when the answer is yes, no or abstain."""
    created_at: Annotated[int, Meta(ge=0)]
    """Milliseconds since 1970-01-01 UTC."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """Whatever else the cooperatives agreed on. No floats: amounts are integers in minor units."""
