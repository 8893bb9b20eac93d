"""One change of the config: from being proposed to being committed, rolled back or rejected.

A machine is made for each change, and is gone when the change has ended. Who sends what: the admin API, the watcher and
signals propose; boot and restart resume what they find; persons confirm, extend and cancel; the lifecycle's word on a
revision comes as `revision_settled`, a channel's failure as `account_lost`; the rest are completions of this machine's own
effects, and firings of its one timer.

Two rules carry it.
What is *wanted* is the file's revision, unless a change that must be confirmed holds another one in its place, or the
file still holds what was rolled back. The lifecycle is told of what is wanted and of nothing else, so a rollback takes the
same road as any change, and the user's file is not touched by it.
While one change must be confirmed no other is begun: a call is refused, an edit of the file waits for the end of it.

The terms are those of a confirmed commit (NETCONF, RFC 6241, section 8.4).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, ClassVar

from statemachine._machine import Event, Exits, Machine, Outcome, Row, guard
from statemachine.change_actions import ChangeActions
from statemachine.change_events import (
    AccountLost,
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
    HealthChecked,
    ProbationExtended,
    ProbationOver,
    RevisionSettled,
    Settlement,
    StageOverdue,
)


class ChangeState(Enum):
    """How far a change has come."""

    IDLE = "idle"
    """Nobody has proposed anything yet."""
    VALIDATING = "validating"
    """Its text is made, read and planned. Nothing is touched."""
    PLANNED = "planned"
    """It is valid, and what it would do is known; what can be tried beforehand is being tried."""
    WRITING = "writing"
    """The old bytes go to the history, the new ones into the file's place."""
    APPLYING = "applying"
    """The lifecycle has it: a hot reload is under way, or a restart is waited for."""
    PROBATION = "probation"
    """It runs, and is watched: until somebody confirms it, or until it has run well for long enough."""
    COMMITTED = "committed"
    """It runs, and nothing will be put back for it."""
    ROLLING_BACK = "rolling_back"
    """What ran before is being put back."""
    ROLLED_BACK = "rolled_back"
    """What ran before runs again. The file was not touched."""
    REJECTED = "rejected"
    """It does not run: it was refused, or something newer took its place before it ran."""


S = ChangeState

PREPARING = (S.VALIDATING, S.PLANNED, S.WRITING)
"""Work of its own is under way, and what runs is not touched."""
ENDED = frozenset({S.COMMITTED, S.ROLLED_BACK, S.REJECTED})


TABLE: tuple[Row[ChangeState], ...] = (
    # What is proposed. Nothing is begun while an earlier change waits for its confirmation.
    Row(ChangeProposed, S.IDLE, S.REJECTED, ("window_is_open",), effects=("refuse_beside_window",)),
    Row(ChangeProposed, S.IDLE, S.VALIDATING, effects=("propose", "validate", "arm_stage")),
    # What a boot or a restart finds: the time to confirm it goes on, or has run out meanwhile.
    Row(ChangeResumed, S.IDLE, S.ROLLING_BACK, ("is_overdue",), effects=("resume", "roll_back")),
    Row(ChangeResumed, S.IDLE, S.APPLYING, effects=("resume",)),

    # Getting ready, beside what runs.
    Row(ChangeValidated, S.VALIDATING, S.PLANNED, ("work_is_current",), effects=("plan", "provision", "arm_stage")),
    Row(ChangeProvisioned, S.PLANNED, S.WRITING, ("work_is_current", "has_to_write"), effects=("write", "arm_stage")),
    Row(ChangeProvisioned, S.PLANNED, S.APPLYING, ("work_is_current",), effects=("submit",)),
    Row(ChangeWritten, S.WRITING, S.APPLYING, ("work_is_current",), effects=("submit",)),
    Row(ChangeUnfit, PREPARING, S.REJECTED, ("work_is_current",), effects=("disarm", "drop", "report_unfit")),
    Row(StageOverdue, (S.VALIDATING, S.PLANNED), S.REJECTED, ("timer_is_current",),
        effects=("cancel_stage", "report_overdue")),
    # A write that was begun may land yet: that nothing was written could not be said of it.
    Row(StageOverdue, S.WRITING, None, ("timer_is_current",), effects=("arm_stage",), outcome=Outcome.DEFERRED),

    # The lifecycle's word. An account that ran and has failed ends a change that must be confirmed.
    Row(RevisionSettled, S.APPLYING, S.REJECTED, ("is_its_own", "gateway_ends"), effects=("report_settled",)),
    Row(RevisionSettled, S.APPLYING, S.ROLLING_BACK, ("is_its_own", "it_runs", "must_be_confirmed", "lost_an_account"),
        effects=("roll_back",)),
    Row(RevisionSettled, S.APPLYING, S.PROBATION, ("is_its_own", "it_runs", "must_be_confirmed"),
        effects=("open_window", "report_probation")),
    Row(RevisionSettled, S.APPLYING, S.COMMITTED, ("is_its_own", "it_runs", "is_superseded"),
        effects=("report_settled",)),
    Row(RevisionSettled, S.APPLYING, S.PROBATION, ("is_its_own", "it_runs"), effects=("report_settled", "watch")),
    Row(RevisionSettled, S.APPLYING, S.REJECTED, ("is_its_own", "it_waits", "is_superseded"),
        effects=("report_superseded",)),
    Row(RevisionSettled, S.APPLYING, None, ("is_its_own", "it_waits"), effects=("wait", "report_settled")),
    # What broke off was put back by the lifecycle, and what it will not run does not run. Where a confirmation was asked
    # for, the file is set aside as well: it holds what nobody will confirm, and a later restart would run it.
    Row(RevisionSettled, S.APPLYING, S.ROLLING_BACK, ("is_its_own", "must_be_confirmed"), effects=("roll_back",)),
    Row(RevisionSettled, S.APPLYING, S.ROLLED_BACK, ("is_its_own", "it_broke"), effects=("report_broken",)),
    Row(RevisionSettled, S.APPLYING, S.REJECTED, ("is_its_own",), effects=("report_settled",)),

    # A newer change. What waits for a restart that the newer one replaces will never run as it is.
    # One that must be confirmed is not pushed aside.
    Row(ChangeSuperseded, S.APPLYING, S.REJECTED, ("may_be_superseded", "waits_for_restart"),
        effects=("report_superseded",)),
    Row(ChangeSuperseded, S.APPLYING, None, ("may_be_superseded",), effects=("note_superseded",)),
    Row(ChangeSuperseded, S.PROBATION, S.COMMITTED, ("may_be_superseded",), effects=("disarm", "report_committed")),

    # Probation: to be confirmed in time, and not at the cost of an account.
    Row(ChangeConfirmed, S.PROBATION, S.COMMITTED, ("must_be_confirmed",),
        effects=("disarm", "close_window", "promote", "report_committed")),
    Row(ProbationExtended, S.PROBATION, None, ("must_be_confirmed",), effects=("extend", "open_window")),
    Row(ChangeCancelled, (S.APPLYING, S.PROBATION), S.ROLLING_BACK, ("must_be_confirmed",),
        effects=("disarm", "roll_back")),
    Row(AccountLost, S.PROBATION, S.ROLLING_BACK, ("must_be_confirmed",), effects=("disarm", "roll_back")),
    Row(ProbationOver, S.PROBATION, S.ROLLING_BACK, ("timer_is_current", "must_be_confirmed"), effects=("roll_back",)),
    # Without a confirmation it is only watched; last good is what ran well, not what was written.
    Row(ProbationOver, S.PROBATION, None, ("timer_is_current",), effects=("check_health",)),
    Row(HealthChecked, S.PROBATION, S.COMMITTED, ("work_is_current", "is_healthy"),
        effects=("promote", "report_committed")),
    Row(HealthChecked, S.PROBATION, None, ("work_is_current",), effects=("watch_on",)),

    # Rolling back: the base goes to the lifecycle like any revision, and what it still says of the other is old news.
    Row(RevisionSettled, S.ROLLING_BACK, None, ("is_its_base", "it_waits"), effects=("wait",), outcome=Outcome.DEFERRED),
    Row(RevisionSettled, S.ROLLING_BACK, S.ROLLED_BACK, ("is_its_base",), effects=("report_rolled_back",)),
    Row(RevisionSettled, S.ROLLING_BACK, None, ("is_its_own",), outcome=Outcome.COALESCED),
    # What is newer than the base is wanted in its place, and no word on the base need ever come.
    Row(ChangeSuperseded, S.ROLLING_BACK, S.ROLLED_BACK, effects=("report_base_superseded",)),
)  # fmt: skip


class Change(ChangeActions, Machine[ChangeState, ChangeData]):
    """The machine of one change."""

    kind = "change"
    states = ChangeState
    initial = S.IDLE
    final = ENDED
    failed = frozenset({S.REJECTED, S.ROLLED_BACK})
    table = TABLE
    # From the lifecycle's hands on, its deadlines are the change's: a reload, a wait and a restart each have one.
    exits: ClassVar[Mapping[Any, Exits[Any]]] = {
        S.VALIDATING: Exits((ChangeValidated,), (ChangeUnfit,), (StageOverdue,), ()),
        S.PLANNED: Exits((ChangeProvisioned,), (ChangeUnfit,), (StageOverdue,), ()),
        S.WRITING: Exits((ChangeWritten,), (ChangeUnfit,), (StageOverdue,), ()),
        S.APPLYING: Exits((RevisionSettled,), (RevisionSettled,), (RevisionSettled,), ()),
        S.ROLLING_BACK: Exits((RevisionSettled,), (RevisionSettled,), (RevisionSettled,), ()),
    }

    # Guards

    @guard
    def window_is_open(data: ChangeData, event: ChangeProposed) -> bool:
        return event.window

    @guard
    def is_overdue(data: ChangeData, event: ChangeResumed) -> bool:
        return event.overdue

    @guard
    def work_is_current(data: ChangeData, event: Any) -> bool:
        return bool(event.work == data.work)

    @guard
    def timer_is_current(data: ChangeData, event: Any) -> bool:
        return bool(event.token == data.timer)

    @guard
    def has_to_write(data: ChangeData, event: Event) -> bool:
        return data.writes

    @guard
    def must_be_confirmed(data: ChangeData, event: Event) -> bool:
        return data.confirm is not None

    @guard
    def may_be_superseded(data: ChangeData, event: Event) -> bool:
        return data.confirm is None

    @guard
    def is_superseded(data: ChangeData, event: Event) -> bool:
        return data.superseded

    @guard
    def waits_for_restart(data: ChangeData, event: Event) -> bool:
        return data.waiting

    @guard
    def is_its_own(data: ChangeData, event: RevisionSettled) -> bool:
        return event.revision == data.revision

    @guard
    def is_its_base(data: ChangeData, event: RevisionSettled) -> bool:
        return event.revision == data.base

    @guard
    def it_runs(data: ChangeData, event: RevisionSettled) -> bool:
        return event.settlement is Settlement.RUNS

    @guard
    def it_waits(data: ChangeData, event: RevisionSettled) -> bool:
        return event.settlement is Settlement.WAITS

    @guard
    def it_broke(data: ChangeData, event: RevisionSettled) -> bool:
        return event.settlement is Settlement.BROKE

    @guard
    def gateway_ends(data: ChangeData, event: RevisionSettled) -> bool:
        return event.settlement is Settlement.ENDS

    @guard
    def lost_an_account(data: ChangeData, event: RevisionSettled) -> bool:
        return bool(event.lost)

    @guard
    def is_healthy(data: ChangeData, event: HealthChecked) -> bool:
        return event.healthy


def has_ended(machine: Machine[Any, Any]) -> bool:
    """Nothing more can become of it."""
    return machine.state in ENDED


def awaits_word_on(machine: Machine[Any, Any], revision: str) -> bool:
    """The lifecycle's word on this revision is for it."""
    if machine.state is S.ROLLING_BACK:
        return revision in (machine.data.revision, machine.data.base)
    return machine.state is S.APPLYING and revision == machine.data.revision


def is_on_its_way(machine: Machine[Any, Any]) -> bool:
    """The lifecycle has it, or its base, and has not said what becomes of that."""
    return machine.state in (S.APPLYING, S.ROLLING_BACK) and not machine.data.waiting


def awaited_of(machine: Machine[Any, Any]) -> str | None:
    """The revision for which it waits for a restart: its own, or its base; None when it waits for none."""
    if not machine.data.waiting:
        return None
    return {S.APPLYING: machine.data.revision, S.ROLLING_BACK: machine.data.base}.get(machine.state)


def may_yet_run(machine: Machine[Any, Any]) -> bool:
    """It is on its way to run, or runs and is watched."""
    return machine.state in (*PREPARING, S.APPLYING, S.PROBATION)


def gives_way_to(machine: Machine[Any, Any], revision: str) -> bool:
    """It, or its base, is in the lifecycle's hands; a newer change with this revision supersedes it."""
    if machine.state is S.ROLLING_BACK:
        return bool(revision != machine.data.base)
    return machine.state in (S.APPLYING, S.PROBATION)


def restores(machine: Machine[Any, Any]) -> str | None:
    """The base that it is putting back; None when it is not."""
    return machine.data.base if machine.state is S.ROLLING_BACK else None


def is_watched(machine: Machine[Any, Any]) -> bool:
    """It runs, and it is not decided whether it stays."""
    return machine.state is S.PROBATION
