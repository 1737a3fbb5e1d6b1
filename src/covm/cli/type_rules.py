"""`covm federation types propose`: founders agree on the rule of a type that the charter does not name."""

from __future__ import annotations

from pathlib import Path

from covm.cli import paper_files
from covm.cli.members import told
from covm.cli.options import DEFAULT, Common
from covm.cli.output import say, say_json
from covm.control import membership
from covm.control.client import ControlClient


def propose(file: Path, /, *, common: Common = DEFAULT) -> None:
    """Give types rules of their own, for good. Over half of the founders have to approve each.

    Founders see the rules in `covm federation requests`, and approve them with `covm federation approve`.

    Parameters
    ----------
    file
        A TOML file with the types, as in `covm federation create --rules`: [types."accounts.entry"] and so on.
    """
    rules = paper_files.read(file, lambda data: data.decode())
    proposed = ControlClient(common.folder).propose_types(rules)
    if common.json:
        say_json(membership.Requests(requests=proposed))
        return
    for each in proposed:
        say(told(each))
