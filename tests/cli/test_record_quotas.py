"""What is said on the command line where a member has as much of a type as it may have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.cli.conftest import NodeStarter
from tests.cli.members import until
from tests.cli.test_shared_data import NOTE, home, meet, value


def test_the_command_line_says_whose_records_are_declined_and_how_much_each_member_has(
    folder: Path, start: NodeStarter
) -> None:
    for name in ("mill", "farm"):
        home(folder, name)
    with (folder / "farm" / "config.toml").open("a") as config:
        config.write("record_quota = 3\n")
    mill, farm = start("mill"), start("farm")
    meet(mill, farm)
    for number in range(5):
        assert mill.run("records", "put", NOTE, f"bread {number}", str(number)).code == 0
    until(lambda: value(farm, "bread 2") == 2)

    def usage() -> list[Any]:
        [replica] = farm.ask("sync", "status")["replicas"]
        return [(each["name"], each["records"], each["declined"]) for each in replica["usage"]]

    until(lambda: usage() == [("Mill", 3, True)])
    told = farm.run("sync", "status").out
    assert "More of these is declined, as record_quota and record_quota_bytes say:" in told
    assert any(line.split()[:3] == [NOTE, "Mill", "3"] for line in told.splitlines())
    assert "has 3 records of shop.note here, and more is declined" in farm.run("status").out
    for number in range(3):
        assert farm.run("records", "put", NOTE, f"own {number}", str(number)).code == 0
    refused = farm.run("records", "put", NOTE, "one more", "3")
    assert (refused.code, "raise record_quota on this node" in refused.err) == (5, True)
