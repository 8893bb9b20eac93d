"""One receiver an account among all gateways of this machine, whatever their state folders, users and homes.

What an account is to its network (`Account.claim`) is a place in one file, and who receives on it holds the kernel's lock
on that place (fcntl(2), "Advisory record locking"): it names its holder, and the holder's death releases it, whatever kind
of death it was. The lock is the process's own: another image of it that has the file open holds it still. One file for
all: a descriptor for each of a thousand accounts would be more than a process may have open.
"""

from __future__ import annotations

import fcntl
import os
import stat
import struct
import tempfile
from collections.abc import Collection
from pathlib import Path

import structlog

from gateway.config.model import Account, Config
from gateway.errors import ClaimedError
from gateway.journal import Entry
from statemachine.channel import Channel, is_stopped

log: structlog.stdlib.BoundLogger = structlog.get_logger()

FOLDERS = (Path("/run/lock"), Path(tempfile.gettempdir()))
"""Where every user may make a file, and all look in the same order."""
NAME = "gateway-accounts.lock"
FLOCK = "hhqqi0q"
"""struct flock, as fcntl(2) has it: type, whence, start, length, pid."""


class Claims:
    """What this process holds. `descriptor` is the file's, where an image before this one has handed it on."""

    def __init__(self, descriptor: int = -1, folders: tuple[Path, ...] = FOLDERS) -> None:
        self._folders = folders
        self._descriptor = descriptor
        self._held: dict[str, str] = {}
        """Account -> claim."""

    @property
    def descriptor(self) -> int:
        """Handed on to the next image; -1 before anything was claimed."""
        return self._descriptor

    def take(self, account: str, settings: Account) -> None:
        """Hold what an account claims, and let go of what it claimed before. Raises ClaimedError, which names the holder."""
        claim = settings.claim
        if self._held.get(account) == claim:
            return
        if claim is not None and claim not in self._held.values():
            self._lock(account, claim)
        self.give_up(account)
        if claim is not None:
            self._held[account] = claim

    def take_all(self, config: Config, held: Collection[str]) -> None:
        """What a gateway begins with: all at once, or it does not begin. Those `held` a person has stopped. Raises ClaimedError."""
        for name, account in config.accounts().items():
            if account.enabled and name not in held:
                self.take(name, account)
        self._drop_others()

    def give_up(self, account: str) -> None:
        claim = self._held.pop(account, None)
        # Two accounts may be one bot, of which one is being stopped.
        if claim is not None and claim not in self._held.values():
            self._unlock(_place(claim), 1)

    def close(self) -> None:
        """At the very end of the process: nothing of it receives any more."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def note(self, entry: Entry, config: Config) -> None:
        """From a journal listener: an account that rests, and is not to run, is anybody's.

        One that stops because the process ends, or is replaced, is kept: whatever follows has it then.
        """
        if entry.machine not in self._held or entry.standing is None or not isinstance(entry.standing.machine, Channel):
            return
        machine, settings = entry.standing.machine, config.accounts().get(entry.machine)
        if is_stopped(machine) and (machine.data.held or settings is None or not settings.enabled):
            self.give_up(entry.machine)

    def _lock(self, account: str, claim: str) -> None:
        if self._descriptor < 0:
            self._descriptor = _open(self._folders)
        if self._descriptor < 0:
            return
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _place(claim))
        except BlockingIOError as error:
            raise ClaimedError(account, self._holder(claim)) from error
        except OSError as error:
            log.warning("account_not_locked", account=account, why=error.strerror)

    def _holder(self, claim: str) -> int:
        """Its PID; 0 where it is one that this process cannot see, or has gone meanwhile."""
        asked = struct.pack(FLOCK, fcntl.F_WRLCK, os.SEEK_SET, _place(claim), 1, 0)
        kind, _, _, _, pid = struct.unpack(FLOCK, fcntl.fcntl(self._descriptor, fcntl.F_GETLK, asked))
        return 0 if kind == fcntl.F_UNLCK else int(pid)

    def _drop_others(self) -> None:
        """What an image before this one held, and nobody needs any more: all that is between those that are held."""
        start = 0
        for place in sorted({_place(claim) for claim in self._held.values()}):
            if place > start:
                self._unlock(start, place - start)
            start = place + 1
        self._unlock(start, 0)

    def _unlock(self, start: int, length: int) -> None:
        """`length` 0 is all from there on."""
        if self._descriptor >= 0:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN, length, start)


def _place(claim: str) -> int:
    return int(claim, 16)


def _open(folders: tuple[Path, ...]) -> int:
    """The file that all gateways of this machine share; -1 where there can be none, and each goes on without."""
    for folder in folders:
        path = folder / NAME
        for flags in (os.O_RDWR, os.O_RDWR | os.O_CREAT | os.O_EXCL, os.O_RDWR):
            try:
                descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
            except OSError:
                continue
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                os.close(descriptor)
                break
            if flags & os.O_CREAT:
                # Every user's: a lock for writing needs the right to write. Nothing is ever written.
                os.fchmod(descriptor, 0o666)
            return descriptor
    log.warning("accounts_not_locked", folders=[str(each) for each in folders], why="no file can be made there")
    return -1
