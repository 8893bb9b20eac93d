"""The lifecycle's alphabet: the events that go in, the effects that come out, and what both are made of."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum

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


@dataclass(frozen=True)
class Ticket:
    """One accepted restart request. `due_at` is monotonic, in seconds; `revision` is None when a person or signal asked.

    `force` skips waiting for work that is in flight.
    """

    id: str
    requester: str
    reason: str
    revision: str | None
    due_at: float
    force: bool = False


@dataclass(frozen=True)
class LifecyclePolicy:
    """Budgets, in seconds, read from the config when a run of the gateway begins."""

    start_timeout: float = 60.0
    reload_timeout: float = 60.0
    restart_timeout: float = 90.0
    stop_timeout: float = 30.0
    cooldown: float = 30.0
    defer_timeout: float = 300.0
    defer_poll: float = 0.5


# Events: requests


@dataclass(frozen=True)
class Boot(Event):
    """The process begins with this revision accepted."""

    revision: str
    policy: LifecyclePolicy


@dataclass(frozen=True)
class ConfigChanged(Event):
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


@dataclass(frozen=True)
class ConfigRejected(Event):
    """What was read cannot be used. `revision` is the hash of its bytes, "missing" when there is no file."""

    revision: str
    why: str


@dataclass(frozen=True)
class RestartRequested(Event):
    ticket: Ticket


@dataclass(frozen=True)
class RestartCancelled(Event):
    ticket_id: str


@dataclass(frozen=True)
class StopRequested(Event):
    by: str


# Events: completions and timers. `work` and `token` are the numbers that the effect was given.


@dataclass(frozen=True)
class Started(Event):
    work: int
    applied: str


@dataclass(frozen=True)
class StartFailed(Event):
    work: int
    why: str
    exit_code: int


@dataclass(frozen=True)
class StartOverdue(Event):
    token: int


@dataclass(frozen=True)
class PlanApplied(Event):
    """The plan was carried out. `complete` says that nothing of its revision still needs a restart."""

    work: int
    applied: str
    complete: bool


@dataclass(frozen=True)
class PlanFailed(Event):
    """What ran before could not be put back, or the swap itself broke."""

    work: int
    why: str


@dataclass(frozen=True)
class ReloadOverdue(Event):
    token: int


@dataclass(frozen=True)
class RestartDue(Event):
    token: int


@dataclass(frozen=True)
class RestartReady(Event):
    """Nothing is in flight, and the config that the next boot will read is valid."""

    token: int


@dataclass(frozen=True)
class WorkInFlight(Event):
    """`count` messages are being handled; None when the counting failed: unknown is not idle."""

    token: int
    count: int | None
    at: float


@dataclass(frozen=True)
class ConfigUnfit(Event):
    """The file that the next boot will read is invalid: restarting into it is refused."""

    token: int
    why: str


@dataclass(frozen=True)
class Restarted(Event):
    work: int
    applied: str
    at: float
    policy: LifecyclePolicy


@dataclass(frozen=True)
class RestartFailed(Event):
    """`recovered` says that what ran before the restart runs again."""

    work: int
    why: str
    at: float
    recovered: bool


@dataclass(frozen=True)
class RestartOverdue(Event):
    token: int


@dataclass(frozen=True)
class StopFinished(Event):
    work: int


@dataclass(frozen=True)
class StopFailed(Event):
    work: int
    why: str


@dataclass(frozen=True)
class StopOverdue(Event):
    token: int


# Effects


@dataclass(frozen=True)
class OpenGateway(Work):
    """Bind the listener and start the accounts. Ends in Started or StartFailed."""

    work: int
    revision: str


@dataclass(frozen=True)
class ApplyPlan(Work):
    """Swap the snapshot and bring the accounts in line. Ends in PlanApplied or PlanFailed."""

    work: int
    revision: str


@dataclass(frozen=True)
class CheckReadiness(Work):
    """Look for work in flight and at the file. Ends in RestartReady, WorkInFlight or ConfigUnfit."""

    token: int


@dataclass(frozen=True)
class RestartGateway(Work):
    """Ends in Restarted or RestartFailed."""

    work: int
    tickets: tuple[Ticket, ...]


@dataclass(frozen=True)
class StopGateway(Work):
    """Ends in StopFinished or StopFailed."""

    work: int


@dataclass(frozen=True)
class ReviewConfig(Work):
    """Read the file again and plan against what runs now. Ends in ConfigChanged or ConfigRejected."""

    revision: str


@dataclass(frozen=True)
class CancelWork(Command):
    """Cancel the work that is under way; its completion still comes, and is stale."""


@dataclass(frozen=True)
class HurryStop(Command):
    """Waiting for clients and replies ends now."""


@dataclass(frozen=True)
class TicketOpened(Command):
    """A ticket is open from here on, and will be told one outcome."""

    ticket: Ticket


@dataclass(frozen=True)
class CloseTicket(Command):
    """The one outcome of a ticket: done, cancelled, superseded, refused or failed."""

    id: str
    outcome: str
    why: str


@dataclass(frozen=True)
class SettleRevision(Command):
    """What became of a revision: noop, applied, restart_pending, noted, superseded, failed."""

    revision: str
    outcome: str
    why: str


@dataclass(frozen=True)
class Exit(Command):
    """End the process with this code."""

    code: int
