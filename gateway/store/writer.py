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
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import structlog

from gateway.store.database import Database

log: structlog.stdlib.BoundLogger = structlog.get_logger()

AGAIN_AFTER = 0.5
"""Seconds to the next try of what could not be written."""


class Writer:
    """Collects rows by the statement that writes them, and commits them in the order of `statements`."""

    def __init__(self, database: Database, statements: Sequence[str], durability: Callable[[], str]) -> None:
        self._database = database
        self._durability = durability
        self._order = tuple(statements)
        self._thread = ThreadPoolExecutor(1, "store")
        self._rows: dict[str, list[tuple[Any, ...]]] = {}
        self._committed: asyncio.Future[None] | None = None
        self._handing_over = False
        self._task: asyncio.Task[None] | None = None
        self.trouble = ""
        """Why nothing can be written now; empty while all is well."""
        self.seconds: list[float] = []
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
        if not self._rows:
            if self._task is not None and not self._task.done():
                await asyncio.shield(self._task)
            return
        if self._committed is None:
            self._committed = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._committed)

    def _hand_over(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._commit_all(), name="store")

    async def _commit_all(self) -> None:
        """Until nothing waits."""
        try:
            while self._rows:
                rows, committed = self._rows, self._committed
                self._rows, self._committed = {}, None
                batch = {statement: rows[statement] for statement in self._order if statement in rows}
                await self._commit(batch)
                if committed is not None and not committed.done():
                    committed.set_result(None)
        finally:
            self._handing_over = False

    async def _commit(self, batch: Mapping[str, list[tuple[Any, ...]]]) -> None:
        while True:
            began = time.perf_counter()
            try:
                await self.in_thread(partial(self._database.commit, batch, self._durability()))
            except (sqlite3.Error, OSError, ValueError, OverflowError) as error:
                self._tell(str(error))
                await asyncio.sleep(AGAIN_AFTER)
                continue
            self._tell("")
            self.seconds.append(time.perf_counter() - began)
            return

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
        """Write what waits, for at most so many seconds. Whether all of it was."""
        done = True
        if self._task is not None and not self._task.done():
            finished, _ = await asyncio.wait({self._task}, timeout=patience)
            done = bool(finished)
            self._task.cancel()
            await asyncio.wait({self._task})
        self._thread.shutdown(wait=done, cancel_futures=True)
        return done and not self._rows
