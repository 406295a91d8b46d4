"""Entries of a record: their texts in tags, and texts that somebody else wrote."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollway.rollout.entries import Command, Ended, Failures, Lease, Order, Served
from rollway.rollout.tags import MOST_CHARACTERS, on_one_line, split, value_of

AT = "2026-01-01T12:00:00.000+00:00"


@pytest.mark.parametrize(
    ("kind", "texts"),
    [
        (Lease, ["", "free", "run/1", "run/1 300", "run/1 x now", "run/1 -1 now", "run/1 ² now", "a b c d"]),
        (Served, ["", "=", "=diabetes:1"]),
        (Ended, ["", "promoted", "promoted run/1", f"lost run/1 {AT}", f"promoted run/1 {AT} x"]),
        (Failures, ["", "0123abcd", "0123abcd 1", f"0123abcd -1 {AT}", f"0123abcd ² {AT}", f"0123abcd 1 {AT} x"]),
        (Command, ["", "hold", "hold now", f"stop {AT} ann", f"Hold {AT} ann"]),
    ],
)
def test_a_text_that_rollway_did_not_write_is_none(kind: Any, texts: list[str]) -> None:
    assert [text for text in texts if kind.parse(text) is not None] == []
    assert kind.parse(None) is None


def test_a_command_reads_as_a_sentence() -> None:
    with_reason = Command(order=Order.HOLD, by="ann", at=AT, reason="sales day")

    assert (str(with_reason), with_reason.sentence) == (f"hold {AT} ann sales day", "hold by ann: sales day")
    assert Command(order=Order.ABORT, by="ann", at=AT).sentence == "abort by ann"


@pytest.mark.parametrize(
    ("reason", "kept"),
    [
        ("", ""),
        ("  ", ""),
        ("two  words", "two words"),
        (" of\n two\tlines ", "of two lines"),
        ("long " * 100, ("long " * 100)[: MOST_CHARACTERS - len(f"hold {AT} ann ")].rstrip()),
    ],
    ids=["none", "blank", "two blanks", "lines", "long"],
)
def test_the_reason_of_a_command_fits_into_a_tag_from_the_start(reason: str, kept: str) -> None:
    command = Command(order=Order.HOLD, by="ann", at=AT, reason=reason)

    assert command.reason == kept
    assert len(str(command)) <= MOST_CHARACTERS
    assert Command.parse(str(command)) == command


@given(st.text(max_size=1000), st.integers(0, 3))
def test_a_value_of_any_length_is_read_back_and_none_is_too_long(text: str, number: int) -> None:
    tags = split({"rollway:a": text, "rollway:b": "other"})

    assert (value_of(tags, "rollway:a") or "") == text
    assert all(0 < len(value) <= MOST_CHARACTERS for value in tags.values())
    assert value_of({**tags, f"rollway:b.{number + 3}": "torn"}, "rollway:b") == "other"


@given(st.text(max_size=600))
def test_a_text_of_people_fits_on_one_line_and_is_the_same_when_done_twice(text: str) -> None:
    line = on_one_line(text)

    assert len(line) <= MOST_CHARACTERS
    assert on_one_line(line) == line
    assert len(line.splitlines()) <= 1
