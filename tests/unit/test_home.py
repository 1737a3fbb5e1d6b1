"""A node's home: one node at a time, and a clear word when it cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from covm.federation.errors import HomeInUse, StoreUnavailable
from covm.federation.home import Home


def test_a_home_is_one_nodes_until_it_is_given_back(tmp_path: Path) -> None:
    first, second = Home(tmp_path / "home"), Home(tmp_path / "home")
    first.open()
    with pytest.raises(HomeInUse):
        second.open()
    first.close()
    second.open()
    second.close()


def test_a_home_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    home = Home(tmp_path / "a" / "home")
    home.open()
    home.close()
    assert (tmp_path / "a" / "home").stat().st_mode & 0o777 == 0o700


def test_a_home_that_cannot_be_made_is_told_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match=str(tmp_path / "file")):
        Home(tmp_path / "file").open()


def test_without_a_path_there_is_nothing_to_lock() -> None:
    home = Home(None)
    home.open()
    home.close()
    assert home.path is None
