"""Sessions with networks that count how often one is started: which may be taken up again, and how many were begun within a day.

Kept by identity, like offsets: accounts are renamed and restarted, and the network counts bots. All of it outlives the process.
A start is on the disk before a receiver may ask its network for one: a crash between the two counts one too many, and never
one too few.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

from gateway.clock import Clock
from gateway.errors import SessionsSpentError

DAY_MS = 24 * 3_600_000
WINDOW_MS = DAY_MS + 60_000
"""How long a start counts. It is counted before it is sent and arrives later, and not always by as much: a minute is for that."""
WRITE_EVERY = 5.0
"""Seconds between two writings of a session that moves on. What a crash costs is told again by the network, and known again."""
CLOCK_SLACK_MS = 1_000
"""A wall clock that is further from where it should be was set."""


class KeptSession(NamedTuple):
    """What is kept of an identity: the session to take up again, as its adapter writes it, and when sessions were started.

    `starts` are wall-clock milliseconds, oldest first.
    """

    session: str | None = None
    starts: tuple[int, ...] = ()


class Keeper(Protocol):
    """Where it outlives the process: the store."""

    def keep_session(self, identity: str, kept: KeptSession) -> None:
        """Write it down with the next commit, in the place of what was there."""

    async def committed(self) -> None:
        """Return when all that was written before is on the disk."""


class Sessions:
    """The ledger. Without a `keeper` it is in memory alone, for tests.

    How long ago a start was is what counts. A clock that is set while the gateway runs takes the times with it; one that was set
    back meanwhile makes a start of the future one of just now. Neither gives a start back.
    """

    def __init__(self, clock: Clock, keeper: Keeper | None = None) -> None:
        self._clock = clock
        self._keeper = keeper
        self._known: dict[str, KeptSession] = {}
        self._unwritten: set[str] = set()
        self._resting: dict[str, asyncio.TimerHandle] = {}
        """Those that were just written, until they may be again."""
        self._clock_stood: int | None = None
        """Milliseconds from the host's boot time to its wall clock."""

    def restore(self, kept: Mapping[str, KeptSession]) -> None:
        """What an earlier life has left."""
        now = self._now()
        for identity, (session, starts) in kept.items():
            self._known[identity] = KeptSession(session, tuple(min(at, now) for at in starts))
            if self._known[identity].starts != starts:
                self._write(identity)

    def get(self, identity: str) -> str | None:
        """The session to take up again, if there is one."""
        return self._of(identity).session

    def keep(self, identity: str, session: str | None) -> None:
        """The session to take up again from now on; None: there is none. Written at once, or when the last writing is a while ago."""
        kept = self._of(identity)
        if kept.session == session:
            return
        self._known[identity] = kept._replace(session=session)
        if identity in self._resting:
            self._unwritten.add(identity)
        else:
            self._write_and_rest(identity)

    async def begin(self, identity: str, limit: int) -> None:
        """Count the start of a session; it may be begun when this returns. At most `limit` of them are within a day.

        Raises SessionsSpentError, counting nothing. Cancelled, it has counted nothing either.
        """
        if limit < 1:
            raise ValueError(f"a network that allows {limit} starts a day cannot be received from")
        now = self._now()
        starts = tuple(at for at in self._of(identity).starts if now - at < WINDOW_MS)
        if len(starts) >= limit:
            raise _spent(len(starts), limit, starts[-limit] + WINDOW_MS, now)
        self._count(identity, (*starts, now))
        if self._keeper is not None:
            try:
                await self._keeper.committed()
            except BaseException:
                self._take_back(identity, now)
                raise

    def flush(self) -> None:
        """Have everything written that is not: at the end of a receiver, and of the process."""
        for identity in tuple(self._unwritten):
            self._write(identity)
        for timer in self._resting.values():
            timer.cancel()
        self._resting.clear()

    def _of(self, identity: str) -> KeptSession:
        return self._known.get(identity, KeptSession())

    def _count(self, identity: str, starts: tuple[int, ...]) -> None:
        self._known[identity] = self._of(identity)._replace(starts=starts)
        self._write(identity)
        # What it is known by comes next, and is written at once.
        if timer := self._resting.pop(identity, None):
            timer.cancel()

    def _take_back(self, identity: str, at: int) -> None:
        """Nobody waits for that start any more, and so it was not made."""
        starts = list(self._of(identity).starts)
        with contextlib.suppress(ValueError):
            starts.remove(at)
        self._count(identity, tuple(starts))

    def _now(self) -> int:
        """Wall-clock milliseconds, after the times were moved by as much as the clock was set since the last look."""
        wall = self._clock.wall_ms()
        stands = wall - round(self._clock.boottime() * 1000)
        set_by = 0 if self._clock_stood is None else stands - self._clock_stood
        if self._clock_stood is None or abs(set_by) > CLOCK_SLACK_MS:
            self._clock_stood = stands
            for identity, kept in self._known.items():
                if kept.starts:
                    self._known[identity] = kept._replace(starts=tuple(at + set_by for at in kept.starts))
                    self._write(identity)
        return wall

    def _write_and_rest(self, identity: str) -> None:
        self._write(identity)
        if self._keeper is not None:
            self._resting[identity] = asyncio.get_running_loop().call_later(WRITE_EVERY, self._rested, identity)

    def _rested(self, identity: str) -> None:
        del self._resting[identity]
        if identity in self._unwritten:
            self._write_and_rest(identity)

    def _write(self, identity: str) -> None:
        self._unwritten.discard(identity)
        if self._keeper is not None:
            self._keeper.keep_session(identity, self._known[identity])


def _spent(made: int, limit: int, allowed_at: int, now: int) -> SessionsSpentError:
    until = datetime.fromtimestamp(allowed_at / 1000, UTC).isoformat(timespec="seconds")
    return SessionsSpentError(
        f"{made} sessions were started within a day, and {limit} are allowed: the next may be started at {until}",
        retry_after=math.ceil((allowed_at - now) / 1000),
    )
