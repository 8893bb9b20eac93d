"""What the witness keeps of a call that writes, and of a change that must be confirmed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulation.process import Process


@dataclass(eq=False)
class Call:
    """A call that writes. `raw` is what it wants in the file, None where only the gateway knows (a patch)."""

    process: Process
    note: str
    raw: bytes | None
    confirm: float | None
    at: float
    healthy: frozenset[str]
    """Accounts that ran when it was sent, and still when it was written."""
    wrote: bool = False
    answer: str = ""


@dataclass(eq=False)
class Trial:
    """A change that must be confirmed."""

    call: Call
    revision: str
    seconds: float
    bases: frozenset[str]
    """What may be put back."""
    version: int
    """Of the file, when it was written."""
    wall: float
    """How wrong the wall clock was when its time began."""
    began: float | None = None
    earliest: float | None = None
    deadline: float | None = None
    """Its time is over at some moment between these two: nobody outside sees when exactly it began."""
    confirmed: bool = False
    cancelled: bool = False
    adopted: bool = False
    """It is on trial no more: when it was over somebody asked for it again, or it was replaced before it ran."""
    ended: float | None = None
    """When it was over without having been confirmed."""
    good: bool = False
    """It was the last good one before."""
    deciding: int = 0
    """Decisions that were sent and have no answer yet; those that a crash has cut off never get one."""
    failed_at: float | None = None
    """When an account was seen to have failed under it first."""
    asked_at: float = 0.0
    asked_wall: float = 0.0
    """When somebody last decided something about it, and how wrong the wall clock was."""
    granted: list[float] = field(default_factory=list)
    """The seconds that it was given at first and by each extension."""
    asked_for: list[float] = field(default_factory=list)
    """The seconds of extensions that were asked for: an answer tells of the newest decision, before that has its own."""
    excuses: set[str] = field(default_factory=set)
    """What may have ended it before its time."""
    lazy: int = 0
    negligent: int = 0
    """Seconds for which it has run too long, and for which the failure of an account was left alone."""

    @property
    def is_open(self) -> bool:
        return self.ended is None and not (self.confirmed or self.adopted)
