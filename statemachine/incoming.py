"""One incoming message: from the store to its end.

It is in the store before this machine exists, and stays `received` there until one of the final states is written down
together with the replies. So a crash at any point leaves either an unfinished message, which the next boot takes up,
or a finished one with all its replies.

Who sends what: the pipeline says `turn_came` when the messages before it in its conversation are done; the handler's
run ends in `handler_answered` or `handler_failed`; the rest is this machine's timer.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, ClassVar

import msgspec

from statemachine._machine import Command, Draft, Event, Exits, Machine, Outcome, Row, Work, action, guard
from statemachine.effects import ArmTimer, DisarmTimer


class IncomingState(Enum):
    """How far an incoming message is."""

    RECEIVED = "received"
    """In the store, and waiting for its turn in its conversation."""
    HANDLING = "handling"
    """A handler works on it."""
    BACKOFF = "backoff"
    """The handler failed, cannot be asked now, or was at it when more than one life ended; a timer runs, then it is tried
    again."""
    HANDLED = "handled"
    """The handler has answered, and its replies are kept."""
    UNMATCHED = "unmatched"
    """No route takes it: it is kept and counted, and nothing follows."""
    REFUSED = "refused"
    """Its sender is not among those whom the account listens to."""
    DEAD = "dead"
    """The handler failed for good, or too often."""


S = IncomingState


class Verdict(Enum):
    """What the routes say of a message."""

    MATCHED = "matched"
    UNMATCHED = "unmatched"
    REFUSED = "refused"


class IncomingData(msgspec.Struct, frozen=True):
    """What it knows beside its state."""

    attempt: int = 0
    """How often it was given to a handler; of one that is received, in how many lives, none of which came to its end."""
    lives: int = 0
    """Those lives, as long as that is to be written down."""
    attempts: int = 1
    """How often it may be."""
    patience: float = 60.0
    """Seconds that a handler may take."""
    why: str = ""
    """What the last failure was."""


# Events


class TurnCame(Event, frozen=True):
    """The messages before it are done. `attempts` and `patience` (seconds) are its handler's."""

    verdict: Verdict
    attempts: int = 1
    patience: float = 60.0
    why: str = ""


class HandlerAnswered(Event, frozen=True):
    """The completion of `handle`: `replies` are what is to be sent, which only the shell reads."""

    attempt: int
    replies: tuple[Any, ...] = ()


class HandlerFailed(Event, frozen=True):
    """The other completion. `retryable`: another try can help; `after` is when (seconds), 0 where nobody said.

    One that `counts` not was never begun: the handler could not be asked at all.
    """

    attempt: int
    why: str
    retryable: bool = False
    after: float = 0.0
    counts: bool = True


class HandlingOverdue(Event, frozen=True):
    """The handler has taken too long."""

    attempt: int


class HandlingDue(Event, frozen=True):
    """The wait after a failure is over."""

    attempt: int


# Effects


class Handle(Work, frozen=True):
    """Give it to its handler. Where lives have ended with it, it is on the disk first in how many: the handler may end this one."""

    attempt: int
    lives: int = 0


class CancelHandling(Command, frozen=True):
    """The handler's answer is not waited for any more."""


class Finish(Command, frozen=True):
    """Write down what became of it, with all that follows, as one; then the next of its conversation has its turn."""

    outcome: str
    why: str = ""
    replies: tuple[Any, ...] = ()


FIRST_WAIT = 1.0
LONGEST_WAIT = 60.0
TAKEN_UP_AT_ONCE = 1
"""Boots that may give a message to its handler at once. The next one lets it wait: what ends the process again and again
is then alone with its handler, and what was only there beside it, or was killed from outside, comes to its end."""
MOST_TAKEN_UP = 5
"""Boots that may take a message up which none has come to an end with: it may be what ends them."""
DOUBLINGS = 32
"""The exponent is bounded: a handler may be away for days, and a float overflows after a thousand attempts."""


class Incoming(Machine[IncomingState, IncomingData]):
    """The table."""

    kind = "incoming"
    states = IncomingState
    initial = S.RECEIVED
    waiting = frozenset({S.RECEIVED, S.BACKOFF})
    failed = frozenset({S.DEAD})
    final = frozenset({S.HANDLED, S.UNMATCHED, S.REFUSED, S.DEAD})
    frequent = True
    exits: ClassVar[Mapping[IncomingState, Exits[IncomingState]]] = {
        S.HANDLING: Exits(
            success=(HandlerAnswered,), failure=(HandlerFailed,), deadline=(HandlingOverdue,), restart=()
        ),
    }
    # fmt: off
    table: ClassVar[tuple[Row[IncomingState], ...]] = (
        Row(TurnCame, S.RECEIVED, S.REFUSED, ("sender_is_refused",), effects=("finish_refused",)),
        Row(TurnCame, S.RECEIVED, S.UNMATCHED, ("no_route_takes_it",), effects=("finish_unmatched",)),
        # It may be what ends the process each time.
        Row(TurnCame, S.RECEIVED, S.DEAD, ("was_taken_up_too_often",), effects=("finish_given_up",)),
        Row(TurnCame, S.RECEIVED, S.BACKOFF, ("was_taken_up_before",), effects=("note_handler", "back_off")),
        Row(TurnCame, S.RECEIVED, S.HANDLING, effects=("note_handler", "handle")),

        # An answer that comes after its time is an answer: the handler need not work on it once more.
        Row(HandlerAnswered, (S.HANDLING, S.BACKOFF), S.HANDLED, ("attempt_is_current",),
            effects=("disarm", "finish_handled")),
        Row(HandlerFailed, S.HANDLING, S.BACKOFF, ("attempt_is_current", "may_be_tried_again"), effects=("back_off",)),
        Row(HandlerFailed, S.HANDLING, S.DEAD, ("attempt_is_current",), effects=("disarm", "finish_dead")),
        Row(HandlingOverdue, S.HANDLING, S.BACKOFF, ("attempt_is_current", "has_attempts_left"),
            effects=("cancel", "back_off")),
        Row(HandlingOverdue, S.HANDLING, S.DEAD, ("attempt_is_current",), effects=("cancel", "finish_dead")),
        # The handler that was given up says its last word.
        Row(HandlerFailed, S.BACKOFF, None, ("attempt_is_current",), outcome=Outcome.COALESCED),
        Row(HandlingDue, S.BACKOFF, S.HANDLING, ("attempt_is_current",), effects=("handle",)),
    )
    # fmt: on

    # Guards

    @guard
    def sender_is_refused(data: IncomingData, event: TurnCame) -> bool:
        return event.verdict is Verdict.REFUSED

    @guard
    def no_route_takes_it(data: IncomingData, event: TurnCame) -> bool:
        return event.verdict is Verdict.UNMATCHED

    @guard
    def was_taken_up_too_often(data: IncomingData, event: TurnCame) -> bool:
        return data.attempt > MOST_TAKEN_UP

    @guard
    def was_taken_up_before(data: IncomingData, event: TurnCame) -> bool:
        return data.attempt > TAKEN_UP_AT_ONCE

    @guard
    def attempt_is_current(
        data: IncomingData, event: HandlerAnswered | HandlerFailed | HandlingOverdue | HandlingDue
    ) -> bool:
        return event.attempt == data.attempt

    @guard
    def may_be_tried_again(data: IncomingData, event: HandlerFailed) -> bool:
        return event.retryable and (not event.counts or data.attempt < data.attempts)

    @guard
    def has_attempts_left(data: IncomingData, event: HandlingOverdue) -> bool:
        return data.attempt < data.attempts

    # Actions

    @action
    def note_handler(draft: Draft[IncomingData], event: TurnCame) -> None:
        draft.set(attempts=event.attempts, patience=event.patience)

    @action
    def handle(draft: Draft[IncomingData], event: Event) -> None:
        attempt = draft.data.attempt + 1
        draft.emit(ArmTimer(HandlingOverdue(attempt), after=draft.data.patience))
        draft.emit(Handle(attempt, draft.data.lives))
        draft.set(attempt=attempt, lives=0)

    @action
    def back_off(draft: Draft[IncomingData], event: HandlerFailed | HandlingOverdue | TurnCame) -> None:
        """Full jitter, doubled each time, and never sooner than was asked for."""
        attempt, after, counts = draft.data.attempt, 0.0, True
        why = "the handler took too long"
        if isinstance(event, HandlerFailed):
            after, counts, why = event.after, event.counts, event.why
        elif isinstance(event, TurnCame):
            why = f"{attempt} lives have ended while it was handled"
        wait = min(FIRST_WAIT * 2.0 ** min(attempt - 1, DOUBLINGS), LONGEST_WAIT)
        # One that was never begun is not counted: the number goes on, and so does what may be.
        draft.set(why=why, attempts=draft.data.attempts + (not counts))
        draft.emit(ArmTimer(HandlingDue(attempt), after=wait, jitter=True, at_least=after))

    @action
    def cancel(draft: Draft[IncomingData], event: Event) -> None:
        draft.emit(CancelHandling())

    @action
    def disarm(draft: Draft[IncomingData], event: Event) -> None:
        draft.emit(DisarmTimer())

    @action
    def finish_refused(draft: Draft[IncomingData], event: TurnCame) -> None:
        draft.emit(Finish(S.REFUSED.value, event.why))

    @action
    def finish_unmatched(draft: Draft[IncomingData], event: TurnCame) -> None:
        draft.emit(Finish(S.UNMATCHED.value, event.why))

    @action
    def finish_given_up(draft: Draft[IncomingData], event: TurnCame) -> None:
        draft.emit(Finish(S.DEAD.value, f"{MOST_TAKEN_UP} boots have taken it up, and none came to an end with it"))

    @action
    def finish_handled(draft: Draft[IncomingData], event: HandlerAnswered) -> None:
        draft.emit(Finish(S.HANDLED.value, "", event.replies))

    @action
    def finish_dead(draft: Draft[IncomingData], event: HandlerFailed | HandlingOverdue) -> None:
        why = event.why if isinstance(event, HandlerFailed) else "the handler took too long"
        draft.emit(Finish(S.DEAD.value, why))


def has_ended(machine: Machine[Any, Any]) -> bool:
    """Nothing happens to it any more."""
    return machine.state in machine.final


def is_at_work(machine: Machine[Any, Any]) -> bool:
    """It is being handled, or has its turn next: it comes to its end without waiting for a time of its own."""
    return machine.state in (S.RECEIVED, S.HANDLING)
