"""How much is measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Counts:
    """Repetitions and times of one run."""

    reloads: int
    """Repetitions of each kind of change, idle and again under traffic."""
    series: int
    """Repetitions of the many patches one after another..."""
    in_series: int
    """...and how many they are."""
    idle_s: float
    settle_s: float
    """How long a started process is left alone before its idleness is measured."""
    pairs: int
    """Cold starts of each of the two programs."""
    restarts: int
    accounts: int
    """How many there are where one among many is changed..."""
    edits: int
    """...and how often it is, by each road."""
    writes: int
    """How often a long config is written while others wait."""
    echoes: int
    """How often each program echoes..."""
    burst: int
    """...so many messages at once..."""
    stream_s: float
    """...after a stream of so many seconds."""


FULL = Counts(
    reloads=40,
    series=5,
    in_series=20,
    idle_s=30.0,
    settle_s=5.0,
    pairs=15,
    restarts=10,
    accounts=1000,
    edits=15,
    writes=20,
    echoes=5,
    burst=2000,
    stream_s=20.0,
)
QUICK = Counts(
    reloads=20,
    series=2,
    in_series=20,
    idle_s=10.0,
    settle_s=3.0,
    pairs=7,
    restarts=10,
    accounts=1000,
    edits=7,
    writes=10,
    echoes=3,
    burst=2000,
    stream_s=10.0,
)
SMOKE = Counts(
    reloads=1, series=1, in_series=2, idle_s=0.2, settle_s=0.2, pairs=1, restarts=1, accounts=20, edits=1, writes=1,
    echoes=1, burst=100, stream_s=1.0,
)  # fmt: skip
