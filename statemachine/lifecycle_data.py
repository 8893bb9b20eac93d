"""What the lifecycle knows beside its state."""

from __future__ import annotations

from enum import Enum

import msgspec

from statemachine.lifecycle_events import LifecyclePolicy, Ticket


class Waiting(Enum):
    """What the open tickets wait for."""

    NOTHING = "nothing"
    DELAY = "delay"
    COOLDOWN = "cooldown"
    IDLE = "idle"


class LifecycleData(msgspec.Struct, frozen=True, cache_hash=True):
    """What the lifecycle knows beside its state."""

    policy: LifecyclePolicy = LifecyclePolicy()
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
    awaiting: str | None = None
    """The newest revision that was told to wait for a restart."""
    rejected: str | None = None
    """The revision on disk, when it cannot be used."""
    drift: bool = False
    """A file edit was noted and, by reload mode, not applied."""
    tickets: tuple[Ticket, ...] = ()
    served: tuple[Ticket, ...] = ()
    """The tickets that the present restart closes."""
    waiting: Waiting = Waiting.NOTHING
    deferred_since: float | None = None
    warned_at: float | None = None
    """When it was said last that they wait for idle."""
    cooled_at: float = 0.0
    """No restart before this monotonic time."""
    timer: int = 0
    work: int = 0
    """Numbers of the present timer and of the present work: what carries an older one is stale."""
    restarts: int = 0
    stop_requests: int = 0
