"""What the measurements are held against: the best-known comparable gateway, and what we set out to reach."""

from __future__ import annotations

from dataclasses import dataclass

OTHER = "Node gateway 2026.9.6, same machine"
"""Measured once by hand against the same Bot API server, one account, hot reload on. It is not measured again here."""


@dataclass(frozen=True)
class Span:
    """Milliseconds, from the best to the worst that was seen or is allowed."""

    low: float
    high: float

    @classmethod
    def of(cls, milliseconds: float) -> Span:
        return cls(milliseconds, milliseconds)


@dataclass(frozen=True)
class Figures:
    """One program's figures for one kind of change. None: not known, or nothing was set out."""

    answer: Span | None = None
    longest: Span | None = None
    """The longest stretch without a poll."""
    total: Span | None = None
    """All the time without a poll together."""


PATCH, LIVE, EDIT, SERIES, NOTHING = "patch", "live patch", "file edit", "patches in a row", "no change"
IDLE, TRAFFIC = "idle", "traffic"

THEIRS = {
    (PATCH, IDLE): Figures(answer=Span.of(1_256), longest=Span.of(1_082)),
    (PATCH, TRAFFIC): Figures(answer=Span(38_000, 54_000)),
    (SERIES, IDLE): Figures(total=Span(24_000, 30_000)),
}

OURS = {
    (kind, traffic): figures
    for traffic in (IDLE, TRAFFIC)
    for kind, figures in {
        PATCH: Figures(answer=Span.of(250), longest=Span.of(50)),
        LIVE: Figures(answer=Span.of(250)),
        EDIT: Figures(answer=Span.of(250 + 300), longest=Span.of(50)),  # with the 300 ms that the file must be quiet
        SERIES: Figures(total=Span.of(1_000)),
    }.items()
} | {(LIVE, IDLE): Figures(answer=Span.of(250), longest=Span.of(0), total=Span.of(0))}

RESTART_GAPS = {"exec": 1000.0, "in_process": 50.0}
START_RATIO = 1.5
RSS_MB = 60.0
SCALE_RATIO = 1.5
LAG = 20.0
PAGE_MS = 500.0
ECHO_RATIOS = (0.55, 2.2, 2.0, 2.0)
"""Throughput at least; CPU, median and p99 of the time to the echo at most: of what the bare loop has."""
