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
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import structlog

from gateway.errors import StoreError
from gateway.store.database import Database

log: structlog.stdlib.BoundLogger = structlog.get_logger()

T = TypeVar("T")

LINGER = 6
"""Turns of the loop that a commit waits for what follows from its rows: a message and its answer are then one. An idle turn
takes 20 µs, a commit 600."""
AGAIN_AFTER = 0.5
"""Seconds to the next try of what could not be written."""


class Writer:
    """Collects rows by the statement that writes them, and commits them in the order of `statements`.

    `durability` is asked at each commit; `noted` is told how long each took.
    """

    def __init__(
        self,
        database: Database,
        statements: Sequence[str],
        durability: Callable[[], str],
        noted: Callable[[float], None] = lambda _: None,
    ) -> None:
        self._database = database
        self._noted = noted
        self._durability = durability
        self._order = tuple(statements)
        self._thread = ThreadPoolExecutor(1, "store")
        self._rows: dict[str, list[tuple[Any, ...]]] = {}
        self._waiting: list[asyncio.Future[None]] = []
        """Who waits for the rows that wait..."""
        self._waiting_now: list[asyncio.Future[None]] | None = None
        """...and who for those that are being committed; None while none are."""
        self._handing_over = self._closed = False
        self._task: asyncio.Task[None] | None = None
        self.trouble = ""
        """Why nothing can be written now; empty while all is well."""

    def write(self, statement: str, row: tuple[Any, ...]) -> None:
        """Have a row written with the next commit. When the store is closed nothing is: the process ends."""
        if self._closed:
            return
        self._rows.setdefault(statement, []).append(row)
        if not self._handing_over:
            self._handing_over = True
            asyncio.get_running_loop().call_soon(self._hand_over, LINGER)

    def next_commit(self) -> asyncio.Future[None]:
        """Done when all that was written before is on the disk: who asks first is told first. Cancelling it cancels nothing else.

        Raises StoreError when the store is closed.
        """
        if self._closed:
            raise StoreError(f"{self._database.path} is closed: the gateway has ended")
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = self._waiting if self._rows else self._waiting_now
        if waiting is None:
            waiter.set_result(None)
        else:
            waiting.append(waiter)
        return waiter

    def _hand_over(self, turns: int) -> None:
        if turns:
            asyncio.get_running_loop().call_soon(self._hand_over, turns - 1)
            return
        self._task = asyncio.get_running_loop().create_task(self._commit_all(), name="store")

    async def _commit_all(self) -> None:
        """Until nothing waits."""
        try:
            while self._rows:
                rows, self._rows = self._rows, {}
                waiting, self._waiting = self._waiting, []
                self._waiting_now = waiting
                batch = {statement: rows[statement] for statement in self._order if statement in rows}
                seconds = await self.surely(partial(self._commit, batch))
                self._waiting_now = None
                for waiter in waiting:
                    if not waiter.done():  # whoever was cancelled is not told
                        waiter.set_result(None)
                self._noted(seconds)
        finally:
            self._handing_over = False

    def _commit(self, batch: dict[str, list[tuple[Any, ...]]]) -> float:
        began = time.perf_counter()
        self._database.commit(batch, self._durability())
        return time.perf_counter() - began

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
        try:
            async with asyncio.timeout(patience):
                while self._rows or (self._task is not None and not self._task.done()):
                    await self.next_commit()
                    await asyncio.sleep(0)
        except TimeoutError:
            done = False
            if self._task is not None:
                self._task.cancel()
                await asyncio.wait({self._task})
        self._closed = True
        self._thread.shutdown(wait=done, cancel_futures=True)
        if done:  # or the thread is in the middle of something: a connection is not closed under it
            self._database.close()
        return done and not self._rows
