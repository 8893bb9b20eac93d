"""One reply in the world of messages: the real machine, its timer, and its sendings, from the store to the network's answer."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Any

import msgspec
from msgspec.structs import replace

from statemachine._machine import Effect, Event, Machine, Refusal, Step
from statemachine.delivery import (
    AnswerLost,
    CancelSend,
    Delivery,
    DeliveryData,
    DeliveryDue,
    DeliveryExpired,
    DeliveryFailed,
    DeliverySent,
    DiscardRequested,
    Resumed,
    RetryDue,
    RetryRequested,
    Send,
    SendOverdue,
    delivery_from,
    has_ended,
)
from statemachine.effects import ArmTimer, DisarmTimer
from statemachine.promises import STALE
from statemachine.world.store import Outbox

NOW, TOO_LATE = 0.0, 2.0
EXPIRES_AT = 1.0
CURRENT, OLD = 0, -1
"""Attempts and timers are told by how old they are, so that equal futures are equal worlds."""
PERSON = "a person"


class Stage(Enum):
    """How far a sending is."""

    WRITTEN = "written"
    """That it is being sent waits to be committed."""
    FLYING = "flying"
    """That is being committed."""
    DURABLE = "durable"
    """That is on the disk: the network may be told."""
    THERE = "there"
    """The network has it, and nobody has been told."""


class Sending(msgspec.Struct, frozen=True, cache_hash=True):
    """One attempt. It is told when it is not waited for any more, and hangs when no answer will come by itself."""

    attempt: int
    marked: bool
    stage: Stage = Stage.WRITTEN
    hangs: bool = False
    told: bool = False


class Out(msgspec.Struct, frozen=True, cache_hash=True):
    """A reply that has not ended."""

    state: Any
    data: DeliveryData
    timer: type[Event] | None = None
    sendings: tuple[Sending, ...] = ()


class Way(msgspec.Struct, frozen=True, cache_hash=True):
    """What can happen to it: an event, and how it is just before that. `arrives`: the network gets this sending."""

    label: str
    before: Out
    event: Event | None = None
    owed: bool = True
    cost: int = 0
    arrives: Sending | None = None


class Fired(msgspec.Struct, frozen=True, cache_hash=True):
    """What came of an event: the reply, what is asked of others, and broken promises."""

    after: Out
    effects: tuple[Effect, ...] = ()
    broken: tuple[str, ...] = ()


class OutgoingModel:
    """Fires events at a delivery machine class, and performs what concerns its timer and its sendings."""

    def __init__(self, delivery: type[Machine[Any, Any]] = Delivery) -> None:
        self._machine = delivery("delivery/1", DeliveryData())
        self._fired: dict[tuple[Out, Event], Fired] = {}
        self._stale: dict[tuple[Any, DeliveryData], bool] = {}

    def begin(self, kept: Outbox, *, resend: bool) -> Out:
        """As the store has it, under that policy."""
        data = DeliveryData(resend=resend, expires_at=EXPIRES_AT, marked=kept.marked)
        return Out(delivery_from(kept.state, data, "").state, data)

    def has_ended(self, one: Out) -> bool:
        return has_ended(self._at(one))

    def is_queued(self, one: Out) -> bool:
        return one.state is self._machine.initial

    def fire(self, one: Out, event: Event) -> Fired:
        key = one, event
        if key not in self._fired:
            self._fired[key] = self._fire(one, event)
        return self._fired[key]

    def _fire(self, one: Out, event: Event) -> Fired:
        machine = self._at(one)
        step = machine.fire(event)
        if isinstance(step, Refusal):
            return Fired(one)
        attempt, timer = machine.data.attempt, machine.data.timer
        after = replace(one, state=machine.state)
        if timer != one.data.timer:
            after = replace(after, timer=None)  # whatever was armed before carries an older number
        for effect in step.effects:
            after = _perform(after, effect, timer)
        sendings = tuple(replace(some, attempt=max(some.attempt - attempt, OLD)) for some in after.sendings)
        after = replace(after, data=replace(machine.data, attempt=CURRENT, timer=CURRENT, why=""), sendings=sendings)
        return Fired(after, step.effects, (STALE,) if self._takes_stale(after) else ())

    def _at(self, one: Out) -> Machine[Any, Any]:
        self._machine.state, self._machine.data = one.state, one.data
        return self._machine

    def _takes_stale(self, one: Out) -> bool:
        """What an older attempt or timer may still say must be refused, here and everywhere."""
        key = one.state, one.data
        if key not in self._stale:
            self._stale[key] = any(isinstance(self._at(one).fire(word), Step) for word in _STALE_WORDS)
        return self._stale[key]

    # What can happen

    def turns(self, one: Out) -> Iterator[Way]:
        """It is the first of its conversation, and its account runs."""
        yield Way("has its turn", one, DeliveryDue(NOW))
        yield Way("has its turn too late", one, DeliveryDue(TOO_LATE), owed=False, cost=1)

    def ways(self, one: Out, *, up: bool) -> Iterator[Way]:
        """`up`: its account runs."""
        for sending in one.sendings:
            yield from _ways_of(one, sending, up=up)
        rung = replace(one, timer=None)
        if one.timer is RetryDue:
            yield Way("has waited", rung, RetryDue(CURRENT))
        elif one.timer is DeliveryExpired:
            yield Way("grows too old", rung, DeliveryExpired(CURRENT), owed=False, cost=1)
        elif one.timer is SendOverdue and any(sending.hangs for sending in one.sendings):
            yield Way("has no answer in time", rung, SendOverdue(CURRENT))
        yield from self.decisions(one)

    def decisions(self, one: Out) -> Iterator[Way]:
        yield Way("is wanted by a person", one, RetryRequested(PERSON, EXPIRES_AT), owed=False, cost=1)
        yield Way("is discarded by a person", one, DiscardRequested(PERSON), owed=False, cost=1)


def committing(one: Out | None) -> Out | None:
    """The store begins to commit what waits."""
    return one if one is None else replace(one, sendings=_moved(one.sendings, Stage.WRITTEN, Stage.FLYING))


def committed(one: Out | None) -> Out | None:
    """It is on the disk."""
    return one if one is None else replace(one, sendings=_moved(one.sendings, Stage.FLYING, Stage.DURABLE))


def _moved(sendings: tuple[Sending, ...], before: Stage, after: Stage) -> tuple[Sending, ...]:
    return tuple(replace(sending, stage=after) if sending.stage is before else sending for sending in sendings)


def _ways_of(one: Out, sending: Sending, *, up: bool) -> Iterator[Way]:
    rest = tuple(other for other in one.sendings if other is not sending)
    gone, attempt = replace(one, sendings=rest), sending.attempt
    there = sending.stage is Stage.THERE
    retry = DeliveryFailed(attempt, "", NOW, retryable=True)
    if sending.told:
        yield Way("is given up", gone, AnswerLost(attempt, ""))
        if there:
            yield Way("is answered late", gone, DeliverySent(attempt), owed=False)
        return
    if sending.hangs:
        return
    if sending.stage in (Stage.WRITTEN, Stage.FLYING):
        yield Way("cannot be written down", gone, retry, owed=False, cost=1)
        return
    if there:
        yield Way("is answered", gone, DeliverySent(attempt))
    elif not up:
        yield Way("finds that its account does not run", gone, retry)
        return
    else:
        arrived = replace(one, sendings=(*rest, replace(sending, stage=Stage.THERE)))
        yield Way("arrives", arrived, arrives=sending)
        yield Way("is refused for a while", gone, retry, owed=False, cost=1)
        yield Way("is refused until it is too old", gone, retry_later(attempt), owed=False, cost=1)
        yield Way("is refused for good", gone, DeliveryFailed(attempt, "", NOW), owed=False, cost=1)
    hanging = replace(one, sendings=(*rest, replace(sending, hangs=True)))
    yield Way("is never answered", hanging, owed=False, cost=1)
    yield Way("loses its answer", gone, AnswerLost(attempt, ""), owed=False, cost=1)


def retry_later(attempt: int) -> DeliveryFailed:
    return DeliveryFailed(attempt, "", NOW, retryable=True, after=TOO_LATE)


def _perform(one: Out, effect: Effect, timer: int) -> Out:
    match effect:
        case Send(attempt=attempt, marked=marked):
            return replace(one, sendings=(*one.sendings, Sending(attempt, marked)))
        case CancelSend():
            return replace(one, sendings=tuple(replace(sending, told=True) for sending in one.sendings))
        case ArmTimer(then=then):
            return replace(one, timer=type(then) if then.timer == timer else None)  # type: ignore[attr-defined]
        case DisarmTimer():
            return replace(one, timer=None)
    return one


_STALE_WORDS: tuple[Event, ...] = (
    DeliverySent(OLD),
    *(DeliveryFailed(OLD, "", NOW, retryable) for retryable in (True, False)),
    AnswerLost(OLD, ""),
    SendOverdue(OLD),
    RetryDue(OLD),
    DeliveryExpired(OLD),
)

RESUMED = Resumed()
