"""One handler's circuit: after so many failures in a row it is not asked for a while, then once, to see whether it works again.

Source: Michael T. Nygard, "Release It!", Pragmatic Bookshelf 2007, chapter 5, Circuit Breaker.
Who sends what: whoever ran the handler says `call_succeeded` or `call_failed`; `trial_begins` is said before the one call
that is let through half open, and `trial_dropped` when it ended and nothing is known; `handler_replaced` when another one
stands in its place. The rest is this machine's timer.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, ClassVar

import msgspec

from statemachine._machine import Draft, Event, Machine, Outcome, Row, action, guard
from statemachine.effects import ArmTimer, DisarmTimer


class CircuitState(Enum):
    """Whether a handler is asked."""

    CLOSED = "closed"
    """It is asked."""
    OPEN = "open"
    """It has failed too often in a row, and is left alone; a timer runs."""
    HALF_OPEN = "half_open"
    """It may be asked once: what comes of that decides."""


S = CircuitState


class CircuitData(msgspec.Struct, frozen=True):
    """What it knows beside its state."""

    failures: int = 0
    """In a row."""
    allowed: int = 5
    """How many of them open it."""
    rest: float = 15.0
    """Seconds that it stays open."""
    trying: bool = False
    """The one call is under way."""
    timer: int = 0


class CallSucceeded(Event, frozen=True):
    """It has answered."""


class CallFailed(Event, frozen=True):
    """It has not, and it is its own fault."""


class TrialBegins(Event, frozen=True):
    """It is asked once, half open."""


class TrialDropped(Event, frozen=True):
    """The one call was given up before anything came of it."""


class HandlerReplaced(Event, frozen=True):
    """What it has said of the old one says nothing of the new one."""


class RestOver(Event, frozen=True):
    """It was left alone for long enough."""

    timer: int


class Circuit(Machine[CircuitState, CircuitData]):
    """The table."""

    kind = "circuit"
    states = CircuitState
    initial = S.CLOSED
    waiting = frozenset({S.OPEN})
    failed = frozenset({S.OPEN})
    final = frozenset({S.CLOSED})
    # fmt: off
    table: ClassVar[tuple[Row[CircuitState], ...]] = (
        Row(CallSucceeded, S.CLOSED, None, effects=("forget",)),
        Row(CallFailed, S.CLOSED, S.OPEN, ("was_the_last_straw",), effects=("count", "arm_rest")),
        Row(CallFailed, S.CLOSED, None, effects=("count",)),

        # Calls that were under way when it opened still end.
        Row(CallFailed, S.OPEN, None, outcome=Outcome.COALESCED),
        Row(CallSucceeded, S.OPEN, None, outcome=Outcome.COALESCED),
        Row(RestOver, S.OPEN, S.HALF_OPEN, ("timer_is_current",), effects=("let_one_through",)),

        Row(TrialBegins, S.HALF_OPEN, None, ("nobody_tries",), effects=("try_once",)),
        Row(CallSucceeded, S.HALF_OPEN, S.CLOSED, effects=("forget",)),
        Row(CallFailed, S.HALF_OPEN, S.OPEN, effects=("count", "arm_rest")),
        Row(TrialDropped, S.HALF_OPEN, None, effects=("let_one_through",)),
        # Another call that was under way has decided meanwhile.
        Row(TrialDropped, (S.CLOSED, S.OPEN), None, outcome=Outcome.COALESCED),

        Row(HandlerReplaced, (S.CLOSED, S.OPEN, S.HALF_OPEN), S.CLOSED, effects=("disarm", "forget")),
    )
    # fmt: on

    @guard
    def was_the_last_straw(data: CircuitData, event: CallFailed) -> bool:
        return data.failures + 1 >= data.allowed

    @guard
    def timer_is_current(data: CircuitData, event: RestOver) -> bool:
        return event.timer == data.timer

    @guard
    def nobody_tries(data: CircuitData, event: TrialBegins) -> bool:
        return not data.trying

    @action
    def forget(draft: Draft[CircuitData], event: CallSucceeded | HandlerReplaced) -> None:
        draft.set(failures=0, trying=False)

    @action
    def count(draft: Draft[CircuitData], event: CallFailed) -> None:
        draft.set(failures=draft.data.failures + 1, trying=False)

    @action
    def arm_rest(draft: Draft[CircuitData], event: CallFailed) -> None:
        timer = draft.data.timer + 1
        draft.set(timer=timer)
        draft.emit(ArmTimer(RestOver(timer), after=draft.data.rest))

    @action
    def disarm(draft: Draft[CircuitData], event: HandlerReplaced) -> None:
        draft.emit(DisarmTimer())

    @action
    def let_one_through(draft: Draft[CircuitData], event: RestOver | TrialDropped) -> None:
        draft.set(trying=False)

    @action
    def try_once(draft: Draft[CircuitData], event: TrialBegins) -> None:
        draft.set(trying=True)


def is_asked(machine: Machine[Any, Any]) -> bool:
    """Any message may be given to the handler."""
    return machine.state is S.CLOSED


def may_be_tried(machine: Machine[Any, Any]) -> bool:
    """One message may, to see whether it works again."""
    return machine.state is S.HALF_OPEN and not machine.data.trying


def has_failed_lately(machine: Machine[Any, Any]) -> bool:
    """A success is news to it."""
    return machine.state is not S.CLOSED or machine.data.failures > 0
