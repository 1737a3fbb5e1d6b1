"""The control API about who is a member."""

from __future__ import annotations

import time
from datetime import timedelta

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from covm.control import membership as said
from covm.control.failures import Invalid
from covm.daemon.node import RunningNode
from covm.daemon.requests import answer, node_of, read
from covm.daemon.rules import told_rule, told_rules
from covm.federation import FederationService
from covm.federation.membership.rules import BadRules, read_types
from covm.federation.membership.views import MemberView, RequestView
from covm.federation.wire.member_id import distinct, is_member_id


async def members(request: Request) -> Response:
    service = node_of(request).service
    desk = service.members
    return answer(
        said.Members(
            federation=str(service.federation_id.cid),
            name=desk.federation_name,
            members=[_member(service, each) for each in desk.listed()],
        )
    )


async def requests(request: Request) -> Response:
    service = node_of(request).service
    return answer(said.Requests(requests=[await decision(service, each) for each in service.members.requests()]))


async def roles(request: Request) -> Response:
    desk = node_of(request).service.members
    return answer(told_rules(desk.roles(), desk.types()))


async def who_am_i(request: Request) -> Response:
    return answer(whoami(node_of(request)))


async def invite(request: Request) -> Response:
    service, asked = node_of(request).service, await read(request, said.AskInvite)
    expires = timedelta(milliseconds=asked.expires_ms)
    try:
        link = await service.members.invite(service.reachable_at, asked.roles, expires, asked.uses)
    except ValueError as error:
        raise Invalid(str(error), code="bad_invite") from error
    return answer(said.Invited(link=link, expires_at=time.time_ns() // 1_000_000 + asked.expires_ms))


async def approve(request: Request) -> Response:
    service, asked = node_of(request).service, await read(request, said.Approve)
    return answer(said.Decided(decision=await decision(service, await service.members.approve(asked.request))))


async def remove(request: Request) -> Response:
    desk, asked = node_of(request).service.members, await read(request, said.Remove)
    try:
        removed = await desk.remove(asked.member, asked.reason)
    except ValueError as error:
        raise Invalid(str(error), code="bad_removal") from error
    return answer(said.Decided(decision=told_decision(removed)))


async def propose_types(request: Request) -> Response:
    desk, asked = node_of(request).service.members, await read(request, said.ProposeTypes)
    try:
        types = read_types(asked.rules.encode(), desk.roles())
        proposed = [await desk.propose_type(name, rule) for name, rule in types.items()]
    except BadRules as error:
        raise Invalid(
            str(error), code="bad_rules", details={"problems": [each._asdict() for each in error.problems]}
        ) from error
    except ValueError as error:
        raise Invalid(str(error), code="bad_type") from error
    return answer(said.Requests(requests=[told_decision(each) for each in proposed]))


def whoami(node: RunningNode) -> said.WhoAmI:
    """Whose the node is."""
    service = node.service
    desk = service.members
    own = desk.own()
    return said.WhoAmI(
        peer_id=service.peer_id,
        did_key=node.did_key,
        node_name=node.name,
        federation=str(service.federation_id.cid),
        federation_name=desk.federation_name,
        member=None if own is None else _member(service, own),
        why=desk.own_verdict.reason,
    )


def _others(service: FederationService) -> list[str]:
    """Where the connected peers are reached: a new machine of this member begins with them when this one is lost."""
    return [peer.addresses[0] for peer in service.peers() if peer.is_connected and peer.addresses]


def _member(service: FederationService, view: MemberView) -> said.Member:
    connected = set(service.connected_peers())
    return said.Member(
        id=view.id,
        short_id=distinct(view.id)[:8],
        name=view.name,
        member=view.is_member,
        why=view.reason,
        founder=view.is_founder,
        roles=list(view.roles),
        nodes=[
            said.MemberNode(
                peer_id=each.peer_id,
                name=each.name,
                approver=each.approver,
                connected=each.peer_id in connected or each.peer_id == service.peer_id,
            )
            for each in view.nodes
        ],
        contested=view.is_contested,
        own=view.is_own,
    )


async def decision(service: FederationService, view: RequestView) -> said.Decision:
    """How it stands with a request; of an erasure also what the record is about, where that is here."""
    found = await service.find_records(view.record, limit=1) if view.record else []
    return told_decision(view, found[0].key if found else "")


def told_decision(view: RequestView, key: str = "") -> said.Decision:
    """A request as the schema has it; `key` is that of the record to be erased."""
    return said.Decision(
        id=view.id,
        short_id=distinct(view.id)[:8],
        kind=view.kind,
        subject=view.subject,
        subject_short_id=distinct(view.subject)[:8] if is_member_id(view.subject) else "",
        name=view.name,
        roles=list(view.roles),
        reason=view.reason,
        rule=None if view.rule is None else told_rule(view.name, view.rule),
        overrides=list(view.overrides),
        takes_back=view.takes_back,
        proposed_by=view.proposed_by,
        proposed_at=view.proposed_at_ms,
        approved_by=list(view.approved_by),
        needed=view.needed,
        status=view.status,
        why=view.why,
        record=view.record,
        record_type=view.record_type,
        record_key=key,
    )


async def identity(request: Request) -> Response:
    service = node_of(request).service
    charter = service.members.charter
    return answer(
        said.OwnIdentity(
            entries=service.members.own_entries(),
            charter=list(charter.envelopes) if charter is not None else [],
            addresses=[*service.reachable_at, *_others(service)],
        )
    )


async def written(request: Request) -> Response:
    until = request.query_params.get("until")
    try:
        until_ms = None if until is None else int(until)
    except ValueError as error:
        raise Invalid("until is a time in milliseconds", code="bad_time") from error
    found = await node_of(request).service.members.written_by(request.path_params["node"], until_ms)
    return answer(
        said.Written(
            places=[said.Place(log=str(each.log), seq=each.seq, id=str(each.id)) for each in found.places],
            approved=[
                said.Approved(
                    node=each.node,
                    kind=each.kind,
                    subject=each.subject,
                    name=each.name,
                    time=each.time_ms,
                    counts=each.counts,
                    why=each.why,
                )
                for each in found.approved
            ],
            undone=[said.Undone(kind=each.kind, subject=each.subject, name=each.name) for each in found.undone],
            records=found.records,
        )
    )


async def take_identity(request: Request) -> Response:
    desk, asked = node_of(request).service.members, await read(request, said.IdentityEntries)
    try:
        await desk.take_entries(asked.entries)
    except ValueError as error:
        raise Invalid(str(error), code="bad_identity") from error
    return answer(said.IdentityEntries(entries=desk.own_entries()))


ROUTES = [
    Route("/v1/identity", identity),
    Route("/v1/identity", take_identity, methods=["POST"]),
    Route("/v1/identity/written/{node}", written),
    Route("/v1/members", members),
    Route("/v1/members/requests", requests),
    Route("/v1/members/roles", roles),
    Route("/v1/whoami", who_am_i),
    Route("/v1/members/invite", invite, methods=["POST"]),
    Route("/v1/members/approve", approve, methods=["POST"]),
    Route("/v1/members/remove", remove, methods=["POST"]),
    Route("/v1/members/types", propose_types, methods=["POST"]),
]
