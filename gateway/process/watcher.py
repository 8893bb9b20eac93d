"""Watching the config file. Events are hints: what counts is the hash of what is read after them.

The parent folder is watched, so that a rename over the file, a rename of the file and a `..data` swap (ConfigMap) are seen.
Since inotify has blind spots (an overflow, a network or FUSE mount, a folder that was itself replaced), a look at the
file's inode, time and size every two seconds covers them; where inotify cannot be had at all, polling takes its place.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from watchdog.events import FileSystemEvent
    from watchdog.observers.api import BaseObserver

log: structlog.stdlib.BoundLogger = structlog.get_logger()

RECONCILE = 2.0
HINTS = frozenset({"closed", "moved", "created", "deleted"})
"""`opened` and `closed_no_write` would make our own reading an event; `modified` comes in the middle of a write."""

OFF = "off"

Signature = tuple[int, int, int] | None
"""A file's inode, modification time (ns) and size; None when there is none."""


def signature_of(path: Path) -> Signature:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


class Watcher:
    """Calls `changed` once the file has been quiet for the debounce time after a hint."""

    def __init__(
        self, path: Path, seen: Signature, debounce: Callable[[], float], changed: Callable[[], Awaitable[None]]
    ) -> None:
        self._path = path
        self._debounce = debounce
        self._changed = changed
        self._observer: BaseObserver | None = None
        self._handle: asyncio.TimerHandle | None = None
        self._reading: asyncio.Task[None] | None = None
        self._reconciling: asyncio.Task[None] | None = None
        self._seen = seen
        self.kind = OFF
        """How the folder is watched: inotify, polling or off."""

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        await asyncio.to_thread(self._observe)
        if self._reconciling is None:
            self._reconciling = self._loop.create_task(self._reconcile())

    def stop(self) -> None:
        for pending in (self._handle, self._reconciling, self._reading):
            if pending is not None:
                pending.cancel()
        if self._observer is not None:
            # An emitter that reads once more while it is being stopped calls that an error; it is the end of the process.
            logging.getLogger("watchdog").setLevel(logging.CRITICAL)
            self._observer.stop()

    # Hints

    def _observe(self) -> None:
        """Watch by inotify, or by polling when that cannot be had. In a thread: watchdog's import takes a while."""
        from watchdog.observers import Observer  # noqa: PLC0415
        from watchdog.observers.polling import PollingObserver  # noqa: PLC0415

        for kind, make in (("inotify", Observer), ("polling", PollingObserver)):
            try:
                observer = make()
                observer.schedule(self, str(self._path.parent))  # type: ignore[arg-type]
                observer.start()
            except OSError as error:
                log.warning("watching_failed", by=kind, why=str(error))
            else:
                self._observer, self.kind = observer, kind
                return

    def dispatch(self, event: FileSystemEvent) -> None:
        """Watchdog's call, in its own thread."""
        if event.event_type in HINTS and self._concerns_us(event):
            self._loop.call_soon_threadsafe(self.hint)

    def _concerns_us(self, event: FileSystemEvent) -> bool:
        names = {os.path.basename(os.fsdecode(path)) for path in (event.src_path, event.dest_path) if path}  # noqa: PTH119
        return not names.isdisjoint({self._path.name, "..data"})

    def hint(self) -> None:
        """Something may have happened: look when it has been quiet for a while."""
        if self._handle is not None:
            self._handle.cancel()
        self._handle = asyncio.get_running_loop().call_later(self._debounce(), self._look, signature_of(self._path))

    def _look(self, hinted: Signature) -> None:
        self._handle = None
        self._seen = signature_of(self._path)
        if self._seen != hinted:
            self.hint()  # somebody is still writing to it, and has not closed it yet
            return
        self._reading = asyncio.get_running_loop().create_task(self._read(self._reading))

    async def _read(self, earlier: asyncio.Task[None] | None) -> None:
        if earlier is not None:
            await asyncio.wait({earlier})
        await self._changed()

    # Blind spots

    async def _reconcile(self) -> None:
        while True:
            await asyncio.sleep(RECONCILE)
            if signature_of(self._path) != self._seen and self._handle is None:
                self.hint()
