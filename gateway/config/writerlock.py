"""One writer at a time, among all processes: what one has read, no other writes over before it has written.

The lock is the kernel's, on the folder that the file is in: it leaves no file behind, and ends with its holder, whatever
kind of end that is. Editors do not ask for it; against them the file is read once more at the last moment.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import structlog

from gateway.errors import UnavailableError

log: structlog.stdlib.BoundLogger = structlog.get_logger()

PATIENCE = 10.0
"""Seconds to wait for another process. It holds the lock for as long as a write takes: milliseconds, or seconds where a
network is asked about a new token first."""
POLL = 0.01
"""Seconds between two tries. Waiting in the kernel instead could not be given up."""


class WriterLock:
    """The right to write one config file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._told = False

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Hold it from the reading to the rename. Raises UnavailableError when another process does not let go in time."""
        descriptor = self._open()
        try:
            if descriptor is not None:
                await self._take(descriptor)
            yield
        finally:
            if descriptor is not None:
                os.close(descriptor)

    @property
    def _folder(self) -> Path:
        """Where the file really is: who comes by another link must find the same lock."""
        return Path(os.path.realpath(self._path)).parent

    def _open(self) -> int | None:
        try:
            return os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            self._go_without(error)
            return None

    async def _take(self, descriptor: int) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                while not _try_lock(descriptor):  # noqa: ASYNC110 - another process has no way to wake us
                    await asyncio.sleep(POLL)
        except TimeoutError as error:
            message = (
                f"another process has held the lock on {self._folder}, for writing the config, for {PATIENCE:.0f} s"
            )
            raise UnavailableError(f"{message}; nothing was written") from error
        except OSError as error:
            self._go_without(error)

    def _go_without(self, error: OSError) -> None:
        """Where there is no such lock a write goes on, as sure as the last look at the file makes it."""
        if not self._told:
            self._told = True
            log.warning("no_writer_lock", folder=str(self._folder), why=error.strerror)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
