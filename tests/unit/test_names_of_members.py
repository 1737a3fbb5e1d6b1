"""What may be the name of a member, a node or a federation, and what is said to who gives another."""

from __future__ import annotations

import pytest

from covm.federation.identity.names import check_name, name_problem
from covm.federation.wire.display import shown
from covm.federation.wire.limits import MAX_NAME


@pytest.mark.parametrize(
    "name",
    [
        "Ash Bakery",
        "O'Neill & Daughters, Ltd. (1904)",
        "Bäckerei Müller",
        "Пекарня",
        "パン屋",
        "مخبز الرماد",
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        "🥖",
        "7",
        "a" * MAX_NAME,
    ],
)
def test_people_call_themselves_what_they_like(name: str) -> None:
    assert name_problem(name) is None
    assert check_name(name) == name
    assert shown(name) == name


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "empty"),
        ("A" * 10_240, "10,240 characters"),
        ("/etc/passwd", "path"),
        ("..\\system32", "path"),
        ("..", "hidden file"),
        (".ssh", "hidden file"),
        ("~root", "hidden file"),
        ("--force", "option"),
        ("Ash\nBakery", "control character"),
        ("\x1b]0;title\x07", "control character"),
        ("Ash\x9b31m", "control character"),
        ("\u202egnp.exe", "direction"),
        ("Ash\u2066", "direction"),
        ("Ash\u200f", "direction"),
        ("A\u200bsh", "invisible"),
        ("\ufeffAsh", "invisible"),
        ("Ash\u2028", "invisible"),
        ("Ash\U000e0041", "invisible"),
        ("Ash\u00a0Bakery", "space"),
        ("Ash  Bakery", "space"),
        (" Ash", "space"),
        ("Ash ", "space"),
        ("Ash\ue000", "outside one computer"),
        ("Ash\ud800", "outside one computer"),
        ("12D3KooWQK1wnefoLrcVHbbnf5tLzbopUd3K3bFAoJpA7YJgL5pV", "an id"),
        ("bafyreide6elfmb35", "an id"),
        ("did:key:z6Mk", "an id"),
        ("***", "neither a letter nor a digit"),
        ("\u200d", "neither a letter nor a digit"),
    ],
)
def test_what_is_no_name(name: str, why: str) -> None:
    assert why in str(name_problem(name))
    with pytest.raises(ValueError, match="the cooperative's name"):
        check_name(name, "the cooperative's name")
