"""Makes the vectors of files with records, for programs in other languages.

`python -m tests.unit.file_vectors` rewrites them in `tests/vectors/`; `test_file_vectors.py` checks that they still say
what the code does.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.unit.export_files import altered_lines, blocks_of, car_of, chain, file_of, swapped_signatures, with_root
from tests.unit.records_world import FEDERATION, TYPE, Author

from covm._native import cid, decode, encode
from covm.federation.wire.fork_proof import ForkProof, write_proof
from covm.federation.wire.record import SignedRecord

FILE = Path(__file__).resolve().parents[1] / "vectors" / "files.json"
ABOUT = (
    "Files with records (src/covm/federation/sync/export.py) and proofs of forks (wire/fork_proof.py), base64: what is "
    "in each, in order, and what has to be refused."
)


def make() -> dict[str, Any]:
    ash = Author("ash")
    records = chain(ash, 5)
    left_out = {**ash.bodies, records[1].id: None}
    whole = file_of(records, ash.bodies)
    blocks = [each.data for each in blocks_of(whole)]
    page = cid(blocks[1])
    start = ash.write("oven", 0)
    one, other = (ash.write("oven", number, after=start) for number in (1, 2))
    proof = write_proof(ForkProof(one, other))
    return {
        "about": ABOUT,
        "federation": str(FEDERATION),
        "type": TYPE,
        "exports": [
            _export("one page, which is the top of the tree", whole, records),
            _export("a tree above three pages", file_of(records, ash.bodies, page=2), records),
            _export("a value that is left out", file_of(records[:3], left_out), records[:3], left_out=[records[1]]),
        ],
        "refused_exports": [
            _file("its last byte is missing", whole[:-1]),
            _file("one bit of a body is another", whole[:-1] + bytes([whole[-1] ^ 1])),
            _file("two signatures have changed places", altered_lines(records, ash.bodies, swapped_signatures)),
            _file("the root leads to a page that is not there", with_root(blocks[1:], pages=cid(b"elsewhere"))),
            _file("the root does not come first", car_of(cid(blocks[0]), [*blocks[1:], blocks[0]])),
            _file("its records are of another type", with_root(blocks[1:], pages=page, type="notes.other")),
            _file("its last record is missing", with_root(blocks[1:-2], pages=page)),
        ],
        "proofs": [
            _file("two records with the number 2", proof)
            | {"author": one.author, "log": str(one.body.log), "seq": 2, "records": _ids([one, other])}
        ],
        "refused_proofs": [
            _file("an export", whole),
            _file("its last byte is missing", proof[:-1]),
            _file("one bit of a record is another", proof[:-1] + bytes([proof[-1] ^ 1])),
            _file("one record twice", _proof_of(proof, lambda lines: [lines[0], lines[0]])),
            _file("a signature that is another's", _proof_of(proof, swapped_signatures)),
        ],
    }


def _proof_of(proof: bytes, change: Callable[[list[list[Any]]], list[list[Any]]]) -> bytes:
    """A proof whose lines are changed, with CIDs that fit that."""
    blocks = [each.data for each in blocks_of(proof)]
    root = decode(blocks[0])
    root["records"] = change(root["records"])
    named = {line[0] for line in root["records"]}
    data = encode(root)
    return car_of(cid(data), [data, *(each for each in blocks[1:] if cid(each) in named)])


def _ids(records: Sequence[SignedRecord]) -> list[str]:
    return [str(each.id) for each in records]


def _file(name: str, data: bytes) -> dict[str, Any]:
    return {"name": name, "file": base64.b64encode(data).decode()}


def _export(
    name: str, data: bytes, records: Sequence[SignedRecord], left_out: Sequence[SignedRecord] = ()
) -> dict[str, Any]:
    root = str(blocks_of(data)[0].id)
    return _file(name, data) | {"root": root, "records": _ids(records), "left_out": _ids(left_out)}


if __name__ == "__main__":
    FILE.write_text(json.dumps(make(), indent=1, ensure_ascii=False) + "\n")
