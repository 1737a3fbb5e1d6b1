"""`covm federation join`: an invite is taken up."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from covm.cli.config_file import put
from covm.cli.durations import milliseconds
from covm.cli.federation_errors import as_failures
from covm.cli.home_work import home_keys
from covm.cli.options import DEFAULT, Common
from covm.cli.output import safe, say, say_json
from covm.control.failures import Invalid, Refused, TimedOut
from covm.control.home import prepare_home
from covm.control.schema import Versioned

if TYPE_CHECKING:
    from covm.daemon.joining import Outcome


class Joined(Versioned, kw_only=True, frozen=True):
    """What came of an invite. `pending`: founders have to approve it; the node goes on asking when it runs."""

    state: Literal["member", "pending"]
    name: str
    federation: str
    member: str
    roles: list[str]
    why: str


def join(
    link: str,
    /,
    *,
    as_: Annotated[str | None, Parameter(name="--as")] = None,
    timeout: str = "60s",
    passphrase_file: Path | None = None,
    common: Common = DEFAULT,
) -> None:
    """Join a federation with an invite. No node may run on this home: start it afterwards.

    The invite is shown to the node that made it, and to nobody else. Where several founders admit a member, this asks
    for it, and the node goes on asking whenever it runs.

    Parameters
    ----------
    link
        The invite: covm-invite:...
    as_
        What this node's member is called, such as "Hill Farm"; without it, the node's name. A member that has begun, by
        an earlier try too, is called something already: see `covm identity rename`.
    timeout
        How long the inviting node may take to answer.
    passphrase_file
        The passphrase of an encrypted key is the first line of this file. COVM_PASSPHRASE_FILE, and COVM_PASSPHRASE
        with the passphrase itself, are the same; without any it is asked for.
    """
    from covm.daemon.joining import join as redeem
    from covm.federation.membership.invites import decode_invite
    from covm.federation.wire.malformed import Malformed

    try:
        invite = decode_invite(link)
    except Malformed as error:
        raise Invalid(error.reason, code="bad_invite") from None
    wait = timedelta(milliseconds=milliseconds(timeout, "--timeout"))
    prepare_home(common.folder)
    with as_failures():
        try:
            keys = home_keys(common, passphrase_file)
            outcome = asyncio.run(redeem(common.folder, keys, link, invite, as_, wait, put))
        except ValueError as error:
            raise Invalid(str(error), code="bad_name") from error
    _tell(outcome, invite.name, str(invite.federation), common)


def _tell(outcome: Outcome, name: str, federation: str, common: Common) -> None:
    where = safe(name)
    if outcome.state == "refused":
        raise Refused(f"the invite to {where} was not taken: {outcome.why}", code="invite_refused")
    if outcome.state == "unanswered":
        raise TimedOut(
            f"the node that invites to {where} did not answer: {outcome.why}; the invite is kept, and shown again when "
            "this node runs: covm federation start",
            code="invite_unanswered",
        )
    if common.json:
        say_json(
            Joined(
                state=outcome.state,
                name=name,
                federation=federation,
                member=outcome.member,
                roles=list(outcome.roles),
                why=outcome.why,
            )
        )
    elif outcome.state == "member":
        say(f"{safe(outcome.member)} is a member of {where} as {', '.join(outcome.roles)}")
        say("next: covm federation start")
    else:
        say(f"{safe(outcome.member)} asks to join {where}: {safe(outcome.why)}")
        say("next: covm federation start; the node goes on asking until it is let in")
