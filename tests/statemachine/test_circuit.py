"""The circuit's table, cell by cell."""

from __future__ import annotations

import msgspec
import pytest

from statemachine import Refusal, Step
from statemachine._machine import cells
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

S = CircuitState
DATA = CircuitData(failures=4, allowed=5, rest=15.0, timer=2)
EVENTS = (CallSucceeded(), CallFailed(), TrialBegins(), TrialDropped(), HandlerReplaced(), RestOver(2))
ARMED, DISARMED = (ArmTimer(RestOver(3), after=15.0),), (DisarmTimer(),)


def machine(state: CircuitState, **data: object) -> Circuit:
    made = Circuit("circuit/bot", msgspec.structs.replace(DATA, **data))
    made.state = state
    return made


ROWS = [
    # state, event, data before, state after, data after, effects
    (S.CLOSED, CallSucceeded(), {}, S.CLOSED, {"failures": 0}, ()),
    (S.CLOSED, CallFailed(), {"failures": 3}, S.CLOSED, {"failures": 4}, ()),
    (S.CLOSED, CallFailed(), {}, S.OPEN, {"failures": 5, "timer": 3}, ARMED),
    (S.OPEN, CallFailed(), {}, S.OPEN, {}, ()),
    (S.OPEN, CallSucceeded(), {}, S.OPEN, {}, ()),
    (S.OPEN, RestOver(2), {"trying": True}, S.HALF_OPEN, {"trying": False}, ()),
    (S.HALF_OPEN, TrialBegins(), {}, S.HALF_OPEN, {"trying": True}, ()),
    (S.HALF_OPEN, CallSucceeded(), {"trying": True}, S.CLOSED, {"failures": 0, "trying": False}, ()),
    (S.HALF_OPEN, CallFailed(), {"trying": True}, S.OPEN, {"failures": 5, "trying": False, "timer": 3}, ARMED),
    (S.HALF_OPEN, TrialDropped(), {"trying": True}, S.HALF_OPEN, {"trying": False}, ()),
    (S.CLOSED, TrialDropped(), {}, S.CLOSED, {}, ()),
    (S.OPEN, TrialDropped(), {}, S.OPEN, {}, ()),
    (S.CLOSED, HandlerReplaced(), {}, S.CLOSED, {"failures": 0}, DISARMED),
    (S.OPEN, HandlerReplaced(), {"failures": 5}, S.CLOSED, {"failures": 0}, DISARMED),
    (S.HALF_OPEN, HandlerReplaced(), {"trying": True}, S.CLOSED, {"failures": 0, "trying": False}, DISARMED),
]


@pytest.mark.parametrize(("state", "event", "before", "after", "data", "effects"), ROWS)
def test_a_row_leads_where_it_says(state, event, before, after, data, effects) -> None:
    made = machine(state, **before)
    expected = msgspec.structs.replace(made.data, **data)
    step = made.fire(event)
    assert isinstance(step, Step)
    assert (made.state, made.data) == (after, expected)
    assert step.effects == effects


def test_these_are_all_cells_that_have_a_row() -> None:
    told = {(state, type(event)) for state, event, *_ in ROWS}
    assert told == {(state, event) for state, event, rows in cells(Circuit) if rows}


@pytest.mark.parametrize("state", S)
@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.trigger)
def test_everything_else_is_refused_and_changes_nothing(state: CircuitState, event) -> None:
    if any(rows for place, kind, rows in cells(Circuit) if (place, kind) == (state, type(event))):
        return
    made = machine(state)
    assert isinstance(made.fire(event), Refusal)
    assert (made.state, made.data) == (state, DATA)


@pytest.mark.parametrize(
    ("state", "event", "data", "guard"),
    [
        (S.OPEN, RestOver(1), {}, "timer_is_current"),
        (S.HALF_OPEN, TrialBegins(), {"trying": True}, "nobody_tries"),
    ],
)
def test_a_guard_says_no_by_name(state, event, data, guard) -> None:
    refusal = machine(state, **data).fire(event)
    assert isinstance(refusal, Refusal)
    assert refusal.guards == (guard,)


def test_what_others_may_ask() -> None:
    assert [is_asked(machine(state)) for state in S] == [True, False, False]
    assert [may_be_tried(machine(state)) for state in S] == [False, False, True]
    assert not may_be_tried(machine(S.HALF_OPEN, trying=True))
    assert not has_failed_lately(machine(S.CLOSED, failures=0))
    assert all(has_failed_lately(machine(state)) for state in S)
