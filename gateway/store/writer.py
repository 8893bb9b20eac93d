"""One thread that writes, and commits whatever waits as one transaction: group commit.

A commit costs an fsync, whatever is in it. So whatever comes while one is under way is the next one, and whoever must
know that something is on the disk waits for the commit that it is in, not for one of its own.

What cannot be written now (the disk is full, another program holds the lock) is not lost and not refused: it waits, and
so do those who wait for it, until it can be written. Meanwhile `trouble` says why.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import structlog

from gateway.store.database import Database

log: structlog.stdlib.BoundLogger = structlog.get_logger()

T = TypeVar("T")

AGAIN_AFTER = 0.5
"""Seconds to the next try of what could not be written."""
SECONDS_KEPT = 10_000
"""Durations of commits that are kept for whoever collects them."""


class Writer:
    """Collects rows by the statement that writes them, and commits them in the order of `statements`."""

    def __init__(self, database: Database, statements: Sequence[str], durability: Callable[[], str]) -> None:
        self._database = database
        self._durability = durability
        self._order = tuple(statements)
        self._thread = ThreadPoolExecutor(1, "store")
        self._rows: dict[str, list[tuple[Any, ...]]] = {}
        self._committed: asyncio.Future[None] | None = None
        """Of the rows that wait; made when somebody asks."""
        self._under_way: asyncio.Future[None] | None = None
        """Of those that are being committed."""
        self._handing_over = False
        self._task: asyncio.Task[None] | None = None
        self.trouble = ""
        """Why nothing can be written now; empty while all is well."""
        self.seconds: deque[float] = deque(maxlen=SECONDS_KEPT)
        """How long the latest commits took, for whoever collects them."""

    def write(self, statement: str, row: tuple[Any, ...]) -> None:
        """Have a row written with the next commit."""
        self._rows.setdefault(statement, []).append(row)
        if not self._handing_over:
            # At the end of this turn of the loop: what else is written in it goes along.
            self._handing_over = True
            asyncio.get_running_loop().call_soon(self._hand_over)

    async def committed(self) -> None:
        """Return when all that was written before is on the disk. Being cancelled cancels nothing of it."""
        if self._rows and self._committed is None:
            self._committed = asyncio.get_running_loop().create_future()
        waited_for = self._committed if self._rows else self._under_way
        if waited_for is not None:
            await asyncio.shield(waited_for)

    def _hand_over(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._commit_all(), name="store")

    async def _commit_all(self) -> None:
        """Until nothing waits."""
        try:
            while self._rows:
                rows, self._rows = self._rows, {}
                committed, self._committed = self._committed or asyncio.get_running_loop().create_future(), None
                self._under_way = committed
                batch = {statement: rows[statement] for statement in self._order if statement in rows}
                await self.surely(partial(self._commit, batch))
                self._under_way = None
                committed.set_result(None)
        finally:
            self._handing_over = False

    def _commit(self, batch: dict[str, list[tuple[Any, ...]]]) -> None:
        began = time.perf_counter()
        self._database.commit(batch, self._durability())
        self.seconds.append(time.perf_counter() - began)

    async def surely(self, job: Callable[[], T]) -> T:
        """Run something in the thread that writes, and again until it can be done. Meanwhile `trouble` says why not."""
        failed = False
        while True:
            try:
                done: T = await self.in_thread(job)
            except (sqlite3.Error, OSError, ValueError, OverflowError) as error:
                failed = True
                self._tell(str(error))
                await asyncio.sleep(AGAIN_AFTER)
            else:
                if failed:
                    self._tell("")
                return done

    def _tell(self, trouble: str) -> None:
        if trouble != self.trouble:
            if trouble:
                log.error("store_stalled", path=str(self._database.path), why=trouble, again_in=AGAIN_AFTER)
            else:
                log.info("store_recovered", path=str(self._database.path))
        self.trouble = trouble

    async def in_thread(self, job: Callable[[], Any]) -> Any:
        """Run something in the thread that writes, after what it does now."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, job)

    async def close(self, patience: float) -> bool:
        """Write what waits, for at most so many seconds, and close the database. Whether all of it was written."""
        done = True
        await asyncio.sleep(0)  # what was written in this very turn is handed over
        if self._task is not None and not self._task.done():
            finished, _ = await asyncio.wait({self._task}, timeout=patience)
            done = bool(finished)
            self._task.cancel()
            await asyncio.wait({self._task})
        self._thread.shutdown(wait=done, cancel_futures=True)
        if done:  # or the thread is in the middle of something: a connection is not closed under it
            self._database.close()
        return done and not self._rows
