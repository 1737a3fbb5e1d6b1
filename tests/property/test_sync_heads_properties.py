"""The heads of a key, found record by record, are those that the definition gives, in every order of arrival."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from covm._native import Link, cid
from covm.federation.sync.heads import Node, heads_of, newly_superseded


def link(number: int) -> Link:
    return cid(b"%d" % number)


@st.composite
def histories(draw: st.DrawFn) -> list[Node]:
    """Records based on any of those before them, some of them void."""
    nodes: list[Node] = []
    for number in range(draw(st.integers(1, 14))):
        parents = draw(st.sets(st.integers(0, number - 1), max_size=4)) if number else set()
        nodes.append(Node(link(number), tuple(map(link, sorted(parents))), draw(st.booleans()), superseded=False))
    return nodes


def one_by_one(nodes: Sequence[Node]) -> set[Link]:
    """The heads that are left when each is settled behind its parents."""
    held: dict[Link, Node] = {}
    for node in nodes:
        held[node.id] = node
        for link_ in newly_superseded(node.parents, held.get) if node.counts else []:
            held[link_] = held[link_]._replace(superseded=True)
    return {node.id for node in held.values() if node.counts and not node.superseded}


def by_definition(nodes: Sequence[Node]) -> set[Link]:
    behind: dict[Link, set[Link]] = {}
    for node in nodes:
        behind[node.id] = set(node.parents).union(*(behind[parent] for parent in node.parents))
    reached = set[Link]().union(*(behind[node.id] for node in nodes if node.counts))
    return {node.id for node in nodes if node.counts and node.id not in reached}


@given(histories(), st.randoms(use_true_random=False))
def test_heads_are_the_same_one_by_one_in_any_order_and_all_at_once(nodes: list[Node], chance: object) -> None:
    expected = by_definition(nodes)
    assert heads_of(nodes) == expected
    left, order = list(nodes), list[Node]()
    while left:
        able = [node for node in left if all(parent in {each.id for each in order} for parent in node.parents)]
        order.append(chance.choice(able))  # type: ignore[attr-defined]
        left.remove(order[-1])
    assert one_by_one(order) == expected


@given(histories(), st.data())
def test_heads_follow_when_what_counts_changes(nodes: list[Node], data: st.DataObject) -> None:
    changed = [node._replace(counts=data.draw(st.booleans())) for node in nodes]
    assert heads_of(changed) == by_definition(changed) == one_by_one(changed)
