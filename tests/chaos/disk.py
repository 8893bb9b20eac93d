"""The disk under the gateway's folder: one that can be full, and a folder whose permissions can be taken away.

As root the folder is a small tmpfs, which is filled up. Where nothing can be mounted, the limit on the size of files that a
process may write (RLIMIT_FSIZE) stands in for it: the gateway's writes then fail as they do on a full disk.
Root may write everywhere; so as root the gateway runs without the capabilities that make it so.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

SIZE = "256m"
"""An hour of chaos leaves some 50 MB of messages and journal: the disk is full when it is filled, and not before."""
CHUNKS = (1024 * 1024, 4096)
ROOT = os.geteuid() == 0
LEAST = 64
"""Bytes that a file may have while the limit stands in for a full disk: the PID in the lock fits."""


class Disk:
    """`kind` is tmpfs or limit: how a full disk is made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kind = "limit"
        self._filler = folder / "filler"
        self._full = False
        self._freed_at = float("-inf")

    def was_full(self, since: float) -> bool:
        """Whether there was no room at some moment since then (monotonic seconds)."""
        return self._full or self._freed_at >= since

    @classmethod
    @contextlib.contextmanager
    def under(cls, folder: Path) -> Iterator[Disk]:
        """Put a small disk under the folder if that can be done, and take it away again."""
        folder.mkdir(parents=True, exist_ok=True)
        disk = cls(folder)
        mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=0700", "chaos", str(folder)]
        if ROOT and subprocess.run(mount, capture_output=True, check=False).returncode == 0:
            disk.kind = "tmpfs"
        try:
            yield disk
        finally:
            if disk.kind == "tmpfs":
                subprocess.run(["umount", "--lazy", str(folder)], check=True)

    def fill(self, pid: int) -> None:
        """From now on nothing more can be written."""
        self._full = True
        if self.kind == "limit":
            _limit_files(pid, LEAST)
            return
        for size in CHUNKS:
            with contextlib.suppress(OSError), self._filler.open("ab", buffering=0) as filler:
                while filler.write(bytes(size)) == size:
                    """Until there is no room for another one."""

    def free(self, pid: int) -> None:
        self._full, self._freed_at = False, time.monotonic()
        if self.kind == "limit":
            _limit_files(pid, None)
        self._filler.unlink(missing_ok=True)


def _limit_files(pid: int, size: int | None) -> None:
    """A process that has ended meanwhile has no limits."""
    with contextlib.suppress(ProcessLookupError):
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard if size is None else size, hard))


def obedient(command: list[str]) -> list[str] | None:
    """The command, run so that it must obey permissions; None when that cannot be done here."""
    if not ROOT:
        return command
    setpriv = shutil.which("setpriv")
    return [setpriv, "--bounding-set=-dac_override,-dac_read_search", *command] if setpriv else None
