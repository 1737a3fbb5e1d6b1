"""What is deleted is gone from the files, also from pages that are used again: an invite lets its bearer in."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from tests.unit.membership_world import Coop

from covm.federation.membership import tables
from covm.federation.store import make_store, sqlite_engine

LINK = "covm-invite:" + "c2VjcmV0" * 60


def remains(home: Path) -> list[str]:
    return [file.name for file in home.iterdir() if b"c2VjcmV0c2VjcmV0" in file.read_bytes()]


@pytest.mark.parametrize("defended", [True, False])
async def test_nothing_is_left_of_an_invite_that_was_redeemed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, defended: bool
) -> None:
    if not defended:
        pragmas = [each for each in sqlite_engine._WRITER_PRAGMAS if not each.startswith("secure_delete")]
        monkeypatch.setattr(sqlite_engine, "_WRITER_PRAGMAS", pragmas)
    ash = Coop("Ash")
    save = partial(tables.save_invited, link=LINK, entries=[ash.inception], own=ash.member)
    # Redeemed by the command that took it up, or later, by the node that goes on asking.
    for later in (False, True):
        store = make_store(tmp_path, "")
        await store.open()
        await store.write(save)
        if later:
            await store.close()
            assert remains(tmp_path)
            store = make_store(tmp_path, "")
            await store.open()
        await store.write(tables.forget_link)
        await store.close()
        assert bool(remains(tmp_path)) is not defended
