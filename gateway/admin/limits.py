"""How often a client may write the config: a sliding minute, by client and method.

A client is an address, and on the WebSocket also who it says it is: behind one proxy, and on one machine, all have one address.
What is under way counts, and what was refused and wrote nothing does not: a client may look for the right hash as often as it likes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from gateway.admin.errors import RateLimitedError
from gateway.clock import Clock
from gateway.errors import (
    ConfigError,
    ConfigOwnedError,
    ConfigWriteError,
    StaleHashError,
    StalePlanError,
    WindowOpenError,
)

PERIOD = 60.0
CLIENTS_KEPT = 1_000
NOTHING_WRITTEN = (StaleHashError, ConfigError, ConfigOwnedError, ConfigWriteError, WindowOpenError, StalePlanError)


class WriteLimit:
    """Counts writes; `per_minute` returns the limit of the moment, 0 for none."""

    def __init__(self, per_minute: Callable[[], int], clock: Clock) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._writes: dict[tuple[str, str], deque[float]] = {}

    @contextmanager
    def counted(self, client: str, method: str) -> Iterator[None]:
        """Count what is done inside as one write. Raises RateLimitedError, which says when the next one is allowed."""
        writes, now = self._take(client, method)
        try:
            yield
        except NOTHING_WRITTEN:
            with suppress(ValueError):  # it is forgotten already
                writes.remove(now)
            raise

    def _take(self, client: str, method: str) -> tuple[deque[float], float]:
        limit, now = self._per_minute(), self._clock.monotonic()
        if limit == 0:
            return deque(), now
        writes = self._writes.setdefault((client, method), deque())
        while writes and now - writes[0] >= PERIOD:
            writes.popleft()
        if len(writes) >= limit:
            raise RateLimitedError(limit, PERIOD - (now - writes[-limit]))
        writes.append(now)
        while len(self._writes) > CLIENTS_KEPT:
            del self._writes[next(iter(self._writes))]
        return writes, now
