"""How often a client may write the config: a sliding minute, by client and method."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from gateway.admin.errors import RateLimitedError
from gateway.clock import Clock

PERIOD = 60.0
CLIENTS_KEPT = 1_000


class WriteLimit:
    """Counts writes; `per_minute` returns the limit of the moment, 0 for none."""

    def __init__(self, per_minute: Callable[[], int], clock: Clock) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._writes: dict[tuple[str, str], deque[float]] = {}

    def check(self, client: str, method: str) -> None:
        """Count one write. Raises RateLimitedError, which says when the next one is allowed."""
        limit, now = self._per_minute(), self._clock.monotonic()
        if limit == 0:
            return
        writes = self._writes.setdefault((client, method), deque())
        while writes and now - writes[0] >= PERIOD:
            writes.popleft()
        if len(writes) >= limit:
            raise RateLimitedError(limit, PERIOD - (now - writes[0]))
        writes.append(now)
        while len(self._writes) > CLIENTS_KEPT:
            del self._writes[next(iter(self._writes))]
