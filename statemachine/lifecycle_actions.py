"""What the rows of the lifecycle do: each action sets data and emits effects, and decides nothing that a guard could."""

from __future__ import annotations

from typing import Any

from statemachine._machine import Draft, Event, action
from statemachine.effects import ArmTimer, DisarmTimer
from statemachine.lifecycle_data import LifecycleData, Waiting
from statemachine.lifecycle_events import (
    AbandonPlan,
    ApplyPlan,
    Boot,
    CancelWork,
    CheckReadiness,
    CloseTicket,
    ConfigChanged,
    ConfigRejected,
    ConfigUnfit,
    Exit,
    HurryStop,
    OpenGateway,
    PlanApplied,
    PlanFailed,
    ReloadOverdue,
    ReplaceProcess,
    RestartBy,
    RestartCancelled,
    RestartDue,
    Restarted,
    RestartFailed,
    RestartGateway,
    RestartOverdue,
    RestartRequested,
    ReviewConfig,
    SettleRevision,
    Started,
    StartFailed,
    StartOverdue,
    StopGateway,
    StopOverdue,
    StopRequested,
    Ticket,
    TicketOpened,
    Vacated,
    VacateGateway,
    WarnOfWaiting,
    WorkInFlight,
)

EXIT_RESTART = 75
"""EX_TEMPFAIL of sysexits.h: whoever supervises the process is asked for another one."""


class LifecycleActions:
    """The actions that `statemachine.lifecycle` names in its table."""

    # Actions: boot and stop

    @action
    def take_over(draft: Draft[LifecycleData], event: Boot) -> None:
        """Who asked the process before this one for a restart is answered by this one."""
        left = event.handover
        draft.set(served=left.served, tickets=left.tickets, restarts=left.restarts)
        for ticket in (*left.served, *left.tickets):
            draft.emit(TicketOpened(ticket))

    @action
    def open_gateway(draft: Draft[LifecycleData], event: Boot) -> None:
        draft.set(policy=event.policy, known=event.revision, applied=event.revision, work=draft.data.work + 1)
        draft.emit(OpenGateway(draft.data.work, event.revision))

    @action
    def adopt(draft: Draft[LifecycleData], event: Started) -> None:
        draft.set(applied=event.applied)
        if draft.data.served:
            _finish(draft, event.at, draft.data.policy.cooldown)

    @action
    def begin_stop(draft: Draft[LifecycleData], event: StopRequested) -> None:
        draft.set(work=draft.data.work + 1, stop_requests=1)
        draft.emit(StopGateway(draft.data.work, draft.data.policy.stop_timeout))

    @action
    def hurry(draft: Draft[LifecycleData], event: StopRequested) -> None:
        draft.set(stop_requests=draft.data.stop_requests + 1)
        draft.emit(HurryStop(draft.data.policy.hurried_stop_timeout))

    @action
    def cancel_work(draft: Draft[LifecycleData], event: Event) -> None:
        # The number moves on, so that whatever the cancelled work still says is stale.
        draft.set(work=draft.data.work + 1)
        draft.emit(CancelWork())

    @action
    def exit_clean(draft: Draft[LifecycleData], event: Event) -> None:
        draft.emit(Exit(0))

    @action
    def exit_failed(draft: Draft[LifecycleData], event: Event) -> None:
        draft.emit(Exit(1))

    @action
    def exit_to_restart(draft: Draft[LifecycleData], event: Event) -> None:
        """Its tickets are served by the process that follows, and closed there."""
        draft.emit(Exit(EXIT_RESTART))

    @action
    def exit_with_code(draft: Draft[LifecycleData], event: StartFailed) -> None:
        draft.emit(Exit(event.exit_code))

    # Actions: revisions

    @action
    def answer_known(draft: Draft[LifecycleData], event: ConfigChanged) -> None:
        """A second submitter of a revision gets its outcome: at once, or when the work on it ends."""
        data = draft.data
        if data.reviewed is not None:
            # A restart has read the file meanwhile: what was to be read again is this revision, or is gone.
            if data.reviewed != event.revision:
                draft.emit(SettleRevision(data.reviewed, "superseded", event.revision))
            draft.set(reviewed=None)
        if event.revision in (data.carried, data.kept):
            return
        outcome = "noop" if event.revision == data.applied else _standing(data)
        draft.emit(SettleRevision(event.revision, outcome, "this revision is known"))

    @action
    def keep_revision(draft: Draft[LifecycleData], event: ConfigChanged) -> None:
        _know(draft, event.revision)
        if draft.data.kept not in (None, event.revision):
            draft.emit(SettleRevision(draft.data.kept, "superseded", event.revision))
        draft.set(kept=event.revision)

    @action
    def review(draft: Draft[LifecycleData], event: ConfigChanged) -> None:
        _know(draft, event.revision)
        # It counts as new again: its review is the event that handles it.
        draft.set(reviewed=event.revision, known="")
        draft.emit(ReviewConfig(event.revision))

    @action
    def review_kept(draft: Draft[LifecycleData], event: Event) -> None:
        """What came while work was under way is read again and planned against what runs now."""
        if draft.data.kept is not None:
            draft.emit(ReviewConfig(draft.data.kept))
            draft.set(kept=None, reviewed=draft.data.kept, known="")

    @action
    def know_revision(draft: Draft[LifecycleData], event: ConfigChanged) -> None:
        _know(draft, event.revision)

    @action
    def note_unchanged(draft: Draft[LifecycleData], event: ConfigChanged) -> None:
        """What runs is this revision, too: a comment was changed, or an earlier edit taken back."""
        if draft.data.awaiting not in (None, event.revision):
            # Nothing needs a restart any more.
            draft.emit(SettleRevision(draft.data.awaiting, "superseded", event.revision))
        _know(draft, event.revision)
        draft.set(applied=event.revision, awaiting=None)
        draft.emit(SettleRevision(event.revision, "noop", "nothing differs from what runs"))

    @action
    def note_drift(draft: Draft[LifecycleData], event: ConfigChanged) -> None:
        _know(draft, event.revision)
        draft.set(drift=True)
        draft.emit(SettleRevision(event.revision, "noted", "reload mode is off"))

    @action
    def note_rejected(draft: Draft[LifecycleData], event: ConfigRejected) -> None:
        """What it rests on (the environment, a secret's file) may have changed since the same bytes were accepted."""
        kept = draft.data.kept
        _know(draft, event.revision)
        draft.set(rejected=event.revision, kept=None if kept == event.revision else kept)
        if event.revision != draft.data.carried:
            draft.emit(SettleRevision(event.revision, "rejected", event.why))

    @action
    def promise_restart(draft: Draft[LifecycleData], event: ConfigChanged) -> None:
        first = min(draft.data.tickets, key=lambda ticket: ticket.due_at)
        draft.set(awaiting=event.revision)
        draft.emit(SettleRevision(event.revision, "restart_pending", first.id))

    @action
    def apply_plan(draft: Draft[LifecycleData], event: ConfigChanged) -> None:
        draft.set(work=draft.data.work + 1, carried=event.revision)
        draft.emit(ApplyPlan(draft.data.work, event.revision))

    @action
    def commit(draft: Draft[LifecycleData], event: PlanApplied) -> None:
        carried = draft.data.carried or event.applied
        draft.set(applied=event.applied, carried=None)
        asking = [ticket for ticket in draft.data.tickets if ticket.revision is not None]
        earlier = [ticket for ticket in asking if ticket.revision != carried]
        if event.complete:
            _close(draft, asking, "superseded", "applied without a restart")
        elif earlier:
            # The restart that its revision still needs is asked for already: the ticket that stood by would double it.
            _close(draft, [ticket for ticket in asking if ticket not in earlier], "superseded", earlier[0].id)
        outcome = "applied" if event.complete else _standing(draft.data)
        draft.set(awaiting=carried if outcome == "restart_pending" else None)
        draft.emit(SettleRevision(carried, outcome, ""))

    @action
    def give_up_plan(draft: Draft[LifecycleData], event: PlanFailed | ReloadOverdue) -> None:
        why = event.why if isinstance(event, PlanFailed) else "the reload did not end in time"
        outcome = "restart_pending" if draft.data.tickets else "failed"
        carried = draft.data.carried or ""
        draft.emit(AbandonPlan(carried))
        draft.emit(SettleRevision(carried, outcome, why))
        draft.set(carried=None, awaiting=carried if draft.data.tickets else None)

    # Actions: tickets and restarts

    @action
    def open_ticket(draft: Draft[LifecycleData], event: RestartRequested | ConfigChanged) -> None:
        draft.set(tickets=(*draft.data.tickets, event.ticket))
        draft.emit(TicketOpened(event.ticket))

    @action
    def close_revision_tickets(draft: Draft[LifecycleData], event: Event) -> None:
        gone = [ticket for ticket in draft.data.tickets if ticket.revision is not None]
        _close(draft, gone, "superseded", "nothing needs a restart any more")

    @action
    def cancel_ticket(draft: Draft[LifecycleData], event: RestartCancelled) -> None:
        _close(draft, [t for t in draft.data.tickets if t.id == event.ticket_id], "cancelled", "as asked")

    @action
    def give_up_waiting(draft: Draft[LifecycleData], event: Event) -> None:
        """No restart will come any more: what waited for one is told so."""
        if draft.data.awaiting is not None:
            why = getattr(event, "why", "") or "its restart was cancelled"
            draft.emit(SettleRevision(draft.data.awaiting, "noted", why))
        draft.set(awaiting=None)

    @action
    def refuse_all(draft: Draft[LifecycleData], event: Event) -> None:
        """Nobody who waits is left without an answer: every open ticket and unfinished revision gets one."""
        why = getattr(event, "why", f"the gateway met {event.trigger}")
        for revision in (draft.data.carried, draft.data.kept, draft.data.reviewed):
            if revision is not None:
                draft.emit(SettleRevision(revision, "failed", why))
        for ticket in draft.data.served:
            draft.emit(CloseTicket(ticket.id, "failed", why))
        _close(draft, list(draft.data.tickets), "refused", why)
        draft.set(served=(), carried=None, kept=None, reviewed=None)

    @action
    def refuse_tickets(draft: Draft[LifecycleData], event: ConfigUnfit) -> None:
        _close(draft, list(draft.data.tickets), "refused", event.why)

    @action
    def check_readiness(draft: Draft[LifecycleData], event: RestartDue) -> None:
        draft.emit(CheckReadiness(draft.data.timer))

    @action
    def wait_for_idle(draft: Draft[LifecycleData], event: WorkInFlight) -> None:
        since = event.at if draft.data.deferred_since is None else draft.data.deferred_since
        draft.set(waiting=Waiting.IDLE, deferred_since=since)
        _arm(draft, lambda token: ArmTimer(RestartDue(token), after=draft.data.policy.defer_poll))

    @action
    def warn_of_waiting(draft: Draft[LifecycleData], event: WorkInFlight) -> None:
        since = event.at if draft.data.deferred_since is None else draft.data.deferred_since
        draft.set(warned_at=event.at)
        draft.emit(WarnOfWaiting(event.count, event.at - since))

    @action
    def begin_restart(draft: Draft[LifecycleData], event: Event) -> None:
        """The restart reads the file anew, and may read one of which no event has come yet: nothing counts as known until it has."""
        draft.set(work=draft.data.work + 1, served=draft.data.tickets, tickets=(), known="", rejected=None)
        draft.set(waiting=Waiting.NOTHING, deferred_since=None, warned_at=None)
        kind = RestartGateway if draft.data.policy.restart_by is RestartBy.IN_PROCESS else VacateGateway
        draft.emit(kind(draft.data.work, draft.data.served))

    @action
    def replace_process(draft: Draft[LifecycleData], event: Vacated) -> None:
        draft.emit(ReplaceProcess(draft.data.work))

    @action
    def finish_restart(draft: Draft[LifecycleData], event: Restarted) -> None:
        draft.set(
            policy=event.policy, applied=event.applied, known=draft.data.known or event.applied, drift=False, awaiting=None,
        )  # fmt: skip
        _finish(draft, event.at, event.policy.cooldown)

    @action
    def fail_restart(draft: Draft[LifecycleData], event: RestartFailed) -> None:
        for ticket in draft.data.served:
            draft.emit(CloseTicket(ticket.id, "failed", event.why))
        draft.set(served=(), cooled_at=event.at + draft.data.policy.cooldown)

    # Actions: the timer

    @action
    def arm_due(draft: Draft[LifecycleData], event: Event) -> None:
        due = min(ticket.due_at for ticket in draft.data.tickets)
        cooled = draft.data.cooled_at
        draft.set(waiting=Waiting.COOLDOWN if cooled > due else Waiting.DELAY)
        _arm(draft, lambda token: ArmTimer(RestartDue(token), at=max(due, cooled)))

    @action
    def arm_start_deadline(draft: Draft[LifecycleData], event: Event) -> None:
        _arm(draft, lambda token: ArmTimer(StartOverdue(token), after=draft.data.policy.start_timeout))

    @action
    def arm_reload_deadline(draft: Draft[LifecycleData], event: Event) -> None:
        draft.set(waiting=Waiting.NOTHING)
        _arm(draft, lambda token: ArmTimer(ReloadOverdue(token), after=draft.data.policy.reload_timeout))

    @action
    def arm_restart_deadline(draft: Draft[LifecycleData], event: Event) -> None:
        _arm(draft, lambda token: ArmTimer(RestartOverdue(token), after=draft.data.policy.restart_timeout))

    @action
    def arm_stop_deadline(draft: Draft[LifecycleData], event: Event) -> None:
        draft.set(waiting=Waiting.NOTHING)
        _arm(draft, lambda token: ArmTimer(StopOverdue(token), after=draft.data.policy.stop_timeout))

    @action
    def arm_short_deadline(draft: Draft[LifecycleData], event: Event) -> None:
        _arm(draft, lambda token: ArmTimer(StopOverdue(token), after=draft.data.policy.hurried_stop_timeout))

    @action
    def disarm(draft: Draft[LifecycleData], event: Event) -> None:
        draft.set(timer=draft.data.timer + 1, waiting=Waiting.NOTHING, deferred_since=None, warned_at=None)
        draft.emit(DisarmTimer())


def _arm(draft: Draft[LifecycleData], make: Any) -> None:
    draft.set(timer=draft.data.timer + 1)
    draft.emit(make(draft.data.timer))


def _close(draft: Draft[LifecycleData], gone: list[Ticket], outcome: str, why: str) -> None:
    """Close open tickets; each is told exactly one outcome, since it is open no longer."""
    for ticket in gone:
        draft.emit(CloseTicket(ticket.id, outcome, why))
    draft.set(tickets=tuple(ticket for ticket in draft.data.tickets if ticket not in gone))


def _finish(draft: Draft[LifecycleData], at: float, cooldown: float) -> None:
    """A restart is complete, and all whom it served are told so."""
    for ticket in draft.data.served:
        draft.emit(CloseTicket(ticket.id, "done", ""))
    draft.set(served=(), restarts=draft.data.restarts + 1, cooled_at=at + cooldown)


def _know(draft: Draft[LifecycleData], revision: str) -> None:
    """This revision is the newest. One that was being read again, and turned out to be gone, is superseded by it."""
    reviewed = draft.data.reviewed
    if reviewed not in (None, revision):
        draft.emit(SettleRevision(reviewed, "superseded", revision))
    draft.set(known=revision, rejected=None, drift=False, reviewed=None)


def _standing(data: LifecycleData) -> str:
    """What can be said of a revision that was handled and is not, or not wholly, what runs."""
    return "restart_pending" if data.tickets else "noted"
