"""The delivery's table: each row, each cell, each guard, and above all: nothing that may be there is sent as if it were new."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Any

import pytest
from msgspec.structs import replace

from statemachine import Delivery, DeliveryState, Effect, Event, Outcome, Refusal, Step
from statemachine.delivery import (
    AnswerLost,
    CancelSend,
    DeliveryData,
    DeliveryDue,
    DeliveryExpired,
    DeliveryFailed,
    DeliverySent,
    DiscardRequested,
    Keep,
    LineUp,
    MakeWay,
    Resumed,
    RetryDue,
    RetryRequested,
    Send,
    SendOverdue,
    delivery_from,
    has_ended,
)
from statemachine.effects import ArmTimer, DisarmTimer

from .builders import Case, Story, at, numbered, only
from .tables import TableTests

S = DeliveryState
TABLE = Delivery.table
DIED = "the process ended between the sending and its answer"
SILENT = "the network did not answer in time"
TOO_OLD = "too old: it could not be sent in time"


def d(**changes: Any) -> DeliveryData:
    """Attempt 3 and timer 7 are the present ones; it may be sent until 1000, and once more after an unknown end."""
    return replace(DeliveryData(expires_at=1000.0, attempt=3, patience=20.0, timer=7), **changes)


ASKS = d(resend=False)
MARKED = d(marked=True)
DECIDED_BY_A_PERSON = (("by its policy", ASKS), ("since it was sent twice", MARKED))

EXPIRES = ArmTimer(DeliveryExpired(8), at=1000.0)
RESENDS = ArmTimer(RetryDue(8), after=1.0)


def kept(state: str, why: str = "", network_id: str = "", *, marked: bool = False) -> Keep:
    return Keep(state, 3, why, network_id, marked)


def failed(**said: Any) -> DeliveryFailed:
    return DeliveryFailed(3, "no", **{"at": 900.0, **said})


def retries(after: float, at_least: float) -> ArmTimer:
    return ArmTimer(RetryDue(8), after=after, jitter=True, at_least=at_least)


# Rows: one entry a row, in the order of the table

ROWS: tuple[tuple[Case, ...], ...] = (
    # What a boot finds
    (Case("it waits", (S.QUEUED,), d(), Resumed(), None, (EXPIRES, LineUp()), {"timer": 8}),),
    (Case("it was to be tried again", (S.RETRY_WAIT,), d(), Resumed(), S.QUEUED, (EXPIRES, LineUp()), {"timer": 8}),),
    (
        Case(
            "it was being sent", (S.SENDING,), d(), Resumed(), S.UNKNOWN, (RESENDS, kept("unknown", DIED)),
            {"timer": 8, "why": DIED},
        ),
    ),
    tuple(
        Case(
            f"it was being sent, and a person decides: {name}", (S.SENDING,), data, Resumed(), S.UNKNOWN,
            (kept("unknown", DIED, marked=data.marked), MakeWay()), {"why": DIED},
        )
        for name, data in DECIDED_BY_A_PERSON
    ),
    (Case("it was to be sent once more", (S.UNKNOWN,), d(), Resumed(), None, (RESENDS,), {"timer": 8}),),
    tuple(
        Case(f"a person decides: {name}", (S.UNKNOWN,), data, Resumed(), None, (MakeWay(),))
        for name, data in DECIDED_BY_A_PERSON
    ),
    # Its turn
    (
        *(
            Case(
                f"it is too old at {at}", (S.QUEUED,), d(), DeliveryDue(at), S.DEAD,
                (DisarmTimer(), kept("dead", TOO_OLD), MakeWay()),
            )
            for at in (1000.0, 2000.0)
        ),
        Case(
            "it is too old, and was refused before", (S.QUEUED,), d(why="no"), DeliveryDue(1000.0), S.DEAD,
            (DisarmTimer(), kept("dead", "too old: no"), MakeWay()),
        ),
    ),
    tuple(
        Case(
            f"its turn ({marked=})", (S.QUEUED,), d(marked=marked), DeliveryDue(999.9), S.SENDING,
            (ArmTimer(SendOverdue(8), after=20.0), Send(4, marked)), {"attempt": 4, "timer": 8},
        )
        for marked in (False, True)
    ),
    (
        Case(
            "it has waited too long", (S.QUEUED,), d(), DeliveryExpired(7), S.DEAD, (kept("dead", TOO_OLD), MakeWay()),
        ),
        Case(
            "it has waited too long, and was refused before", (S.QUEUED,), d(why="no"), DeliveryExpired(7), S.DEAD,
            (kept("dead", "too old: no"), MakeWay()),
        ),
    ),
    # What comes of the sending
    (
        Case(
            "the network has it, told in time or late", (S.SENDING, S.UNKNOWN), d(), DeliverySent(3, "m7"), S.SENT,
            (DisarmTimer(), kept("sent", "", "m7"), MakeWay()),
        ),
        Case(
            "once more", (S.SENDING, S.UNKNOWN), MARKED, DeliverySent(3), S.SENT,
            (DisarmTimer(), kept("sent", marked=True), MakeWay()),
        ),
    ),
    (
        Case(
            "it may be tried again", (S.SENDING,), d(), failed(retryable=True), S.RETRY_WAIT,
            (retries(2.0, 1.0), kept("retry_wait", "no")), {"timer": 8, "why": "no"},
        ),
        Case(
            "not before the network says", (S.SENDING,), d(), failed(retryable=True, after=30.0), S.RETRY_WAIT,
            (retries(30.0, 30.0), kept("retry_wait", "no")), {"timer": 8, "why": "no"},
        ),
        Case(
            "a network that says less than we would wait", (S.SENDING,), d(), failed(retryable=True, after=1.5), S.RETRY_WAIT,
            (retries(2.0, 1.5), kept("retry_wait", "no")), {"timer": 8, "why": "no"},
        ),
    ),
    tuple(
        Case(f"not sent: {name}", (S.SENDING,), d(), event, S.DEAD, (DisarmTimer(), kept("dead", "no"), MakeWay()))
        for name, event in (
            ("for good", failed()),
            ("it would be too late", failed(retryable=True, after=100.0)),
            ("it is too late", failed(retryable=True, at=1000.0)),
        )
    ),
    (
        Case(
            "nobody knows", (S.SENDING,), d(), AnswerLost(3, "cut"), S.UNKNOWN, (RESENDS, kept("unknown", "cut")),
            {"timer": 8, "why": "cut"},
        ),
    ),
    tuple(
        Case(
            f"nobody knows, and a person decides: {name}", (S.SENDING,), data, AnswerLost(3, "cut"), S.UNKNOWN,
            (DisarmTimer(), kept("unknown", "cut", marked=data.marked), MakeWay()), {"why": "cut"},
        )
        for name, data in DECIDED_BY_A_PERSON
    ),
    (
        Case(
            "no answer in time", (S.SENDING,), d(), SendOverdue(7), S.UNKNOWN,
            (CancelSend(), RESENDS, kept("unknown", SILENT)), {"timer": 8, "why": SILENT},
        ),
    ),
    tuple(
        Case(
            f"no answer in time, and a person decides: {name}", (S.SENDING,), data, SendOverdue(7), S.UNKNOWN,
            (CancelSend(), kept("unknown", SILENT, marked=data.marked), MakeWay()), {"why": SILENT},
        )
        for name, data in DECIDED_BY_A_PERSON
    ),
    (
        Case(
            "the last word of one that was given up", (S.UNKNOWN,), d(), AnswerLost(3, "it was cancelled"), None, (), {},
            Outcome.COALESCED,
        ),
    ),
    # The waits are over
    (Case("another try", (S.RETRY_WAIT,), d(), RetryDue(7), S.QUEUED, (EXPIRES, LineUp()), {"timer": 8}),),
    (
        Case(
            "once more, and it will say so", (S.UNKNOWN,), d(), RetryDue(7), S.QUEUED, (EXPIRES, LineUp()),
            {"timer": 8, "marked": True},
        ),
    ),
    # A person decides
    tuple(
        Case(
            f"a person wants it sent, and it may be there: {name}", (S.UNKNOWN,), data, RetryRequested("Ann", 5000.0),
            S.QUEUED,
            (ArmTimer(DeliveryExpired(8), at=5000.0), kept("queued", "sent again for Ann", marked=True), LineUp()),
            {"timer": 8, "marked": True, "expires_at": 5000.0, "why": "sent again for Ann"},
        )
        for name, data in (("it waits to be sent once more", d()), *DECIDED_BY_A_PERSON)
    ),
    tuple(
        Case(
            f"a person wants it sent ({marked=})", (S.DEAD, S.RETRY_WAIT), d(marked=marked), RetryRequested("Ann", 5000.0),
            S.QUEUED,
            (ArmTimer(DeliveryExpired(8), at=5000.0), kept("queued", "sent again for Ann", marked=marked), LineUp()),
            {"timer": 8, "expires_at": 5000.0, "why": "sent again for Ann"},
        )
        for marked in (False, True)
    ),
    (
        Case(
            "a person does not want it, and it may be there", (S.UNKNOWN,), d(), DiscardRequested("Ann"), S.DEAD,
            (DisarmTimer(), kept("dead", "discarded by Ann", marked=True), MakeWay()), {"marked": True},
        ),
    ),
    (
        Case(
            "a person does not want it", (S.QUEUED, S.RETRY_WAIT), d(), DiscardRequested("Ann"), S.DEAD,
            (DisarmTimer(), kept("dead", "discarded by Ann"), MakeWay()),
        ),
    ),
)  # fmt: skip

# The table

ALLOWED = {
    S.QUEUED: {"resumed", "delivery_due", "delivery_expired", "discard_requested"},
    S.SENDING: {"resumed", "delivery_sent", "delivery_failed", "answer_lost", "send_overdue"},
    S.SENT: set(),
    S.RETRY_WAIT: {"resumed", "retry_due", "retry_requested", "discard_requested"},
    S.UNKNOWN: {"resumed", "delivery_sent", "answer_lost", "retry_due", "retry_requested", "discard_requested"},
    S.DEAD: {"retry_requested"},
}  # fmt: skip
GUARDS: dict[str, tuple[list[tuple[DeliveryData, Event]], list[tuple[DeliveryData, Event]]]] = {
    "attempt_is_current": (
        [(d(), DeliverySent(3)), (d(), failed()), (d(attempt=9), AnswerLost(9, ""))],
        [(d(), DeliverySent(2)), (d(), DeliveryFailed(4, "", 0.0)), (d(), AnswerLost(0, ""))],
    ),
    "timer_is_current": (
        [(d(), SendOverdue(7)), (d(), RetryDue(7)), (d(timer=9), DeliveryExpired(9))],
        [(d(), SendOverdue(6)), (d(), RetryDue(8)), (d(), DeliveryExpired(0))],
    ),
    "may_be_resent": ([(d(), Resumed())], [(ASKS, Resumed()), (MARKED, Resumed()), (d(resend=False, marked=True), Resumed())]),
    "is_too_old": ([(d(), DeliveryDue(1000.0)), (d(), DeliveryDue(1000.1))], [(d(), DeliveryDue(999.9))]),
    "can_be_retried": ([(d(), failed(retryable=True))], [(d(), failed())]),
    "is_young_enough": (
        [(d(), failed()), (d(), failed(after=99.0))], [(d(), failed(after=100.0)), (d(), failed(at=1000.0))],
    ),
}  # fmt: skip


class TestTable(TableTests):
    """Each row, each cell, each guard."""

    machine = Delivery
    rows = ROWS
    allowed = ALLOWED
    events = 10
    guards = GUARDS
    guarded_in = S.SENDING

    def variants(self, state: Enum, case: Case) -> Iterator[tuple[DeliveryData, Event]]:
        yield case.data, case.event
        yield replace(case.data, timer=8, attempt=4), case.event
        yield replace(case.data, resend=not case.data.resend, marked=False), case.event


REFUSED = [
    *(("a stale success", state, DeliverySent(2), "attempt_is_current") for state in (S.SENDING, S.UNKNOWN)),
    *(
        ("a stale failure", S.SENDING, DeliveryFailed(2, "", 900.0, retryable=retryable), "attempt_is_current")
        for retryable in (True, False)
    ),
    *(("a stale loss", state, AnswerLost(2, ""), "attempt_is_current") for state in (S.SENDING, S.UNKNOWN)),
    ("a stale deadline", S.SENDING, SendOverdue(6), "timer_is_current"),
    ("a stale expiry", S.QUEUED, DeliveryExpired(6), "timer_is_current"),
    *(("a stale wait", state, RetryDue(6), "timer_is_current") for state in (S.RETRY_WAIT, S.UNKNOWN)),
]  # fmt: skip


@pytest.mark.parametrize("data", [d(), ASKS, MARKED], ids=["resend", "ask", "marked"])
@pytest.mark.parametrize(
    ("state", "event", "name"), [case[1:] for case in REFUSED], ids=[f"{case[0]}: {case[1].value}" for case in REFUSED]
)
def test_the_whole_table_refuses_what_is_stale(state, event, name, data):
    machine = at(Delivery, state, data)
    refusal = machine.fire(event)
    assert isinstance(refusal, Refusal), "accepted"
    assert name in refusal.guards
    assert (machine.state, machine.data) == (state, data)


@pytest.mark.parametrize("data", [ASKS, MARKED], ids=["by its policy", "since it was sent twice"])
def test_what_a_person_must_decide_is_not_sent_by_itself(data):
    machine = at(Delivery, S.UNKNOWN, data)
    refusal = machine.fire(RetryDue(7))
    assert isinstance(refusal, Refusal)
    assert refusal.guards == ("may_be_resent",)


# Stories


def sends(effects: tuple[Effect, ...]) -> list[Send]:
    return [effect for effect in effects if isinstance(effect, Send)]


@pytest.mark.parametrize("lost", [AnswerLost(1, "cut"), SendOverdue(1), Resumed()], ids=lambda event: event.trigger)
def test_one_that_may_be_there_is_sent_once_more_and_says_so_and_then_a_person_must_decide(lost):
    story = Story(Delivery("delivery/1", DeliveryData()))
    assert sends(story.fire(DeliveryDue(0.0), S.SENDING)) == [Send(1, marked=False)]
    story.fire(lost, S.UNKNOWN)
    story.ring(S.QUEUED)
    assert sends(story.fire(DeliveryDue(1.0), S.SENDING)) == [Send(2, marked=True)]
    story.fire(AnswerLost(2, "cut"), S.UNKNOWN)
    assert story.armed is None
    assert len(story.said(MakeWay)) == 1, "what follows in its conversation waits until it is decided, and no longer"


def test_one_that_a_person_sends_again_or_lets_go_and_sends_after_all_says_that_it_may_be_there():
    for decisions in ((RetryRequested("Ann", 9.0),), (DiscardRequested("Ann"), RetryRequested("Ann", 9.0))):
        story = Story(Delivery("delivery/1", DeliveryData(resend=False)))
        story.fire(DeliveryDue(0.0), S.SENDING)
        story.fire(AnswerLost(1, "cut"), S.UNKNOWN)
        for decision in decisions:
            story.machine.fire(decision)
        assert sends(story.fire(DeliveryDue(1.0), S.SENDING)) == [Send(2, marked=True)]


def test_it_is_tried_for_days_and_waits_longer_each_time_up_to_a_minute():
    story = Story(Delivery("delivery/1", DeliveryData()))
    waited = []
    for attempt in range(1, 3_000):
        story.fire(DeliveryDue(0.0), S.SENDING)
        wait = only(story.fire(DeliveryFailed(attempt, "no", 0.0, retryable=True), S.RETRY_WAIT), ArmTimer)
        waited.append(wait.after)
        story.ring(S.QUEUED)
    assert waited[:9] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
    assert max(waited) == 60.0


def test_what_is_written_down_is_where_it_is():
    """And of what waits for its turn nothing need be: a boot that finds it elsewhere puts it there."""
    for state, data, event in ((case.states[0], case.data, case.event) for _, case in numbered(ROWS)):
        machine = at(Delivery, state, data)
        step = machine.fire(event)
        assert isinstance(step, Step)
        written = [effect for effect in step.effects if isinstance(effect, Keep)]
        assert all(effect.state == machine.state.value and effect.marked == machine.data.marked for effect in written)
        if machine.state is not state and machine.state in {S.SENT, S.UNKNOWN, S.DEAD, S.RETRY_WAIT}:
            assert len(written) == 1, step


# What can be asked of a machine


@pytest.mark.parametrize("state", S, ids=lambda state: state.value)
def test_what_can_be_asked_of_a_machine(state):
    machine = delivery_from(state.value, d(), "delivery/7")
    assert (machine.name, machine.state, machine.data) == ("delivery/7", state, d())
    assert has_ended(machine) == (state in {S.SENT, S.DEAD})


def test_a_state_that_is_none_makes_no_machine():
    with pytest.raises(ValueError, match="nowhere"):
        delivery_from("nowhere", d(), "delivery/7")
