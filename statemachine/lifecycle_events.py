"""The lifecycle's alphabet: the events that go in, the effects that come out, and what both are made of."""

from __future__ import annotations

from enum import Enum, IntEnum

import msgspec

from statemachine._machine import Command, Event, Work


class Impact(IntEnum):
    """What the widest of a change's fields needs. The order is the order of weight."""

    NONE = 0
    LIVE = 1
    CHANNEL = 2
    GATEWAY = 3

    @property
    def word(self) -> str:
        return self.name.lower()


class Origin(Enum):
    """By which road a revision came."""

    FILE = "file"
    """Somebody wrote the file; in reload mode `off` that is noted and changes nothing."""
    CALL = "call"
    """A person or a program asked for it, by API or signal."""


class Ticket(msgspec.Struct, frozen=True, cache_hash=True):
    """One accepted restart request. `due_at` is monotonic, in seconds; `revision` is None when a person or signal asked.

    `force` skips waiting for work that is in flight.
    """

    id: str
    requester: str
    reason: str
    revision: str | None
    due_at: float
    force: bool = False


class RestartBy(Enum):
    """How a restart is done."""

    IN_PROCESS = "in_process"
    """Everything is built anew beside the old, in the same process."""
    EXEC = "exec"
    """The process goes on with a new image of the program: the same PID, new code."""
    EXIT = "exit"
    """The process ends with a code that asks whoever supervises it for another one."""


class Handover(msgspec.Struct, frozen=True, cache_hash=True):
    """What a process that is replaced leaves to the one that follows it, beside what is on disk.

    `served` are the tickets that the restart closes, `tickets` those that came meanwhile.
    """

    served: tuple[Ticket, ...] = ()
    tickets: tuple[Ticket, ...] = ()
    restarts: int = 0


class LifecyclePolicy(msgspec.Struct, frozen=True, cache_hash=True):
    """How it restarts, and budgets in seconds; read from the config when a run of the gateway begins."""

    start_timeout: float = 60.0
    reload_timeout: float = 60.0
    restart_timeout: float = 90.0
    stop_timeout: float = 30.0
    cooldown: float = 30.0
    defer_timeout: float = 300.0
    defer_poll: float = 0.5
    defer_warn: float = 30.0
    restart_by: RestartBy = RestartBy.IN_PROCESS

    @property
    def hurried_stop_timeout(self) -> float:
        """What a second request leaves of `stop_timeout`."""
        return self.stop_timeout / 10


# Events: requests


class Boot(Event, frozen=True):
    """The process begins with this revision accepted, and with what the one before has left to it."""

    revision: str
    policy: LifecyclePolicy
    handover: Handover = Handover()


class ConfigChanged(Event, frozen=True):
    """A valid revision was read or written. `base` is the applied identity that its plan was made against.

    `overlay` says that a part of it can be applied now although the whole needs a restart: what it changes
    beside the revision that already waits for one.
    """

    revision: str
    base: str
    impact: Impact
    overlay: bool
    origin: Origin
    reload: bool
    """The config's reload mode: False is `off`."""
    ticket: Ticket


class ConfigRejected(Event, frozen=True):
    """What was read cannot be used. `revision` is the hash of its bytes, "missing" when there is no file."""

    revision: str
    why: str


class RestartRequested(Event, frozen=True):
    ticket: Ticket


class RestartCancelled(Event, frozen=True):
    ticket_id: str


class StopRequested(Event, frozen=True):
    by: str


# Events: completions and timers. `work` and `token` are the numbers that the effect was given.


class Started(Event, frozen=True):
    work: int
    applied: str
    at: float = 0.0


class StartFailed(Event, frozen=True):
    work: int
    why: str
    exit_code: int


class StartOverdue(Event, frozen=True):
    token: int


class PlanApplied(Event, frozen=True):
    """The plan was carried out. `complete` says that nothing of its revision still needs a restart."""

    work: int
    applied: str
    complete: bool


class PlanFailed(Event, frozen=True):
    """What ran before could not be put back, or the swap itself broke."""

    work: int
    why: str


class ReloadOverdue(Event, frozen=True):
    token: int


class RestartDue(Event, frozen=True):
    token: int


class RestartReady(Event, frozen=True):
    """Nothing is in flight, and the config that the next boot will read is valid."""

    token: int


class WorkInFlight(Event, frozen=True):
    """`count` messages are being handled; None when the counting failed: unknown is not idle."""

    token: int
    count: int | None
    at: float


class ConfigUnfit(Event, frozen=True):
    """The file that the next boot will read is invalid: restarting into it is refused."""

    token: int
    why: str


class Restarted(Event, frozen=True):
    work: int
    applied: str
    at: float
    policy: LifecyclePolicy


class RestartFailed(Event, frozen=True):
    """`recovered` says that what ran before the restart runs again."""

    work: int
    why: str
    at: float
    recovered: bool


class Vacated(Event, frozen=True):
    """Nothing of this process receives or serves any more: another image of it, or another process, may follow."""

    work: int


class RestartOverdue(Event, frozen=True):
    token: int


class StopFinished(Event, frozen=True):
    work: int


class StopFailed(Event, frozen=True):
    work: int
    why: str


class StopOverdue(Event, frozen=True):
    token: int


# Effects


class OpenGateway(Work, frozen=True):
    """Bind the listener and start the accounts. Ends in Started or StartFailed."""

    work: int
    revision: str


class ApplyPlan(Work, frozen=True):
    """Swap the snapshot and bring the accounts in line. Ends in PlanApplied or PlanFailed."""

    work: int
    revision: str


class CheckReadiness(Work, frozen=True):
    """Look for work in flight and at the file. Ends in RestartReady, WorkInFlight or ConfigUnfit."""

    token: int


class WarnOfWaiting(Command, frozen=True):
    """The open tickets have waited so many seconds for `count` messages; None where they could not be counted."""

    count: int | None
    seconds: float


class RestartGateway(Work, frozen=True):
    """Build everything anew in this process. Ends in Restarted or RestartFailed."""

    work: int
    tickets: tuple[Ticket, ...]


class VacateGateway(Work, frozen=True):
    """End receivers and clients, and keep the listening socket, for what follows. Ends in Vacated or RestartFailed."""

    work: int
    tickets: tuple[Ticket, ...]


class ReplaceProcess(Work, frozen=True):
    """Put a new image of the program in the place of this one. It ends with the image; or in RestartFailed."""

    work: int


class StopGateway(Work, frozen=True):
    """Ends in StopFinished or StopFailed. All of the end, also what comes after this, has `within` seconds."""

    work: int
    within: float


class ReviewConfig(Work, frozen=True):
    """Read the file again and plan against what runs now. Ends in ConfigChanged or ConfigRejected."""

    revision: str


class CancelWork(Command, frozen=True):
    """Cancel the work that is under way; its completion still comes, and is stale."""


class AbandonPlan(Command, frozen=True):
    """The revision was not applied, whatever its work still says: what ran before counts as what runs."""

    revision: str


class HurryStop(Command, frozen=True):
    """What is left of the end has `within` seconds."""

    within: float


class TicketOpened(Command, frozen=True):
    """A ticket is open from here on, and will be told one outcome."""

    ticket: Ticket


class CloseTicket(Command, frozen=True):
    """The one outcome of a ticket: done, cancelled, superseded, refused or failed."""

    id: str
    outcome: str
    why: str


class SettleRevision(Command, frozen=True):
    """What became of a revision: noop, applied, restart_pending, noted, superseded, failed."""

    revision: str
    outcome: str
    why: str


class Exit(Command, frozen=True):
    """End the process with this code."""

    code: int
