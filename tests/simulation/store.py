"""The store without threads: the real one, on a real SQLite file, its jobs done in virtual time one after the other.

A commit is where a message's life is decided, so the process may be gone right before one or right after it, and the disk
may be full or the file locked when it is tried.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from gateway.store.database import Database
from gateway.store.store import STATEMENTS, Store
from gateway.store.writer import Writer

if TYPE_CHECKING:
    from tests.simulation.disk import Disk


class SimulatedWriter(Writer):
    """The real one; what it does in its thread is done by the disk."""

    disk: Disk

    async def in_thread(self, job: Callable[[], Any]) -> Any:
        if isinstance(job, partial) and getattr(job.func, "__func__", None) is Writer._commit:
            return await self.disk.in_line(partial(self.disk.commit, job))
        return await self.disk.in_line(job)


class SimulatedStore(Store):
    """The real one, for the length of one process. Its disk is given to a class that is made for each schedule."""

    disk: Disk

    def _make_writer(self, database: Database, durability: Callable[[], str]) -> Writer:
        writer = SimulatedWriter(database, STATEMENTS, durability, self._note_commit)
        writer.disk = self.disk
        self.disk.databases.append(database)
        return writer

    async def _in_reader(self, job: Callable[[], Any]) -> Any:
        return await self.disk.job(job)
