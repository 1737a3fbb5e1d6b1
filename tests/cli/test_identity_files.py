"""Files that covm writes where it is told to: never over something else, a key least of all."""

from __future__ import annotations

from pathlib import Path

from tests.cli.members import done, founded, identity, made


def test_an_exported_identity_goes_over_an_older_one_and_over_nothing_else(folder: Path) -> None:
    founded(folder)
    mill, paper = folder / "mill", folder / "mill.json"
    done(mill, "export", paper)
    done(mill, "export", paper)
    config = (mill / "config.toml").read_bytes()
    for place in (mill / "identity.key", mill / "member" / "recovery.key", mill / "config.toml"):
        before = place.read_bytes()
        refused = identity(mill, "export", place)
        assert refused.code == 5
        assert "is there already" in refused.err
        assert place.read_bytes() == before
    assert (mill / "config.toml").read_bytes() == config
    # Nor does a node's request go over an identity.
    asking = made(folder, "oven", "Oven")
    before = paper.read_bytes()
    assert identity(asking, "request", paper, paper).code == 5
    assert paper.read_bytes() == before
