"""Time, in one place, so that a simulation can stand in for it."""

from __future__ import annotations

import time

CLOCK_BOOTTIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Only Linux has it; elsewhere the system's monotonic clock goes on in a suspend by itself."""


class Clock:
    """Monotonic seconds decide; wall-clock milliseconds are for people."""

    def monotonic(self) -> float:
        return time.monotonic()

    def boottime(self) -> float:
        """Seconds that go on while the host is suspended, in which the monotonic ones stand still."""
        return time.clock_gettime(CLOCK_BOOTTIME)

    def wall_ms(self) -> int:
        return int(time.time() * 1000)
