"""Reading a file as it was at one moment, and nothing that is none: a pipe would be waited for, a device has no end."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
from pathlib import Path

READS = 10
READ_PAUSE = 0.02
"""A file that was written to while it was read is read again that often, that many seconds apart."""


class TooLongError(Exception):
    """The file is longer than was asked for, and was not taken into memory. `digest` is its SHA-256, in hex."""

    def __init__(self, size: int, digest: str) -> None:
        super().__init__(f"it is {size:,} bytes long")
        self.size = size
        self.digest = digest


def read_whole(path: Path, most: int) -> bytes:
    """All of it, at most that many bytes. Raises OSError, whose `strerror` is for people, and TooLongError."""
    for _ in range(READS):
        raw = _read_once(path, most)
        if raw is not None:
            return raw
        time.sleep(READ_PAUSE)
    raise OSError(errno.EBUSY, "it changes all the while; save it again when its writer has ended")


def _read_once(path: Path, most: int) -> bytes | None:
    """None when it was written to meanwhile: half of it may be the old one."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        before = os.fstat(descriptor)
        if stat.S_ISDIR(before.st_mode):
            raise OSError(errno.EISDIR, "it is a folder; name the file in it")
        if not stat.S_ISREG(before.st_mode):
            raise OSError(errno.EINVAL, "it is no regular file")
        with os.fdopen(descriptor, "rb", buffering=0, closefd=False) as file:
            if before.st_size > most:
                raise TooLongError(before.st_size, hashlib.file_digest(file, "sha256").hexdigest())
            raw = file.read(before.st_size + 1)  # no more, however fast it grows
        after = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    return raw if (before.st_mtime_ns, before.st_size) == (after.st_mtime_ns, len(raw)) else None
