"""What the rows of a change do: each action sets data and emits effects, and decides nothing that a guard could."""

from __future__ import annotations

from statemachine._machine import Draft, Event, action
from statemachine.change_events import (
    AccountLost,
    CancelStage,
    ChangeCancelled,
    ChangeConfirmed,
    ChangeData,
    ChangeProposed,
    ChangeResumed,
    ChangeSuperseded,
    ChangeUnfit,
    ChangeValidated,
    CheckHealth,
    CloseWindow,
    OpenWindow,
    ProbationExtended,
    ProbationOver,
    PromoteRevision,
    ProvisionChange,
    ReportChange,
    RestoreBase,
    RevisionSettled,
    Settlement,
    Stage,
    StageOverdue,
    SubmitRevision,
    ValidateChange,
    WriteChange,
)
from statemachine.effects import ArmTimer, DisarmTimer

STAGE_TIMEOUT = 20.0
"""Seconds for each stage before the lifecycle is told."""
HEALTHY_AFTER = 10.0
"""Seconds that a revision must run, with every account receiving, before it counts as good."""
LOOK_AGAIN_AFTER = 60.0
"""Seconds to the next look at one that does not run well."""


class ChangeActions:
    """The actions that `statemachine.change` names in its table."""

    # Getting ready

    @action
    def propose(draft: Draft[ChangeData], event: ChangeProposed) -> None:
        draft.set(writes=event.writes, confirm=event.confirm)

    @action
    def resume(draft: Draft[ChangeData], event: ChangeResumed) -> None:
        draft.set(revision=event.revision, base=event.base, confirm=event.confirm)

    @action
    def validate(draft: Draft[ChangeData], event: Event) -> None:
        draft.emit(ValidateChange(_next_work(draft)))

    @action
    def plan(draft: Draft[ChangeData], event: ChangeValidated) -> None:
        draft.set(revision=event.revision, base=event.base)

    @action
    def provision(draft: Draft[ChangeData], event: Event) -> None:
        draft.emit(ProvisionChange(_next_work(draft), draft.data.revision))

    @action
    def write(draft: Draft[ChangeData], event: Event) -> None:
        work, data = _next_work(draft), draft.data
        draft.emit(WriteChange(work, data.revision, data.base, data.confirm))

    @action
    def cancel_stage(draft: Draft[ChangeData], event: Event) -> None:
        # The number moves on, so that whatever the cancelled work still says is stale.
        _next_work(draft)
        draft.emit(CancelStage())

    @action
    def submit(draft: Draft[ChangeData], event: Event) -> None:
        _disarm(draft)
        draft.emit(SubmitRevision(draft.data.revision))

    @action
    def drop(draft: Draft[ChangeData], event: Event) -> None:
        """It will not run: nothing may be rolled back for it, by no later boot either."""
        if draft.data.confirm is not None:
            draft.emit(CloseWindow(draft.data.revision))

    # In the lifecycle's hands

    @action
    def wait(draft: Draft[ChangeData], event: Event) -> None:
        draft.set(waiting=True)

    @action
    def note_superseded(draft: Draft[ChangeData], event: Event) -> None:
        draft.set(superseded=True)

    # Probation

    @action
    def open_window(draft: Draft[ChangeData], event: Event) -> None:
        seconds = draft.data.confirm or 0.0
        draft.set(waiting=False)
        draft.emit(OpenWindow(draft.data.revision, seconds))
        _arm(draft, seconds)

    @action
    def extend(draft: Draft[ChangeData], event: ProbationExtended) -> None:
        draft.set(confirm=event.seconds)

    @action
    def close_window(draft: Draft[ChangeData], event: Event) -> None:
        draft.emit(CloseWindow(draft.data.revision))

    @action
    def watch(draft: Draft[ChangeData], event: Event) -> None:
        draft.set(waiting=False)
        _arm(draft, HEALTHY_AFTER)

    @action
    def watch_on(draft: Draft[ChangeData], event: Event) -> None:
        _arm(draft, LOOK_AGAIN_AFTER)

    @action
    def check_health(draft: Draft[ChangeData], event: Event) -> None:
        draft.emit(CheckHealth(_next_work(draft)))

    @action
    def promote(draft: Draft[ChangeData], event: Event) -> None:
        draft.emit(PromoteRevision(draft.data.revision))

    @action
    def roll_back(draft: Draft[ChangeData], event: Event) -> None:
        draft.set(waiting=False)
        draft.emit(ReportChange("rolling_back", *_reason(event)))
        draft.emit(RestoreBase(draft.data.revision, draft.data.base))

    # The timer

    @action
    def arm_stage(draft: Draft[ChangeData], event: Event) -> None:
        draft.set(timer=draft.data.timer + 1)
        draft.emit(ArmTimer(StageOverdue(draft.data.timer), after=STAGE_TIMEOUT))

    @action
    def disarm(draft: Draft[ChangeData], event: Event) -> None:
        _disarm(draft)

    # What is said of it

    @action
    def refuse_beside_window(draft: Draft[ChangeData], event: Event) -> None:
        why = "an earlier change waits to be confirmed; confirm or cancel that first"
        draft.emit(ReportChange("rejected", Stage.CONFIRM.value, why))

    @action
    def report_unfit(draft: Draft[ChangeData], event: ChangeUnfit) -> None:
        draft.emit(ReportChange("rejected", event.stage.value, event.why))

    @action
    def report_overdue(draft: Draft[ChangeData], event: Event) -> None:
        draft.emit(ReportChange("rejected", "", f"it was not ready within {STAGE_TIMEOUT:.0f} s"))

    @action
    def report_settled(draft: Draft[ChangeData], event: RevisionSettled) -> None:
        draft.emit(ReportChange(event.word, "", event.why))

    @action
    def report_broken(draft: Draft[ChangeData], event: RevisionSettled) -> None:
        draft.emit(ReportChange("rolled_back", Stage.SWAP.value, event.why))

    @action
    def report_superseded(draft: Draft[ChangeData], event: ChangeSuperseded | RevisionSettled) -> None:
        draft.emit(ReportChange("superseded", "", "a newer change took its place before it ran"))

    @action
    def report_base_superseded(draft: Draft[ChangeData], event: Event) -> None:
        draft.emit(ReportChange("rolled_back", "", "what ran before does not run: a newer change took its place"))

    @action
    def report_probation(draft: Draft[ChangeData], event: Event) -> None:
        draft.emit(ReportChange("probation", "", ""))

    @action
    def report_committed(draft: Draft[ChangeData], event: Event) -> None:
        confirmed = f"confirmed by {event.by}" if isinstance(event, ChangeConfirmed) else ""
        draft.emit(ReportChange("committed", "", confirmed))

    @action
    def report_rolled_back(draft: Draft[ChangeData], event: RevisionSettled) -> None:
        runs = event.settlement is Settlement.RUNS
        draft.emit(ReportChange("rolled_back", "", "" if runs else f"what ran before does not run yet: {event.why}"))


def _reason(event: Event) -> tuple[str, str]:
    """Why a change is rolled back: the stage, and a sentence."""
    if isinstance(event, AccountLost):
        return Stage.HEALTH.value, _lost(event.account, event.why)
    if isinstance(event, ChangeCancelled):
        return Stage.CONFIRM.value, f"cancelled by {event.by}"
    if isinstance(event, ProbationOver):
        return Stage.CONFIRM.value, "it was not confirmed in time"
    if isinstance(event, ChangeResumed):
        return Stage.CONFIRM.value, "it was not confirmed in time; no gateway ran when the time was over"
    if isinstance(event, RevisionSettled) and event.lost:
        return Stage.HEALTH.value, _lost(event.lost, event.lost_why)
    return Stage.SWAP.value, getattr(event, "why", "")


def _lost(account: str, why: str) -> str:
    return f"{account} ran before and has failed: {why}"


def _next_work(draft: Draft[ChangeData]) -> int:
    draft.set(work=draft.data.work + 1)
    return int(draft.data.work)


def _arm(draft: Draft[ChangeData], seconds: float) -> None:
    draft.set(timer=draft.data.timer + 1)
    draft.emit(ArmTimer(ProbationOver(draft.data.timer), after=seconds))


def _disarm(draft: Draft[ChangeData]) -> None:
    draft.set(timer=draft.data.timer + 1)
    draft.emit(DisarmTimer())
