"""Whether a receiver is alive: it completes its receives, be they empty. What people write says nothing of that.

It is counted in looks and not by the clock, and one that comes late does not count: a gap in which nothing of the process
ran, however long, is none of the network's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway.channels.base import Intake

LOOKS = 4
"""So many in a row that find nothing new are a stall; between the first and the last of them its whole time has passed."""


class Watch:
    """Looks at one generation's intake from now on; `stalled` is called once, at the latest a look after its time has passed.

    `within` is in seconds. A receiver that the gateway itself holds up is not stalled.
    """

    def __init__(self, intake: Intake, within: float, stalled: Callable[[], object]) -> None:
        self._intake = intake
        self._every = within / LOOKS
        self._stalled = stalled
        self._seen = intake.receives
        self._in_vain = 0
        self._arm()

    def stop(self) -> None:
        self._timer.cancel()

    def _arm(self) -> None:
        loop = asyncio.get_running_loop()
        self._due = loop.time() + self._every
        self._timer = loop.call_at(self._due, self._look)

    def _look(self) -> None:
        if self._intake.held_up or self._intake.receives != self._seen:
            self._seen, self._in_vain = self._intake.receives, 0
        elif asyncio.get_running_loop().time() - self._due < self._every:
            self._in_vain += 1
        if self._in_vain < LOOKS:
            self._arm()
        else:
            self._stalled()
