"""Time, in one place, so that a simulation can stand in for it."""

from __future__ import annotations

import time


class Clock:
    """Monotonic seconds decide; wall-clock milliseconds are for people."""

    def monotonic(self) -> float:
        return time.monotonic()

    def wall_ms(self) -> int:
        return int(time.time() * 1000)
