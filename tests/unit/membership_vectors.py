"""Makes the vectors of identities, charters, credentials and records, for clients in other languages.

`python -m tests.unit.membership_vectors` rewrites them in `tests/vectors/`; `test_membership_vectors.py` checks that
they still say what the code does.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.unit.membership_stories import STORIES
from tests.unit.membership_world import NOON_MS, Coop, Desk, World, plain_rule, salt, signed_record

from covm import _native
from covm.federation.identity.charter import encode_charter, sign_charter
from covm.federation.identity.commitments import commitment
from covm.federation.identity.consent import CONSENT_VERSION
from covm.federation.identity.log import IdentityLog
from covm.federation.identity.roles import Grants
from covm.federation.identity.update import SignedUpdate
from covm.federation.wire.kinds import Kind
from covm.federation.wire.record import Auth, Hlc, RecordHeader, encode_record_body
from covm.federation.wire.signed import Signed

FOLDER = Path(__file__).resolve().parents[1] / "vectors"
ASH = Coop("Ash Bakery", approvers=(0,), others=(1,))
BIRCH, CEDAR, DILL = Coop("Birch Mill"), Coop("Cedar Farm"), Coop("Dill Dairy")

KEYS = {
    **{f"Ash Bakery: key {number}": ASH.key(number).peer_id for number in (0, 1, 2, 3, 5, 6)},
    **{f"Ash Bakery: recovery key {number}": ASH.recovery(number).peer_id for number in (0, 1)},
    **{f"Ash Bakery: node {number}": ASH.node(number).peer_id for number in (0, 1, 2, 9)},
}
"""Peer ids by the text whose SHA-256 is the key's seed."""


def dag_json(value: Any) -> Any:
    match value:
        case _native.Link():
            return {"/": str(value)}
        case bytes():
            return {"/": {"bytes": base64.b64encode(value).decode().rstrip("=")}}
        case list():
            return [dag_json(each) for each in value]
        case dict():
            return {key: dag_json(each) for key, each in value.items()}
    return value


def payload_of(kind: Kind, envelope: bytes) -> tuple[str, bytes]:
    [found] = _native.open_envelopes(kind, [envelope])
    assert not isinstance(found, str)
    return found


def shown(name: str, kind: Kind, envelope: bytes) -> dict[str, Any]:
    signer, data = payload_of(kind, envelope)
    return {
        "name": name,
        "body": dag_json(_native.decode(data)),
        "bytes": data.hex(),
        "cid": str(_native.cid(data)),
        "signer": signer,
        "envelope": envelope.hex(),
    }


def spoilt(data: bytes, changes: Sequence[tuple[str, Callable[[dict[str, Any]], object]]]) -> list[dict[str, str]]:
    """Bodies that must be refused: the same one with one thing wrong."""
    found = []
    for name, change in changes:
        fields = _native.decode(data)
        change(fields)
        found.append({"name": name, "bytes": _native.encode(fields).hex()})
    return found


def identities() -> dict[str, Any]:
    renamed = ASH.profile(ASH.inception, "Ash & Rye")
    added = ASH.add_node(renamed, 2)
    desk = Desk(ASH.member, ASH.node(1), renamed)
    desk.approve(ASH.member)
    removed = ASH.remove_node(added, 1, [desk.tip])
    rotated = ASH.rotate(removed, 1)
    theft = ASH.add_node(rotated, 9, True, ASH.key(1))
    recovered = ASH.recover(rotated, 0, 5)
    named = {
        "an inception": ASH.inception,
        "another name": renamed,
        "one node more": added,
        "a node less, with a cut": removed,
        "a rotation": rotated,
        "a node added with a stolen key": theft,
        "a recovery": recovered,
    }
    rival = ASH.rotate(removed, 1, next=3)
    return {
        "about": "Entries of identity logs (src/covm/federation/identity/update.py), the consents in them, and what "
        "logs come to. `at` says which entry an entry counts as. The seed of each key is SHA-256 of the text by it.",
        "kind": Kind.IDENTITY,
        "keys": KEYS,
        "commitments": {peer: commitment(peer).hex() for peer in KEYS.values()},
        "consent": {
            "kind": Kind.CONSENT,
            "version": CONSENT_VERSION,
            **shown("a node's consent", Kind.CONSENT, ASH.node_entry(2).consent),
        },
        "entries": [shown(name, Kind.IDENTITY, update.envelope) for name, update in named.items()],
        "logs": [
            _log("a quiet life", [ASH.inception, renamed, added, removed, rotated]),
            _log("a stolen key, recovered", list(named.values())),
            _log("two ordinary entries behind one", [ASH.inception, renamed, ASH.profile(ASH.inception, "Rye")]),
            _log("two rotations behind one", [*list(named.values())[:5], rival]),
            _log("two rotations, and a recovery", [*list(named.values())[:5], rival, recovered]),
        ],
        "refused": spoilt(
            payload_of(Kind.IDENTITY, renamed.envelope)[1],
            [
                ("a name like a path", lambda body: body.update(name="../etc")),
                ("a name with a terminal escape", lambda body: body.update(name="\x1b[31m")),
                ("a name written from the right", lambda body: body.update(name="a\u202eb")),
                ("a name of 65 characters", lambda body: body.update(name="a" * 65)),
                ("an unknown operation", lambda body: body.update(op="merge")),
                ("a later version", lambda body: body.update(v=2)),
                ("a version that is true", lambda body: body.update(v=True)),
                ("number 1 with something before it", lambda body: body.update(seq=1)),
                ("nothing before it", lambda body: body.update(prev=None)),
                ("no author", lambda body: body.pop("author")),
                ("bytes for a name", lambda body: body.update(name=b"Ash")),
            ],
        ),
    }


def _log(name: str, updates: Sequence[SignedUpdate]) -> dict[str, Any]:
    log = IdentityLog(ASH.member)
    for update in updates:
        log.add(update)
    head = log.head
    assert head is not None
    found = {str(update.id): log.at(update.id) for update in updates}
    return {
        "name": name,
        "member": str(ASH.member),
        "envelopes": [update.envelope.hex() for update in updates],
        "head": str(head.entry),
        "state": {
            "name": head.name,
            "key": head.key,
            "nodes": [
                {"node": node, "name": known.name, "approver": known.approver, "since": known.since}
                for node, known in sorted(head.nodes.items())
            ],
        },
        "at": {entry: str(state.entry) for entry, state in found.items() if state is not None},
    }


def charters() -> dict[str, Any]:
    world = World([ASH, BIRCH, CEDAR], k=2)
    charter = world.signed.charter
    data = encode_charter(charter)
    return {
        "about": "A charter (src/covm/federation/identity/charter.py): the same bytes signed by each founder. Its CID "
        "is the federation's id.",
        "kind": Kind.CHARTER,
        "federation": str(world.federation),
        "charters": [
            {
                "name": "three founders",
                "body": dag_json(_native.decode(data)),
                "bytes": data.hex(),
                "cid": str(_native.cid(data)),
                "envelopes": [sign_charter(coop.key(0), charter).hex() for coop in (ASH, BIRCH, CEDAR)],
                "inceptions": [coop.inception.envelope.hex() for coop in (ASH, BIRCH, CEDAR)],
            }
        ],
        "refused": spoilt(
            data,
            [
                ("more electors than founders", lambda body: body.update(k=4)),
                ("no elector", lambda body: body.update(k=0)),
                ("no founder", lambda body: body.update(founders=[])),
                ("founders out of order", lambda body: body["founders"].reverse()),
                ("a founder twice", lambda body: body["founders"].insert(0, body["founders"][0])),
                ("a founder in a role that does not exist", lambda body: body["founders"][0].update(roles=["chair"])),
                ("a pattern that is none", lambda body: body["roles"]["member"].update(read=["*.vote"])),
                ("a role in capital letters", lambda body: body["roles"].update(Chair=body["roles"]["member"])),
                ("a rule for a type of the federation's own", lambda body: _rule(body, "system.approval")),
                ("a rule for several types", lambda body: _rule(body, "accounts.*")),
                ("a short salt", lambda body: body.update(salt=b"salt")),
            ],
        ),
    }


def _rule(body: dict[str, Any], name: str) -> None:
    body["types"][name] = body["types"]["accounts.entry"]


def credentials() -> dict[str, Any]:
    world = World([ASH, BIRCH, CEDAR])
    admission = world.admission(DILL)
    world.approve(admission, 0)
    removal = world.removal(DILL, [world.desks[0].tip])
    again = world.admission(DILL, ["bookkeeper", "member"], [removal])
    added = world.type("tools.loan", plain_rule(grants=Grants(read=("member",), write=("bookkeeper",))))
    erasure = world.erasure(DILL, world.desks[0].written[0].id, "governance.proposal")
    named = {
        "an admission": admission,
        "a removal": removal,
        "a re-admission": again,
        "a type": added,
        "an erasure": erasure,
    }
    data = payload_of(Kind.CREDENTIAL, again.envelope)[1]
    return {
        "about": "Credentials (src/covm/federation/identity/credentials.py).",
        "kind": Kind.CREDENTIAL,
        "federation": str(world.federation),
        "credentials": [shown(name, Kind.CREDENTIAL, each.envelope) for name, each in named.items()],
        "refused": spoilt(
            data,
            [
                ("no role", lambda body: body.update(roles=[])),
                ("roles out of order", lambda body: body["roles"].reverse()),
                ("a role twice", lambda body: body.update(roles=["member", "member"])),
                ("a removal twice", lambda body: body.update(after=body["after"] * 2)),
                ("a short salt", lambda body: body.update(salt=b"salt")),
                ("text for a link", lambda body: body.update(member=str(DILL.member))),
                ("an unknown operation", lambda body: body.update(op="promote")),
            ],
        )
        + spoilt(
            payload_of(Kind.CREDENTIAL, erasure.envelope)[1],
            [
                ("an erasure of no record", lambda body: body.pop("record")),
                ("an erasure in the approvals", lambda body: body.update(type="system.approval")),
                ("an erasure with a reason of 257 characters", lambda body: body.update(reason="a" * 257)),
            ],
        ),
    }


def records() -> dict[str, Any]:
    world = World([ASH])
    node = ASH.node(0)
    body = encode_record_body(salt("a body"), {"title": "Bake together on Fridays", "cents": 12050})
    desk = world.desks[0]
    approval = desk.approve(world.admission(DILL))
    first = signed_record(
        node,
        RecordHeader(
            federation=world.federation,
            type="governance.proposal",
            key="shared-oven",
            author=node.peer_id,
            incarnation=desk.incarnation,
            seq=1,
            prev=None,
            parents=(),
            auth=Auth(world.federation, ASH.member),
            hlc=Hlc(NOON_MS, 0),
            op="put",
            body=_native.cid(body),
            size=len(body),
            target=None,
        ),
    )
    why = encode_record_body(salt("why"), "it names a person")
    behind: dict[str, Any] = {"type": "governance.proposal", "key": "shared-oven"}
    desk.written = [first]
    deleted = desk.approve(DILL.member, op="delete", parents=(desk.tip,), body=None, size=0, **behind)
    erased = desk.approve(DILL.member, op="erase", target=first.id, body=_native.cid(why), size=len(why), **behind)
    named: dict[str, Signed[Any]] = {"an approval": approval, "a put": first, "a delete": deleted, "an erase": erased}
    return {
        "about": "Headers of records (src/covm/federation/wire/record.py), the id of the log that each belongs to, and "
        "the body of one.",
        "kind": Kind.RECORD,
        "federation": str(world.federation),
        "records": [
            {**shown(name, Kind.RECORD, each.envelope), "log": str(each.body.log)} for name, each in named.items()
        ],
        "body": {"of": str(first.id), "value": dag_json(_native.decode(body)), "bytes": body.hex()},
        "refused": spoilt(
            payload_of(Kind.RECORD, deleted.envelope)[1],
            [
                ("number 1 with something before it", lambda body: body.update(seq=1)),
                ("nothing before it", lambda body: body.update(prev=None)),
                ("a put without a body", lambda body: body.update(op="put")),
                ("a delete with a target", lambda body: body.update(target=body["prev"])),
                ("a size without a body", lambda body: body.update(size=1)),
                ("a parent twice", lambda body: body.update(parents=body["parents"] * 2)),
                ("no target and no null", lambda body: body.pop("target")),
                ("an id as bytes", lambda body: body.update(prev=body["prev"].bytes)),
                ("text for bytes", lambda body: body.update(incarnation=[1, "nonce 01"])),
                ("a type in capital letters", lambda body: body.update(type="Governance.Proposal")),
                ("a counter of 2^32", lambda body: body.update(hlc=[NOON_MS, 2**32])),
                ("an empty key", lambda body: body.update(key="")),
                ("a key with NUL in it", lambda body: body.update(key="shared\0oven")),
            ],
        ),
    }


def standing() -> dict[str, Any]:
    return {
        "about": "What sets of identity entries, credentials and approvals come to (src/covm/federation/identity/"
        "standing.py), in whatever order they are read.",
        "stories": [_story(name, story()) for name, story in STORIES.items()],
    }


def _story(name: str, world: World) -> dict[str, Any]:
    judged = world.standing()
    return {
        "name": name,
        "charter": [envelope.hex() for envelope in world.signed.envelopes],
        "identities": [each.envelope.hex() for each in world.updates],
        "credentials": [each.envelope.hex() for each in world.credentials],
        "approvals": [each.envelope.hex() for each in world.records],
        "members": {str(each.member): sorted(each.roles) for each in judged.members()},
        "verdicts": {str(each.id): judged.verdict(each.id).status for each in world.credentials},
        "approval_verdicts": {str(each.id): judged.approval_verdict(each.id).status for each in world.records},
    }


FILES: dict[str, Callable[[], dict[str, Any]]] = {
    "identities.json": identities,
    "charters.json": charters,
    "credentials.json": credentials,
    "records.json": records,
    "standing.json": standing,
}


def text(made: dict[str, Any]) -> str:
    return json.dumps(made, indent=1, ensure_ascii=True) + "\n"


def main() -> None:
    for name, make in FILES.items():
        (FOLDER / name).write_text(text(make()))


if __name__ == "__main__":
    main()
