"""Lanes as properties: each sender's order is kept, and never do more run than there are slots."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from covm.federation.dispatch.lanes import Lanes


@given(st.integers(1, 4), st.lists(st.tuples(st.sampled_from("abcdef"), st.booleans()), max_size=80))
def test_lanes_keep_each_senders_order_and_never_run_more_than_their_slots(
    slots: int, steps: list[tuple[str, bool]]
) -> None:
    lanes: Lanes[int] = Lanes(slots)
    pushed: dict[str, list[int]] = {}
    taken: dict[str, list[int]] = {}
    running: list[tuple[str, str]] = []

    def work() -> None:
        lane = running.pop(0)
        item = lanes.pop(lane)
        if item is not None:
            taken.setdefault(lane[0], []).append(item)
        following = lanes.finish(lane)
        if following is not None:
            running.append(following)

    for number, (sender, works) in enumerate(steps):
        pushed.setdefault(sender, []).append(number)
        if lanes.push((sender, "a.note"), number):
            running.append((sender, "a.note"))
        assert lanes.running == len(running) <= slots
        if works:
            work()
    while running:
        work()
    assert taken == pushed
    assert lanes.queued == 0
