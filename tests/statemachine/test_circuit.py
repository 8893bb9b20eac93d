"""The circuit's table: each row, each cell, each guard."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Any

import pytest
from msgspec.structs import replace

from statemachine import Event, Outcome, Refusal
from statemachine.circuit import (
    CallFailed,
    CallSucceeded,
    Circuit,
    CircuitData,
    CircuitState,
    HandlerReplaced,
    RestOver,
    TrialBegins,
    TrialDropped,
    has_failed_lately,
    is_asked,
    may_be_tried,
)
from statemachine.effects import ArmTimer, DisarmTimer

from .builders import Case
from .tables import TableTests

S = CircuitState
ALL = (S.CLOSED, S.OPEN, S.HALF_OPEN)


def d(**changes: Any) -> CircuitData:
    """It has failed four times in a row, and five open it; timer 2 is the present one."""
    return CircuitData(**{"failures": 4, "allowed": 5, "rest": 15.0, "timer": 2, **changes})


RESTS = ArmTimer(RestOver(3), after=15.0)
TRIES = d(trying=True)
FORGOTTEN: dict[str, Any] = {"failures": 0, "trying": False}

# fmt: off
ROWS: tuple[tuple[Case, ...], ...] = (
    (Case("it works", (S.CLOSED,), d(), CallSucceeded(), None, (), {"failures": 0}),),
    (Case("the fifth in a row", (S.CLOSED,), d(), CallFailed(), S.OPEN, (RESTS,), {"failures": 5, "timer": 3}),),
    (Case("the fourth in a row", (S.CLOSED,), d(failures=3), CallFailed(), None, (), {"failures": 4}),),

    (Case("one was under way", (S.OPEN,), d(), CallFailed(), None, outcome=Outcome.COALESCED),),
    (Case("one was under way", (S.OPEN,), d(), CallSucceeded(), None, outcome=Outcome.COALESCED),),
    (Case("it has rested", (S.OPEN,), TRIES, RestOver(2), S.HALF_OPEN, (), {"trying": False}),),

    (Case("nobody tries", (S.HALF_OPEN,), d(), TrialBegins(), None, (), {"trying": True}),),
    (Case("it works again", (S.HALF_OPEN,), TRIES, CallSucceeded(), S.CLOSED, (), FORGOTTEN),),
    (
        Case("it does not", (S.HALF_OPEN,), TRIES, CallFailed(), S.OPEN, (RESTS,),
             {"failures": 5, "trying": False, "timer": 3}),
    ),
    (Case("nobody knows", (S.HALF_OPEN,), TRIES, TrialDropped(), None, (), {"trying": False}),),
    (Case("another has decided", (S.CLOSED, S.OPEN), d(), TrialDropped(), None, outcome=Outcome.COALESCED),),

    (
        Case("it is another one", ALL, d(), HandlerReplaced(), S.CLOSED, (DisarmTimer(),), FORGOTTEN),
        Case("it is tried", ALL, TRIES, HandlerReplaced(), S.CLOSED, (DisarmTimer(),), FORGOTTEN),
    ),
)
# fmt: on

ALLOWED = {
    S.CLOSED: {"call_succeeded", "call_failed", "trial_dropped", "handler_replaced"},
    S.OPEN: {"call_succeeded", "call_failed", "rest_over", "trial_dropped", "handler_replaced"},
    S.HALF_OPEN: {"call_succeeded", "call_failed", "trial_begins", "trial_dropped", "handler_replaced"},
}
GUARDS: dict[str, tuple[list[tuple[CircuitData, Event]], list[tuple[CircuitData, Event]]]] = {
    "was_the_last_straw": ([(d(), CallFailed()), (d(failures=7), CallFailed())], [(d(failures=3), CallFailed())]),
    "timer_is_current": ([(d(), RestOver(2))], [(d(), RestOver(1)), (d(), RestOver(3))]),
    "nobody_tries": ([(d(), TrialBegins())], [(TRIES, TrialBegins())]),
}


class TestTable(TableTests):
    """Each row, each cell, each guard."""

    machine = Circuit
    rows = ROWS
    allowed = ALLOWED
    events = 6
    guards = GUARDS
    guarded_in = S.HALF_OPEN

    def variants(self, state: Enum, case: Case) -> Iterator[tuple[CircuitData, Event]]:
        yield case.data, case.event
        yield replace(case.data, timer=case.data.timer + 1), case.event
        yield replace(case.data, failures=0), case.event
        yield replace(case.data, trying=not case.data.trying), case.event


def machine(state: CircuitState, **data: object) -> Circuit:
    made = Circuit("circuit/bot", d(**data))
    made.state = state
    return made


@pytest.mark.parametrize(
    ("state", "event", "guard"),
    [
        (S.OPEN, RestOver(1), "timer_is_current"),
        (S.HALF_OPEN, TrialBegins(), "nobody_tries"),
    ],
    ids=["the rest of an earlier time", "a second trial beside the first"],
)
def test_in_its_place_in_the_table_a_guard_refuses(state: CircuitState, event: Event, guard: str) -> None:
    answer = machine(state, trying=True).fire(event)
    assert isinstance(answer, Refusal)
    assert answer.guards == (guard,)


def test_what_others_may_ask() -> None:
    assert [is_asked(machine(state)) for state in S] == [True, False, False]
    assert [may_be_tried(machine(state)) for state in S] == [False, False, True]
    assert not may_be_tried(machine(S.HALF_OPEN, trying=True))
    assert not has_failed_lately(machine(S.CLOSED, failures=0))
    assert all(has_failed_lately(machine(state)) for state in S)
