"""Whether the host slept: a laptop that was closed, a virtual machine that was paused, a process that was halted.

What was connected then is not any more, and nobody says so: without this an account would be deaf until its poll is given up.
The clock that decides goes on in a suspended host; the one that timers run by stands still.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from gateway.clock import Clock

log: structlog.stdlib.BoundLogger = structlog.get_logger()

TICK = 30.0
LATE = 45.0
"""Seconds that a tick must be late to tell of a sleep: a busy host does not come to that."""


async def watch_host(clock: Clock, woke: Callable[[float], None]) -> None:
    """Tick for ever; `woke` is told for how many seconds nothing ran."""
    while True:
        before = clock.boottime()
        await asyncio.sleep(TICK)
        late = clock.boottime() - before - TICK
        if late >= LATE:
            log.warning("host_woke", slept=round(late, 1), why="receivers are restarted: their connections may be dead")
            woke(late)
