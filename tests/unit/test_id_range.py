"""Ids by their beginnings: whatever lies between the two is just what begins so."""

from __future__ import annotations

import pytest

from covm import _native
from covm.federation.wire.id_range import ids_between

IDS = [_native.cid(_native.encode(number)) for number in range(200)]


@pytest.mark.parametrize("length", [8, 9, 12, 30, 58, 59])
def test_an_id_is_between_the_bounds_of_its_beginnings_and_others_are_not(length: int) -> None:
    for one in IDS:
        for beginning in (str(one)[:length], str(one)[7:length], f" {str(one)[:length].upper()}"):
            bounds = ids_between(beginning)
            assert bounds is not None
            between = {each for each in IDS if bounds[0] <= each.bytes <= bounds[1]}
            assert between == {each for each in IDS if str(each).startswith(str(one)[:length])}


@pytest.mark.parametrize("text", ["", "bafyrei", "0", "12D3KooW", "é", "a" * 60])
def test_what_no_id_begins_with_has_none(text: str) -> None:
    assert ids_between(text) is None
