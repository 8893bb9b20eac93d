"""An end of the process, stage by stage: each is done, or is cut when its time is over, and says what it leaves undone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from gateway.clock import Clock
from gateway.process.budget import MARGIN, Budget, Stage

log: structlog.stdlib.BoundLogger = structlog.get_logger()

BROKEN_OFF = 1.0
"""Seconds for what is left where somebody has ended the waiting at once."""


class Shutdown:
    """`begun` is told, when the first stage begins, within how many seconds the process is gone, and its exit code."""

    def __init__(self, clock: Clock, begun: Callable[[float, int], None] = lambda *_: None) -> None:
        self._clock = clock
        self._begun = begun
        self._budget: Budget | None = None
        self._since = 0.0
        self._stage = Stage.LISTENING
        self._hurried: asyncio.Future[None] | None = None
        self._took: dict[str, dict[str, Any]] = {}

    def begin(self, seconds: float, code: int = 0) -> None:
        """From now on it has so many seconds; told again, it goes on with those that it had."""
        if self._budget is None:
            self._since = self._clock.monotonic()
            self._budget = Budget(seconds, self._since)
            # The stages keep their time by themselves. This is for a loop that does not turn.
            self._begun(seconds + MARGIN / 2, code)

    def hurry(self, seconds: float) -> None:
        """Somebody wants it sooner: what is left has so many seconds."""
        if self._budget is not None:
            self._budget.hurry(self._stage, seconds, self._clock.monotonic())
            if self._hurried is not None and not self._hurried.done():
                self._hurried.set_result(None)

    def left(self, stage: Stage) -> float:
        """Seconds that a stage has, if it begins now."""
        assert self._budget is not None, "begin() comes first"
        return self._budget.left(stage, self._clock.monotonic())

    async def stage(self, stage: Stage, work: Awaitable[Any], undone: Callable[[], str]) -> None:
        """Wait for it as long as it may take. `undone` says what is left of it then. Raises what it raises."""
        self._stage = stage
        began, share = self._clock.monotonic(), self.left(stage)
        task = asyncio.ensure_future(work)
        # What one that was cut ends in is nobody's any more.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        ended = "cut"
        try:
            await self._wait(stage, task)
            if task.done():
                ended = "failed"
                task.result()
                ended = "done"
        except asyncio.CancelledError:
            self.hurry(BROKEN_OFF)
            raise
        finally:
            took = {"took": round(self._clock.monotonic() - began, 3), "share": round(share, 3), "ended": ended}
            if ended == "cut":
                took["undone"] = undone()
                log.warning("stage_cut", stage=stage.value, **took)
            self._took[stage.value] = took
            task.cancel()

    async def _wait(self, stage: Stage, task: asyncio.Future[Any]) -> None:
        while not task.done():
            hurried = self._hurried = asyncio.get_running_loop().create_future()
            await asyncio.wait({task, hurried}, timeout=self.left(stage), return_when=asyncio.FIRST_COMPLETED)
            if not hurried.done():
                return

    def report(self, code: int) -> None:
        """The one line about all of it."""
        assert self._budget is not None, "begin() comes first"
        took = round(self._clock.monotonic() - self._since, 3)
        log.info("stopped", code=code, took=took, budget=self._budget.seconds, stages=self._took)
