"""The disk and who writes on it: the config file in a folder of its own, slow jobs, a full disk, and what a watcher is told.

The bytes are in real files, so that the product's own reading and writing runs; time, faults and events are simulated.
Nothing is synced: a crash here takes a process, not the machine under it.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import sqlite3
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from types import EllipsisType
from typing import Any, TypeVar

from watchdog.events import FileClosedEvent, FileMovedEvent, FileSystemEvent

from gateway.config import file
from gateway.process.watcher import OFF, Watcher
from gateway.store.database import Database
from tests.simulation.clock import Crash, Time
from tests.simulation.referee import Referee
from tests.simulation.witness import Witness

T = TypeVar("T")

DELAYS = (0.0, 0.0, 0.0, 0.001, 0.01, 0.05)
SLOW = (0.0, 0.05, 0.4, 1.5)
SLOWEST = (0.0, 1.5, 9.0, 15.0)
ANY: Any = object()
"""What somebody has seen of the file who wants to replace it whatever is in it."""


class Disk:
    """One folder with one config file in it."""

    def __init__(self, time: Time, folder: Path, referee: Referee, witness: Witness, random: Random) -> None:
        self._time = time
        self._witness = witness
        self._random = random
        self._referee = referee
        self._real_write = file.write
        self._stamps = 0
        self.path = folder / "gateway.yaml"
        self.state_dir = folder / "state"
        self.slow_until = self.slowest_until = self.full_until = self.locked_until = 0.0
        self.crash_in = 0
        """The process is gone at the n-th step of writing from now; 0 is never."""
        self.crash_at_commit = 0, ""
        """It is gone right before or right after the n-th commit from now; 0 is never."""
        self.databases: list[Database] = []
        """What the process that is alive has open."""
        self._in_line = 0
        self._line_ends = 0.0
        """When the store's thread has done all that it was given."""
        self.save_in = 0
        self.to_save = ""
        """At the n-th step of writing from now an editor saves this; 0 is never."""
        self.version = 0
        """How often the file has been changed, by whomever."""
        self._saved: str | None = None
        """What others have put into it last."""
        self.rival: int | None = None
        """What another gateway that is about to write holds the lock on the folder with."""
        self._busy_until = 0.0
        self._gone = False
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
        self._witness.before_placing()
        fresh.replace(self.path)
        self._changed_by_others()

    def overwrite(self, text: str) -> None:
        """A careless program: the same file, written over."""
        self._witness.before_placing()
        self.path.write_text(text)
        self._stamp(self.path)
        self._changed_by_others()

    def remove(self) -> None:
        self._witness.before_placing()
        self.path.unlink(missing_ok=True)
        self._changed_by_others()

    def _changed_by_others(self) -> None:
        self.version += 1
        self._saved = self.hash
        self.whole.add(self._saved)
        self._witness.edited(self.raw())

    def take(self) -> bool:
        """Another gateway wants to write, and takes the lock for that if nobody has it."""
        descriptor = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self.rival = descriptor
        return True

    def let_go(self) -> None:
        if self.rival is not None:
            os.close(self.rival)
            self.rival = None

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

    def write(self, path: Path, raw: bytes, expected: bytes | EllipsisType | None = ...) -> bool:
        """In the place of `file.write`: the same, seen by the referee."""
        if path != self.path:
            return self._real_write(path, raw, expected)
        here, version = self.hash, self.version
        seen = here is None or here in self.bases or ANY in self.bases
        self._referee.expect(
            self.rival is None, "no lost update", "a write came between another gateway's reading and writing"
        )
        self.whole.add(file.revision_of(raw))
        self._witness.before_placing()
        placed = None
        try:
            placed = self._real_write(path, raw, expected)
        finally:
            # One that broke off may have put it all the same.
            if placed or (placed is None and self.raw() == raw and here != file.revision_of(raw)):
                untouched = version == self.version or self._saved in (here, self.hash)
                self._referee.expect(
                    seen and untouched,
                    "no lost update",
                    f"{str(here)[:8]} is gone, and its writer never saw it",
                )
                self.version += 1
                self._witness.placed(raw)
        if placed:
            self._stamp(path)
            self.tell(0.001, moved=True)
        self._step()
        return placed

    def sync(self, _: int) -> None:
        """In the place of `os.fsync`."""
        self._step()
        if self.save_in > 0:
            self.save_in -= 1
            if self.save_in == 0:
                self.met["saved in the middle of a write"] += 1
                self.save(self.to_save)
                self.tell(0.0, moved=True)
        if self._time.now < self.full_until:
            self.met["no space"] += 1
            raise OSError(errno.ENOSPC, "No space left on device")

    def _step(self) -> None:
        if self.crash_in > 0:
            self.crash_in -= 1
            self._gone = self.crash_in == 0
        if self._gone:
            # And whatever would mend what it has left behind is gone with it.
            raise Crash("in the middle of a write")

    @property
    def is_slow(self) -> bool:
        wrong = max(self.slow_until, self.slowest_until, self.full_until, self.locked_until)
        return self._time.now < max(wrong, self._busy_until)

    def _delays(self) -> tuple[float, float]:
        delays = DELAYS if self._time.now >= self.slow_until else SLOW
        delays = delays if self._time.now >= self.slowest_until else SLOWEST
        self.met["slow job"] += delays is not DELAYS
        return self._random.choice(delays), self._random.choice(delays)

    async def job(self, do: Callable[..., T], *args: Any) -> T:
        """In the place of `asyncio.to_thread`: it takes its time, and is done whether somebody still waits or not."""
        if self.owner is None:
            raise asyncio.CancelledError
        before, after = self._delays()
        self._busy_until = max(self._busy_until, self._time.now + before + after)
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

    # The store's thread

    async def in_line(self, do: Callable[[], T]) -> T:
        """In the place of the one thread that writes: jobs are done, and told to be done, one after the other."""
        if self.owner is None:
            raise asyncio.CancelledError
        takes, _ = self._delays()
        self._line_ends = max(self._line_ends, self._time.now) + takes
        self._busy_until = max(self._busy_until, self._line_ends)
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        if self._in_line or self._line_ends > self._time.now:
            self._in_line += 1
            owner = self.owner
            self._time.after(self._line_ends - self._time.now, lambda: self._do_in_line(owner, done, do))
        else:
            _settle(done, *_try(do))
            await asyncio.sleep(0)
        return await done

    def _do_in_line(self, owner: object, done: asyncio.Future[Any], do: Callable[..., Any]) -> None:
        if owner is self.owner:
            self._in_line -= 1
            _settle(done, *_try(do))

    def commit(self, do: Callable[[], float]) -> float:
        """One commit of the store, before and after which the process may be gone."""
        if self._gone:
            raise Crash("in the middle of a write")
        left, when = self.crash_at_commit
        self.crash_at_commit = max(left - 1, 0), when
        if left == 1 and when == "before":
            raise Crash("right before a commit")
        if self._time.now < self.full_until:
            self.met["no space for a commit"] += 1
            raise sqlite3.OperationalError("database or disk is full")
        if self._time.now < self.locked_until:
            self.met["store locked"] += 1
            raise sqlite3.OperationalError("database is locked")
        seconds = do()
        if left == 1:
            raise Crash("right after a commit")
        return seconds

    def lose_owner(self) -> None:
        self.owner = self.watcher = None
        self._gone = False
        self.bases.clear()
        self._in_line, self._line_ends = 0, 0.0
        for database in self.databases:
            database.leave_beside()
            database.close()
        self.databases.clear()

    def calm(self) -> None:
        self.slow_until = self.slowest_until = self.full_until = self.locked_until = 0.0
        self.crash_in = self.save_in = 0
        self.crash_at_commit = 0, ""
        self.let_go()


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
