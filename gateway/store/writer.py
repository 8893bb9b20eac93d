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

LINGER = 6
"""Turns of the loop that a commit waits for what follows from its rows: a message and its answer are then one. An idle turn
takes 20 µs, a commit 600."""
AGAIN_AFTER = 0.5
"""Seconds to the next try of what could not be written."""


Question = Callable[[Database], Any]


class Writer:
    """Collects rows by the statement that writes them, and commits them in the order of `statements`.

    `durability` is asked at each commit; `noted` is told how many rows each had and how long it took.
    """

    def __init__(
        self,
        database: Database,
        statements: Sequence[str],
        durability: Callable[[], str],
        noted: Callable[[int, float], None] = lambda *_: None,
    ) -> None:
        self._database = database
        self._durability = durability
        self._noted = noted
        self._order = tuple(statements)
        self._thread = ThreadPoolExecutor(1, "store")
        self._rows: dict[str, list[tuple[Any, ...]]] = {}
        self._waiting: list[asyncio.Future[Any]] = []
        self._questions: list[tuple[Question, asyncio.Future[Any]]] = []
        self._handing_over = False
        self._task: asyncio.Task[None] | None = None
        self.trouble = ""
        """Why nothing can be written now; empty while all is well."""

    def write(self, statement: str, row: tuple[Any, ...]) -> None:
        """Have a row written with the next commit."""
        self._rows.setdefault(statement, []).append(row)
        if not self._handing_over:
            self._handing_over = True
            asyncio.get_running_loop().call_soon(self._hand_over, LINGER)

    async def committed(self) -> None:
        """Return when all that was written before is on the disk. Being cancelled cancels nothing of it."""
        if not self._rows:
            if self._task is not None and not self._task.done():
                await asyncio.shield(self._task)
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        await waiter

    async def ask(self, question: Question) -> Any:
        """The same, and the answer to a question that is put to the database right after."""
        if not self._rows:
            return await self.in_thread(partial(question, self._database))
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._questions.append((question, answer))
        return await answer

    def _hand_over(self, turns: int) -> None:
        if turns:
            asyncio.get_running_loop().call_soon(self._hand_over, turns - 1)
            return
        self._task = asyncio.get_running_loop().create_task(self._commit_all(), name="store")

    async def _commit_all(self) -> None:
        """Until nothing waits."""
        try:
            while self._rows:
                rows, waiting, questions = self._rows, self._waiting, self._questions
                self._rows, self._waiting, self._questions = {}, [], []
                batch = {statement: rows[statement] for statement in self._order if statement in rows}
                answers = await self._commit(batch, [question for question, _ in questions])
                for (_, waiter), answer in zip(questions, answers, strict=True):
                    _answer(waiter, answer)
                for waiter in waiting:
                    _answer(waiter, None)
        finally:
            self._handing_over = False

    async def _commit(self, batch: Mapping[str, list[tuple[Any, ...]]], questions: Sequence[Question]) -> list[Any]:
        while True:
            began = time.perf_counter()
            try:
                answers: list[Any] = await self.in_thread(
                    partial(self._database.commit, batch, self._durability(), questions)
                )
            except (sqlite3.Error, OSError, ValueError, OverflowError) as error:
                self._tell(str(error))
                await asyncio.sleep(AGAIN_AFTER)
                continue
            self._tell("")
            self._noted(sum(map(len, batch.values())), time.perf_counter() - began)
            return answers

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
        try:
            async with asyncio.timeout(patience):
                while self._rows or (self._task is not None and not self._task.done()):
                    await self.committed()
            done = True
        except TimeoutError:
            done = False
            if self._task is not None:
                self._task.cancel()
                await asyncio.wait({self._task})
        self._thread.shutdown(wait=done, cancel_futures=True)
        return done


def _answer(waiter: asyncio.Future[Any], answer: Any) -> None:
    """Whoever was cancelled is not told."""
    if not waiter.done():
        waiter.set_result(answer)
