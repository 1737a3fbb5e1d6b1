"""`covm federation members`, `requests`, `approve`, `remove`, `roles`, `whoami` and `invite`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from covm.cli.durations import milliseconds
from covm.cli.options import DEFAULT, Common
from covm.cli.output import note, safe, say, say_json
from covm.cli.rendering import date_time, sentence, short_id, table
from covm.cli.rules_shown import rule_in_words, show_rules
from covm.control import membership
from covm.control.client import ControlClient


def members(*, common: Common = DEFAULT) -> None:
    """List the members of the federation, and who was one."""
    answer = ControlClient(common.folder).members()
    if common.json:
        say_json(answer)
        return
    rows = [
        (
            each.name + (" (this node's)" if each.own else ""),
            each.short_id,
            ", ".join(each.roles) if each.member else "-",
            "founder" if each.founder else "",
            sum(node.connected for node in each.nodes),
            len(each.nodes),
            _state(each),
        )
        for each in answer.members
    ]
    table(("MEMBER", "ID", "ROLES", "", "CONNECTED", "NODES", "STATE"), rows, empty="nobody is known yet")


def requests(*, common: Common = DEFAULT) -> None:
    """List what waits for the approval of founders."""
    waiting = ControlClient(common.folder).requests()
    if common.json:
        say_json(membership.Requests(requests=waiting))
        return
    rows = [
        (
            each.kind,
            each.name,
            each.subject_short_id or "-",
            each.short_id,
            what_for(each),
            f"{len(each.approved_by)} of {each.needed}",
            ", ".join(each.approved_by) or "-",
            date_time(each.proposed_at),
        )
        for each in waiting
    ]
    table(
        ("WHAT", "WHO", "MEMBER", "REQUEST", "AS / WHY", "APPROVED", "BY", "SINCE"),
        rows,
        empty="nothing waits for approval",
    )


def approve(request: str, /, *, common: Common = DEFAULT) -> None:
    """Approve what waits, for this node's member, which is a founder.

    Parameters
    ----------
    request
        What waits, by the columns of `covm federation requests`: the request's id or the beginning of it, the member's,
        or the name of whom it is about.
    """
    decision = ControlClient(common.folder).approve(request)
    if common.json:
        say_json(membership.Decided(decision=decision))
    else:
        say(told(decision))


def remove(member: str, /, *, reason: str, common: Common = DEFAULT) -> None:
    """Remove a member: over half of the other founders have to approve it. What it wrote up to now stays.

    Parameters
    ----------
    member
        A member's name or id, or the beginning of one; see `covm federation members`.
    reason
        Why, for everybody to read.
    """
    decision = ControlClient(common.folder).remove(member, reason)
    if common.json:
        say_json(membership.Decided(decision=decision))
    else:
        say(told(decision))


def roles(*, common: Common = DEFAULT) -> None:
    """List the roles of the charter, with what each may do by type, and the types that have rules of their own."""
    known = ControlClient(common.folder).roles()
    if common.json:
        say_json(known)
        return
    show_rules(known)


def whoami(*, common: Common = DEFAULT) -> None:
    """Show whose this node is, and in which federation."""
    answer = ControlClient(common.folder).whoami()
    if common.json:
        say_json(answer)
        return
    mine = answer.member
    say(f"node         {safe(answer.node_name)}  {answer.peer_id}")
    say(f"federation   {safe(answer.federation_name) or '(not known yet)'}  {answer.federation}")
    if mine is None:
        say(f"member       none: {safe(answer.why)}")
        return
    say(f"member       {safe(mine.name)}  {mine.id}{'  (founder)' if mine.founder else ''}")
    say(f"roles        {', '.join(mine.roles) or '-'}")
    say(f"state        {_state(mine)}: {safe(answer.why)}")


def invite(
    *,
    role: Annotated[list[str] | None, Parameter(negative=())] = None,
    expires: str = "24h",
    uses: int = 1,
    no_qr: Annotated[bool, Parameter(negative=())] = False,
    common: Common = DEFAULT,
) -> None:
    """Make a link that lets somebody in. Who has it can use it: give it to one person, in confidence.

    Parameters
    ----------
    role
        The role that the new member gets; may be given several times. Without it: member.
    expires
        How long the link is good for, such as 30m, 24h or 7d; 90 days at most.
    uses
        How many members it lets in.
    no_qr
        Do not draw the link as a QR code, also on a terminal.
    """
    answer = ControlClient(common.folder).invite(role or ["member"], milliseconds(expires, "--expires"), uses)
    if common.json:
        say_json(answer)
        return
    say(answer.link)
    if not no_qr:
        _draw(answer.link)
    many = "one member" if uses == 1 else f"{uses} members"
    note(f"lets in {many} until {date_time(answer.expires_at)}; on their machine: covm federation join LINK")
    if answer.warning:
        note(f"warning: {answer.warning}")


def _draw(link: str) -> None:
    """The link as a QR code, where somebody can see it."""
    import sys

    if not sys.stdout.isatty():
        return
    import segno

    segno.make(link, error="l").terminal(compact=True, border=2)


def _state(member: membership.Member) -> str:
    if member.contested:
        return "contested: two hold its key"
    return "member" if member.member else sentence(member.why)


def what_for(decision: membership.Decision) -> str:
    """What an admission gives and sets aside, why a removal is asked for and what it takes back, or a type's rule.

    Of an erasure what it is about, and why.
    """
    if decision.rule is not None:
        return rule_in_words(decision.rule)
    if decision.record:
        return f"{version_of(decision)}: {sentence(decision.reason)}"
    said = ", ".join(decision.roles) or sentence(decision.reason)
    if decision.overrides:
        said += f", although removed: {'; '.join(map(sentence, decision.overrides))}"
    if decision.takes_back:
        said += f" - and {decision.takes_back} of its approvals count no more"
    return said


def version_of(decision: membership.Decision) -> str:
    """The version that an erasure takes away, as `records history` names it."""
    about = " ".join(filter(None, (decision.record_type, decision.record_key)))
    return f"version {short_id(decision.record)} of {about}"


def told(decision: membership.Decision) -> str:
    """How it stands with what was proposed or approved."""
    who = safe(decision.name)
    what = {
        "admission": f"{who} is admitted",
        "removal": f"{who} is removed",
        "type": f"the type {who} counts",
        "erasure": f"{safe(version_of(decision))} by {who} is erased",
    }
    done = what.get(decision.kind, who)
    have, needed = len(decision.approved_by), decision.needed
    if decision.status == "valid":
        return f"{done}: approved by {', '.join(map(safe, decision.approved_by))}"
    return (
        f"{done} once enough founders have approved it: {have} of {needed}"
        + (f", {', '.join(map(safe, decision.approved_by))}" if have else "")
        + f". The others: covm federation approve {decision.short_id}"
    )
