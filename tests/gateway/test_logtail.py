"""The log's newest lines in memory: what a cursor gets, and that they have a bound."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.logtail import MAX_BYTES, LogTail, Tail


def filled(*lines: str) -> LogTail:
    tail = LogTail()
    for line in lines:
        tail.add(line)
    return tail


def test_without_a_cursor_the_newest_lines_come_oldest_first() -> None:
    tail = filled("one", "two", "three")
    assert tail.read(None, 10, 1000) == Tail(["one", "two", "three"], 14, reset=False, skipped=0)
    assert tail.read(None, 2, 1000) == Tail(["two", "three"], 14, reset=False, skipped=4)


@pytest.mark.parametrize(("room", "lines"), [(14, 3), (13, 2), (10, 2), (9, 1), (6, 1), (5, 0)])
def test_an_answer_holds_whole_lines_and_no_more_bytes_than_asked_for(room: int, lines: int) -> None:
    assert len(filled("one", "two", "three").read(None, 10, room).lines) == lines


def test_a_cursor_gets_what_came_after_it() -> None:
    tail = filled("one", "two")
    cursor = tail.read(None, 10, 1000).cursor
    assert tail.read(cursor, 10, 1000) == Tail([], cursor, reset=False, skipped=0)
    tail.add("ü")
    assert tail.read(cursor, 10, 1000) == Tail(["ü"], cursor + 3, reset=False, skipped=0)


def test_a_cursor_of_another_process_is_told_so() -> None:
    assert filled("one").read(1_000, 10, 1000) == Tail(["one"], 4, reset=True, skipped=0)


def test_what_is_too_old_is_forgotten_and_counted() -> None:
    line = "x" * 99_999
    tail = filled(*[line] * 25)
    found = tail.read(0, 100, MAX_BYTES)
    assert (len(found.lines), found.cursor, found.skipped) == (10, 2_500_000, 1_500_000)
    # A line that is larger than all that is kept is kept alone: the newest is what people ask for.
    tail.add("y" * 2 * MAX_BYTES)
    assert [text[0] for _, text in tail._lines] == ["y"]


def test_half_a_character_is_a_line_too() -> None:
    assert filled("\ud800").read(None, 1, 100).lines == ["\ud800"]


@given(st.lists(st.lists(st.text(max_size=5), max_size=5), max_size=8), st.integers(1, 6))
def test_who_asks_on_and_on_hears_every_line_once(batches: list[list[str]], limit: int) -> None:
    """As long as no more come between two questions than one answer holds; and else it knows that some are missing."""
    tail, cursor, heard, written = LogTail(), 0, [], []
    for batch in batches:
        for line in batch:
            tail.add(line)
        found = tail.read(cursor, limit, 1_000)
        missing = batch[: -len(found.lines)] if found.lines else batch
        assert found.skipped == sum(len(line.encode(errors="replace")) + 1 for line in missing)
        heard += missing + found.lines
        written += batch
        cursor = found.cursor
    assert json.dumps(heard) == json.dumps(written)
