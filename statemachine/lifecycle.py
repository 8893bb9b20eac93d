"""The gateway process: from boot to stop, through hot reloads and restarts.

Who sends what: `app` boots; the watcher, SIGHUP and every config write send `config_changed` and `config_rejected`;
the admin API and SIGUSR1 send `restart_requested` and `restart_cancelled`; SIGTERM and SIGINT send `stop_requested`;
the rest are completions of this machine's own effects, and firings of its one timer.

Two rules carry the whole design.
A revision is handled once: the second event about a revision that is known is absorbed, whoever sends it.
A revision that is about to be hot-reloaded has a ticket all the while: it dies when the reload has succeeded,
and stands when it has not, so the restart is the safety net and never a second road.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, ClassVar

from statemachine._machine import Draft, Event, Exits, Machine, Outcome, Row, action, guard
from statemachine.effects import ArmTimer, DisarmTimer
from statemachine.lifecycle_events import (
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
    Impact,
    LifecyclePolicy,
    OpenGateway,
    Origin,
    PlanApplied,
    PlanFailed,
    ReloadOverdue,
    RestartCancelled,
    RestartDue,
    Restarted,
    RestartFailed,
    RestartGateway,
    RestartOverdue,
    RestartReady,
    RestartRequested,
    ReviewConfig,
    SettleRevision,
    Started,
    StartFailed,
    StartOverdue,
    StopFailed,
    StopFinished,
    StopGateway,
    StopOverdue,
    StopRequested,
    Ticket,
    TicketOpened,
    WorkInFlight,
)


class LifecycleState(Enum):
    """Where the gateway process is."""

    STARTING = "starting"
    """The control plane and the accounts are being opened for the first time."""
    RUNNING = "running"
    """Everything that the config asks for has been asked to run, and nothing is pending."""
    HOT_RELOADING = "hot_reloading"
    """An accepted plan is being carried out. New revisions and restart requests are kept until it ends."""
    RESTART_PENDING = "restart_pending"
    """At least one ticket is open: it waits for its due time, for the cooldown or for idle work."""
    RESTARTING = "restarting"
    """Every ticket that was open is being served. New ones are kept for the next restart."""
    STOPPING = "stopping"
    """Receivers end, finished replies are sent, clients are told, all within one budget."""
    STOPPED = "stopped"
    """Not booted yet, or stopped as asked."""
    FAILED = "failed"
    """It cannot run and cannot mend itself; the process is about to end."""


S = LifecycleState

SERVING = (S.RUNNING, S.RESTART_PENDING)
"""Nothing is under way: what comes in can be acted on at once."""
BUSY = (S.STARTING, S.HOT_RELOADING, S.RESTARTING)
"""One piece of work is under way: what comes in is kept until it ends."""
ALIVE = (*SERVING, *BUSY)


class Waiting(Enum):
    """What the open tickets wait for."""

    NOTHING = "nothing"
    DELAY = "delay"
    COOLDOWN = "cooldown"
    IDLE = "idle"


@dataclass(frozen=True)
class LifecycleData:
    """What the lifecycle knows beside its state."""

    policy: LifecyclePolicy = field(default_factory=LifecyclePolicy)
    applied: str = ""
    """Identity of what runs. Plans are made against it; it moves on commit only."""
    known: str = ""
    """The newest revision that was handled, kept or rejected: the next event about it is absorbed."""
    kept: str | None = None
    """The newest revision that came while work was under way."""
    reviewed: str | None = None
    """The revision that is being read again, to be planned against what runs now."""
    carried: str | None = None
    """The revision whose plan is being carried out."""
    rejected: str | None = None
    """The revision on disk, when it cannot be used."""
    drift: bool = False
    """A file edit was noted and, by reload mode, not applied."""
    tickets: tuple[Ticket, ...] = ()
    served: tuple[Ticket, ...] = ()
    """The tickets that the present restart closes."""
    waiting: Waiting = Waiting.NOTHING
    deferred_since: float | None = None
    cooled_at: float = 0.0
    """No restart before this monotonic time."""
    timer: int = 0
    work: int = 0
    """Numbers of the present timer and of the present work: what carries an older one is stale."""
    restarts: int = 0
    stop_requests: int = 0


TABLE: tuple[Row[LifecycleState], ...] = (
    # Boot. What comes in meanwhile is kept; a stop overrides it.
    Row(Boot, S.STOPPED, S.STARTING, effects=("open_gateway", "arm_start_deadline")),
    Row(Started, S.STARTING, S.RESTART_PENDING, ("work_is_current", "ticket_is_open"),
        effects=("adopt", "arm_due", "review_kept")),
    Row(Started, S.STARTING, S.RUNNING, ("work_is_current",), effects=("adopt", "disarm", "review_kept")),
    Row(StartFailed, S.STARTING, S.FAILED, ("work_is_current",), effects=("disarm", "refuse_all", "exit_with_code")),
    Row(StartOverdue, S.STARTING, S.FAILED, ("timer_is_current",),
        effects=("cancel_work", "refuse_all", "exit_failed")),

    # A revision. Known ones are absorbed, in every state: this is where a write and its own file event become one.
    Row(ConfigChanged, ALIVE, None, ("revision_is_known",), effects=("answer_known",), outcome=Outcome.COALESCED),
    Row(ConfigChanged, BUSY, None, effects=("keep_revision",), outcome=Outcome.DEFERRED),
    Row(ConfigChanged, SERVING, None, ("plan_is_stale",), effects=("review",), outcome=Outcome.DEFERRED),
    # Nothing differs from what runs: the need for a restart that an earlier revision had is gone.
    Row(ConfigChanged, S.RUNNING, None, ("nothing_differs",), effects=("note_unchanged",)),
    Row(ConfigChanged, S.RESTART_PENDING, S.RUNNING, ("nothing_differs", "only_revisions_ask"),
        effects=("note_unchanged", "close_revision_tickets", "disarm")),
    Row(ConfigChanged, S.RESTART_PENDING, None, ("nothing_differs",),
        effects=("note_unchanged", "close_revision_tickets", "arm_due")),
    # Reload mode `off`: a file edit is drift, a call asks for a restart.
    Row(ConfigChanged, SERVING, None, ("is_drift",), effects=("note_drift",)),
    # What can be applied without a restart is. Its ticket stands by until that has succeeded.
    Row(ConfigChanged, SERVING, S.HOT_RELOADING, ("may_reload",),
        effects=("know_revision", "open_ticket", "apply_plan", "arm_reload_deadline")),
    Row(ConfigChanged, S.RUNNING, S.RESTART_PENDING,
        effects=("know_revision", "open_ticket", "arm_due", "promise_restart")),
    Row(ConfigChanged, S.RESTART_PENDING, None, effects=("know_revision", "open_ticket", "arm_due", "promise_restart"),
        outcome=Outcome.COALESCED),
    Row(ConfigRejected, ALIVE, None, ("revision_is_known",), outcome=Outcome.COALESCED),
    Row(ConfigRejected, ALIVE, None, effects=("note_rejected",)),

    # Hot reload.
    Row(PlanApplied, S.HOT_RELOADING, S.RESTART_PENDING, ("work_is_current", "ticket_outlives_plan"),
        effects=("commit", "arm_due", "review_kept")),
    Row(PlanApplied, S.HOT_RELOADING, S.RUNNING, ("work_is_current",), effects=("commit", "disarm", "review_kept")),
    Row(PlanFailed, S.HOT_RELOADING, S.RESTART_PENDING, ("work_is_current", "ticket_is_open"),
        effects=("give_up_plan", "arm_due", "review_kept")),
    Row(PlanFailed, S.HOT_RELOADING, S.RUNNING, ("work_is_current",),
        effects=("give_up_plan", "disarm", "review_kept")),
    Row(ReloadOverdue, S.HOT_RELOADING, S.RESTART_PENDING, ("timer_is_current", "ticket_is_open"),
        effects=("cancel_work", "give_up_plan", "arm_due", "review_kept")),
    Row(ReloadOverdue, S.HOT_RELOADING, S.RUNNING, ("timer_is_current",),
        effects=("cancel_work", "give_up_plan", "review_kept")),

    # Restart requests. An earlier due time pulls the pending one in; a later one never pushes it out.
    Row(RestartRequested, S.RUNNING, S.RESTART_PENDING, effects=("open_ticket", "arm_due")),
    Row(RestartRequested, S.RESTART_PENDING, None, ("pulls_in",),
        effects=("open_ticket", "arm_due"), outcome=Outcome.COALESCED),
    Row(RestartRequested, S.RESTART_PENDING, None, effects=("open_ticket",), outcome=Outcome.COALESCED),
    Row(RestartRequested, BUSY, None, effects=("open_ticket",), outcome=Outcome.DEFERRED),
    Row(RestartCancelled, S.RESTART_PENDING, S.RUNNING, ("ticket_is_known", "ticket_is_last"),
        effects=("cancel_ticket", "disarm")),
    Row(RestartCancelled, S.RESTART_PENDING, None, ("ticket_is_known",), effects=("cancel_ticket", "arm_due")),
    Row(RestartCancelled, BUSY, None, ("ticket_is_known",), effects=("cancel_ticket",)),

    # From due to begun: the file must be valid and the work idle, or the budget for waiting spent.
    Row(RestartDue, S.RESTART_PENDING, None, ("timer_is_current",), effects=("check_readiness",)),
    Row(RestartReady, S.RESTART_PENDING, S.RESTARTING, ("timer_is_current",),
        effects=("begin_restart", "arm_restart_deadline")),
    Row(WorkInFlight, S.RESTART_PENDING, S.RESTARTING, ("timer_is_current", "waited_long_enough"),
        effects=("begin_restart", "arm_restart_deadline")),
    Row(WorkInFlight, S.RESTART_PENDING, S.RESTARTING, ("timer_is_current", "a_ticket_forces"),
        effects=("begin_restart", "arm_restart_deadline")),
    Row(WorkInFlight, S.RESTART_PENDING, None, ("timer_is_current",),
        effects=("wait_for_idle",), outcome=Outcome.DEFERRED),
    Row(ConfigUnfit, S.RESTART_PENDING, S.RUNNING, ("timer_is_current",), effects=("refuse_tickets", "disarm")),

    # Restart. Tickets that came meanwhile are for the next one, after the cooldown.
    Row(Restarted, S.RESTARTING, S.RESTART_PENDING, ("work_is_current", "ticket_is_open"),
        effects=("finish_restart", "arm_due", "review_kept")),
    Row(Restarted, S.RESTARTING, S.RUNNING, ("work_is_current",), effects=("finish_restart", "disarm", "review_kept")),
    Row(RestartFailed, S.RESTARTING, S.RESTART_PENDING, ("work_is_current", "old_run_is_back", "ticket_is_open"),
        effects=("fail_restart", "arm_due", "review_kept")),
    Row(RestartFailed, S.RESTARTING, S.RUNNING, ("work_is_current", "old_run_is_back"),
        effects=("fail_restart", "disarm", "review_kept")),
    Row(RestartFailed, S.RESTARTING, S.FAILED, ("work_is_current",),
        effects=("fail_restart", "refuse_all", "exit_failed")),
    Row(RestartOverdue, S.RESTARTING, S.FAILED, ("timer_is_current",),
        effects=("cancel_work", "refuse_all", "exit_failed")),

    # Stop. It wins over everything, and a second request hurries it, a third ends it.
    Row(StopRequested, ALIVE, S.STOPPING, effects=("cancel_work", "refuse_all", "begin_stop", "arm_stop_deadline")),
    Row(StopRequested, S.STOPPING, S.STOPPED, ("asked_before",), effects=("cancel_work", "exit_clean")),
    Row(StopRequested, S.STOPPING, None, effects=("hurry", "arm_short_deadline"), outcome=Outcome.COALESCED),
    Row(StopRequested, S.FAILED, S.STOPPED, effects=("exit_failed",)),
    Row(StopFinished, S.STOPPING, S.STOPPED, ("work_is_current",), effects=("disarm", "exit_clean")),
    Row(StopFailed, S.STOPPING, S.STOPPED, ("work_is_current",), effects=("disarm", "exit_failed")),
    Row(StopOverdue, S.STOPPING, S.STOPPED, ("timer_is_current",), effects=("cancel_work", "exit_clean")),
)  # fmt: skip


class Lifecycle(Machine[LifecycleState, LifecycleData]):
    """The lifecycle of one gateway process."""

    kind = "lifecycle"
    states = LifecycleState
    initial = S.STOPPED
    final = S.STOPPED
    table = TABLE
    waiting = frozenset({S.RESTART_PENDING})
    failed = frozenset({S.FAILED})
    exits: ClassVar[Mapping[Any, Exits[Any]]] = {
        S.STARTING: Exits((Started,), (StartFailed,), (StartOverdue,), (RestartRequested,)),
        S.HOT_RELOADING: Exits((PlanApplied,), (PlanFailed,), (ReloadOverdue,), (RestartRequested,)),
        S.RESTARTING: Exits((Restarted,), (RestartFailed,), (RestartOverdue,), (RestartRequested,)),
        S.STOPPING: Exits((StopFinished,), (StopFailed,), (StopOverdue,), ()),
    }

    # Guards

    @guard
    def work_is_current(data: LifecycleData, event: Any) -> bool:
        return bool(event.work == data.work)

    @guard
    def timer_is_current(data: LifecycleData, event: Any) -> bool:
        return bool(event.token == data.timer)

    @guard
    def revision_is_known(data: LifecycleData, event: ConfigChanged | ConfigRejected) -> bool:
        return event.revision == data.known

    @guard
    def plan_is_stale(data: LifecycleData, event: ConfigChanged) -> bool:
        return event.base != data.applied

    @guard
    def nothing_differs(data: LifecycleData, event: ConfigChanged) -> bool:
        return event.impact is Impact.NONE

    @guard
    def is_drift(data: LifecycleData, event: ConfigChanged) -> bool:
        return not event.reload and event.origin is Origin.FILE

    @guard
    def may_reload(data: LifecycleData, event: ConfigChanged) -> bool:
        return event.reload and (event.impact < Impact.GATEWAY or event.overlay)

    @guard
    def ticket_is_open(data: LifecycleData, event: Event) -> bool:
        return bool(data.tickets)

    @guard
    def ticket_outlives_plan(data: LifecycleData, event: PlanApplied) -> bool:
        return any(ticket.revision is None or not event.complete for ticket in data.tickets)

    @guard
    def only_revisions_ask(data: LifecycleData, event: Event) -> bool:
        return all(ticket.revision is not None for ticket in data.tickets)

    @guard
    def pulls_in(data: LifecycleData, event: RestartRequested) -> bool:
        return event.ticket.due_at < min(ticket.due_at for ticket in data.tickets)

    @guard
    def ticket_is_known(data: LifecycleData, event: RestartCancelled) -> bool:
        return any(ticket.id == event.ticket_id for ticket in data.tickets)

    @guard
    def ticket_is_last(data: LifecycleData, event: RestartCancelled) -> bool:
        return len(data.tickets) == 1

    @guard
    def waited_long_enough(data: LifecycleData, event: WorkInFlight) -> bool:
        return data.deferred_since is not None and event.at - data.deferred_since >= data.policy.defer_timeout

    @guard
    def a_ticket_forces(data: LifecycleData, event: WorkInFlight) -> bool:
        return any(ticket.force and ticket.due_at <= event.at for ticket in data.tickets)

    @guard
    def old_run_is_back(data: LifecycleData, event: RestartFailed) -> bool:
        return event.recovered

    @guard
    def asked_before(data: LifecycleData, event: StopRequested) -> bool:
        return data.stop_requests >= 2

    # Actions: boot and stop

    @action
    def open_gateway(draft: Draft[LifecycleData], event: Boot) -> None:
        draft.set(policy=event.policy, known=event.revision, work=draft.data.work + 1)
        draft.emit(OpenGateway(draft.data.work, event.revision))

    @action
    def adopt(draft: Draft[LifecycleData], event: Started) -> None:
        draft.set(applied=event.applied)

    @action
    def begin_stop(draft: Draft[LifecycleData], event: StopRequested) -> None:
        draft.set(work=draft.data.work + 1, stop_requests=1)
        draft.emit(StopGateway(draft.data.work))

    @action
    def hurry(draft: Draft[LifecycleData], event: StopRequested) -> None:
        draft.set(stop_requests=draft.data.stop_requests + 1)
        draft.emit(HurryStop())

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
    def exit_with_code(draft: Draft[LifecycleData], event: StartFailed) -> None:
        draft.emit(Exit(event.exit_code))

    # Actions: revisions

    @action
    def answer_known(draft: Draft[LifecycleData], event: ConfigChanged) -> None:
        """A second submitter of a revision gets its outcome: at once, or when the work on it ends."""
        data = draft.data
        if event.revision in (data.carried, data.kept, data.reviewed):
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
        _know(draft, event.revision)
        draft.set(applied=event.revision)
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
        draft.emit(SettleRevision(event.revision, "restart_pending", draft.data.tickets[0].id))

    @action
    def apply_plan(draft: Draft[LifecycleData], event: ConfigChanged) -> None:
        draft.set(work=draft.data.work + 1, carried=event.revision)
        draft.emit(ApplyPlan(draft.data.work, event.revision))

    @action
    def commit(draft: Draft[LifecycleData], event: PlanApplied) -> None:
        carried = draft.data.carried or event.applied
        draft.set(applied=event.applied, carried=None)
        if event.complete:
            _close(
                draft,
                [t for t in draft.data.tickets if t.revision is not None],
                "superseded",
                "applied without a restart",
            )
        outcome = "applied" if event.complete else _standing(draft.data)
        draft.emit(SettleRevision(carried, outcome, ""))

    @action
    def give_up_plan(draft: Draft[LifecycleData], event: PlanFailed | ReloadOverdue) -> None:
        why = event.why if isinstance(event, PlanFailed) else "the reload did not end in time"
        outcome = "restart_pending" if draft.data.tickets else "failed"
        draft.emit(SettleRevision(draft.data.carried or "", outcome, why))
        draft.set(carried=None)

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
    def begin_restart(draft: Draft[LifecycleData], event: Event) -> None:
        """The restart reads the file anew, and may read one of which no event has come yet: nothing counts as known until it has."""
        draft.set(work=draft.data.work + 1, served=draft.data.tickets, tickets=(), known="", rejected=None)
        draft.set(waiting=Waiting.NOTHING, deferred_since=None)
        draft.emit(RestartGateway(draft.data.work, draft.data.served))

    @action
    def finish_restart(draft: Draft[LifecycleData], event: Restarted) -> None:
        for ticket in draft.data.served:
            draft.emit(CloseTicket(ticket.id, "done", ""))
        draft.set(
            policy=event.policy, applied=event.applied, known=draft.data.known or event.applied, drift=False,
            served=(), restarts=draft.data.restarts + 1, cooled_at=event.at + event.policy.cooldown,
        )  # fmt: skip

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
        draft.set(waiting=Waiting.NOTHING, deferred_since=None)
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
        _arm(draft, lambda token: ArmTimer(StopOverdue(token), after=draft.data.policy.stop_timeout / 10))

    @action
    def disarm(draft: Draft[LifecycleData], event: Event) -> None:
        draft.set(timer=draft.data.timer + 1, waiting=Waiting.NOTHING, deferred_since=None)
        draft.emit(DisarmTimer())


def _arm(draft: Draft[LifecycleData], make: Any) -> None:
    draft.set(timer=draft.data.timer + 1)
    draft.emit(make(draft.data.timer))


def _close(draft: Draft[LifecycleData], gone: list[Ticket], outcome: str, why: str) -> None:
    """Close open tickets; each is told exactly one outcome, since it is open no longer."""
    for ticket in gone:
        draft.emit(CloseTicket(ticket.id, outcome, why))
    draft.set(tickets=tuple(ticket for ticket in draft.data.tickets if ticket not in gone))


def _know(draft: Draft[LifecycleData], revision: str) -> None:
    """This revision is the newest. One that was being read again, and turned out to be gone, is superseded by it."""
    reviewed = draft.data.reviewed
    if reviewed not in (None, revision):
        draft.emit(SettleRevision(reviewed, "superseded", revision))
    draft.set(known=revision, rejected=None, drift=False, reviewed=None)


def _standing(data: LifecycleData) -> str:
    """What can be said of a revision that was handled and is not, or not wholly, what runs."""
    return "restart_pending" if data.tickets else "noted"


def is_serving(machine: Machine[Any, Any]) -> bool:
    """The accounts run and the control plane takes requests, whatever else is under way."""
    return machine.state in (*SERVING, S.HOT_RELOADING)
