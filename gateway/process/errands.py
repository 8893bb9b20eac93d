"""What goes on beside everything else, and what becomes of it when the gateway ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

AGAIN_AFTER = 2.0
"""Seconds to the next try of what the disk, or too slow a network, has prevented."""


class Errands:
    """Owns the tasks."""

    def __init__(self) -> None:
        self._lasting: set[asyncio.Future[Any]] = set()
        self._passing: set[asyncio.Future[Any]] = set()
        self._later: dict[Callable[[], Awaitable[None]], asyncio.TimerHandle] = {}

    def see_through(self, work: Awaitable[Any]) -> asyncio.Future[Any]:
        """Something is written down: an end waits for it."""
        return _owned(self._lasting, work)

    def run(self, work: Awaitable[Any]) -> None:
        """Something that an end breaks off: nobody decides anything any more."""
        _owned(self._passing, work)

    def later(self, work: Callable[[], Awaitable[None]]) -> None:
        """Try again in a while; once, however often it is asked for meanwhile."""
        if work not in self._later:
            self._later[work] = asyncio.get_running_loop().call_later(AGAIN_AFTER, self._again, work)

    async def seen_through(self) -> None:
        """Return when nothing is being written down."""
        while self._lasting:
            await asyncio.wait(set(self._lasting))

    def _again(self, work: Callable[[], Awaitable[None]]) -> None:
        del self._later[work]
        self.run(work())

    async def close(self) -> None:
        """Wait for what is being written down, and for nothing else."""
        for handle in self._later.values():
            handle.cancel()
        for task in self._passing:
            task.cancel()
        if left := self._lasting | self._passing:
            await asyncio.wait(left)


def _owned(tasks: set[asyncio.Future[Any]], work: Awaitable[Any]) -> asyncio.Future[Any]:
    task = asyncio.ensure_future(work)
    tasks.add(task)
    task.add_done_callback(tasks.discard)
    return task
