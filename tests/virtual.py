"""A loop whose clock jumps to the next timer when nothing else can happen: minutes of a schedule in milliseconds.

It stands still while an executor's job is under way: that one takes real time, and a jump would call it late.
So it is no good for a peer in another process or for a thread that was started in another way.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from gateway.clock import Clock

T = TypeVar("T")

BEGIN = 1_000.0
EPOCH_MS = 1_800_000_000_000
STANDSTILL = 10.0
"""Real seconds without a timer or a job after which nothing can happen any more."""


class _Selector(selectors.DefaultSelector):
    def __init__(self) -> None:
        super().__init__()
        self.now = BEGIN
        self.jobs = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if self.jobs or timeout is None:
            ready = super().select(STANDSTILL)
            if not ready:
                raise RuntimeError("nothing can happen any more: no timer is armed and nothing comes from outside")
            return ready
        self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """See the module."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        future = super().run_in_executor(executor, func, *args)
        self._virtual.jobs += 1
        future.add_done_callback(self._end_job)
        return future

    def _end_job(self, _: asyncio.Future[Any]) -> None:
        self._virtual.jobs -= 1


class VirtualClock(Clock):
    """The running virtual loop's time, for the gateway's parts."""

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def boottime(self) -> float:
        return self.monotonic()

    def wall_ms(self) -> int:
        return EPOCH_MS + round(self.monotonic() * 1000)


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Run to the end on a loop of its own; what is still under way then is cancelled."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
