"""The disk and who writes on it: the config file in a folder of its own, slow jobs, a full disk, and what a watcher is told.

The bytes are in real files, so that the product's own reading and writing runs; time, faults and events are simulated.
Nothing is synced: a crash here takes a process, not the machine under it.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from watchdog.events import FileClosedEvent, FileMovedEvent, FileSystemEvent

from gateway.config import file
from gateway.process.watcher import OFF, Watcher
from tests.simulation.clock import Crash, Time
from tests.simulation.referee import Referee

T = TypeVar("T")

DELAYS = (0.0, 0.0, 0.0, 0.001, 0.01, 0.05)
SLOW = (0.0, 0.05, 0.4, 1.5)


class Disk:
    """One folder with one config file in it."""

    def __init__(self, time: Time, folder: Path, referee: Referee, random: Random) -> None:
        self._time = time
        self._random = random
        self._referee = referee
        self._real_write = file.write
        self._stamps = 0
        self.path = folder / "gateway.yaml"
        self.state_dir = folder / "state"
        self.slow_until = 0.0
        self.full_until = 0.0
        self.crash_in = 0
        """The process is gone at the n-th step of writing from now; 0 is never."""
        self.met: Counter[str] = Counter()
        self.bases: list[str | None] = []
        """What the writers who wait for an answer had seen of the file."""
        self.whole: set[str | None] = {None}
        """The hashes of all that anybody wanted to be in the file."""
        self.watcher: SimulatedWatcher | None = None
        self.owner: object | None = None
        """The process that is alive; with it go its watcher and the jobs of its threads."""

    # People, and other programs

    def save(self, text: str) -> None:
        """An editor: a new file in the place of the old one."""
        fresh = self.path.with_name("editor.tmp")
        fresh.write_text(text)
        self._stamp(fresh)
        fresh.replace(self.path)
        self.whole.add(self.hash)

    def overwrite(self, text: str) -> None:
        """A careless program: the same file, written over."""
        self.path.write_text(text)
        self._stamp(self.path)
        self.whole.add(self.hash)

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)

    def _stamp(self, path: Path) -> None:
        """Times on the disk are virtual, and no two are the same."""
        self._stamps += 1
        stamp = round(self._time.now * 1e9) + self._stamps
        os.utime(path, ns=(stamp, stamp))

    def raw(self) -> bytes | None:
        return self.path.read_bytes() if self.path.exists() else None

    @property
    def hash(self) -> str | None:
        raw = self.raw()
        return None if raw is None else file.revision_of(raw)

    def tell(self, after: float, *, moved: bool = False) -> None:
        """The kernel's word to whoever watches."""
        source, target = str(self.path), str(self.path.with_name("editor.tmp"))
        event: FileSystemEvent = FileMovedEvent(target, source) if moved else FileClosedEvent(source)
        self._time.after(after, lambda: self._dispatch(event))

    def _dispatch(self, event: FileSystemEvent) -> None:
        if self.watcher is not None and self.watcher.kind != OFF:
            self.watcher.dispatch(event)

    # The product's writing

    def write(self, path: Path, raw: bytes, *expected: bytes | None) -> bool:
        """In the place of `file.write`: the same, seen by the referee."""
        if path == self.path:
            here = self.hash
            seen = here is None or here in self.bases
            self._referee.expect(
                seen, "no lost update", f"a write replaced {str(here)[:8]}, which its caller never saw"
            )
            self.whole.add(file.revision_of(raw))
        put = self._real_write(path, raw, *expected)
        if path == self.path and put:
            self._stamp(path)
            self.tell(0.001, moved=True)
        self._step()
        return put

    def sync(self, _: int) -> None:
        """In the place of `os.fsync`."""
        self._step()
        if self._time.now < self.full_until:
            self.met["no space"] += 1
            raise OSError(errno.ENOSPC, "No space left on device")

    def _step(self) -> None:
        if self.crash_in > 0:
            self.crash_in -= 1
            if self.crash_in == 0:
                raise Crash("in the middle of a write")

    async def job(self, do: Callable[..., T], *args: Any) -> T:
        """In the place of `asyncio.to_thread`: it takes its time, and is done whether somebody still waits or not."""
        if self.owner is None:
            raise asyncio.CancelledError
        slow = self._time.now < self.slow_until
        self.met["slow job"] += slow
        before, after = (self._random.choice(SLOW if slow else DELAYS) for _ in range(2))
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        if before or after:
            owner = self.owner
            self._time.after(before, lambda: self._do(owner, done, after, do, *args))
        else:
            _settle(done, *_try(do, *args))
            await asyncio.sleep(0)
        return await done

    def _do(self, owner: object, done: asyncio.Future[Any], after: float, do: Callable[..., Any], *args: Any) -> None:
        if owner is self.owner:  # or the process is gone, and its threads with it
            result = _try(do, *args)
            self._time.after(after, lambda: _settle(done, *result))

    def lose_owner(self) -> None:
        self.owner = self.watcher = None
        self.bases.clear()

    def calm(self) -> None:
        self.slow_until = self.full_until = 0.0
        self.crash_in = 0


def _try(do: Callable[..., T], *args: Any) -> tuple[Any, Exception | None]:
    try:
        return do(*args), None
    except Exception as error:  # noqa: BLE001 - as a thread does
        return None, error


def _settle(done: asyncio.Future[Any], value: Any, error: Exception | None) -> None:
    if done.done() or done.get_loop().is_closed():
        return
    if error is None:
        done.set_result(value)
    else:
        done.set_exception(error)


class SimulatedWatcher(Watcher):
    """The real watcher, told by the simulated kernel instead of by watchdog."""

    def _observe(self) -> None:
        self.kind = "inotify"
