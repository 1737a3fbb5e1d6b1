"""What `covm doctor` says of a home and its machine, rule by rule."""

from __future__ import annotations

import errno
import threading

import pytest

from covm.daemon.checkup import house, look, outside
from covm.daemon.checkup.examination import _looked
from covm.daemon.checkup.house import Disk, Entry, Household, StoreSeen
from covm.daemon.checkup.outside import Name, Port
from covm.daemon.checkup.side_by_side import done_by
from covm.federation.diagnosis.finding import Area, Finding, Verdict

MINUTE = 60_000
MIB = 1024**2


def entry(path: str = "/home", mode: int = 0o700, **changes: bool) -> Entry:
    return Entry(path, mode, **{"is_own": True, "is_folder": True, "is_writable": True, **changes})


KEY = entry("/home/identity.key", 0o600, is_folder=False)
SOUND = Household(entry(), KEY, (), has_store=True)


def only(findings: list[Finding]) -> Finding:
    [finding] = findings
    return finding


@pytest.mark.parametrize(
    ("seen", "what", "next_step"),
    [
        (Household(None, None, (), has_store=False), "there is no home at /home", "covm init --home /home"),
        (Household(entry(is_folder=False), None, (), has_store=False), "is not a folder", "another --home"),
        (Household(entry(is_own=False), KEY, (), has_store=True), "another user", "as that user"),
        (Household(entry(mode=0o755), KEY, (), has_store=True), "open to other users", "chmod 700 /home"),
        (Household(entry(mode=0o500, is_writable=False), KEY, (), has_store=True), "cannot be written", "chmod 700"),
        (Household(entry(), None, (), has_store=True), "a store and no key", "covm store restore"),
        (Household(None, None, (), has_store=False, why="Permission denied"), "cannot be looked at", "run the command"),
        (
            Household(entry(), entry("/home/identity.key", 0o644, is_folder=False), (), has_store=True),
            "/home/identity.key can be read by other users",
            "chmod 600 /home/identity.key",
        ),
        (
            Household(entry(), KEY, (entry("/home/member", 0o750),), has_store=True),
            "/home/member can be read by other users",
            "chmod 700 /home/member",
        ),
    ],
)
def test_a_home_with_something_wrong_is_a_problem_with_its_remedy(seen: Household, what: str, next_step: str) -> None:
    finding = only(house.permissions("/home", seen))
    assert finding.verdict is Verdict.PROBLEM
    assert what in finding.what
    assert next_step in finding.next_step


def test_a_closed_home_is_well_and_one_without_a_key_gets_one() -> None:
    assert only(house.permissions("/home", SOUND)).verdict is Verdict.OK
    young = only(house.permissions("/home", Household(entry(), None, (), has_store=False)))
    assert young.verdict is Verdict.WARNING


def test_everything_that_is_open_is_told_at_once() -> None:
    seen = Household(entry(mode=0o755), entry("/home/identity.key", 0o644), (), has_store=True)
    assert len(house.permissions("/home", seen)) == 2


@pytest.mark.parametrize(
    ("seen", "verdict", "what"),
    [
        (Disk(5_000 * MIB, 10**6, is_read_only=False), Verdict.OK, "4.9 GiB are free"),
        (Disk(500 * MIB, 10**6, is_read_only=False), Verdict.WARNING, "500 MiB are free"),
        (Disk(10 * MIB, 10**6, is_read_only=False), Verdict.PROBLEM, "10 MiB are free"),
        (Disk(5_000 * MIB, 12, is_read_only=False), Verdict.PROBLEM, "places for 12 more files"),
        (Disk(5_000 * MIB, None, is_read_only=False), Verdict.OK, "4.9 GiB"),
        (Disk(5_000 * MIB, 10**6, is_read_only=True), Verdict.PROBLEM, "read-only"),
    ],
)
def test_room_on_the_disk(seen: Disk, verdict: Verdict, what: str) -> None:
    finding = house.disk("/home", seen)
    assert finding.verdict is verdict
    assert what in finding.what


def test_a_clock_behind_the_files_that_it_dated_is_wrong() -> None:
    assert house.clock_against_files(100 * MINUTE, 99 * MINUTE, "store.db", 5 * MINUTE).verdict is Verdict.OK
    back = house.clock_against_files(100 * MINUTE, 300 * MINUTE, "/home/store.db", 5 * MINUTE)
    assert (back.verdict, back.why) == (Verdict.PROBLEM, "/home/store.db was written later than it shows")
    never_set = house.clock_against_files(0, 0, "", 100 * MINUTE)
    assert never_set.verdict is Verdict.PROBLEM
    assert "installed later" in never_set.why
    drive = house.clock_against_files(100 * MINUTE, 100 * MINUTE + 30_000, "store.db", 0)
    assert drive.verdict is Verdict.OK, "a drive's clock may be half a minute ahead"


def test_a_store_says_whether_it_opens() -> None:
    assert house.store(StoreSeen("/home/store.db", "", "")).verdict is Verdict.OK
    assert house.store(StoreSeen("/home/store.db", "v0006", "v0006")).verdict is Verdict.OK
    older = house.store(StoreSeen("/home/store.db", "v0005", "v0006"))
    assert "the next start brings it to v0006" in older.why
    broken = house.store(StoreSeen("/home/store.db", "", "", "file is not a database"))
    assert (broken.verdict, broken.why) == (Verdict.PROBLEM, "file is not a database")


def test_a_path_too_long_for_a_socket_and_what_lies_in_its_way() -> None:
    assert house.socket_path("/x", 120, 107, "", is_running=False).verdict is Verdict.PROBLEM
    assert house.socket_path("/x", 20, 107, "other", is_running=False).verdict is Verdict.PROBLEM
    left = house.socket_path("/x", 20, 107, "socket", is_running=False)
    assert (left.verdict, left.why) == (Verdict.OK, "a node that was killed left it; the next start replaces it")
    assert house.socket_path("/x", 20, 107, "socket", is_running=True).why == ""


def test_names_that_cannot_be_looked_up() -> None:
    mill, farm = (
        Name("mill.example", "bootstrap_peers", True),
        Name("farm.example", "bootstrap_peers", False, "unknown"),
    )
    assert outside.dns([]).verdict is Verdict.OK
    assert outside.dns([mill]).verdict is Verdict.OK
    assert outside.dns([mill, farm]).verdict is Verdict.WARNING, "the other is enough to begin with"
    assert outside.dns([farm]).verdict is Verdict.PROBLEM
    announced = Name("me.example", "announce_addresses", False, "unknown")
    assert outside.dns([mill, announced]).verdict is Verdict.PROBLEM, "others are told a name that leads nowhere"
    silent = outside.dns([Name("mill.example", "bootstrap_peers", False)], deadline_s=3.0)
    assert silent.why == "mill.example: no answer within 3 s"
    assert "resolv.conf" in silent.next_step
    assert outside.dns([mill], left_out=4).why == "4 more were not looked up"


def test_names_are_found_in_addresses() -> None:
    addresses = ["/dns4/coop.example/tcp/9000", "/ip4/192.0.2.1/tcp/9000", "/dns/mill.example/udp/9000/quic-v1"]
    assert outside.names_in([*addresses, *addresses]) == ["coop.example", "mill.example"]


@pytest.mark.parametrize(
    ("port", "what", "next_step"),
    [
        (Port("/ip4/0.0.0.0/tcp/9000", "taken", holder="process 7 (nginx) has it"), "is taken", "stop what listens"),
        (Port("/ip4/0.0.0.0/tcp/80", "denied", "Permission denied"), "may not be used", "above 1023"),
        (Port("/ip4/192.0.2.1/tcp/9000", "absent", "Cannot assign"), "no address of this machine", "0.0.0.0"),
        (Port("/ip6/::/tcp/9000", "other", "not supported"), "cannot be listened on", "listen_addresses"),
    ],
)
def test_a_port_that_cannot_be_had_is_a_problem_with_its_remedy(port: Port, what: str, next_step: str) -> None:
    finding = only(outside.ports([Port("/ip4/127.0.0.1/tcp/0"), port]))
    assert finding.verdict is Verdict.PROBLEM
    assert what in finding.what
    assert finding.why == (port.holder or port.why)
    assert next_step in finding.next_step


def test_where_nothing_can_be_bound_is_not_said_to_be_free() -> None:
    [port] = look.ports(["/dns4/localhost/tcp/9555"])
    assert (port.trouble, port.why) == ("other", "no IP address and port to listen on")


def test_ports_that_can_be_had_are_named_and_none_at_all_is_a_warning() -> None:
    assert only(outside.ports([Port("/ip4/127.0.0.1/tcp/0")])).verdict is Verdict.OK
    assert only(outside.ports([])).verdict is Verdict.WARNING


def test_a_configuration_is_told_with_its_problems() -> None:
    assert house.configuration("c.toml", "", exists=True, is_complete=True).verdict is Verdict.OK
    wrong = house.configuration("c.toml", "listen_addresses: ...", exists=True, is_complete=True)
    assert (wrong.verdict, wrong.why) == (Verdict.PROBLEM, "listen_addresses: ...")
    young = house.configuration("c.toml", "", exists=False, is_complete=False)
    assert young.verdict is Verdict.PROBLEM
    assert "covm federation join" in young.next_step


def test_the_worst_finding_is_the_verdict() -> None:
    well = house.disk("/home", Disk(5_000 * MIB, None, is_read_only=False))
    little = house.disk("/home", Disk(500 * MIB, None, is_read_only=False))
    full = house.disk("/home", Disk(1, None, is_read_only=False))
    assert house.verdict_of([well]) is Verdict.OK
    assert house.verdict_of([well, little]) is Verdict.WARNING
    assert house.verdict_of([little, full, well]) is Verdict.PROBLEM


def test_a_check_that_never_ends_holds_up_no_other() -> None:
    never = threading.Event()
    try:
        done = done_by(0.2, {"stuck": never.wait, "quick": lambda: True})
    finally:
        never.set()
    assert done == {"quick": True}


def test_what_a_check_raises_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        done_by(5.0, {"wrong": lambda: 1 / 0})


def test_what_this_user_may_not_look_at_is_a_problem_with_its_reason_and_no_traceback() -> None:
    def check() -> list[Finding]:
        raise PermissionError(errno.EACCES, "Permission denied", "/home/mill/.covm/config.toml")

    [found] = _looked(Area.DISK, check)
    assert (found.verdict, found.why) == (Verdict.PROBLEM, "/home/mill/.covm/config.toml: Permission denied")


def test_names_that_stand_for_whole_addresses_are_not_called_looked_up() -> None:
    finding = outside.dns([], unasked=["nowhere.invalid"])
    assert (finding.verdict, "/dnsaddr" in finding.what) == (Verdict.NOT_CHECKED, True)
    finding = outside.dns([Name("coop.example", "bootstrap_peers", resolves=True)], unasked=["nowhere.invalid"])
    assert (finding.verdict, finding.why) == (Verdict.OK, "1 more were not looked up")
