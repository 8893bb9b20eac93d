"""What was done, what was counted, and which promises were not kept."""

from __future__ import annotations

import time
from collections import Counter, deque
from dataclasses import dataclass, field

AROUND = 50
"""Lines of what was done that are kept with each violation."""
KEPT = 100
"""Violations that are kept whole; the rest are counted."""


@dataclass(frozen=True)
class Violation:
    """A promise that was not kept, at that second of the run, and what had been done before."""

    at: float
    what: str
    around: tuple[str, ...]


@dataclass(frozen=True)
class Footprint:
    """What a process holds at rest."""

    fds: int
    threads: int
    tasks: int
    rss_kb: int


@dataclass
class Rest:
    """One calm phase: which life of the process, how long it took to come to rest, and what the process held then."""

    at: float
    pid: int
    seconds: float
    baseline: Footprint
    found: Footprint


@dataclass
class Record:
    """The counts of one run."""

    seed: int
    began: float = field(default_factory=time.monotonic)
    doings: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    writes: Counter[str] = field(default_factory=Counter)
    requests: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    """Boots, kills, restarts, generations and the like."""
    log: Counter[str] = field(default_factory=Counter)
    """Lines of the gateway's log, by event, of those that are no routine."""
    rests: list[Rest] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)
    violated: int = 0
    recent: deque[str] = field(default_factory=lambda: deque(maxlen=AROUND))

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    def note(self, text: str) -> None:
        """One line more of what was done."""
        self.recent.append(f"{self.seconds:9.3f} {text}")

    def violation(self, what: str) -> None:
        self.violated += 1
        if len(self.violations) < KEPT:
            self.violations.append(Violation(round(self.seconds, 3), what, tuple(self.recent)))
        self.note(f"VIOLATION {what}")

    def expect(self, holds: bool, what: str) -> None:
        if not holds:
            self.violation(what)
