"""One gateway a state folder: a kernel lock, which the death of its holder releases, whatever kind of death it was."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from gateway.errors import LockedError


class StateLock:
    """Holds `<state folder>/lock`; the file's text is the holder's PID, for the message of the one that comes second."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / "lock"
        self._descriptor = -1

    @property
    def descriptor(self) -> int:
        """Handed on to the next image of the process, which then holds it; -1 while it is not held."""
        return self._descriptor

    def take_over(self, descriptor: int) -> None:
        """It is held already: an image of this process before this one has handed it on."""
        self._descriptor = descriptor

    def acquire(self) -> None:
        """Raises LockedError, which names the holder, and OSError where there can be no lock file."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            text = os.read(descriptor, 32).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise LockedError(str(self._path.parent), int(text) if text.isdigit() else 0) from error
        self._descriptor = descriptor
        self._sign(f"{os.getpid()}\n".encode())

    def _sign(self, name: bytes) -> None:
        """The lock holds without it: a full disk must not keep a gateway from coming up."""
        with contextlib.suppress(OSError):
            # Written before it is cut: where an older holder's name stands no new block is needed.
            os.pwrite(self._descriptor, name, 0)
            os.ftruncate(self._descriptor, len(name))

    def release(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
