"""What an operator reads of peers, clocks and the store."""

from __future__ import annotations

import pytest
from tests.network.world import World, meet

from covm.federation.diagnosis.company import Acquaintance, Company, clock, peers
from covm.federation.diagnosis.finding import Area, Verdict
from covm.federation.diagnosis.upkeep import store
from covm.federation.store.interface import StoreHealth

BOOTSTRAP = "/ip4/127.0.0.1/tcp/9/p2p/12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X"


def peer(name: str, offset_ms: float | None = None, error: str = "", *, kept: bool = False) -> Acquaintance:
    """A peer that is connected, unless it has an error."""
    return Acquaintance(name, not error, is_suspect=False, is_kept=kept, last_error=error, clock_offset_ms=offset_ms)


def company(*known: Acquaintance, searches: tuple[str, ...] = (), why_not: str = "") -> Company:
    return Company(known, takes_part=not why_not, standing=why_not or "it is a member's", searches=searches)


def test_peers_that_are_connected_are_named() -> None:
    [finding] = peers(company(peer("Mill"), peer("Farm")))
    assert (finding.verdict, finding.what) == (Verdict.OK, "2 peers connected: Mill, Farm")


def test_peers_behind_a_relay_are_named_with_the_reason() -> None:
    behind = Acquaintance("Farm", True, False, False, "", None, "hole punching failed: timed out")
    [finding] = peers(company(peer("Mill"), behind))
    assert finding.verdict is Verdict.OK
    assert finding.why == "through a relay: Farm (hole punching failed: timed out)"


def test_of_very_many_peers_a_few_are_named() -> None:
    [finding] = peers(company(*(peer(f"node {number}") for number in range(200))))
    assert finding.what.endswith("node 4 and 195 more")


def test_a_kept_peer_that_is_lost_is_a_warning_with_its_error() -> None:
    well, lost = peers(company(peer("Mill"), peer("Farm", error="connection refused", kept=True)))
    assert well.verdict is Verdict.OK
    assert lost.verdict is Verdict.WARNING
    assert lost.what == "Farm cannot be reached"
    assert lost.why == "connection refused"


def test_a_hint_that_led_nowhere_is_no_finding_beside_connected_peers() -> None:
    assert len(peers(company(peer("Mill"), peer("Farm", error="connection refused")))) == 1


def test_a_node_that_reaches_nobody_is_told_why_the_most_frequent_cause_first() -> None:
    lost = [peer(f"node {number}", error="no route to host") for number in range(3)]
    [finding] = peers(company(peer("Farm", error="connection refused"), *lost))
    assert finding.verdict is Verdict.PROBLEM
    assert finding.what == "none of 4 known peers is connected"
    assert finding.why == "no route to host, connection refused"
    assert "covm federation peers" in finding.next_step


def test_a_suspected_peer_is_told() -> None:
    silent = Acquaintance("Farm", True, is_suspect=True, is_kept=False, last_error="", clock_offset_ms=None)
    [finding] = peers(company(peer("Mill"), silent))
    assert finding.verdict is Verdict.WARNING
    assert "Farm missed heartbeats" in finding.what


@pytest.mark.parametrize(
    ("searches", "why"), [(("mDNS",), "nobody was found so far by mDNS"), ((), "bootstrap_peers is empty")]
)
def test_a_node_that_knows_nobody_is_told_how_to_begin(searches: tuple[str, ...], why: str) -> None:
    [finding] = peers(company(searches=searches))
    assert finding.verdict is Verdict.WARNING
    assert why in finding.why
    assert "covm federation connect" in finding.next_step


def test_a_node_that_nobody_has_let_in_is_told_that_first() -> None:
    [finding] = peers(company(peer("Mill"), why_not="its member was removed"))
    assert (finding.verdict, finding.why) == (Verdict.PROBLEM, "its member was removed")


def test_clocks_that_agree_within_seconds_are_well() -> None:
    finding = clock(company(peer("Mill", 4_000), peer("Farm", -4_900)))
    assert (finding.verdict, finding.what) == (Verdict.OK, "it agrees with the clocks of 2 peers")


def test_a_clock_seven_seconds_behind_most_peers_is_a_warning_one_of_an_hour_a_problem() -> None:
    finding = clock(company(peer("Mill", 7_200), peer("Farm", 7_200), peer("Shop", 0)))
    assert finding.verdict is Verdict.WARNING
    assert finding.what == "this machine's clock is 7.2 s behind those of most peers"
    assert "timedatectl" in finding.next_step
    finding = clock(company(peer("Mill", -3_600_000), peer("Farm", -3_600_000)))
    assert finding.verdict is Verdict.PROBLEM
    assert finding.what == "this machine's clock is 60 min ahead of those of most peers"


def test_a_clock_a_year_off_is_told_in_days() -> None:
    year_ms = 365 * 86_400_000.0
    assert "365 days behind" in clock(company(peer("Mill", year_ms), peer("Farm", year_ms))).what


def test_the_one_peer_whose_clock_is_wrong_is_named() -> None:
    finding = clock(company(peer("Mill", 9_000), peer("Farm", 0), peer("Shop", 20)))
    assert finding.verdict is Verdict.WARNING
    assert finding.what == "not all clocks agree with this machine's: that of Mill is 9.0 s ahead"
    assert finding.next_step == "tell their operators"


def test_of_two_clocks_nobody_knows_which_is_wrong() -> None:
    finding = clock(company(peer("Mill", 9_000)))
    assert (finding.verdict, finding.why) == (Verdict.WARNING, "one of the two is wrong")


def test_without_peers_no_clock_is_compared() -> None:
    assert clock(company(peer("Mill", None, error="refused"))).verdict is Verdict.NOT_CHECKED


def test_a_store_says_how_it_is_and_what_to_do() -> None:
    assert store(StoreHealth(), "/home/store.db", is_durable=True).verdict is Verdict.OK
    assert store(StoreHealth(), "", is_durable=False).verdict is Verdict.WARNING
    full = store(StoreHealth("full", "no space left on device", 1), "/home/store.db", is_durable=True)
    assert (full.verdict, full.why) == (Verdict.PROBLEM, "no space left on device")
    assert "make room" in full.next_step
    failing = store(StoreHealth("failing", "I/O error", 1), "/home/store.db", is_durable=True)
    assert "covm store check" in failing.next_step


@pytest.mark.parametrize("kind", ["simulated", "libp2p"])
async def test_two_nodes_that_are_connected_find_each_other_well(kind: str) -> None:
    async with World(kind) as world:
        mill, farm = await world.pair()
        found = {finding.area: finding for finding in mill.diagnosis()}
        assert set(found) == {Area.STORE, Area.CLOCK, Area.LISTENING, Area.REACHABILITY, Area.RELAY, Area.PEERS}
        assert found[Area.PEERS].what == "1 peer connected: Riverside Farm"
        assert found[Area.LISTENING].verdict is Verdict.OK
        assert not [finding for finding in found.values() if finding.verdict is Verdict.PROBLEM]
        await farm.stop()


@pytest.mark.parametrize("kind", ["simulated", "libp2p"])
async def test_a_node_whose_bootstrap_peer_is_not_there_is_told_so(kind: str) -> None:
    async with World(kind) as world:
        mill = await world.start(bootstrap_peers=[BOOTSTRAP])
        farm = await world.start(name="Riverside Farm")
        found = {finding.area: finding for finding in mill.diagnosis()}
        assert found[Area.PEERS].verdict is Verdict.PROBLEM
        await meet(farm, mill)
        lost = [finding for finding in mill.diagnosis() if finding.what.endswith("cannot be reached")]
        assert [finding.verdict for finding in lost] == [Verdict.WARNING]


def test_peers_of_one_name_are_several_and_hide_nothing() -> None:
    finding = clock(company(peer("Mill", 600_000), peer("Mill", 600_000)))
    assert finding.verdict is Verdict.PROBLEM
    assert "those of most peers" in finding.what
    hidden = clock(company(peer("Mill", 600_000), peer("Mill", 600_000), peer("Mill", 0)))
    assert hidden.verdict is Verdict.PROBLEM


@pytest.mark.parametrize("kind", ["simulated", "libp2p"])
async def test_where_a_router_is_reached_is_not_where_the_node_listens(kind: str) -> None:
    async with World(kind) as world:
        mill = await world.start(announce_addresses=["/ip4/203.0.113.5/tcp/19000", "/dns4/mill.example/tcp/19000"])
        found = {finding.area: finding for finding in mill.diagnosis()}
        assert found[Area.LISTENING].verdict is Verdict.OK
        assert "19000" not in found[Area.LISTENING].what
