"""Virtual time, and a loop without sockets that lives in it.

The outside (network, servers, people, the disk) is callbacks on `Time`; a gateway's process is one `ProcessLoop`.
So a process may stand still while the outside goes on (a suspended host), or be gone at once (a crash):
what it had in memory is then never run again.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

BEGIN = 1_000.0
EPOCH_MS = 1_800_000_000_000
BUSIEST = 20_000
"""Turns of a loop at one instant after which time is said to stand still."""


class Crash(SystemExit):
    """The process is gone. Of a kind that a loop lets through from inside a task or a callback."""


class StandstillError(Exception):
    """Nothing can happen any more, or everything happens at one instant."""


@dataclass(order=True)
class Due:
    """Something of the outside that is to happen."""

    at: float
    number: int
    do: Callable[[], object] = field(compare=False)
    cancelled: bool = field(default=False, compare=False)

    def cancel(self) -> None:
        self.cancelled = True


class Time:
    """Seconds, and what of the outside is due when. `wall_jump` is how far the wall clock was set wrong.

    `slept` is for how long the host was suspended: its monotonic clock, and with it every timer of a loop, stood still then.
    """

    def __init__(self, now: float = BEGIN) -> None:
        self.now = now
        self.wall_jump = self.slept = 0.0
        self._due: list[Due] = []
        self._numbers = itertools.count()

    def after(self, seconds: float, do: Callable[[], object]) -> Due:
        due = Due(self.now + max(seconds, 0.0), next(self._numbers), do)
        heapq.heappush(self._due, due)
        return due

    def next_due(self) -> float | None:
        while self._due and self._due[0].cancelled:
            heapq.heappop(self._due)
        return self._due[0].at if self._due else None

    def run_next(self) -> None:
        """Let the next thing happen, and with it all that is due at the same instant."""
        at = self.next_due()
        while at is not None and self.next_due() == at:
            self.now = max(self.now, at)
            heapq.heappop(self._due).do()

    def run_until(self, until: float) -> None:
        """Let the outside go on while no process turns."""
        while (at := self.next_due()) is not None and at <= until:
            self.run_next()
        self.now = max(self.now, until)

    def monotonic(self) -> float:
        return self.now - self.slept

    def boottime(self) -> float:
        return self.now

    def at_wall(self, ms: int) -> float:
        """When the wall clock, as it is set now, shows that."""
        return (ms - EPOCH_MS) / 1000 - self.wall_jump

    def wall_ms(self) -> int:
        return EPOCH_MS + round((self.now + self.wall_jump) * 1000)


class ProcessLoop(asyncio.BaseEventLoop):
    """The loop of one process: its timers and the outside share one time, which jumps to whatever is due next."""

    def __init__(self, time: Time) -> None:
        super().__init__()
        self._time = time
        self._selector = self
        self._turns = 0
        self.signals: dict[int, tuple[Callable[..., Any], tuple[Any, ...]]] = {}
        self.complaints: list[str] = []
        self.set_exception_handler(self._complain)

    def time(self) -> float:
        return self._time.monotonic()

    def attach(self, time: Time) -> None:
        """Live in another time: a process that is gone is cleared away in one of its own."""
        self._time = time

    def select(self, timeout: float | None) -> list[Any]:
        """What the base class asks its selector: here nothing is ever ready, and time passes instead."""
        if timeout == 0:
            self._turns += 1
            if self._turns > BUSIEST:
                raise StandstillError(f"{BUSIEST} turns at one instant: time does not pass any more")
            return []
        self._turns = 0
        time = self._time
        due, wanted = time.next_due(), None if timeout is None else time.now + timeout
        if due is not None and (wanted is None or due <= wanted):
            time.run_next()
        elif wanted is not None:
            time.now = wanted
        else:
            raise StandstillError("nothing can happen any more: no timer is armed and nothing comes from outside")
        return []

    def _process_events(self, event_list: list[Any]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody sleeps in a selector that would have to be woken."""

    def add_signal_handler(self, sig: int, callback: Callable[..., Any], *args: Any) -> None:  # type: ignore[override]
        self.signals[sig] = (callback, args)

    def remove_signal_handler(self, sig: int) -> bool:
        return self.signals.pop(sig, None) is not None

    def _complain(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.complaints.append(f"{context['message']}: {context.get('exception')!r}")
