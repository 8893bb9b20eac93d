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
from enum import Enum
from typing import Any, ClassVar

from statemachine._machine import Event, Exits, Machine, Outcome, Row, guard
from statemachine.lifecycle_actions import LifecycleActions
from statemachine.lifecycle_data import LifecycleData
from statemachine.lifecycle_events import (
    Boot,
    ConfigChanged,
    ConfigRejected,
    ConfigUnfit,
    Handover,
    Impact,
    Origin,
    PlanApplied,
    PlanFailed,
    ReloadOverdue,
    RestartBy,
    RestartCancelled,
    RestartDue,
    Restarted,
    RestartFailed,
    RestartOverdue,
    RestartReady,
    RestartRequested,
    Started,
    StartFailed,
    StartOverdue,
    StopFailed,
    StopFinished,
    StopOverdue,
    StopRequested,
    Vacated,
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


TABLE: tuple[Row[LifecycleState], ...] = (
    # Boot. What comes in meanwhile is kept; a stop overrides it.
    Row(Boot, S.STOPPED, S.STARTING, effects=("take_over", "open_gateway", "arm_start_deadline")),
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
        effects=("cancel_ticket", "disarm", "give_up_waiting")),
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
    Row(WorkInFlight, S.RESTART_PENDING, None, ("timer_is_current", "a_warning_is_due"),
        effects=("wait_for_idle", "warn_of_waiting"), outcome=Outcome.DEFERRED),
    Row(WorkInFlight, S.RESTART_PENDING, None, ("timer_is_current",),
        effects=("wait_for_idle",), outcome=Outcome.DEFERRED),
    Row(ConfigUnfit, S.RESTART_PENDING, S.RUNNING, ("timer_is_current",), effects=("refuse_tickets", "disarm", "give_up_waiting")),

    # Restart by a new image of this process, or by another process: this one is left when nothing of it receives or serves.
    # The one that follows closes its tickets.
    Row(Vacated, S.RESTARTING, S.STOPPED, ("work_is_current", "another_process_follows"),
        effects=("disarm", "exit_to_restart")),
    Row(Vacated, S.RESTARTING, None, ("work_is_current",), effects=("replace_process",)),
    # Restart in this process. Tickets that came meanwhile are for the next one, after the cooldown.
    Row(Restarted, S.RESTARTING, S.RESTART_PENDING, ("work_is_current", "ticket_is_open"),
        effects=("finish_restart", "arm_due", "review_kept")),
    Row(Restarted, S.RESTARTING, S.RUNNING, ("work_is_current",), effects=("finish_restart", "disarm", "review_kept")),
    Row(RestartFailed, S.RESTARTING, S.RESTART_PENDING, ("work_is_current", "old_run_is_back", "ticket_is_open"),
        effects=("fail_restart", "arm_due", "review_kept")),
    Row(RestartFailed, S.RESTARTING, S.RUNNING, ("work_is_current", "old_run_is_back"),
        effects=("fail_restart", "disarm", "give_up_waiting", "review_kept")),
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


class Lifecycle(LifecycleActions, Machine[LifecycleState, LifecycleData]):
    """The lifecycle of one gateway process."""

    kind = "lifecycle"
    states = LifecycleState
    initial = S.STOPPED
    final = frozenset({S.STOPPED})
    table = TABLE
    waiting = frozenset({S.RESTART_PENDING})
    failed = frozenset({S.FAILED})
    exits: ClassVar[Mapping[Any, Exits[Any]]] = {
        S.STARTING: Exits((Started,), (StartFailed,), (StartOverdue,), (RestartRequested,)),
        S.HOT_RELOADING: Exits((PlanApplied,), (PlanFailed,), (ReloadOverdue,), (RestartRequested,)),
        S.RESTARTING: Exits((Restarted, Vacated), (RestartFailed,), (RestartOverdue,), (RestartRequested,)),
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
        """One that was only noted, in reload mode `off`, is news once a call asks for it; one that was rejected, once it is fit."""
        asked_for = data.drift and isinstance(event, ConfigChanged) and event.origin is Origin.CALL
        is_fit_now = event.revision == data.rejected and isinstance(event, ConfigChanged)
        return event.revision == data.known and not asked_for and not is_fit_now

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
        return may_be_reloaded(event)

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
    def a_warning_is_due(data: LifecycleData, event: WorkInFlight) -> bool:
        said = data.deferred_since if data.warned_at is None else data.warned_at
        return said is not None and event.at - said >= data.policy.defer_warn

    @guard
    def a_ticket_forces(data: LifecycleData, event: WorkInFlight) -> bool:
        return any(ticket.force and ticket.due_at <= event.at for ticket in data.tickets)

    @guard
    def another_process_follows(data: LifecycleData, event: Vacated) -> bool:
        return data.policy.restart_by is RestartBy.EXIT

    @guard
    def old_run_is_back(data: LifecycleData, event: RestartFailed) -> bool:
        return event.recovered

    @guard
    def asked_before(data: LifecycleData, event: StopRequested) -> bool:
        return data.stop_requests >= 2


class Phase(Enum):
    """What whoever supervises the process is told of its state."""

    STARTING = "starting"
    """Nobody is served yet."""
    READY = "ready"
    """It serves, and nothing is under way."""
    RELOADING = "reloading"
    """It comes to be ready again by itself."""
    ENDING = "ending"
    """It does not."""


PHASES: Mapping[LifecycleState, Phase] = {
    S.STARTING: Phase.STARTING,
    **dict.fromkeys(SERVING, Phase.READY),
    S.HOT_RELOADING: Phase.RELOADING,
    S.RESTARTING: Phase.RELOADING,
    **dict.fromkeys((S.STOPPING, S.STOPPED, S.FAILED), Phase.ENDING),
}


def phase_of(state: str) -> Phase:
    """Of a state by its value. Not booted yet counts as ended: nobody is told of it before it has begun to start."""
    return PHASES[LifecycleState(state)]


def is_serving(machine: Machine[Any, Any]) -> bool:
    """The accounts run and the control plane takes requests, whatever else is under way."""
    return machine.state in (*SERVING, S.HOT_RELOADING)


def may_be_reloaded(event: ConfigChanged) -> bool:
    """It, or the part of it that is new, can run without a restart."""
    return event.reload and (event.impact < Impact.GATEWAY or event.overlay)


def knows(machine: Machine[Any, Any], revision: str) -> bool:
    """It was told of this revision, and a second word of it would be absorbed."""
    return bool(revision == machine.data.known != machine.data.rejected)


def is_restarting(machine: Machine[Any, Any]) -> bool:
    return machine.state is S.RESTARTING


def handover_of(machine: Machine[Any, Any]) -> Handover:
    """What the process that follows this one has to know."""
    return Handover(machine.data.served, machine.data.tickets, machine.data.restarts)


def is_leaving(machine: Machine[Any, Any]) -> bool:
    """It ends, or another image or process takes its place: no receiver may be opened any more, whoever asks."""
    replaced = machine.data.policy.restart_by is not RestartBy.IN_PROCESS
    return is_ending(machine) or (machine.state is S.RESTARTING and replaced)


def is_ending(machine: Machine[Any, Any]) -> bool:
    """It takes no more requests: a stop is under way, or done, or it has failed."""
    return machine.state not in ALIVE
