"""One incoming message in the world of messages: the real machine, its timer, and the runs of its handler."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec.structs import replace

from statemachine._machine import Effect, Event, Machine, Refusal, Step
from statemachine.effects import ArmTimer, DisarmTimer
from statemachine.incoming import (
    CancelHandling,
    Handle,
    HandlerAnswered,
    HandlerFailed,
    HandlingDue,
    HandlingOverdue,
    Incoming,
    IncomingData,
    TurnCame,
    Verdict,
)
from statemachine.promises import STALE

ATTEMPTS = 2
"""How often a handler may be asked: the smallest number for which there is a second time."""
OLD = -1
"""An attempt that is over."""
CANCELLED = "it was cancelled"


class Run(msgspec.Struct, frozen=True, cache_hash=True):
    """A handler works on it."""

    attempt: int
    hangs: bool = False
    """It will not come to its end by itself."""
    told: bool = False
    """It is not waited for any more."""


class In(msgspec.Struct, frozen=True, cache_hash=True):
    """A message that has not ended."""

    state: Any
    data: IncomingData
    timer: type[Event] | None = None
    runs: tuple[Run, ...] = ()


class Way(msgspec.Struct, frozen=True, cache_hash=True):
    """What can happen to it: an event, and how it is just before that. Without one it is only that."""

    label: str
    before: In
    event: Event | None = None
    owed: bool = True
    cost: int = 0


class Fired(msgspec.Struct, frozen=True, cache_hash=True):
    """What came of an event: the message, what is asked of others, whether it was taken, and broken promises."""

    after: In
    effects: tuple[Effect, ...] = ()
    broken: tuple[str, ...] = ()


class IncomingModel:
    """Fires events at an incoming machine class, and performs what concerns its timer and its handler."""

    def __init__(self, incoming: type[Machine[Any, Any]] = Incoming) -> None:
        self._machine = incoming("incoming/1", IncomingData())
        self._initial = incoming.initial
        self._fired: dict[tuple[In, Event], Fired] = {}
        self._stale: dict[tuple[Any, IncomingData], bool] = {}

    def begin(self, lives: int = 0) -> In:
        return In(self._initial, IncomingData(lives, lives=lives))

    def waits_for_its_turn(self, one: In) -> bool:
        return one.state is self._initial

    def fire(self, one: In, event: Event) -> Fired:
        key = one, event
        if key not in self._fired:
            self._fired[key] = self._fire(one, event)
        return self._fired[key]

    def _fire(self, one: In, event: Event) -> Fired:
        machine = self._at(one)
        step = machine.fire(event)
        if isinstance(step, Refusal):
            return Fired(one)
        after = replace(one, state=machine.state, data=replace(machine.data, why=""))
        for effect in step.effects:
            after = _perform(after, effect)
        others = tuple(effect for effect in step.effects if not isinstance(effect, ArmTimer | DisarmTimer))
        return Fired(after, others, (STALE,) if self._takes_stale(after) else ())

    def _at(self, one: In) -> Machine[Any, Any]:
        self._machine.state, self._machine.data = one.state, one.data
        return self._machine

    def _takes_stale(self, one: In) -> bool:
        """What an attempt that is over may still say must be refused, here and everywhere."""
        key = one.state, one.data
        if key not in self._stale:
            self._stale[key] = any(isinstance(self._at(one).fire(word), Step) for word in _STALE_WORDS)
        return self._stale[key]

    # What can happen

    def turns(self, one: In) -> Iterator[Way]:
        """It is the first of its conversation."""
        yield Way("has its turn", one, TurnCame(Verdict.MATCHED, ATTEMPTS))
        yield Way("has its turn, and no route takes it", one, TurnCame(Verdict.UNMATCHED), owed=False, cost=1)
        yield Way("has its turn, and its sender is refused", one, TurnCame(Verdict.REFUSED), owed=False, cost=1)

    def ways(self, one: In) -> Iterator[Way]:
        for run in one.runs:
            yield from _ways_of(one, run)
        if one.timer is HandlingDue:
            yield Way("has waited", replace(one, timer=None), HandlingDue(one.data.attempt))
        elif one.timer is HandlingOverdue and any(run.hangs for run in one.runs):
            yield Way("takes too long", replace(one, timer=None), HandlingOverdue(one.data.attempt))


def _ways_of(one: In, run: Run) -> Iterator[Way]:
    gone = replace(one, runs=tuple(other for other in one.runs if other is not run))
    if run.told:
        yield Way("is given up by its handler", gone, HandlerFailed(run.attempt, CANCELLED))
        yield Way("is answered late", gone, HandlerAnswered(run.attempt, ("reply",)), owed=False)
        return
    if run.hangs:
        return
    hanging = replace(one, runs=tuple(replace(run, hangs=True) if other is run else other for other in one.runs))
    yield Way("is answered", gone, HandlerAnswered(run.attempt, ("reply",)))
    yield Way("hangs in its handler", hanging, owed=False, cost=1)
    for label, failed in (
        ("fails, and may be tried again", HandlerFailed(run.attempt, "", retryable=True)),
        ("fails for good", HandlerFailed(run.attempt, "")),
        ("finds no handler that can be asked", HandlerFailed(run.attempt, "", retryable=True, counts=False)),
    ):
        yield Way(label, gone, failed, owed=False, cost=1)


def _perform(one: In, effect: Effect) -> In:
    match effect:
        case Handle(attempt=attempt):
            return replace(one, runs=(*one.runs, Run(attempt)))
        case CancelHandling():
            return replace(one, runs=tuple(replace(run, told=True) for run in one.runs))
        case ArmTimer(then=then):
            return replace(one, timer=type(then) if then.attempt == one.data.attempt else None)  # type: ignore[attr-defined]
        case DisarmTimer():
            return replace(one, timer=None)
    return one


_STALE_WORDS: tuple[Event, ...] = (
    HandlerAnswered(OLD),
    *(HandlerFailed(OLD, "", retryable) for retryable in (True, False)),
    HandlingOverdue(OLD),
    HandlingDue(OLD),
)
