"""How late the referee's own loop is: a machine that stalls must not be taken for a gateway that does."""

from __future__ import annotations

import asyncio
import time

STEP = 0.05
STALL = 0.25
"""Seconds of lateness from which on it is one."""


class Lag:
    """`await lag.measure()` runs for ever beside everything else."""

    def __init__(self) -> None:
        self.worst = 0.0
        self.stalls = 0
        self.stalled = 0.0
        """Seconds lost in stalls, altogether."""

    async def measure(self) -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(STEP)
            late = time.monotonic() - before - STEP
            self.worst = max(self.worst, late)
            if late > STALL:
                self.stalls += 1
                self.stalled += late
