"""The incoming message's table: each row, each cell, each guard, and how long it is waited for."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Any

import pytest
from msgspec.structs import replace

from statemachine import Effect, Event, Incoming, IncomingState, Outcome, Refusal, Step
from statemachine.effects import ArmTimer, DisarmTimer
from statemachine.incoming import (
    CancelHandling,
    Finish,
    Handle,
    HandlerAnswered,
    HandlerFailed,
    HandlingDue,
    HandlingOverdue,
    IncomingData,
    TurnCame,
    Verdict,
)

from .builders import Case, Story, at, numbered, only
from .tables import TableTests

S = IncomingState
TABLE = Incoming.table
TOO_LONG = "the handler took too long"
REPLIES = ("one", "two")


def d(**changes: Any) -> IncomingData:
    """Attempt 3 of 5 is the present one, and its handler may take 20 s."""
    return replace(IncomingData(attempt=3, attempts=5, patience=20.0), **changes)


LAST = {"attempt": 5}


def failed(attempt: int = 3, **said: Any) -> HandlerFailed:
    return HandlerFailed(attempt, "it broke", **said)


def handled(attempt: int, lives: int = 0) -> tuple[Effect, ...]:
    return ArmTimer(HandlingOverdue(attempt), after=20.0), Handle(attempt, lives)


def waits(attempt: int, after: float, at_least: float = 0.0) -> ArmTimer:
    return ArmTimer(HandlingDue(attempt), after=after, jitter=True, at_least=at_least)


# Rows: one entry a row, in the order of the table

ROWS: tuple[tuple[Case, ...], ...] = (
    (
        Case(
            "its sender is not listened to", (S.RECEIVED,), IncomingData(), TurnCame(Verdict.REFUSED, why="not in allow_from"),
            S.REFUSED, (Finish("refused", "not in allow_from"),),
        ),
    ),
    (
        Case(
            "no route takes it", (S.RECEIVED,), IncomingData(), TurnCame(Verdict.UNMATCHED, why="no route matches"),
            S.UNMATCHED, (Finish("unmatched", "no route matches"),),
        ),
    ),
    (
        Case(
            "five boots have come to no end with it", (S.RECEIVED,), IncomingData(attempt=6),
            TurnCame(Verdict.MATCHED, 9, 20.0), S.DEAD, (Finish("dead", "5 boots have taken it up, and none came to an end with it"),),
        ),
    ),
    (
        *(
            Case(
                f"{lives} lives have ended with it", (S.RECEIVED,), IncomingData(lives, lives=lives), TurnCame(Verdict.MATCHED, 1, 20.0),
                S.BACKOFF, (waits(lives, after),), {"why": f"{lives} lives have ended while it was handled", "patience": 20.0},
            )
            for lives, after in ((2, 2.0), (5, 16.0))
        ),
    ),
    (
        Case(
            "its turn", (S.RECEIVED,), IncomingData(), TurnCame(Verdict.MATCHED, 5, 20.0), S.HANDLING, handled(1),
            {"attempt": 1, "attempts": 5, "patience": 20.0},
        ),
        Case(
            "an earlier life has begun it", (S.RECEIVED,), IncomingData(1, lives=1), TurnCame(Verdict.MATCHED, 1, 20.0),
            S.HANDLING, handled(2, lives=1), {"attempt": 2, "lives": 0, "patience": 20.0},
        ),
    ),
    (
        Case(
            "its handler answers, in time or late", (S.HANDLING, S.BACKOFF), d(), HandlerAnswered(3, REPLIES), S.HANDLED,
            (DisarmTimer(), Finish("handled", "", REPLIES)),
        ),
        Case(
            "with nothing", (S.HANDLING,), d(), HandlerAnswered(3), S.HANDLED, (DisarmTimer(), Finish("handled")),
        ),
    ),
    (
        Case(
            "another try can help", (S.HANDLING,), d(), failed(retryable=True), S.BACKOFF, (waits(3, 4.0),), {"why": "it broke"},
        ),
        Case(
            "and it is said when", (S.HANDLING,), d(), failed(retryable=True, after=90.0), S.BACKOFF,
            (waits(3, 4.0, 90.0),), {"why": "it broke"},
        ),
        Case(
            "the handler could not be asked: that is no attempt", (S.HANDLING,), d(**LAST),
            failed(5, retryable=True, counts=False), S.BACKOFF, (waits(5, 16.0),), {"why": "it broke", "attempts": 6},
        ),
    ),
    (
        *(
            Case(f"for good: {name}", (S.HANDLING,), data, event, S.DEAD, (DisarmTimer(), Finish("dead", "it broke")))
            for name, data, event in (
                ("nothing can help", d(), failed()),
                ("nothing can help, and it was never begun", d(), failed(counts=False)),
                ("it was tried often enough", d(**LAST), failed(5, retryable=True)),
                ("more often than it may be", d(attempt=6), failed(6, retryable=True)),
            )
        ),
    ),
    (
        Case(
            "it takes too long, and may be tried again", (S.HANDLING,), d(), HandlingOverdue(3), S.BACKOFF,
            (CancelHandling(), waits(3, 4.0)), {"why": TOO_LONG},
        ),
    ),
    (
        Case(
            "it takes too long, for the last time", (S.HANDLING,), d(**LAST), HandlingOverdue(5), S.DEAD,
            (CancelHandling(), Finish("dead", TOO_LONG)),
        ),
    ),
    (
        Case(
            "the last word of one that was given up", (S.BACKOFF,), d(), failed(), None, (), {}, Outcome.COALESCED,
        ),
    ),
    (
        Case("another try", (S.BACKOFF,), d(why="it broke"), HandlingDue(3), S.HANDLING, handled(4), {"attempt": 4}),
        Case(
            "in the third life after two that ended with it", (S.BACKOFF,), d(attempt=2, lives=2), HandlingDue(2), S.HANDLING,
            handled(3, lives=2), {"attempt": 3, "lives": 0},
        ),
    ),
)  # fmt: skip

# The table

ALLOWED = {
    S.RECEIVED: {"turn_came"},
    S.HANDLING: {"handler_answered", "handler_failed", "handling_overdue"},
    S.BACKOFF: {"handler_answered", "handler_failed", "handling_due"},
    S.HANDLED: set(), S.UNMATCHED: set(), S.REFUSED: set(), S.DEAD: set(),
}  # fmt: skip
GUARDS: dict[str, tuple[list[tuple[IncomingData, Event]], list[tuple[IncomingData, Event]]]] = {
    "sender_is_refused": (
        [(d(), TurnCame(Verdict.REFUSED))], [(d(), TurnCame(Verdict.MATCHED)), (d(), TurnCame(Verdict.UNMATCHED))],
    ),
    "no_route_takes_it": (
        [(d(), TurnCame(Verdict.UNMATCHED))], [(d(), TurnCame(Verdict.MATCHED)), (d(), TurnCame(Verdict.REFUSED))],
    ),
    "was_taken_up_too_often": (
        [(d(attempt=6), TurnCame(Verdict.MATCHED))], [(d(attempt=5), TurnCame(Verdict.MATCHED))],
    ),
    "was_taken_up_before": (
        [(d(attempt=2), TurnCame(Verdict.MATCHED))], [(d(attempt=1), TurnCame(Verdict.MATCHED))],
    ),
    "attempt_is_current": (
        [(d(), HandlerAnswered(3)), (d(), failed()), (d(), HandlingOverdue(3)), (d(attempt=9), HandlingDue(9))],
        [(d(), HandlerAnswered(2)), (d(), failed(4)), (d(), HandlingOverdue(2)), (d(), HandlingDue(0))],
    ),
    "may_be_tried_again": (
        [(d(), failed(retryable=True)), (d(**LAST), failed(5, retryable=True, counts=False))],
        [(d(), failed()), (d(), failed(counts=False)), (d(**LAST), failed(5, retryable=True))],
    ),
    "has_attempts_left": ([(d(), HandlingOverdue(3))], [(d(**LAST), HandlingOverdue(5)), (d(attempt=6), HandlingOverdue(6))]),
}  # fmt: skip


class TestTable(TableTests):
    """Each row, each cell, each guard."""

    machine = Incoming
    rows = ROWS
    allowed = ALLOWED
    events = 5
    guards = GUARDS
    guarded_in = S.HANDLING

    def variants(self, state: Enum, case: Case) -> Iterator[tuple[IncomingData, Event]]:
        yield case.data, case.event
        yield replace(case.data, attempt=case.data.attempt + 1), case.event
        yield replace(case.data, attempts=case.data.attempt), case.event


REFUSED = [
    *(("a stale answer", state, HandlerAnswered(2)) for state in (S.HANDLING, S.BACKOFF)),
    *(
        ("a stale failure", state, HandlerFailed(2, "it broke", retryable))
        for state in (S.HANDLING, S.BACKOFF) for retryable in (True, False)
    ),
    ("a stale deadline", S.HANDLING, HandlingOverdue(2)),
    ("a stale wait", S.BACKOFF, HandlingDue(2)),
]  # fmt: skip


@pytest.mark.parametrize("attempts", [3, 5], ids=["the last attempt", "one of several"])
@pytest.mark.parametrize(
    ("state", "event"), [case[1:] for case in REFUSED], ids=[f"{case[0]}: {case[1].value}" for case in REFUSED]
)
def test_the_whole_table_refuses_what_is_stale(state, event, attempts):
    machine = at(Incoming, state, d(attempts=attempts))
    refusal = machine.fire(event)
    assert isinstance(refusal, Refusal), "accepted"
    assert "attempt_is_current" in refusal.guards
    assert (machine.state, machine.data) == (state, d(attempts=attempts))


# Stories


def test_it_is_tried_as_often_as_it_may_be_and_waits_longer_each_time():
    story = Story(Incoming("incoming/1", IncomingData()))
    story.fire(TurnCame(Verdict.MATCHED, attempts=9, patience=20.0), S.HANDLING)
    waited = []
    for attempt in range(1, 9):
        wait = only(story.fire(failed(attempt, retryable=True), S.BACKOFF), ArmTimer)
        waited.append(wait.after)
        story.ring(S.HANDLING)
    story.fire(failed(9, retryable=True), S.DEAD)
    assert waited == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
    assert story.said(Finish) == [Finish("dead", "it broke")]
    assert story.armed is None


def test_a_handler_that_is_away_for_days_is_asked_again_and_again():
    """A circuit that is open costs no attempts, however often it is looked at."""
    story = Story(Incoming("incoming/1", IncomingData()))
    story.fire(TurnCame(Verdict.MATCHED, attempts=1, patience=20.0), S.HANDLING)
    for attempt in range(1, 3_000):
        wait = only(story.fire(HandlerFailed(attempt, "away", retryable=True, counts=False), S.BACKOFF), ArmTimer)
        assert wait.after <= 60.0
        story.ring(S.HANDLING)
    story.fire(HandlerAnswered(3_000), S.HANDLED)


def test_every_end_is_written_down_once_and_none_before():
    """What is final has been finished, and what is not has not."""
    for state, data, event in ((case.states[0], case.data, case.event) for _, case in numbered(ROWS)):
        machine = at(Incoming, state, data)
        step = machine.fire(event)
        assert isinstance(step, Step)
        finished = [effect for effect in step.effects if isinstance(effect, Finish)]
        assert len(finished) == (machine.state in Incoming.final), step
        assert all(effect.outcome == machine.state.value for effect in finished)
