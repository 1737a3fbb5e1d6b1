"""When is it certain that two processes run under one key?"""

from __future__ import annotations

from covm.federation.peers.twins import REMEMBERED, is_twin, remembered

A, B, C = b"a" * 16, b"b" * 16, b"c" * 16


def heard(*processes: bytes) -> tuple[bytes, ...]:
    before: tuple[bytes, ...] = ()
    for each in processes:
        before = remembered(before, each)
    return before


def test_a_process_that_was_followed_by_another_and_comes_back_is_a_twin() -> None:
    assert is_twin(heard(A, B), A)


def test_a_restart_is_none_however_often() -> None:
    assert not is_twin(heard(A), A), "a further connection of the same one"
    assert not is_twin(heard(A, B), C)
    assert not is_twin(heard(A, B), B)
    assert not is_twin((), A)


def test_of_two_that_take_turns_each_is_the_others_twin() -> None:
    assert is_twin(heard(A, B, A), B)
    assert is_twin(heard(A, B, A, B), A)


def test_a_process_that_does_not_say_which_it_is_is_never_one() -> None:
    assert heard(b"", A, b"") == (A,)
    assert not is_twin(heard(A, B), b"")


def test_only_the_latest_are_remembered() -> None:
    many = heard(*(bytes([number]) * 16 for number in range(100)))
    assert len(many) == REMEMBERED
