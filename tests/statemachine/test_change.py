"""The change's table: each row, each cell, each guard, and above all: what must be confirmed never stays without it."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Any

import pytest
from msgspec.structs import replace

from statemachine import Change, ChangeState, Effect, Event, Outcome, Refusal
from statemachine.change import (
    PREPARING,
    awaits_word_on,
    gives_way_to,
    has_ended,
    is_on_its_way,
    is_watched,
    may_yet_run,
)
from statemachine.change_events import (
    AccountLost,
    CancelStage,
    ChangeCancelled,
    ChangeConfirmed,
    ChangeData,
    ChangeProposed,
    ChangeProvisioned,
    ChangeResumed,
    ChangeSuperseded,
    ChangeUnfit,
    ChangeValidated,
    ChangeWritten,
    CheckHealth,
    CloseWindow,
    HealthChecked,
    OpenWindow,
    ProbationExtended,
    ProbationOver,
    PromoteRevision,
    ProvisionChange,
    ReportChange,
    RestoreBase,
    Settlement,
    Stage,
    StageOverdue,
    SubmitRevision,
    ValidateChange,
    WriteChange,
)
from statemachine.effects import DisarmTimer

from .builders import (
    Case,
    armed,
    at,
    change_data,
    settled,
)
from .tables import TableTests

S = ChangeState
RUNS, WAITS, PASSED, BROKE, ENDS = Settlement

IN_TIME, CONFIRM = "it was not confirmed in time", Stage.CONFIRM.value
REPLACED = "a newer change took its place before it ran"


def d(**changes: Any) -> ChangeData:
    """Timer 7 and work 3 are current; "b" is to run in the place of "a"."""
    return change_data(**changes)


def says(outcome: str, stage: str = "", why: str = "") -> ReportChange:
    return ReportChange(outcome, stage, why)


def puts_back(stage: str, why: str) -> tuple[Effect, ...]:
    return says("rolling_back", stage, why), RestoreBase("b", "a")


# Rows: one entry a row, in the order of the table

ROWS: tuple[tuple[Case, ...], ...] = (
    (
        Case(
            "beside one that waits for its confirmation", (S.IDLE,), ChangeData(), ChangeProposed(True, 5.0, True),
            S.REJECTED, (says("rejected", CONFIRM, "an earlier change waits to be confirmed; confirm or cancel that first"),),
        ),
    ),
    (
        Case(
            "a call", (S.IDLE,), ChangeData(), ChangeProposed(True, 5.0, False), S.VALIDATING,
            (ValidateChange(1), armed(StageOverdue(1), 20.0)), {"writes": True, "confirm": 5.0, "work": 1, "timer": 1},
        ),
        Case(
            "an edit", (S.IDLE,), ChangeData(), ChangeProposed(False, None, False), S.VALIDATING,
            (ValidateChange(1), armed(StageOverdue(1), 20.0)), {"work": 1, "timer": 1},
        ),
    ),
    (
        Case(
            "a boot finds that its time is over", (S.IDLE,), ChangeData(), ChangeResumed("b", "a", None, True),
            S.ROLLING_BACK, puts_back(CONFIRM, IN_TIME + "; no gateway ran when the time was over"),
            {"revision": "b", "base": "a"},
        ),
    ),
    (
        Case(
            "a boot goes on with what was to be confirmed", (S.IDLE,), ChangeData(), ChangeResumed("b", "a", 30.0, False),
            S.APPLYING, (), {"revision": "b", "base": "a", "confirm": 30.0},
        ),
        Case(
            "a boot follows what it has read", (S.IDLE,), ChangeData(), ChangeResumed("b", "a", None, False), S.APPLYING,
            (), {"revision": "b", "base": "a"},
        ),
    ),
    (
        Case(
            "it is valid", (S.VALIDATING,), d(revision="", base=""), ChangeValidated(3, "b", "a"), S.PLANNED,
            (ProvisionChange(4, "b"), armed(StageOverdue(8), 20.0)),
            {"revision": "b", "base": "a", "work": 4, "timer": 8},
        ),
    ),
    (
        Case(
            "a call writes", (S.PLANNED,), d(writes=True), ChangeProvisioned(3), S.WRITING,
            (WriteChange(4, "b", "a", None), armed(StageOverdue(8), 20.0)), {"work": 4, "timer": 8},
        ),
        Case(
            "and promises first to roll it back", (S.PLANNED,), d(writes=True, confirm=5.0), ChangeProvisioned(3), S.WRITING,
            (WriteChange(4, "b", "a", 5.0), armed(StageOverdue(8), 20.0)), {"work": 4, "timer": 8},
        ),
    ),
    (
        Case(
            "an edit is written already", (S.PLANNED,), d(), ChangeProvisioned(3), S.APPLYING,
            (DisarmTimer(), SubmitRevision("b")), {"timer": 8},
        ),
    ),
    (
        Case(
            "the file holds it", (S.WRITING,), d(writes=True), ChangeWritten(3), S.APPLYING,
            (DisarmTimer(), SubmitRevision("b")), {"timer": 8},
        ),
    ),
    tuple(
        Case(
            f"it cannot be done: {stage.value}", PREPARING, data, ChangeUnfit(3, stage, "no"), S.REJECTED,
            (DisarmTimer(), *closing, says("rejected", stage.value, "no")), {"timer": 8},
        )
        for stage in Stage
        for data, closing in ((d(), ()), (d(confirm=5.0), (CloseWindow("b"),)))
    ),
    (
        Case(
            "it takes too long", (S.VALIDATING, S.PLANNED), d(confirm=5.0), StageOverdue(7), S.REJECTED,
            (CancelStage(), says("rejected", "", "it was not ready within 20 s")), {"work": 4},
        ),
    ),
    (
        Case(
            "a write takes too long, and may land yet", (S.WRITING,), d(confirm=5.0), StageOverdue(7), None,
            (armed(StageOverdue(8), 20.0),), {"timer": 8}, Outcome.DEFERRED,
        ),
    ),
    (
        *(
            Case(
                f"the gateway ends, {name}", (S.APPLYING,), data, settled(ENDS), S.REJECTED,
                (says("its word", "", "its reason"),),
            )
            for name, data in (("plain", d()), ("and the next boot goes on", d(confirm=5.0)), ("waiting", d(waiting=True)))
        ),
    ),
    (
        Case(
            "it runs, and an account does not any more", (S.APPLYING,), d(confirm=5.0, waiting=True),
            settled(RUNS, lost="x/y"), S.ROLLING_BACK,
            puts_back("health", "x/y ran before and has failed: 401"), {"waiting": False},
        ),
    ),
    (
        Case(
            "it runs: from now on its time runs", (S.APPLYING,), d(confirm=5.0, waiting=True), settled(RUNS), S.PROBATION,
            (OpenWindow("b", 5.0), armed(ProbationOver(8), 5.0), says("probation")), {"waiting": False, "timer": 8},
        ),
    ),
    (
        Case(
            "it runs, and a newer one is on its way", (S.APPLYING,), d(superseded=True), settled(RUNS), S.COMMITTED,
            (says("its word", "", "its reason"),),
        ),
    ),
    (
        Case(
            "it runs, and is watched", (S.APPLYING,), d(waiting=True), settled(RUNS, lost="x/y"), S.PROBATION,
            (says("its word", "", "its reason"), armed(ProbationOver(8), 10.0)), {"waiting": False, "timer": 8},
        ),
    ),
    (
        Case(
            "it would wait, and a newer one has come", (S.APPLYING,), d(superseded=True), settled(WAITS), S.REJECTED,
            (says("superseded", "", REPLACED),),
        ),
    ),
    tuple(
        Case(
            f"it waits for a restart ({confirm})", (S.APPLYING,), d(confirm=confirm), settled(WAITS), None,
            (says("its word", "", "its reason"),), {"waiting": True},
        )
        for confirm in (None, 5.0)
    ),
    (
        Case(
            "it broke off, and the file is set aside", (S.APPLYING,), d(confirm=5.0, waiting=True), settled(BROKE),
            S.ROLLING_BACK, puts_back("swap", "its reason"), {"waiting": False},
        ),
        Case(
            "it will not run, and the file is set aside", (S.APPLYING,), d(confirm=5.0, waiting=True), settled(PASSED),
            S.ROLLING_BACK, puts_back("swap", "its reason"), {"waiting": False},
        ),
        Case(
            "an account is lost by that", (S.APPLYING,), d(confirm=5.0), settled(BROKE, lost="x/y"),
            S.ROLLING_BACK, puts_back("health", "x/y ran before and has failed: 401"),
        ),
    ),
    (
        Case(
            "it broke off, and what ran before runs", (S.APPLYING,), d(superseded=True), settled(BROKE), S.ROLLED_BACK,
            (says("rolled_back", "swap", "its reason"),),
        ),
    ),
    (
        Case(
            "it does not run", (S.APPLYING,), d(), settled(PASSED), S.REJECTED, (says("its word", "", "its reason"),),
        ),
    ),
    (
        Case(
            "a newer one takes the restart", (S.APPLYING,), d(waiting=True), ChangeSuperseded("change/2"), S.REJECTED,
            (says("superseded", "", REPLACED),),
        ),
    ),
    (
        Case(
            "a newer one comes while it is on its way", (S.APPLYING,), d(), ChangeSuperseded("change/2"), None, (),
            {"superseded": True},
        ),
    ),
    (
        Case(
            "a newer one ends the watching", (S.PROBATION,), d(), ChangeSuperseded("change/2"), S.COMMITTED,
            (DisarmTimer(), says("committed")), {"timer": 8},
        ),
    ),
    (
        Case(
            "it is confirmed", (S.PROBATION,), d(confirm=5.0), ChangeConfirmed("a person"), S.COMMITTED,
            (DisarmTimer(), CloseWindow("b"), PromoteRevision("b"), says("committed", "", "confirmed by a person")),
            {"timer": 8},
        ),
    ),
    (
        Case(
            "its time begins anew", (S.PROBATION,), d(confirm=5.0), ProbationExtended(60.0, "a person"), None,
            (OpenWindow("b", 60.0), armed(ProbationOver(8), 60.0)), {"confirm": 60.0, "timer": 8},
        ),
    ),
    (
        Case(
            "it is cancelled", (S.APPLYING, S.PROBATION), d(confirm=5.0, waiting=True), ChangeCancelled("a person"),
            S.ROLLING_BACK, (DisarmTimer(), *puts_back(CONFIRM, "cancelled by a person")),
            {"timer": 8, "waiting": False},
        ),
    ),
    (
        Case(
            "an account fails", (S.PROBATION,), d(confirm=5.0), AccountLost("x/y", "401"), S.ROLLING_BACK,
            (DisarmTimer(), *puts_back("health", "x/y ran before and has failed: 401")), {"timer": 8},
        ),
    ),
    (
        Case(
            "nobody has confirmed it", (S.PROBATION,), d(confirm=5.0), ProbationOver(7), S.ROLLING_BACK,
            puts_back(CONFIRM, IN_TIME),
        ),
    ),
    (
        Case("a look at how it runs", (S.PROBATION,), d(), ProbationOver(7), None, (CheckHealth(4),), {"work": 4}),
    ),
    (
        Case(
            "it runs well", (S.PROBATION,), d(), HealthChecked(3, True), S.COMMITTED,
            (PromoteRevision("b"), says("committed")),
        ),
    ),
    (
        Case(
            "it does not: another look later", (S.PROBATION,), d(), HealthChecked(3, False), None,
            (armed(ProbationOver(8), 60.0),), {"timer": 8},
        ),
    ),
    (
        Case(
            "what ran before needs a restart", (S.ROLLING_BACK,), d(), settled(WAITS, "a"), None, (), {"waiting": True},
            Outcome.DEFERRED,
        ),
    ),
    (
        Case(
            "what ran before runs", (S.ROLLING_BACK,), d(waiting=True), settled(RUNS, "a"), S.ROLLED_BACK,
            (says("rolled_back"),),
        ),
        *(
            Case(
                f"what ran before does not run: {settlement.value}", (S.ROLLING_BACK,), d(), settled(settlement, "a"),
                S.ROLLED_BACK, (says("rolled_back", "", "what ran before does not run yet: its reason"),),
            )
            for settlement in (PASSED, BROKE, ENDS)
        ),
        Case(
            "it brought what ran already", (S.ROLLING_BACK,), d(revision="a"), settled(RUNS, "a"), S.ROLLED_BACK,
            (says("rolled_back"),),
        ),
    ),
    tuple(
        Case(
            f"old news of what is rolled back: {settlement.value}", (S.ROLLING_BACK,), d(), settled(settlement), None, (),
            {}, Outcome.COALESCED,
        )
        for settlement in Settlement
    ),
    (
        Case(
            "something newer is wanted than what ran before", (S.ROLLING_BACK,), d(confirm=5.0, waiting=True),
            ChangeSuperseded("change/2"), S.ROLLED_BACK,
            (says("rolled_back", "", "what ran before does not run: a newer change took its place"),),
        ),
    ),
)  # fmt: skip

# The table

ALLOWED = {
    S.IDLE: {"change_proposed", "change_resumed"},
    S.VALIDATING: {"change_validated", "change_unfit", "stage_overdue"},
    S.PLANNED: {"change_provisioned", "change_unfit", "stage_overdue"},
    S.WRITING: {"change_written", "change_unfit", "stage_overdue"},
    S.APPLYING: {"revision_settled", "change_superseded", "change_cancelled"},
    S.PROBATION: {
        "change_superseded", "change_confirmed", "probation_extended", "change_cancelled", "account_lost",
        "probation_over", "health_checked",
    },
    S.ROLLING_BACK: {"revision_settled", "change_superseded"},
    S.COMMITTED: set(), S.ROLLED_BACK: set(), S.REJECTED: set(),
}  # fmt: skip
GUARDS: dict[str, tuple[list[tuple[ChangeData, Event]], list[tuple[ChangeData, Event]]]] = {
    "window_is_open": (
        [(d(), ChangeProposed(True, None, True))], [(d(confirm=5.0), ChangeProposed(True, 5.0, False))],
    ),
    "is_overdue": (
        [(d(), ChangeResumed("b", "a", None, True))], [(d(), ChangeResumed("b", "a", 5.0, False))],
    ),
    "work_is_current": (
        [(d(), ChangeWritten(3)), (d(work=9), HealthChecked(9, False)), (d(), ChangeUnfit(3, Stage.WRITE, ""))],
        [(d(), ChangeWritten(2)), (d(), ChangeValidated(4, "b", "a")), (d(), ChangeUnfit(0, Stage.WRITE, ""))],
    ),
    "timer_is_current": (
        [(d(), StageOverdue(7)), (d(timer=9), ProbationOver(9))],
        [(d(), StageOverdue(6)), (d(), ProbationOver(8)), (d(), ProbationOver(0))],
    ),
    "has_to_write": ([(d(writes=True), ChangeProvisioned(3))], [(d(), ChangeProvisioned(3))]),
    "must_be_confirmed": (
        [(d(confirm=5.0), ChangeConfirmed("x")), (d(confirm=0.0), ChangeCancelled("x"))], [(d(), ChangeConfirmed("x"))],
    ),
    "may_be_superseded": (
        [(d(), ChangeSuperseded("x"))], [(d(confirm=5.0), ChangeSuperseded("x")), (d(confirm=0.0), ChangeSuperseded("x"))],
    ),
    "is_superseded": ([(d(superseded=True), settled(RUNS))], [(d(), settled(RUNS))]),
    "waits_for_restart": ([(d(waiting=True), ChangeSuperseded("x"))], [(d(), ChangeSuperseded("x"))]),
    "is_its_own": ([(d(), settled(RUNS))], [(d(), settled(RUNS, "a")), (d(), settled(RUNS, "c"))]),
    "is_its_base": ([(d(), settled(RUNS, "a"))], [(d(), settled(RUNS)), (d(), settled(RUNS, "c"))]),
    **{
        name: ([(d(), settled(it))], [(d(), settled(other)) for other in Settlement if other is not it])
        for name, it in (("it_runs", RUNS), ("it_waits", WAITS), ("it_broke", BROKE), ("gateway_ends", ENDS))
    },
    "lost_an_account": ([(d(), settled(RUNS, lost="x/y"))], [(d(), settled(RUNS))]),
    "is_healthy": ([(d(), HealthChecked(3, True))], [(d(), HealthChecked(3, False))]),
}  # fmt: skip


class TestTable(TableTests):
    """Each row, each cell, each guard."""

    machine = Change
    rows = ROWS
    allowed = ALLOWED
    events = 15
    guards = GUARDS
    guarded_in = S.APPLYING

    def variants(self, state: Enum, case: Case) -> Iterator[tuple[ChangeData, Event]]:
        yield case.data, case.event
        yield replace(case.data, timer=8, work=4), case.event
        yield replace(case.data, revision="c", base="d"), case.event
        for confirm in (None, 5.0):
            yield replace(case.data, confirm=confirm), case.event


REFUSED = [
    ("a stale completion", S.VALIDATING, d(), ChangeValidated(2, "b", "a"), "work_is_current"),
    ("a stale completion", S.PLANNED, d(), ChangeProvisioned(2), "work_is_current"),
    ("a stale completion", S.PLANNED, d(writes=True), ChangeProvisioned(4), "work_is_current"),
    ("a stale completion", S.WRITING, d(), ChangeWritten(2), "work_is_current"),
    *(("a stale failure", state, d(), ChangeUnfit(2, Stage.WRITE, ""), "work_is_current") for state in PREPARING),
    *(("a stale deadline", state, d(), StageOverdue(6), "timer_is_current") for state in PREPARING),
    ("a stale end of its time", S.PROBATION, d(confirm=5.0), ProbationOver(6), "timer_is_current"),
    ("a stale look", S.PROBATION, d(), ProbationOver(6), "timer_is_current"),
    *(("a stale health", S.PROBATION, d(), HealthChecked(2, healthy), "work_is_current") for healthy in (True, False)),
    *(
        ("the word on another revision", S.APPLYING, data, settled(settlement, "a", lost="x/y"), "is_its_own")
        for settlement in Settlement for data in (d(), d(confirm=5.0), d(superseded=True))
    ),
    ("the word on a third revision", S.ROLLING_BACK, d(), settled(RUNS, "c"), "is_its_base"),
    ("what nobody need confirm is not confirmed", S.PROBATION, d(), ChangeConfirmed("x"), "must_be_confirmed"),
    ("nor extended", S.PROBATION, d(), ProbationExtended(9.0, "x"), "must_be_confirmed"),
    *(("nor cancelled", s, d(), ChangeCancelled("x"), "must_be_confirmed") for s in (S.APPLYING, S.PROBATION)),
    ("nor ended by an account", S.PROBATION, d(), AccountLost("x/y", ""), "must_be_confirmed"),
    *(
        ("what must be confirmed is not pushed aside", state, d(confirm=5.0, waiting=waits), ChangeSuperseded("x"),
         "may_be_superseded")
        for state in (S.APPLYING, S.PROBATION) for waits in (True, False)
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("state", "data", "event", "name"),
    [refused[1:] for refused in REFUSED],
    ids=[f"{refused[0]}: {refused[1].value}" for refused in REFUSED],
)
def test_the_whole_table_refuses_and_names_the_guard(state, data, event, name):
    machine = at(Change, state, data)
    refusal = machine.fire(event)
    assert isinstance(refusal, Refusal), "accepted"
    assert name in refusal.guards
    assert (machine.state, machine.data) == (state, data)


# What can be asked of a machine


@pytest.mark.parametrize("waiting", [False, True])
@pytest.mark.parametrize("state", S, ids=lambda state: state.value)
def test_what_can_be_asked_of_a_machine(state, waiting):
    machine = at(Change, state, d(waiting=waiting))
    handed_over = {S.APPLYING, S.PROBATION}
    back = state is S.ROLLING_BACK
    assert has_ended(machine) == (state in {S.COMMITTED, S.ROLLED_BACK, S.REJECTED})
    assert is_watched(machine) == (state is S.PROBATION)
    assert is_on_its_way(machine) == (state in {S.APPLYING, S.ROLLING_BACK} and not waiting)
    assert may_yet_run(machine) == (state in {*PREPARING, *handed_over})
    heard = {revision for revision in "abc" if awaits_word_on(machine, revision)}
    assert heard == ({"a", "b"} if back else {"b"} if state is S.APPLYING else set())
    yields = {revision for revision in "abc" if gives_way_to(machine, revision)}
    assert yields == ({"b", "c"} if back else {"a", "b", "c"} if state in handed_over else set())
