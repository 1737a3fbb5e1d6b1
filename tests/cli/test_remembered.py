"""What the process remembers for its operator: who is away since when, and what happened that one should know."""

from __future__ import annotations

import pytest

from covm.control.failures import Invalid, NotFound
from covm.daemon import acquaintances, notices
from covm.daemon.acquaintances import Acquaintance, Acquaintances
from covm.daemon.message_ids import SHOWN_MATCHES, find_id
from covm.daemon.notices import Notices
from covm.federation import events

FARM = "12D3KooWFarm"


class Times:
    """A clock that says what it is told to, and names that peers go by now."""

    def __init__(self) -> None:
        self.now_ms = 1000
        self.names: dict[str, str] = {}

    def know(self) -> Acquaintances:
        return Acquaintances(lambda peer: self.names.get(peer, ""), lambda: self.now_ms)


def connected(peer: str) -> events.PeerConnected:
    return events.PeerConnected(peer=peer, address="/ip4/127.0.0.1/tcp/1", outbound=True)


def gone(peer: str) -> events.PeerDisconnected:
    return events.PeerDisconnected(peer=peer, reason="it left")


def test_a_peer_is_away_since_it_left_and_keeps_its_name() -> None:
    times = Times()
    known = times.know()
    assert known.offline_since_ms(FARM) is None
    times.names[FARM] = "Riverside Farm"
    known.hear(connected(FARM))
    assert known.offline_since_ms(FARM) is None
    times.now_ms = 5000
    times.names.clear()
    known.hear(gone(FARM))
    times.now_ms = 9000
    assert (known.name_of(FARM), known.offline_since_ms(FARM)) == ("Riverside Farm", 5000)
    known.hear(connected(FARM))
    assert known.offline_since_ms(FARM) is None


def test_who_was_here_before_the_start_is_away_since_then_until_it_comes() -> None:
    times = Times()
    known = times.know()
    known.recall({FARM: Acquaintance("Riverside Farm", 700), "12D3KooWMill": Acquaintance("", 800)})
    assert (known.name_of(FARM), known.offline_since_ms(FARM)) == ("Riverside Farm", 700)
    assert known.offline_since_ms("12D3KooWMill") == 800
    assert known.names() == {FARM: "Riverside Farm"}
    known.hear(connected(FARM))
    assert (known.name_of(FARM), known.offline_since_ms(FARM)) == ("Riverside Farm", None)


def test_the_longest_known_give_way() -> None:
    times = Times()
    known = times.know()
    for number in range(acquaintances.MOST + 1):
        times.names[str(number)] = "farm"
        known.hear(connected(str(number)))
    assert known.name_of("0") == ""
    assert known.name_of(str(acquaintances.MOST)) == "farm"


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (
            events.RolledBack(peer=FARM, incarnation="7-ab", proven_seq=12),
            "went back in time, as Riverside Farm proved",
        ),
        (events.PeerRolledBack(peer=FARM, acknowledged=9, stored=4), "Riverside Farm went back in time"),
        (events.ReceivedLess(peer=FARM, acknowledged=9, stored=4), "Riverside Farm says that this node acknowledged 9"),
    ],
)
def test_a_rollback_is_noted(event: events.Event, words: str) -> None:
    noted = Notices(lambda peer: "Riverside Farm", lambda: 5000)
    noted.hear(connected(FARM))
    noted.hear(event)
    [notice] = noted.latest()
    assert words in notice.text
    assert notice.time == 5000


def test_only_the_latest_notices_are_kept() -> None:
    noted = Notices(lambda peer: "", lambda: 0)
    for number in range(notices.MOST + 3):
        noted.hear(events.PeerRolledBack(peer=FARM, acknowledged=number, stored=0))
    assert len(noted.latest()) == notices.MOST
    assert FARM in noted.latest()[0].text
    assert "acknowledged 3 messages" in noted.latest()[0].text


def test_whatever_is_repeated_by_however_many_pushes_out_nothing_else() -> None:
    now = iter(range(10_000))
    noted = Notices(lambda peer: "", lambda: next(now))
    noted.hear(events.RolledBack(peer=FARM, incarnation="7-ab", proven_seq=12))
    for number in range(1000):
        noted.hear(events.InviteRefused(FARM, "it is used up"))
        noted.hear(events.InviteRefused(f"stranger {number}", "it is used up"))
    told = noted.latest()
    assert len(told) == notices.MOST
    assert "went back in time" in told[0].text
    [repeated] = [each for each in told if each.times > 1]
    assert (repeated.times, repeated.time, FARM in repeated.text) == (1000, 1999, True)


# --- ids

IDS = [f"{number:032x}" for number in range(40)] + ["f" * 32]


def test_an_id_or_the_only_beginning_of_one_is_found() -> None:
    assert find_id("F", IDS, "message", "outbox") == "f" * 32
    assert find_id(" " + IDS[3] + " ", IDS, "message", "outbox") == IDS[3]
    assert find_id("ab", ["ab", "abc"], "file", "transfers") == "ab"


def test_a_beginning_of_several_names_some_of_them() -> None:
    with pytest.raises(Invalid) as caught:
        find_id("0", IDS, "message", "outbox")
    assert caught.value.code == "ambiguous_message"
    assert caught.value.details["matches"] == IDS[:SHOWN_MATCHES]
    assert "and more" in caught.value.message


@pytest.mark.parametrize("text", ["", " ", "e", "nothing"])
def test_what_begins_no_id_is_not_found(text: str) -> None:
    with pytest.raises(NotFound) as caught:
        find_id(text, IDS, "file", "transfers")
    assert "covm federation transfers" in caught.value.message
