"""One outgoing message: queued, sent, or known not to be; and `unknown`, which is a state and no guess.

It is in the store before this machine exists. That it is being sent is written down before the network hears of it,
and that it was sent right after the network's answer. So a crash between the two leaves one that may be there and may
not: the next boot finds it `sending`, calls it `unknown`, and the route's policy says what follows.

Who sends what: the outbox says `delivery_due` when it is the first of its conversation, its account runs and the
network's pace allows it; the sending ends in `delivery_sent`, `delivery_failed` or `answer_lost`; a person sends
`retry_requested` and `discard_requested`; the rest is this machine's timer.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, ClassVar

import msgspec

from statemachine._machine import Command, Draft, Event, Exits, Machine, Outcome, Row, Work, action, guard
from statemachine.effects import ArmTimer, DisarmTimer


class DeliveryState(Enum):
    """How far an outgoing message is."""

    QUEUED = "queued"
    """In the store, and waiting: for those before it, for its account to run, or for the network's pace."""
    SENDING = "sending"
    """It is written down that it is being sent, and the network is told or about to be."""
    SENT = "sent"
    """The network has said that it has it."""
    RETRY_WAIT = "retry_wait"
    """The network has not taken it, and may later; a timer runs, and what follows in its conversation waits with it."""
    UNKNOWN = "unknown"
    """The process died, or the line broke, between the sending and its answer: it may be there."""
    DEAD = "dead"
    """It is not sent any more: refused, too old, or discarded by a person."""


S = DeliveryState


class DeliveryData(msgspec.Struct, frozen=True):
    """What it knows beside its state."""

    resend: bool = True
    """The policy: one that may be there is sent once more, and marked; otherwise a person decides."""
    expires_at: float = float("inf")
    """Monotonic seconds: it is not sent after that."""
    attempt: int = 0
    """How often it was given to the network."""
    marked: bool = False
    """It was unknown once: another time a person must decide."""
    patience: float = 30.0
    """Seconds that the network may take to answer."""
    why: str = ""
    """What the last failure was."""
    timer: int = 0
    """The number of the present timer: one that carries an older one is stale."""


# Events


class DeliveryDue(Event, frozen=True):
    """It is its turn. `at` is in monotonic seconds."""

    at: float


class DeliverySent(Event, frozen=True):
    """A completion of `send`: the network has it, and calls it `network_id`."""

    attempt: int
    network_id: str = ""


class DeliveryFailed(Event, frozen=True):
    """A completion of `send`: the network has it not. `after` is when to try again (seconds), 0 where nobody said."""

    attempt: int
    why: str
    at: float
    retryable: bool = False
    after: float = 0.0


class AnswerLost(Event, frozen=True):
    """A completion of `send`: nobody knows."""

    attempt: int
    why: str


class SendOverdue(Event, frozen=True):
    """The network has not answered in time."""

    timer: int


class RetryDue(Event, frozen=True):
    """The wait after a failure is over, or that before one which may be there is sent once more."""

    timer: int


class DeliveryExpired(Event, frozen=True):
    """It has waited for too long."""

    timer: int


class RetryRequested(Event, frozen=True):
    """A person wants it sent."""

    by: str
    expires_at: float


class DiscardRequested(Event, frozen=True):
    """A person wants it not sent."""

    by: str


class Resumed(Event, frozen=True):
    """It stands in the store and not in a line: a boot has found it, or it cannot have its turn as soon as it is written down."""


# Effects


class Send(Work, frozen=True):
    """Write down that it is being sent, and send it. `marked`: say that it may be there already."""

    attempt: int
    marked: bool


class Keep(Command, frozen=True):
    """Write down where it is now."""

    state: str
    attempt: int
    why: str = ""
    network_id: str = ""
    marked: bool = False


class MakeWay(Command, frozen=True):
    """What follows in its conversation need not wait for it any more."""


class LineUp(Command, frozen=True):
    """It is ready to be sent, as soon as it is its turn."""


class CancelSend(Command, frozen=True):
    """The network's answer is not waited for any more."""


FIRST_WAIT = 0.5
LONGEST_WAIT = 60.0
DOUBLINGS = 32
"""The exponent is bounded: attempts go on for a day, and a float overflows after a thousand."""
BEFORE_RESEND = 1.0
"""Seconds before one that may be there is sent once more."""


class Delivery(Machine[DeliveryState, DeliveryData]):
    """The table."""

    kind = "delivery"
    states = DeliveryState
    initial = S.QUEUED
    waiting = frozenset({S.QUEUED, S.RETRY_WAIT})
    failed = frozenset({S.UNKNOWN, S.DEAD})
    final = frozenset({S.SENT, S.DEAD})
    frequent = True
    outlives_process = True
    exits: ClassVar[Mapping[DeliveryState, Exits[DeliveryState]]] = {
        S.SENDING: Exits(
            success=(DeliverySent,), failure=(DeliveryFailed, AnswerLost), deadline=(SendOverdue,), restart=(Resumed,)
        ),
    }
    # fmt: off
    table: ClassVar[tuple[Row[DeliveryState], ...]] = (
        # A boot has found it: what was being sent is unknown, whatever else is known.
        Row(Resumed, S.QUEUED, None, effects=("arm_expiry", "line_up")),
        Row(Resumed, S.RETRY_WAIT, S.QUEUED, effects=("arm_expiry", "line_up")),
        Row(Resumed, S.SENDING, S.UNKNOWN, ("may_be_resent",), effects=("note_death", "arm_resend", "keep_unknown")),
        Row(Resumed, S.SENDING, S.UNKNOWN, effects=("note_death", "keep_unknown", "make_way")),
        Row(Resumed, S.UNKNOWN, None, ("may_be_resent",), effects=("arm_resend",)),
        Row(Resumed, S.UNKNOWN, None, effects=("make_way",)),

        Row(DeliveryDue, S.QUEUED, S.DEAD, ("is_too_old",), effects=("disarm", "keep_expired", "make_way")),
        Row(DeliveryDue, S.QUEUED, S.SENDING, effects=("send",)),
        Row(DeliveryExpired, S.QUEUED, S.DEAD, ("timer_is_current",), effects=("keep_expired", "make_way")),

        # An answer that comes after its time is an answer: nobody need guess any more.
        Row(DeliverySent, (S.SENDING, S.UNKNOWN), S.SENT, ("attempt_is_current",),
            effects=("disarm", "keep_sent", "make_way")),
        Row(DeliveryFailed, S.SENDING, S.RETRY_WAIT, ("attempt_is_current", "can_be_retried", "is_young_enough"),
            effects=("arm_retry", "keep_waiting")),
        Row(DeliveryFailed, S.SENDING, S.DEAD, ("attempt_is_current",), effects=("disarm", "keep_failed", "make_way")),
        Row(AnswerLost, S.SENDING, S.UNKNOWN, ("attempt_is_current", "may_be_resent"),
            effects=("note_loss", "arm_resend", "keep_unknown")),
        Row(AnswerLost, S.SENDING, S.UNKNOWN, ("attempt_is_current",),
            effects=("note_loss", "disarm", "keep_unknown", "make_way")),
        Row(SendOverdue, S.SENDING, S.UNKNOWN, ("timer_is_current", "may_be_resent"),
            effects=("note_silence", "cancel", "arm_resend", "keep_unknown")),
        Row(SendOverdue, S.SENDING, S.UNKNOWN, ("timer_is_current",),
            effects=("note_silence", "cancel", "keep_unknown", "make_way")),

        # The sending that was given up says its last word.
        Row(AnswerLost, S.UNKNOWN, None, ("attempt_is_current",), outcome=Outcome.COALESCED),

        Row(RetryDue, S.RETRY_WAIT, S.QUEUED, ("timer_is_current",), effects=("arm_expiry", "line_up")),
        Row(RetryDue, S.UNKNOWN, S.QUEUED, ("timer_is_current", "may_be_resent"), effects=("mark", "arm_expiry", "line_up")),

        # A person decides. What is being sent cannot be called back; what was sent need not be sent again.
        # That one may be there already is not forgotten: whenever it is sent, it says so.
        Row(RetryRequested, S.UNKNOWN, S.QUEUED, effects=("mark", "renew", "arm_expiry", "keep_queued", "line_up")),
        Row(RetryRequested, (S.DEAD, S.RETRY_WAIT), S.QUEUED, effects=("renew", "arm_expiry", "keep_queued", "line_up")),
        Row(DiscardRequested, S.UNKNOWN, S.DEAD, effects=("mark", "disarm", "keep_discarded", "make_way")),
        Row(DiscardRequested, (S.QUEUED, S.RETRY_WAIT), S.DEAD, effects=("disarm", "keep_discarded", "make_way")),
    )
    # fmt: on

    # Guards

    @guard
    def attempt_is_current(data: DeliveryData, event: DeliverySent | DeliveryFailed | AnswerLost) -> bool:
        return event.attempt == data.attempt

    @guard
    def timer_is_current(data: DeliveryData, event: SendOverdue | RetryDue | DeliveryExpired) -> bool:
        return event.timer == data.timer

    @guard
    def may_be_resent(data: DeliveryData, event: Event) -> bool:
        return data.resend and not data.marked

    @guard
    def is_too_old(data: DeliveryData, event: DeliveryDue) -> bool:
        return event.at >= data.expires_at

    @guard
    def can_be_retried(data: DeliveryData, event: DeliveryFailed) -> bool:
        return event.retryable

    @guard
    def is_young_enough(data: DeliveryData, event: DeliveryFailed) -> bool:
        return event.at + event.after < data.expires_at

    # Actions: time

    @action
    def arm_expiry(draft: Draft[DeliveryData], event: Event) -> None:
        timer = draft.data.timer + 1
        draft.set(timer=timer)
        draft.emit(ArmTimer(DeliveryExpired(timer), at=draft.data.expires_at))

    @action
    def arm_retry(draft: Draft[DeliveryData], event: DeliveryFailed) -> None:
        timer, doubled = draft.data.timer + 1, min(draft.data.attempt - 1, DOUBLINGS)
        wait = min(FIRST_WAIT * 2.0**doubled, LONGEST_WAIT)
        draft.set(timer=timer, why=event.why)
        draft.emit(
            ArmTimer(RetryDue(timer), after=max(wait, event.after), jitter=True, at_least=max(wait / 2, event.after))
        )

    @action
    def arm_resend(draft: Draft[DeliveryData], event: Event) -> None:
        timer = draft.data.timer + 1
        draft.set(timer=timer)
        draft.emit(ArmTimer(RetryDue(timer), after=BEFORE_RESEND))

    @action
    def disarm(draft: Draft[DeliveryData], event: Event) -> None:
        draft.emit(DisarmTimer())

    # Actions: sending

    @action
    def send(draft: Draft[DeliveryData], event: DeliveryDue) -> None:
        attempt, timer = draft.data.attempt + 1, draft.data.timer + 1
        draft.set(attempt=attempt, timer=timer)
        draft.emit(ArmTimer(SendOverdue(timer), after=draft.data.patience))
        draft.emit(Send(attempt, draft.data.marked))

    @action
    def cancel(draft: Draft[DeliveryData], event: SendOverdue) -> None:
        draft.emit(CancelSend())

    @action
    def line_up(draft: Draft[DeliveryData], event: Event) -> None:
        draft.emit(LineUp())

    @action
    def make_way(draft: Draft[DeliveryData], event: Event) -> None:
        draft.emit(MakeWay())

    @action
    def mark(draft: Draft[DeliveryData], event: Event) -> None:
        draft.set(marked=True)

    @action
    def renew(draft: Draft[DeliveryData], event: RetryRequested) -> None:
        """A person has looked: from here on it is as new, but for saying that it may be there already."""
        draft.set(expires_at=event.expires_at, why=f"sent again for {event.by}")

    # Actions: what is known of the last failure

    @action
    def note_death(draft: Draft[DeliveryData], event: Resumed) -> None:
        draft.set(why="the process ended between the sending and its answer")

    @action
    def note_loss(draft: Draft[DeliveryData], event: AnswerLost) -> None:
        draft.set(why=event.why)

    @action
    def note_silence(draft: Draft[DeliveryData], event: SendOverdue) -> None:
        draft.set(why="the network did not answer in time")

    # Actions: what is written down

    @action
    def keep_sent(draft: Draft[DeliveryData], event: DeliverySent) -> None:
        draft.emit(Keep(S.SENT.value, draft.data.attempt, "", event.network_id, draft.data.marked))

    @action
    def keep_waiting(draft: Draft[DeliveryData], event: DeliveryFailed) -> None:
        _keep(draft, S.RETRY_WAIT, event.why)

    @action
    def keep_failed(draft: Draft[DeliveryData], event: DeliveryFailed) -> None:
        _keep(draft, S.DEAD, event.why)

    @action
    def keep_expired(draft: Draft[DeliveryData], event: DeliveryDue | DeliveryExpired) -> None:
        _keep(
            draft, S.DEAD, f"too old: {draft.data.why}" if draft.data.why else "too old: it could not be sent in time"
        )

    @action
    def keep_unknown(draft: Draft[DeliveryData], event: Event) -> None:
        _keep(draft, S.UNKNOWN, draft.data.why)

    @action
    def keep_queued(draft: Draft[DeliveryData], event: RetryRequested) -> None:
        _keep(draft, S.QUEUED, draft.data.why)

    @action
    def keep_discarded(draft: Draft[DeliveryData], event: DiscardRequested) -> None:
        _keep(draft, S.DEAD, f"discarded by {event.by}")


def _keep(draft: Draft[DeliveryData], state: DeliveryState, why: str) -> None:
    draft.emit(Keep(state.value, draft.data.attempt, why, "", draft.data.marked))


def delivery_from(state: str, data: DeliveryData, name: str) -> Delivery:
    """A machine as the store has it. Raises ValueError for a state that is none."""
    machine = Delivery(name, data)
    machine.state = DeliveryState(state)
    return machine


def has_ended(machine: Machine[Any, Any]) -> bool:
    """It was sent, or will not be."""
    return machine.state in machine.final
