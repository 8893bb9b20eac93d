"""What the log is told of conflicts: that one has begun, with its likely causes, and how long it was when it is over.

Accounts come and go between two receivers many times in one conflict; that is told once.
"""

from __future__ import annotations

import structlog

from gateway.clock import Clock
from gateway.journal import Entry
from statemachine.channel import ChannelData

log: structlog.stdlib.BoundLogger = structlog.get_logger()

CAUSES = "another gateway or script with this token, here or on another machine; an old process; a test of a webhook"
REMEDY = f"end whatever else receives on it ({CAUSES}), or give it a new token; it is tried again by itself"


class Conflicts:
    """`note` listens to the journal."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def note(self, entry: Entry) -> None:
        """In the dispatcher's turn: compares two fields, and cannot fail."""
        if entry.standing is None or not isinstance(entry.standing.data, ChannelData):
            return
        before, now = entry.standing.data.conflict_since, entry.standing.machine.data.conflict_since
        if before is None and now is not None:
            log.warning("conflict_began", account=entry.machine, why=entry.why, remedy=REMEDY)
        elif before is not None and now is None:
            lasted = round(self._clock.monotonic() - before, 1)
            log.info("conflict_ended", account=entry.machine, seconds=lasted, by=entry.trigger)
