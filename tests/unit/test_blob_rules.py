"""The rules of files and large publications, by calling them: the tree, names, what is on disk."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from covm import _native
from covm.federation.blobs.chunks import (
    FANOUT,
    LEAF_BYTES,
    Place,
    Shape,
    TreeBuilder,
    WrongChunk,
    checked_leaf,
    checked_node,
    leaf_link,
    tree_of,
)
from covm.federation.blobs.download import NO_ROOM, hopeless
from covm.federation.blobs.names import MAX_NAME_BYTES, numbered, safe_name
from covm.federation.blobs.partial import PARTIALS, Partial
from covm.federation.blobs.source import CHANGED, SourceGone, look_at
from covm.federation.errors import FileUnreadable
from covm.federation.wire.blob_frames import (
    BlobHello,
    Chunk,
    KnownBlobFrame,
    NoChunk,
    Want,
    decode_blob_frame,
    encode_blob_frame,
)
from covm.federation.wire.frames import Unknown
from covm.federation.wire.malformed import Malformed

LINK = leaf_link(b"anything")


# --- the tree


def test_small_content_is_its_only_leaf() -> None:
    root, nodes = tree_of(b"a short note")
    assert (root, nodes) == (leaf_link(b"a short note"), {})
    assert Shape(12).root == Place(0, 0)


def test_empty_content_has_a_root_too() -> None:
    root, _ = tree_of(b"")
    assert checked_leaf(b"", Shape(0), 0, root) == b""


def test_a_leaf_is_known_to_any_tool_that_knows_content_ids() -> None:
    """`printf hello | ipfs add --cid-version=1 --raw-leaves` says the same."""
    assert str(leaf_link(b"hello")) == "bafkreibm6jg3ux5qumhcn2b3flc3tyu6dmlb4xa7u5bf44yegnrjhc4yeq"


def test_a_node_covers_as_many_leaves_as_it_has_links() -> None:
    assert Shape(FANOUT * LEAF_BYTES).counts == (FANOUT, 1)
    assert Shape(FANOUT * LEAF_BYTES + 1).counts == (FANOUT + 1, 2, 1)
    assert Shape(FANOUT * LEAF_BYTES + 1).children(Place(1, 1)) == 1


def test_the_builder_makes_the_shape_that_follows_from_the_size() -> None:
    leaves = FANOUT * 2 + 3
    size = (leaves - 1) * LEAF_BYTES + 5
    builder, nodes = TreeBuilder(), []
    for position in range(leaves):
        nodes += builder.add(LINK, LEAF_BYTES if position < leaves - 1 else 5)
    root, rest = builder.finish()
    bodies = {node.place: node.body for node in [*nodes, *rest]}
    shape = Shape(size)
    assert set(bodies) == {Place(1, 0), Place(1, 1), Place(1, 2), Place(2, 0)}
    children = checked_node(bodies[shape.root], shape, shape.root, root)
    for position, link in enumerate(children):
        assert len(checked_node(bodies[Place(1, position)], shape, Place(1, position), link)) in {FANOUT, 3}


def test_one_flipped_byte_is_another_leaf() -> None:
    data = bytes(1000)
    with pytest.raises(WrongChunk):
        checked_leaf(data[:-1] + b"\x01", Shape(1000), 0, leaf_link(data))


def test_a_root_with_another_size_than_announced_is_its_authors_fault_and_not_the_carriers() -> None:
    data = bytes(2 * LEAF_BYTES)
    root, nodes = tree_of(data)
    longer = Shape(len(data) + 1)
    with pytest.raises(Malformed) as caught:
        checked_node(nodes[Place(1, 0)], longer, Place(1, 0), root)
    assert not isinstance(caught.value, WrongChunk)


@pytest.mark.parametrize(
    "node",
    [
        {"links": [LINK], "size": 2 * LEAF_BYTES},
        {"links": [LINK, LINK, LINK], "size": 2 * LEAF_BYTES},
        {"links": [LINK, LINK], "size": 1},
        {"links": [LINK, b"bytes"], "size": 2 * LEAF_BYTES},
        {"size": 2 * LEAF_BYTES},
        [LINK, LINK],
    ],
)
def test_a_node_of_another_form_is_refused(node: object) -> None:
    body = _native.encode(node)
    with pytest.raises(Malformed):
        checked_node(body, Shape(2 * LEAF_BYTES), Place(1, 0), _native.cid(body))


# --- names


@pytest.mark.parametrize(
    ("offered", "kept"),
    [
        ("oven.pdf", "oven.pdf"),
        ("../../etc/passwd", "passwd"),
        ("..", "file"),
        ("/", "file"),
        ("C:\\Users\\ada\\plan.txt", "plan.txt"),
        (".bashrc", "bashrc"),
        ("a\x1b[2Jb\n", "a_[2Jb_"),
        ("invoice\u202efdp.exe", "invoice_fdp.exe"),
        ("", "file"),
        ("  .  ", "file"),
        ("Brot und Käse.txt", "Brot und Käse.txt"),
        ("Ka\u0308se", "Käse"),
    ],
)
def test_a_name_leads_nowhere_and_hides_nothing(offered: str, kept: str) -> None:
    assert safe_name(offered) == kept


def test_a_long_name_keeps_its_ending() -> None:
    name = safe_name("ö" * 500 + ".tar.gz")
    assert name.endswith("ö.gz")
    assert len(name.encode()) <= MAX_NAME_BYTES


def test_the_second_file_of_a_name_is_numbered_before_its_ending() -> None:
    assert [numbered("oven.pdf", number) for number in (1, 2, 3)] == ["oven.pdf", "oven (2).pdf", "oven (3).pdf"]
    assert numbered("README", 2) == "README (2)"


# --- frames


@pytest.mark.parametrize(
    "frame",
    [BlobHello((1, 0)), Want(1, LINK, Place(2, 7)), Chunk(3, b"data"), NoChunk(4, final=True, reason="it is gone")],
)
def test_frames_arrive_as_they_were_sent(frame: KnownBlobFrame) -> None:
    assert decode_blob_frame(encode_blob_frame(frame)) == frame


@pytest.mark.parametrize(
    "fields",
    [
        {"t": "want", "number": 1, "root": LINK.bytes, "place": [0, 0]},
        {"t": "want", "number": -1, "root": LINK, "place": [0, 0]},
        {"t": "want", "number": 1, "root": LINK, "place": [99, 0]},
        {"t": "chunk", "number": 1, "data": "text"},
        {"t": "chunk", "number": 1, "data": bytes(1024 * 1024)},
        {"t": "none", "number": 1, "final": 1},
        {"number": 1},
        ["hello"],
    ],
)
def test_a_frame_that_does_not_fit_is_malformed(fields: object) -> None:
    with pytest.raises(Malformed):
        decode_blob_frame(_native.encode(fields))


def test_a_frame_of_a_later_version_is_ignored() -> None:
    assert decode_blob_frame(_native.encode({"t": "hint", "x": 1})) == Unknown("hint")


# --- the file that is sent


def test_a_file_is_read_as_it_was_offered(tmp_path: Path) -> None:
    path = tmp_path / "oven.pdf"
    path.write_bytes(os.urandom(3 * LEAF_BYTES + 10))
    source = look_at(path)
    leaves = source.leaves(0)
    assert [size for _, size in leaves] == [LEAF_BYTES] * 3 + [10]
    assert source.leaf(3, leaves[3][0]) == path.read_bytes()[-10:]


def test_a_file_that_changed_is_not_sent(tmp_path: Path) -> None:
    path = tmp_path / "oven.pdf"
    path.write_bytes(b"before")
    source = look_at(path)
    path.write_bytes(b"behind")
    os.utime(path, ns=(0, source.modified_ns + 1))
    with pytest.raises(SourceGone, match=CHANGED):
        source.leaf(0, leaf_link(b"before"))


def test_a_file_that_changed_and_looks_the_same_is_not_sent_either(tmp_path: Path) -> None:
    path = tmp_path / "oven.pdf"
    path.write_bytes(b"before")
    source = look_at(path)
    path.write_bytes(b"behind")
    os.utime(path, ns=(0, source.modified_ns))
    with pytest.raises(SourceGone, match=CHANGED):
        source.leaf(0, leaf_link(b"before"))


def test_a_file_that_vanished_says_so(tmp_path: Path) -> None:
    path = tmp_path / "oven.pdf"
    path.write_bytes(b"before")
    source = look_at(path)
    path.unlink()
    with pytest.raises(SourceGone, match="No such file"):
        source.leaf(0, leaf_link(b"before"))


def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, why in (
        ("pipe", "no regular file"),
        ("", "pack it"),
        ("nothing", "No such file"),
        ("\0", "embedded null"),
    ):
        with pytest.raises(FileUnreadable, match=why):
            look_at(f"{tmp_path}/{name}")


# --- the file that is received


def opened(folder: Path, content: bytes, done_bytes: int = 0, key: str = "ab") -> tuple[Partial, int]:
    partial = Partial(folder, key, Shape(len(content)))
    return partial, partial.open(done_bytes)


def received(folder: Path, content: bytes, name: str, key: str = "ab") -> Path:
    partial, _ = opened(folder, content, key=key)
    assert partial.put(0, content, leaf_link(content))
    path = partial.publish(name)
    partial.discard()
    return path


def test_a_received_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = received(tmp_path / "files" / "ada", b"content", "oven.pdf")
    assert path.read_bytes() == b"content"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    folder = tmp_path / "ada"
    paths = [received(folder, content, "oven.pdf", key) for content, key in ((b"one", "aa"), (b"two", "bb"))]
    assert [path.name for path in paths] == ["oven.pdf", "oven (2).pdf"]
    assert [path.read_bytes() for path in paths] == [b"one", b"two"]


def test_a_link_in_the_place_of_a_name_is_not_followed(tmp_path: Path) -> None:
    folder = tmp_path / "ada"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(b"secret")
    (folder / "oven.pdf").symlink_to(tmp_path / "secret")
    assert received(folder, b"content", "oven.pdf").name == "oven (2).pdf"
    assert (tmp_path / "secret").read_bytes() == b"secret"


def test_a_file_published_before_a_crash_is_found_again(tmp_path: Path) -> None:
    partial, _ = opened(tmp_path / "ada", b"content")
    partial.put(0, b"content", leaf_link(b"content"))
    first = partial.publish("oven.pdf")
    partial.close()
    again, there = opened(tmp_path / "ada", b"content", done_bytes=7)
    assert there == 7
    assert again.publish("oven.pdf") == first
    again.discard()
    assert [path.name for path in (tmp_path / "ada").iterdir() if path.is_file()] == ["oven.pdf"]


def test_what_was_written_and_not_recorded_is_fetched_again(tmp_path: Path) -> None:
    content = os.urandom(3 * LEAF_BYTES)
    partial, _ = opened(tmp_path, content)
    for position in (0, 1):
        leaf = content[position * LEAF_BYTES : (position + 1) * LEAF_BYTES]
        assert partial.put(position, leaf, leaf_link(leaf))
    partial.close()
    again, there = opened(tmp_path, content, done_bytes=LEAF_BYTES)
    again.close()
    assert there == LEAF_BYTES
    assert (tmp_path / PARTIALS / "ab").stat().st_size == LEAF_BYTES


def test_a_wrong_leaf_is_not_written(tmp_path: Path) -> None:
    partial, _ = opened(tmp_path, b"content")
    assert not partial.put(0, b"another", leaf_link(b"content"))
    partial.close()
    assert (tmp_path / PARTIALS / "ab").read_bytes() == b""


def test_the_sender_learns_that_there_is_no_room_and_no_path_of_ours() -> None:
    assert hopeless(OSError(errno.ENOSPC, "No space left", "/home/ada/secret")).reason == NO_ROOM
    assert "/home" not in hopeless(PermissionError(errno.EACCES, "Permission denied", "/home/ada/secret")).reason
