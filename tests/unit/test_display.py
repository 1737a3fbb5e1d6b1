"""What others wrote is shown; it does not move, colour, hide or reorder anything around it."""

from __future__ import annotations

import pytest

from covm.federation.wire.display import shown


@pytest.mark.parametrize("text", ["", "plain", "Genossenschaft Süd", "合作社", "קואופרטיב", "bread 🥖", "a\\b"])
def test_ordinary_text_of_any_script_is_shown_as_it_is(text: str) -> None:
    assert shown(text) == text


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("\x9b2J", r"\x9b2J"),
        ("a\rb", r"a\rb"),
        ("a\nb\tc", r"a\nb\tc"),
        ("a\x08\x7f", r"a\x08\x7f"),
        ("invoice\u202efdp.exe", r"invoice\u202efdp.exe"),
        ("\u2066a\u2069\u200e\u200f\u061c", r"\u2066a\u2069\u200e\u200f\u061c"),
        ("a\u200bb\ufeff", r"a\u200bb\ufeff"),
        ("a\u2028b\u2029c\x85", r"a\u2028b\u2029c\x85"),
        ("\U000e0041", r"\U000e0041"),
        ("\udc80", r"\udc80"),
        ("a\u00a0b\u3000c", "a b c"),
    ],
)
def test_what_would_act_on_the_terminal_is_written_out(text: str, safe: str) -> None:
    assert shown(text) == safe


def test_joiners_stay_where_scripts_need_them_and_hide_nothing_elsewhere() -> None:
    bengali = "\u09a4\u200d\u09af"  # TA, joiner, YA
    family = "👩\u200d🌾"
    assert shown(bengali) == bengali
    assert shown(family) == family
    assert shown("ad\u200dmin") == r"ad\u200dmin"
    assert shown("ä\u200d\u200dö\u200d") == r"ä\u200d\u200dö\u200d"


def test_a_block_keeps_its_line_breaks_alone() -> None:
    assert shown("one\ntwo\x1b[1A\r", lines=True) == "one\ntwo\\x1b[1A\\r"


def test_long_text_is_cut_to_the_limit() -> None:
    assert shown("x" * 1_000_000, limit=10) == "x" * 9 + "…"
    assert shown("\x1b" * 1_000_000, limit=10) == r"\x1b\x1b\x"[:9] + "…"
    assert shown("short", limit=10) == "short"
    assert shown("\x1b\x1b\x1b", limit=6) == r"\x1b\…"
    assert shown("word", limit=1) == "…"
