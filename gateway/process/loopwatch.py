"""How late the event loop comes to what is due, and what has kept it: the line of ours, or of a handler, that did not let go.

The loop ticks once a second. A thread of its own sleeps until a tick is overdue: while all is well it wakes once for each,
and looks at nothing. Only then does it look where the loop's thread is, and goes on looking until the loop turns again.
"""

from __future__ import annotations

import asyncio
import os
import selectors
import sys
import sysconfig
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import structlog

log: structlog.stdlib.BoundLogger = structlog.get_logger()

TICK = 1.0
LATE = 0.25
"""Seconds that a tick is late when something counts as blocking the loop."""
LOOK_EVERY = 0.1
LONG = 5.0
"""Seconds after which one that goes on is told of: whoever supervises the process may end it before it lets go."""
QUIET = 60.0
"""Seconds between two lines about the same place."""
MOST_PLACES = 1_000
NOBODY = "nothing of ours: the process was halted, or had no processor"

_LIBRARIES = tuple({f"{sysconfig.get_path(name)}{os.sep}" for name in ("stdlib", "platstdlib", "purelib", "platlib")})


@dataclass(frozen=True)
class Blocker:
    """`place` is `file:line function`; `at` is the wall-clock time at which it was over, in milliseconds."""

    place: str
    seconds: float
    at: int


class LoopWatch:
    """`run` is a task of the loop. `observe` is told how late each tick was; with `look` somebody looks at what made it so."""

    def __init__(self, observe: Callable[[float], None], wall_ms: Callable[[], int], *, look: bool) -> None:
        self._observe = observe
        self._wall_ms = wall_ms
        self._look = look
        self._due = 0.0
        self._ticks = 0
        self._over = threading.Event()
        self._told: dict[str, float] = {}
        self.last: Blocker | None = None
        self.longest: Blocker | None = None
        """Since the process began."""

    async def run(self) -> None:
        """Tick for ever."""
        loop = asyncio.get_running_loop()
        self._due = time.monotonic() + TICK
        if self._look:
            threading.Thread(target=self._watch, args=(threading.get_ident(),), name="loopwatch", daemon=True).start()
        try:
            while True:
                due = loop.time() + TICK
                await asyncio.sleep(TICK)
                # In this order: whoever looks reads them in the other one.
                self._due = time.monotonic() + TICK
                self._ticks += 1
                self._observe(max(0.0, loop.time() - due))
        finally:
            self._over.set()

    def shown(self) -> dict[str, Any]:
        """For the status."""
        return {name: asdict(each) if (each := getattr(self, name)) else None for name in ("longest", "last")}

    # In the thread

    def _watch(self, thread: int) -> None:
        while not self._over.wait(max(0.0, self._due + LATE - time.monotonic())):
            ticks, due = self._ticks, self._due
            if time.monotonic() >= due + LATE:
                self._look_at(thread, ticks, due)

    def _look_at(self, thread: int, ticks: int, due: float) -> None:
        """Until the loop turns again. What is seen most often is what has kept it."""
        seen: Counter[str] = Counter()
        told = False
        while self._ticks == ticks and not self._over.is_set():
            seen[place_of(sys._current_frames().get(thread))] += 1  # noqa: SLF001 - documented, and the only way
            if not told and time.monotonic() - due > LONG:
                told = self._tell(seen, time.monotonic() - due, "it goes on")
            self._over.wait(LOOK_EVERY)
        if not seen:
            return
        seconds = time.monotonic() - due
        ((place, _),) = seen.most_common(1)
        self.last = Blocker(place, round(seconds, 3), self._wall_ms())
        if self.longest is None or seconds > self.longest.seconds:
            self.longest = self.last
        if not told:
            self._tell(seen, seconds, "it is over")

    def _tell(self, seen: Counter[str], seconds: float, still: str) -> bool:
        """Of a place once in a while."""
        ((place, _),) = seen.most_common(1)
        now = time.monotonic()
        if now - self._told.get(place, -QUIET) >= QUIET:
            if len(self._told) >= MOST_PLACES:
                self._told.clear()
            self._told[place] = now
            log.warning("loop_blocked", place=place, seconds=round(seconds, 3), why=f"everything else waits; {still}")
        return True


def place_of(frame: FrameType | None) -> str:
    """The innermost line that is no library's. Of a loop that waits, nobody's. No value of any variable is looked at."""
    if frame is None or frame.f_code.co_filename == selectors.__file__:
        return NOBODY
    innermost = frame
    while frame is not None:
        if not frame.f_code.co_filename.startswith(_LIBRARIES):
            return _told(frame)
        frame = frame.f_back
    return _told(innermost)


def _told(frame: FrameType) -> str:
    """Without the folders that it is in: they are nobody's affair."""
    return f"{'/'.join(Path(frame.f_code.co_filename).parts[-2:])}:{frame.f_lineno} {frame.f_code.co_name}"
