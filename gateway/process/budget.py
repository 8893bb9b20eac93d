"""The time that an end of the process has, split over its stages. Pure: whoever asks says what time it is.

Each stage has a share. What a stage leaves over goes to those after it, so that the end of each stage is fixed and its
beginning is not. Some never need more than so much, however much there is: more time ends nothing there.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from itertools import accumulate

LIMIT = "GATEWAY_STOP_TIMEOUT_S"
"""Environment: seconds after which whoever supervises the process kills it. systemd tells nobody its own `TimeoutStopSec`."""
MARGIN = 1.0
"""Seconds before that by which the process must be gone: a machine under load takes some to deliver the signal."""
MOMENT = 0.1
"""Seconds that a stage has at the least: the last ones write down what nobody else would."""
REMEDY = f"make gateway.restart.drain_timeout_ms smaller, or the supervisor's limit and {LIMIT} larger"


class Stage(Enum):
    """What is done, in this order."""

    LISTENING = "listening"
    """No new connection is taken."""
    RECEIVERS = "receivers"
    """They end: what was produced is sent, what was received is confirmed to its network, and other hosts may have the account."""
    REPLIES = "replies"
    """What is being sent is sent."""
    CLIENTS = "clients"
    """They are told to go."""
    WORK = "work"
    """What still runs is cancelled."""
    STORE = "store"
    """What waits is written, and the database is closed."""
    THREADS = "threads"
    """They end, or are left behind."""


SHARES: Mapping[Stage, float] = {
    Stage.LISTENING: 0.02,
    Stage.RECEIVERS: 0.60,
    Stage.REPLIES: 0.12,
    Stage.CLIENTS: 0.08,
    Stage.WORK: 0.04,
    Stage.STORE: 0.10,
    Stage.THREADS: 0.04,
}
MOST: Mapping[Stage, float] = {Stage.CLIENTS: 2.0, Stage.WORK: 2.0, Stage.STORE: 5.0, Stage.THREADS: 1.0}
"""Seconds. A client that has not closed by then does not, and a task that has not let itself be cancelled does not either."""

_ENDS = dict(zip(SHARES, accumulate(SHARES.values()), strict=True))
"""Where each stage ends, as a part of the whole."""


class Budget:
    """So many seconds from `now` on."""

    def __init__(self, seconds: float, now: float) -> None:
        self.seconds = seconds
        self._until = now + seconds
        self._from, self._span, self._over = now, seconds, 0.0
        """Since when so many seconds are for what comes after that part of the whole."""

    def left(self, stage: Stage, now: float) -> float:
        """Seconds that a stage has from now on, when what was before it has ended."""
        part = (_ENDS[stage] - self._over) / (1.0 - self._over)
        return min(max(self._from + self._span * part - now, MOMENT), MOST.get(stage, self.seconds))

    def hurry(self, stage: Stage, seconds: float, now: float) -> None:
        """What is left, from this stage on, has so many seconds; never more than there were."""
        self._over = _ENDS[stage] - SHARES[stage]
        self._from, self._span = now, max(0.0, min(seconds, self._until - now))
        self._until = now + self._span


def budget_of(wanted: float, limit: float | None) -> float:
    """Seconds that an end may take: as many as the config says, unless the supervisor would kill the process before that."""
    return wanted if limit is None else min(wanted, max(limit - MARGIN, MOMENT))


def shortfall(wanted: float, limit: float | None) -> str:
    """Why the budget that the config asks for is not the one that is used; "" where it is."""
    used = budget_of(wanted, limit)
    if used >= wanted:
        return ""
    return (
        f"a stop may take {wanted:g} s (gateway.restart.drain_timeout_ms), and the supervisor kills the process after"
        f" {limit:g} s ({LIMIT}): it gets {used:g} s"
    )


def limit_of(environ: Mapping[str, str]) -> float | None:
    """The supervisor's limit in seconds; None where it says none. Raises ValueError for one that is no time."""
    text = environ.get(LIMIT, "").strip()
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise ValueError(f"{LIMIT} is {text!r}, which is no number of seconds: it is not taken into account")
    return seconds
