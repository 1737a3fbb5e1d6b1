"""What holds of every tree and every name."""

from __future__ import annotations

import contextlib
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from covm.federation.blobs import chunks
from covm.federation.blobs.chunks import Place, Shape, WrongChunk, checked_leaf, checked_node, leaf_of, tree_of
from covm.federation.blobs.names import MAX_NAME_BYTES, numbered, safe_name
from covm.federation.wire.blob_frames import decode_blob_frame
from covm.federation.wire.malformed import Malformed


@pytest.fixture(autouse=True, scope="module")
def small_chunks() -> object:
    """Deep trees of little content: leaves of four bytes, three links to a node."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "LEAF_BYTES", 4)
        patch.setattr(chunks, "FANOUT", 3)
        yield


def put_together(data: bytes) -> bytes:
    """The content as a receiver gets it: from the root down, every chunk checked by the link that led to it."""
    root, nodes = tree_of(data)
    shape = Shape(len(data))
    links = [root]
    for level in range(shape.root.level, 0, -1):
        links = [
            child
            for position, link in enumerate(links)
            for child in checked_node(nodes[Place(level, position)], shape, Place(level, position), link)
        ]
    return b"".join(checked_leaf(leaf_of(data, position), shape, position, link) for position, link in enumerate(links))


@given(st.binary(max_size=200))
def test_content_comes_together_again(data: bytes) -> None:
    assert put_together(data) == data


@given(st.binary(max_size=200))
def test_every_place_of_the_shape_is_in_the_tree_and_no_other(data: bytes) -> None:
    _, nodes = tree_of(data)
    shape = Shape(len(data))
    counts = shape.counts
    assert set(nodes) == {Place(level, at) for level, count in enumerate(counts) for at in range(count) if level}
    assert all(shape.has(place) for place in nodes)
    assert not any(shape.has(Place(level, count)) for level, count in enumerate(counts))


@given(st.binary(max_size=100), st.binary(max_size=100))
def test_other_content_has_another_root(one: bytes, other: bytes) -> None:
    assert (tree_of(one)[0] == tree_of(other)[0]) == (one == other)


@given(st.binary(min_size=1, max_size=100), st.data())
def test_no_flipped_bit_passes(data: bytes, draw: st.DataObject) -> None:
    position = draw.draw(st.integers(0, Shape(len(data)).counts[0] - 1))
    leaf = bytearray(leaf_of(data, position))
    link = chunks.leaf_link(bytes(leaf))
    bit = draw.draw(st.integers(0, len(leaf) * 8 - 1))
    leaf[bit // 8] ^= 1 << bit % 8
    with pytest.raises(WrongChunk):
        checked_leaf(bytes(leaf), Shape(len(data)), position, link)


@given(st.integers(0, 2**53))
def test_a_tree_is_as_high_as_it_must_be(size: int) -> None:
    shape = Shape(size)
    assert shape.span(shape.root) == size
    assert sum(shape.span(Place(0, at)) for at in range(min(shape.counts[0], 50))) <= max(size, 0)


@given(st.text(max_size=400))
def test_every_name_is_one_visible_part_that_fits(name: str) -> None:
    kept = safe_name(name)
    assert kept not in {"", ".", ".."}
    assert not kept.startswith(".")
    assert kept.isprintable()
    assert not set(kept) & set("/\\:\0")
    assert len(kept.encode()) <= MAX_NAME_BYTES
    assert unicodedata.is_normalized("NFC", kept)
    assert len(numbered(kept, 9_999).encode()) <= 255


@given(st.text(max_size=400))
def test_a_name_that_is_safe_stays(name: str) -> None:
    assert safe_name(safe_name(name)) == safe_name(name)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_frame_or_malformed(data: bytes) -> None:
    with contextlib.suppress(Malformed):
        decode_blob_frame(data)
