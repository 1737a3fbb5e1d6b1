"""Settings put into a configuration that its owner wrote: everything else stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from covm.cli.config_file import put
from covm.control.home import config_path
from covm.federation import FederationConfig

FEDERATION = "bafyreiei73tyzwi4dcvthhqf6kvho7np4e235bpbrbdesagzu66d2ubbem"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", 'membership = "members"\n'),
        ('name = "Mill"', 'name = "Mill"\nmembership = "members"\n'),
        ('# why\nmembership = "open"  # for now\nname = "x"\n', '# why\nmembership = "members"\nname = "x"\n'),
        (
            'name = "x"\n\n[connection_retry]\nmax_retries = 1\n',
            'name = "x"\nmembership = "members"\n\n[connection_retry]\nmax_retries = 1\n',
        ),
        ('my_membership = "x"\n', 'my_membership = "x"\nmembership = "members"\n'),
    ],
)
def test_a_setting_takes_its_place(tmp_path: Path, before: str, after: str) -> None:
    config_path(tmp_path).write_text(before)
    put(tmp_path, {"membership": "members"})
    assert config_path(tmp_path).read_text() == after


def test_what_was_put_is_read(tmp_path: Path) -> None:
    put(tmp_path, {"membership": "members", "federation": FEDERATION, "bootstrap_peers": []})
    config = FederationConfig.load(config_path(tmp_path), environ={})
    assert (config.membership, config.federation) == ("members", FEDERATION)
