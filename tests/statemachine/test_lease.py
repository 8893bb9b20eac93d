"""The lease's table: each row, each cell, each guard; and what is written down for other hosts."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Any

import pytest
from msgspec.structs import replace

from statemachine import Event, Outcome, Refusal
from statemachine.effects import ArmTimer, DisarmTimer
from statemachine.lease import (
    AskDue,
    GrantLease,
    HoldLease,
    Lease,
    LeaseData,
    LeaseDenied,
    LeaseEnds,
    LeaseGivenUp,
    LeaseOver,
    LeasePolicy,
    LeaseReleased,
    LeaseState,
    LeaseTaken,
    LeaseWanted,
    ReleaseLease,
    ReleaseOverdue,
    RevokeLease,
    StoreFailed,
    has_an_answer,
    is_free,
    is_held,
    is_unanswered,
)
from statemachine.lease_record import Record, claim

from .builders import Case
from .tables import TableTests

S = LeaseState
POLICY = LeasePolicy(ttl=15.0, margin=3.0, renew_after=5.0, ask_after=1.0, answer_within=2.5, linger=35.0)
OTHER = replace(POLICY, linger=6.0)


def d(**changes: Any) -> LeaseData:
    """It was taken at 100 for the second time; the store is being asked for the seventh time, and timer 4 is the present one."""
    given: dict[str, Any] = {"key": "a-bot", "policy": POLICY, "term": 2, "attempt": 7, "ends": 112.0, "timer": 4}
    return LeaseData(**(given | changes))


def hold(*, renews: bool = False, **changes: Any) -> HoldLease:
    given: dict[str, Any] = {"attempt": 8, "key": "a-bot", "policy": POLICY, "term": 2, "clear_at": 0.0}
    return HoldLease(**(given | changes), renews=renews)


NEXT: dict[str, Any] = {"attempt": 8, "timer": 5}
ASKS = ArmTimer(AskDue(5), after=2.5)
SOON = ArmTimer(AskDue(5), after=1.0)
END = ArmTimer(LeaseEnds(5), at=112.0)
WAITS = "whoever had it before may still receive, for {} s at the most"
HELD_BY = "another gateway has its lease: host-b"
SILENT = "the lease store does not answer: no answer"
TAKEN = LeaseTaken(7, 104.0, 3)
FAILED = StoreFailed(7, 104.0, "no answer")
DENIED = LeaseDenied(7, "host-b")
WANTED = LeaseWanted("a-bot", OTHER)
ELSEWHERE = LeaseWanted("another-bot", OTHER)
LETS_GO = ReleaseLease(8, "a-bot", 2)
FRESH: dict[str, Any] = {"key": "another-bot", "policy": OTHER, "term": 0, "clear_at": 0.0, "ends": 0.0, "why": ""}

# fmt: off
ROWS: tuple[tuple[Case, ...], ...] = (
    (
        Case("it is wanted", (S.FREE, S.FENCED, S.LOST, S.RELEASING), d(why="x", clear_at=9.0), WANTED, S.ACQUIRING,
             (hold(policy=OTHER, clear_at=9.0), replace(ASKS, then=AskDue(5))), {**NEXT, "policy": OTHER, "why": ""}),
        Case("for another bot", (S.FREE, S.FENCED, S.LOST, S.RELEASING), d(clear_at=9.0), ELSEWHERE, S.ACQUIRING,
             (hold(key="another-bot", policy=OTHER, term=0), ASKS), {**NEXT, **FRESH}),
    ),
    (
        Case("it is another bot", (S.ACQUIRING, S.HELD), d(why="x", clear_at=9.0), ELSEWHERE, S.ACQUIRING,
             (LETS_GO, hold(attempt=9, key="another-bot", policy=OTHER, term=0), ASKS), {**NEXT, **FRESH, "attempt": 9}),
    ),
    (Case("it is known", (S.ACQUIRING, S.HELD), d(), WANTED, None, (), {"policy": OTHER}, Outcome.COALESCED),),

    (
        Case("a poll lingers", (S.ACQUIRING,), d(term=0), LeaseTaken(7, 104.0, 3, 35.0), None,
             (ArmTimer(AskDue(5), at=109.0),),
             {"term": 3, "clear_at": 139.0, "ends": 116.0, "why": WAITS.format(35), "timer": 5}, Outcome.DEFERRED),
        Case("it still does", (S.ACQUIRING,), d(clear_at=107.0, answers=False), TAKEN, None,
             (ArmTimer(AskDue(5), at=107.0),),
             {"term": 3, "ends": 116.0, "why": WAITS.format(3), "timer": 5, "answers": True}, Outcome.DEFERRED),
    ),
    (
        Case("it may be used", (S.ACQUIRING,), d(clear_at=104.0, why="x"), TAKEN, S.HELD,
             (ArmTimer(AskDue(5), at=109.0), GrantLease()), {"term": 3, "ends": 116.0, "why": "", "timer": 5}),
    ),
    (Case("another has it", (S.ACQUIRING,), d(answers=False), DENIED, None, (SOON,),
          {"why": HELD_BY, "timer": 5, "answers": True}, Outcome.DEFERRED),),
    (Case("no answer", (S.ACQUIRING,), d(), FAILED, None, (SOON,),
          {"why": SILENT, "timer": 5, "answers": False}, Outcome.DEFERRED),),
    (
        Case("it is asked again", (S.ACQUIRING,), d(clear_at=9.0, why="x"), AskDue(4), None, (hold(clear_at=9.0), ASKS), NEXT),
        Case("no answer came", (S.ACQUIRING,), d(), AskDue(4), None, (hold(), ASKS),
             {**NEXT, "why": "the lease store does not answer", "answers": False}),
    ),

    (Case("it is renewed", (S.HELD,), d(), AskDue(4), None, (hold(renews=True), END), NEXT),),
    (Case("it was", (S.HELD,), d(), LeaseTaken(7, 104.0, 2), None, (ArmTimer(AskDue(5), at=109.0),),
          {"ends": 116.0, "timer": 5}),),
    (Case("once more", (S.HELD,), d(), FAILED, None, (SOON,), {"why": SILENT, "timer": 5, "answers": False},
          Outcome.DEFERRED),),
    (Case("no time", (S.HELD,), d(), StoreFailed(7, 111.0, "no answer"), None, (END,),
          {"why": SILENT, "timer": 5, "answers": False}, Outcome.DEFERRED),),
    (Case("it ends", (S.HELD,), d(), LeaseEnds(4), S.FENCED, (RevokeLease(), ArmTimer(LeaseOver(5), at=115.0)), NEXT),),
    (Case("it is over", (S.FENCED,), d(), LeaseOver(4), S.LOST),),
    (Case("another has it", (S.HELD,), d(), DENIED, S.LOST, (RevokeLease(), DisarmTimer()), {"why": HELD_BY, "timer": 5}),),

    (Case("at rest", (S.ACQUIRING, S.HELD, S.FENCED), d(why="x"), LeaseGivenUp(), S.RELEASING,
          (LETS_GO, ArmTimer(ReleaseOverdue(5), after=2.5)), {**NEXT, "why": ""}),),
    (Case("it was lost", (S.LOST,), d(), LeaseGivenUp(), S.FREE),),
    (Case("it is", (S.FREE, S.RELEASING), d(), LeaseGivenUp(), None, outcome=Outcome.COALESCED),),
    (Case("it is told", (S.RELEASING,), d(), LeaseReleased(7), S.FREE, (DisarmTimer(),), {"timer": 5}),),
    (Case("it is not", (S.RELEASING,), d(), FAILED, S.FREE, (DisarmTimer(),), {"timer": 5, "why": SILENT, "answers": False}),),
    (Case("no answer", (S.RELEASING,), d(), ReleaseOverdue(4), S.FREE, (), {"attempt": 8}),),
)
# fmt: on

ALLOWED = {
    S.FREE: {"lease_wanted", "lease_given_up"},
    S.ACQUIRING: {"lease_wanted", "lease_taken", "lease_denied", "store_failed", "ask_due", "lease_given_up"},
    S.HELD: {"lease_wanted", "ask_due", "lease_taken", "store_failed", "lease_ends", "lease_denied", "lease_given_up"},
    S.FENCED: {"lease_wanted", "lease_over", "lease_given_up"},
    S.RELEASING: {"lease_wanted", "lease_given_up", "lease_released", "store_failed", "release_overdue"},
    S.LOST: {"lease_wanted", "lease_given_up"},
}
GUARDS: dict[str, tuple[list[tuple[LeaseData, Event]], list[tuple[LeaseData, Event]]]] = {
    "is_asked_for_elsewhere": ([(d(), ELSEWHERE)], [(d(), WANTED)]),
    "answer_is_awaited": (
        [(d(), TAKEN), (d(), DENIED), (d(), FAILED), (d(), LeaseReleased(7))],
        [
            (d(), LeaseTaken(6, 1.0, 1)),
            (d(), LeaseDenied(8, "")),
            (d(), StoreFailed(6, 1.0, "")),
            (d(), LeaseReleased(6)),
        ],
    ),
    "timer_is_current": (
        [(d(), AskDue(4)), (d(), LeaseEnds(4)), (d(), LeaseOver(4)), (d(), ReleaseOverdue(4))],
        [(d(), AskDue(3)), (d(), LeaseEnds(5)), (d(), LeaseOver(3)), (d(), ReleaseOverdue(3))],
    ),
    "others_may_still_receive": (
        [(d(), LeaseTaken(7, 104.0, 3, 35.0)), (d(clear_at=104.1), TAKEN)],
        [(d(clear_at=104.0), TAKEN), (d(), TAKEN)],
    ),
    "there_is_time_to_ask": ([(d(), FAILED)], [(d(), StoreFailed(7, 111.0, "")), (d(), StoreFailed(7, 120.0, ""))]),
}


class TestTable(TableTests):
    """Each row, each cell, each guard."""

    machine = Lease
    rows = ROWS
    allowed = ALLOWED
    events = 10
    guards = GUARDS
    guarded_in = S.HELD

    def variants(self, state: Enum, case: Case) -> Iterator[tuple[LeaseData, Event]]:
        yield case.data, case.event
        yield replace(case.data, timer=case.data.timer + 1), case.event
        yield replace(case.data, attempt=case.data.attempt + 1), case.event
        yield replace(case.data, clear_at=1_000.0), case.event
        yield replace(case.data, ends=0.0), case.event


def machine(state: LeaseState, **data: object) -> Lease:
    made = Lease("lease/telegram/main", d(**data))
    made.state = state
    return made


@pytest.mark.parametrize(
    ("state", "event", "guard"),
    [
        (S.ACQUIRING, LeaseTaken(6, 104.0, 3), "answer_is_awaited"),
        (S.HELD, LeaseTaken(6, 104.0, 3), "answer_is_awaited"),
        (S.HELD, LeaseDenied(6, "host-b"), "answer_is_awaited"),
        (S.HELD, LeaseEnds(3), "timer_is_current"),
        (S.RELEASING, LeaseReleased(6), "answer_is_awaited"),
    ],
    ids=["an earlier question's yes", "an earlier renewal's", "an earlier no", "an earlier end", "an earlier release"],
)
def test_in_its_place_in_the_table_a_guard_refuses(state: LeaseState, event: Event, guard: str) -> None:
    answer = machine(state).fire(event)
    assert isinstance(answer, Refusal)
    assert guard in answer.guards


def test_what_others_may_ask() -> None:
    assert [is_held(machine(state)) for state in S] == [state is S.HELD for state in S]
    assert [is_free(machine(state)) for state in S] == [state is S.FREE for state in S]
    assert [has_an_answer(machine(state)) for state in S] == [state is not S.ACQUIRING for state in S]
    assert has_an_answer(machine(S.ACQUIRING, why=HELD_BY))
    assert not any(is_unanswered(machine(state)) for state in S)
    assert [is_unanswered(machine(state, answers=False)) for state in S] == [state is not S.FREE for state in S]


# What is written down

ME = Record("me", "host-a, PID 1", 0, 0.0, settled=True)
MINE = Record("me", "host-a, PID 1", 2, 15.0, settled=True)
THEIRS = Record("them", "host-b, PID 2", 5, 20.0, settled=True)
ASKED, RENEWED = hold(), hold(renews=True)

LONG, SHORT = 50.0, 35.0
YET: dict[str, Any] = {"settled": False}
CLAIMS: dict[str, tuple[Record | None, HoldLease, float, Record | None, float | None]] = {
    "nobody ever had it, as far as is known": (None, hold(term=0), 0.0, replace(MINE, term=1, **YET), LONG),
    "it is ours": (MINE, ASKED, 0.0, MINE, 0.0),
    "it is renewed": (MINE, RENEWED, 0.0, MINE, 0.0),
    "it may not be used yet": (MINE, hold(clear_at=100.1), 0.0, replace(MINE, **YET), 0.0),
    "an earlier life's": (MINE, hold(term=0), 0.0, replace(MINE, term=3), 0.0),
    "an earlier life's that could not use it yet": (
        replace(MINE, **YET), hold(term=0), 0.0, replace(MINE, term=3, **YET), LONG),
    "we have released it": (replace(MINE, released=True), ASKED, 0.0, replace(MINE, term=3), 0.0),
    "released": (replace(THEIRS, released=True), ASKED, 0.0, replace(MINE, term=6), 0.0),
    "released before it could be used": (
        replace(THEIRS, released=True, **YET), ASKED, 0.0, replace(MINE, term=6, **YET), LONG),
    "run out, by its own time": (THEIRS, ASKED, 20.0, replace(MINE, term=6, **YET), SHORT),
    "somebody else's": (THEIRS, ASKED, 19.9, None, None),
    "renewed, and somebody else's": (THEIRS, RENEWED, 0.0, None, None),
    "renewed, and run out": (THEIRS, RENEWED, 20.0, None, None),
    "renewed, and released by somebody else": (replace(THEIRS, released=True), RENEWED, 0.0, None, None),
    "renewed, and taken by another account of ours": (replace(MINE, term=3), RENEWED, 0.0, None, None),
    "renewed, and released by us": (replace(MINE, released=True), RENEWED, 0.0, None, None),
    "renewed, and the store knows nothing": (None, RENEWED, 0.0, None, None),
}  # fmt: skip


@pytest.mark.parametrize("found", CLAIMS)
def test_what_is_written_over_what_was_found(found: str) -> None:
    record, effect, unchanged, written, waits = CLAIMS[found]
    claimed = claim(record, ME, effect, 100.0, unchanged)
    assert (claimed and claimed.record, claimed and claimed.waits) == (written, waits)
