"""One account's receiver: who may receive, when, and under which generation.

Who sends what: a person (admin API) and the gateway (boot, reload, restart, stop) send `start`, `stop` and `restart`;
the receiver itself sends `receiver_ready` and ends in `receiver_ended`; who watches it sends `receiver_stalled`, who watches
the host `host_woke`; where several hosts share an account, its lease says `lease_gained` and `lease_lost`; the rest is this
machine's timer and its fence.

The rule that never bends: a receiver is opened only by a transition out of a state in which the older generation
is proven dead, and every word of a generation that is not the current one is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, ClassVar

import msgspec

from statemachine._machine import Draft, Event, Exits, Machine, Outcome, Row, action, guard
from statemachine.channel_events import (
    NOTHING,
    Adjust,
    By,
    Cause,
    CloseReceiver,
    ConflictOver,
    FenceDue,
    FenceFailed,
    FenceReceiver,
    HostWoke,
    LeaseGained,
    LeaseLost,
    OpenReceiver,
    ReceiverEnded,
    ReceiverFenced,
    ReceiverReady,
    ReceiverStalled,
    Restart,
    RetryDue,
    Run,
    Start,
    StartOverdue,
    Stop,
    StopOverdue,
    WatchReceiver,
)
from statemachine.effects import ArmTimer, DisarmTimer


class ChannelState(Enum):
    """Where one account's receiver is."""

    STOPPED = "stopped"
    """No receiver, and none wanted."""
    STARTING = "starting"
    """A receiver of a new generation is being opened; it has not completed a receive yet."""
    RUNNING = "running"
    """The receiver of this generation has completed a receive."""
    STOPPING = "stopping"
    """The receiver was told to end and has not ended yet."""
    STOP_OVERDUE = "stop_overdue"
    """It did not end in time. It ends late, or is fenced: transport aborted, generation revoked, session closed."""
    BACKOFF = "backoff"
    """The network could not be reached or the receiver broke; a timer runs, then it is tried again."""
    CONFLICT = "conflict"
    """Somebody else receives on this account; one attempt after each wait of a long poll and a margin."""
    SUPPRESSED = "suppressed"
    """The restart intensity is spent, or the session starts that the network allows; a single attempt after a long while."""
    FAILED = "failed"
    """The network refuses this account; only a person or new settings lead out."""


S = ChannelState

SETTLED = frozenset({S.STOPPED, S.RUNNING, S.BACKOFF, S.CONFLICT, S.SUPPRESSED, S.FAILED})
"""Nothing is under way: the state can be told to whoever asked for a change."""

OPEN = (S.STARTING, S.RUNNING)
"""There is a receiver."""
CLOSING = (S.STOPPING, S.STOP_OVERDUE)
"""There is a receiver that has been told to end."""
LIVE = (*OPEN, *CLOSING)
"""There is a receiver, whatever it has been told."""
WAITING = (S.BACKOFF, S.CONFLICT, S.SUPPRESSED)
"""There is none, and a timer will bring the next."""


class Then(Enum):
    """What follows when the receiver that was told to end has ended."""

    REST = "rest"
    RUN = "run"
    RETRY = "retry"


class ChannelData(msgspec.Struct, frozen=True, cache_hash=True):
    """What a channel knows beside its state. Times are monotonic seconds."""

    generation: int = 0
    run: Run = NOTHING
    then: Then = Then.REST
    held: bool = False
    """A person stopped it; only a person starts it."""
    half_open: bool = False
    """The present attempt is the single one that suppression allows."""
    attempts: int = 0
    failures: tuple[float, ...] = ()
    conflicts: tuple[float, ...] = ()
    conflict_since: float | None = None
    """When somebody else began to receive, if it is not over: from the first conflict until a whole wait has passed without one."""
    lease_came: bool = False
    """Since this generation was opened: among several hosts it is this one that may receive."""
    last_error: str = ""
    last_cause: Cause = Cause.CLOSED
    """Why the last receiver ended that had not been told to."""
    timer: int = 0
    wait: float = 0.0
    """Seconds that the present wait lasts at the most."""


TABLE: tuple[Row[ChannelState], ...] = (
    # Start: from stopped, or by a person out of a wait. Anywhere else there is, or may be, a receiver.
    Row(Start, S.STOPPED, S.STARTING, ("is_enabled", "may_start"),
        effects=("adopt_run", "forget_failures", "open_receiver", "arm_start_deadline")),
    Row(Start, (*WAITING, S.FAILED), S.STARTING, ("is_enabled", "asked_by_person"),
        effects=("adopt_run", "forget_failures", "open_receiver", "arm_start_deadline")),
    Row(ReceiverReady, S.STARTING, S.RUNNING, ("generation_is_current", "conflict_is_open"),
        effects=("note_ready", "watch_receiver", "arm_conflict_over")),
    Row(ReceiverReady, S.STARTING, S.RUNNING, ("generation_is_current",),
        effects=("note_ready", "watch_receiver", "disarm")),
    # The other's poll was ended by ours, and it will come back, if it is still there: a whole wait has to show that it is not.
    Row(ConflictOver, S.RUNNING, None, ("timer_is_current",), effects=("note_conflict_over",)),
    Row(StartOverdue, S.STARTING, S.STOPPING, ("timer_is_current",),
        effects=("retry_later", "close_receiver", "arm_stop_deadline")),

    # It runs, and nothing comes any more, not even an empty answer.
    Row(ReceiverStalled, S.RUNNING, S.STOPPING, ("generation_is_current",),
        effects=("note_stall", "close_receiver", "arm_stop_deadline")),

    # The receiver that was told to end has ended: only now may the next one be opened.
    Row(ReceiverEnded, CLOSING, S.STARTING, ("generation_is_current", "runs_again"),
        effects=("open_receiver", "arm_start_deadline")),
    Row(ReceiverEnded, CLOSING, S.STOPPED, ("generation_is_current", "rests"), effects=("disarm",)),
    # It ended by itself, or because its start took too long: each class of failure has its own wait.
    Row(ReceiverEnded, LIVE, S.FAILED, ("generation_is_current", "network_refuses"), effects=("note_failure", "disarm")),
    Row(ReceiverEnded, LIVE, S.CONFLICT, ("generation_is_current", "somebody_else_receives"),
        effects=("note_conflict", "arm_conflict_wait")),
    # Another host has its lease: nothing is tried and nothing counted until that is over; or it was over in this moment.
    Row(ReceiverEnded, LIVE, S.STARTING, ("generation_is_current", "another_host_may_receive", "lease_has_come"),
        effects=("open_receiver", "arm_start_deadline")),
    Row(ReceiverEnded, LIVE, S.CONFLICT, ("generation_is_current", "another_host_may_receive"),
        effects=("note_standby", "disarm")),
    Row(ReceiverEnded, LIVE, S.SUPPRESSED, ("generation_is_current", "starts_are_spent"),
        effects=("note_failure", "arm_half_open")),
    Row(ReceiverEnded, LIVE, S.SUPPRESSED, ("generation_is_current", "intensity_is_spent"),
        effects=("note_failure", "arm_half_open")),
    Row(ReceiverEnded, LIVE, S.BACKOFF, ("generation_is_current",), effects=("note_failure", "arm_backoff")),
    Row(RetryDue, (S.BACKOFF, S.CONFLICT), S.STARTING, ("timer_is_current",),
        effects=("open_receiver", "arm_start_deadline")),
    Row(RetryDue, S.SUPPRESSED, S.STARTING, ("timer_is_current",),
        effects=("try_half_open", "open_receiver", "arm_start_deadline")),

    # Stop. A person's stop is remembered; the gateway's is not.
    Row(Stop, OPEN, S.STOPPING, effects=("note_stop", "close_receiver", "arm_stop_deadline")),
    Row(Stop, CLOSING, None, effects=("note_stop", "close_receiver"), outcome=Outcome.COALESCED),
    Row(Stop, (*WAITING, S.FAILED), S.STOPPED, effects=("note_stop", "disarm")),
    Row(Stop, S.STOPPED, None, effects=("note_stop",), outcome=Outcome.COALESCED),

    # Restart: of a stopped account it is a start.
    Row(Restart, S.STOPPED, S.STARTING, ("is_enabled", "may_start"),
        effects=("adopt_run", "forget_failures", "open_receiver", "arm_start_deadline")),
    # Otherwise the old receiver ends first. In a wait only new settings are a reason to try at once.
    Row(Restart, OPEN, S.STOPPING, ("is_enabled",),
        effects=("adopt_run", "run_again", "close_receiver", "arm_stop_deadline")),
    Row(Restart, CLOSING, None, ("is_enabled", "may_start"),
        effects=("adopt_run", "run_again"), outcome=Outcome.COALESCED),
    Row(Restart, (*WAITING, S.FAILED), S.STARTING, ("is_enabled", "deserves_attempt"),
        effects=("adopt_run", "forget_failures", "open_receiver", "arm_start_deadline")),
    Row(Restart, WAITING, None, ("is_enabled",), effects=("adopt_run",), outcome=Outcome.DEFERRED),

    # The host has slept: what was connected is so no longer, which is no failure of anybody's, and waits went by unnoticed.
    Row(HostWoke, S.RUNNING, S.STOPPING, effects=("run_again", "close_receiver", "arm_stop_deadline")),
    Row(HostWoke, (S.BACKOFF, S.CONFLICT), S.STARTING, ("slept_through_the_wait",),
        effects=("open_receiver", "arm_start_deadline")),
    Row(HostWoke, S.SUPPRESSED, S.STARTING, ("slept_through_the_wait",),
        effects=("try_half_open", "open_receiver", "arm_start_deadline")),
    # A shorter sleep than the wait leaves it as it is. What is under way has its own deadline; nobody wakes what was stopped.
    Row(HostWoke, (S.STARTING, *CLOSING, *WAITING, S.STOPPED, S.FAILED), None, outcome=Outcome.COALESCED),

    # Several hosts share it. Whoever loses its lease has no time for a polite end: the next one counts the seconds.
    Row(LeaseGained, S.CONFLICT, S.STARTING, ("waits_for_the_lease",), effects=("open_receiver", "arm_start_deadline")),
    Row(LeaseGained, tuple(S), None, effects=("note_lease",), outcome=Outcome.COALESCED),
    Row(LeaseLost, OPEN, S.STOP_OVERDUE, effects=("run_again", "close_receiver", "disarm", "fence_receiver")),
    Row(LeaseLost, S.STOPPING, S.STOP_OVERDUE, effects=("disarm", "fence_receiver")),
    Row(LeaseLost, (S.STOP_OVERDUE, *WAITING, S.STOPPED, S.FAILED), None, outcome=Outcome.COALESCED),

    # What is read at its next use is changed in passing, whatever the account is doing.
    Row(Adjust, tuple(S), None, effects=("adjust",)),

    # It did not end in time: cut it off, again and again if need be. Nothing starts before it is cut off or ends late.
    Row(StopOverdue, S.STOPPING, S.STOP_OVERDUE, ("timer_is_current",), effects=("fence_receiver",)),
    Row(ReceiverFenced, S.STOP_OVERDUE, S.STARTING, ("generation_is_current", "runs_again"),
        effects=("open_receiver", "arm_start_deadline")),
    Row(ReceiverFenced, S.STOP_OVERDUE, S.STOPPED, ("generation_is_current", "rests"), effects=("disarm",)),
    Row(ReceiverFenced, S.STOP_OVERDUE, S.SUPPRESSED, ("generation_is_current", "intensity_is_spent"),
        effects=("note_failure", "arm_half_open")),
    Row(ReceiverFenced, S.STOP_OVERDUE, S.BACKOFF, ("generation_is_current",), effects=("note_failure", "arm_backoff")),
    Row(FenceFailed, S.STOP_OVERDUE, None, ("generation_is_current",), effects=("note_fence_failed", "arm_fence_retry"),
        outcome=Outcome.DEFERRED),
    Row(FenceDue, S.STOP_OVERDUE, None, ("timer_is_current",), effects=("fence_receiver",)),
)  # fmt: skip


class Channel(Machine[ChannelState, ChannelData]):
    """The machine of one account; its name is `channel/account`."""

    kind = "channel"
    states = ChannelState
    initial = S.STOPPED
    final = frozenset({S.STOPPED})
    table = TABLE
    waiting = frozenset(WAITING)
    failed = frozenset({S.FAILED, S.STOP_OVERDUE})
    exits: ClassVar[Mapping[Any, Exits[Any]]] = {
        S.STARTING: Exits((ReceiverReady,), (ReceiverEnded,), (StartOverdue,), (Restart,)),
        S.STOPPING: Exits((ReceiverEnded,), (ReceiverEnded,), (StopOverdue,), (Restart,)),
        S.STOP_OVERDUE: Exits((ReceiverFenced,), (FenceFailed,), (FenceDue,), (Restart,)),
    }

    # Guards

    @guard
    def generation_is_current(data: ChannelData, event: Any) -> bool:
        return bool(event.generation == data.generation)

    @guard
    def timer_is_current(data: ChannelData, event: Any) -> bool:
        return bool(event.token == data.timer)

    @guard
    def is_enabled(data: ChannelData, event: Start | Restart) -> bool:
        return event.run.enabled

    @guard
    def may_start(data: ChannelData, event: Start | Restart) -> bool:
        return event.by is By.PERSON or not data.held

    @guard
    def asked_by_person(data: ChannelData, event: Start) -> bool:
        return event.by is By.PERSON

    @guard
    def deserves_attempt(data: ChannelData, event: Restart) -> bool:
        return event.by is By.PERSON or event.run.settings != data.run.settings

    @guard
    def network_refuses(data: ChannelData, event: ReceiverEnded) -> bool:
        return event.cause is Cause.REFUSED

    @guard
    def somebody_else_receives(data: ChannelData, event: ReceiverEnded) -> bool:
        return event.cause is Cause.CONFLICT

    @guard
    def another_host_may_receive(data: ChannelData, event: ReceiverEnded) -> bool:
        return event.cause is Cause.STANDBY

    @guard
    def lease_has_come(data: ChannelData, event: ReceiverEnded) -> bool:
        return data.lease_came

    @guard
    def waits_for_the_lease(data: ChannelData, event: LeaseGained) -> bool:
        return data.last_cause is Cause.STANDBY

    @guard
    def starts_are_spent(data: ChannelData, event: ReceiverEnded) -> bool:
        return event.cause is Cause.SPENT

    @guard
    def intensity_is_spent(data: ChannelData, event: ReceiverEnded | ReceiverFenced) -> bool:
        return (
            data.half_open
            or len(_recent(data.failures, event.at, data.run.policy.period)) + 1 >= data.run.policy.intensity
        )

    @guard
    def conflict_is_open(data: ChannelData, event: Event) -> bool:
        return data.conflict_since is not None

    @guard
    def slept_through_the_wait(data: ChannelData, event: HostWoke) -> bool:
        """The timer of the wait may have stood still meanwhile."""
        return event.slept >= data.wait

    @guard
    def runs_again(data: ChannelData, event: Event) -> bool:
        return data.then is Then.RUN

    @guard
    def rests(data: ChannelData, event: Event) -> bool:
        return data.then is Then.REST

    # Actions

    @action
    def adopt_run(draft: Draft[ChannelData], event: Start | Restart) -> None:
        data = draft.data
        same = event.run.settings == data.run.settings
        draft.set(run=event.run, held=data.held and event.by is not By.PERSON, half_open=data.half_open and same)
        draft.set(conflict_since=data.conflict_since if same else None)

    @action
    def adjust(draft: Draft[ChannelData], event: Adjust) -> None:
        draft.set(run=event.run)

    @action
    def open_receiver(draft: Draft[ChannelData], event: Event) -> None:
        draft.set(generation=draft.data.generation + 1, then=Then.REST, lease_came=False)
        draft.emit(OpenReceiver(draft.data.generation, draft.data.run))

    @action
    def close_receiver(draft: Draft[ChannelData], event: Event) -> None:
        draft.emit(CloseReceiver(draft.data.generation, confirm=isinstance(event, Stop) and event.confirm))

    @action
    def watch_receiver(draft: Draft[ChannelData], event: ReceiverReady) -> None:
        draft.emit(WatchReceiver(draft.data.generation, draft.data.run.policy.stall_after))

    @action
    def fence_receiver(draft: Draft[ChannelData], event: Event) -> None:
        draft.emit(FenceReceiver(draft.data.generation))

    @action
    def run_again(draft: Draft[ChannelData], event: Restart | HostWoke | LeaseLost) -> None:
        draft.set(then=Then.RUN)

    @action
    def retry_later(draft: Draft[ChannelData], event: StartOverdue) -> None:
        draft.set(then=Then.RETRY, last_error="the start did not end in time")

    @action
    def note_stop(draft: Draft[ChannelData], event: Stop) -> None:
        draft.set(then=Then.REST, held=draft.data.held or event.by is By.PERSON, half_open=False)
        draft.set(last_cause=Cause.CLOSED, conflict_since=None)

    @action
    def note_stall(draft: Draft[ChannelData], event: ReceiverStalled) -> None:
        within = draft.data.run.policy.stall_after
        draft.set(
            then=Then.RETRY, last_error=f"no receive was completed within {within} s: its network does not answer"
        )

    @action
    def note_ready(draft: Draft[ChannelData], event: ReceiverReady) -> None:
        draft.set(attempts=0, half_open=False, last_error="", last_cause=Cause.CLOSED)

    @action
    def note_failure(draft: Draft[ChannelData], event: ReceiverEnded | ReceiverFenced) -> None:
        recent = _recent(draft.data.failures, event.at, draft.data.run.policy.period)
        why = event.why or draft.data.last_error
        draft.set(failures=(*recent, event.at), attempts=draft.data.attempts + 1, half_open=False)
        draft.set(last_error=why, last_cause=event.cause)

    @action
    def note_conflict(draft: Draft[ChannelData], event: ReceiverEnded) -> None:
        recent = _recent(draft.data.conflicts, event.at, CONFLICT_WINDOW)
        draft.set(conflicts=(*recent, event.at), last_error=event.why, last_cause=event.cause, half_open=False)
        since = draft.data.conflict_since
        draft.set(conflict_since=event.at if since is None else since)

    @action
    def note_conflict_over(draft: Draft[ChannelData], event: ConflictOver) -> None:
        draft.set(conflict_since=None)

    @action
    def note_standby(draft: Draft[ChannelData], event: ReceiverEnded) -> None:
        draft.set(last_error=event.why, last_cause=event.cause, half_open=False, conflict_since=None, wait=0.0)

    @action
    def note_lease(draft: Draft[ChannelData], event: LeaseGained) -> None:
        draft.set(lease_came=True)

    @action
    def forget_failures(draft: Draft[ChannelData], event: Start | Restart) -> None:
        draft.set(failures=(), attempts=0, half_open=False)

    @action
    def try_half_open(draft: Draft[ChannelData], event: RetryDue) -> None:
        draft.set(half_open=True)

    @action
    def note_fence_failed(draft: Draft[ChannelData], event: FenceFailed) -> None:
        draft.set(last_error=event.why)

    # Actions: the timer

    @action
    def arm_start_deadline(draft: Draft[ChannelData], event: Event) -> None:
        draft.emit(ArmTimer(StartOverdue(_next_timer(draft)), after=draft.data.run.policy.start_timeout))

    @action
    def arm_stop_deadline(draft: Draft[ChannelData], event: Event) -> None:
        draft.emit(ArmTimer(StopOverdue(_next_timer(draft)), after=draft.data.run.policy.stop_timeout))

    @action
    def arm_backoff(draft: Draft[ChannelData], event: Event) -> None:
        """Full jitter under a doubling cap, and never sooner than the network asked for."""
        policy = draft.data.run.policy
        # The exponent is bounded so that a year of attempts cannot overflow a float.
        longest = min(policy.backoff_cap, policy.backoff_base * 2 ** min(draft.data.attempts - 1, 32))
        _wait(draft, longest, jitter=True, at_least=_asked_for(event))

    @action
    def arm_conflict_wait(draft: Draft[ChannelData], event: Event) -> None:
        _wait(draft, draft.data.run.policy.conflict_wait)

    @action
    def arm_half_open(draft: Draft[ChannelData], event: Event) -> None:
        """Never sooner than the network asked for, either: where its session starts are spent that may be most of a day."""
        _wait(draft, draft.data.run.policy.half_open_after, at_least=_asked_for(event))

    @action
    def arm_conflict_over(draft: Draft[ChannelData], event: Event) -> None:
        draft.emit(ArmTimer(ConflictOver(_next_timer(draft)), after=draft.data.run.policy.conflict_wait))

    @action
    def arm_fence_retry(draft: Draft[ChannelData], event: Event) -> None:
        draft.emit(ArmTimer(FenceDue(_next_timer(draft)), after=draft.data.run.policy.fence_retry))

    @action
    def disarm(draft: Draft[ChannelData], event: Event) -> None:
        _next_timer(draft)
        draft.emit(DisarmTimer())


def is_settled(machine: Machine[Any, Any]) -> bool:
    """Nothing is under way with this account: its state can be told to whoever asked for a change."""
    return machine.state in SETTLED


def has_let_go(machine: Machine[Any, Any]) -> bool:
    """The receiver that was told to end is proven dead."""
    return machine.state not in CLOSING


def is_stopped(machine: Machine[Any, Any]) -> bool:
    return machine.state is S.STOPPED


def comes_to_rest(machine: Machine[Any, Any]) -> bool:
    """It is stopped, or will be when its receiver has ended."""
    return machine.state is S.STOPPED or (machine.state in CLOSING and machine.data.then is Then.REST)


def is_running(machine: Machine[Any, Any]) -> bool:
    return machine.state is S.RUNNING


def waits_for_lease(machine: Machine[Any, Any]) -> bool:
    """Another host may receive; nothing is tried until the account's lease comes."""
    return machine.state is S.CONFLICT and machine.data.last_cause is Cause.STANDBY


def is_broken(machine: Machine[Any, Any]) -> bool:
    """Its adapter met something unforeseen: a hot reload that led here has failed, unlike one that the network refused."""
    return not is_running(machine) and machine.data.last_cause is Cause.CRASHED


def has_spent_its_starts(machine: Machine[Any, Any]) -> bool:
    """It waits because its network allows no other session yet."""
    return machine.state is S.SUPPRESSED and machine.data.last_cause is Cause.SPENT


CONFLICT_WINDOW = 3600.0
"""Conflicts are counted over the last hour."""


def _recent(times: tuple[float, ...], now: float, period: float) -> tuple[float, ...]:
    return tuple(time for time in times if now - time < period)


def _asked_for(event: Event) -> float:
    """Seconds before which its network wants no attempt."""
    return event.retry_after if isinstance(event, ReceiverEnded) else 0.0


def _wait(draft: Draft[ChannelData], longest: float, *, jitter: bool = False, at_least: float = 0.0) -> None:
    """Try again when that has passed."""
    draft.set(wait=max(longest, at_least))
    draft.emit(ArmTimer(RetryDue(_next_timer(draft)), after=longest, jitter=jitter, at_least=at_least))


def _next_timer(draft: Draft[ChannelData]) -> int:
    draft.set(timer=draft.data.timer + 1)
    return draft.data.timer
