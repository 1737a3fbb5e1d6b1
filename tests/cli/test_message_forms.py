"""MESSAGE as people type it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.cli.processes import Node


def last_payload(node: Node) -> Any:
    return node.ask("messages", "--limit", "1")["messages"][0]["payload"]


@pytest.mark.parametrize(
    ("message", "payload"),
    [
        ('{"bread": "rye", "loaves": 3}', {"bread": "rye", "loaves": 3}),
        ("[1, 2]", [1, 2]),
        ("42", 42),
        ("-5", -5),
        ("null", None),
        ('"quoted"', "quoted"),
        ("rye bread on Thursday", "rye bread on Thursday"),
        ("Gruß, 你好, سلام", "Gruß, 你好, سلام"),
        ("--json is an option", "--json is an option"),
        ("", ""),
    ],
)
def test_json_is_json_and_anything_else_is_text(shop: Node, message: str, payload: object) -> None:
    shop.ask("publish", "shop.note", message)
    assert last_payload(shop) == payload


def test_a_dash_reads_standard_input(shop: Node) -> None:
    shop.ask("publish", "shop.note", "-", stdin=b'{"bread": "rye"}\n')
    assert last_payload(shop) == {"bread": "rye"}
    shop.ask("publish", "shop.note", "-", stdin="Grüße\n".encode())
    assert last_payload(shop) == "Grüße"


def test_an_at_sign_reads_a_file(shop: Node, folder: Path) -> None:
    (folder / "note.json").write_text(json.dumps({"bread": "rye"}))
    shop.ask("publish", "shop.note", f"@{folder}/note.json")
    assert last_payload(shop) == {"bread": "rye"}


def test_a_file_that_is_not_there_is_not_found(shop: Node) -> None:
    assert shop.run("publish", "shop.note", "@nowhere.json").code == 4


def test_bytes_that_are_no_text_are_refused(shop: Node) -> None:
    outcome = shop.run("publish", "shop.note", "-", "--json", stdin=b"\xff\xfe")
    assert (outcome.code, outcome.error["code"]) == (2, "not_text")


def test_broken_json_is_a_slip_unless_it_is_said_to_be_text(shop: Node) -> None:
    assert shop.run("publish", "shop.note", "{rye").code == 2
    shop.ask("publish", "shop.note", "{rye", "--text")
    assert last_payload(shop) == "{rye"


def test_nothing_on_standard_input_is_not_published_as_an_empty_text(shop: Node) -> None:
    for options in ([], ["--text"]):
        outcome = shop.run("publish", "shop.note", "-", "--json", *options, stdin=b"")
        assert (outcome.code, outcome.error["code"]) == (2, "empty_message")
        assert "standard input" in outcome.error["message"]
    sentence = shop.run("publish", "shop.note", "-", stdin=b"\n")
    assert sentence.code == 2
    assert len(sentence.err.splitlines()) == 1


def test_an_empty_file_is_not_published_as_an_empty_text(shop: Node, folder: Path) -> None:
    (folder / "empty.json").touch()
    outcome = shop.run("publish", "shop.note", f"@{folder}/empty.json", "--json")
    assert (outcome.code, outcome.error["code"]) == (2, "empty_message")


@pytest.mark.parametrize(
    ("message", "key"),
    [
        ('{"bread": "rye", "loaves": 3, "bread": "oat"}', "bread"),
        ('[1, {"shop": {"till": 1, "till": 1}}]', "till"),
        ('{"a": 1, "\\u0061": 2}', "a"),
    ],
)
def test_a_key_that_stands_twice_is_a_slip_and_named(shop: Node, message: str, key: str) -> None:
    outcome = shop.run("publish", "shop.note", message, "--json")
    assert (outcome.code, outcome.error["code"]) == (2, "duplicate_key")
    assert f'"{key}"' in outcome.error["message"]
    shop.ask("publish", "shop.note", message, "--text")
    assert last_payload(shop) == message


def test_json_nested_without_end_is_refused_in_a_sentence(shop: Node) -> None:
    outcome = shop.run("publish", "shop.note", "-", "--json", stdin=b"[" * 500_000 + b"]" * 500_000)
    assert outcome.code == 2


def test_what_looks_like_an_option_may_follow_two_dashes(shop: Node) -> None:
    shop.ask("publish", "--", "shop.note", "--json")
    assert last_payload(shop) == "--json"


def test_more_than_a_node_takes_is_not_even_sent(shop: Node) -> None:
    outcome = shop.run("publish", "shop.note", "-", "--json", stdin=b"x" * (2 * 1024 * 1024 + 1))
    assert (outcome.code, outcome.error["code"]) == (2, "message_too_large")
