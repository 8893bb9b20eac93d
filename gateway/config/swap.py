"""Putting a file in another one's place only where that one still holds what was last read of it.

An editor asks for no lock: between a last look and a rename it may save, and the rename would take its work away unseen.
The kernel can swap two files at once; what was replaced is then in our hands, and goes back if it is not what it should be.
Whoever reads in that very moment sees what is being refused, but it is whole, and nothing is lost.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

AT_FDCWD = -100
NO_REPLACE, EXCHANGE = 1, 2
UNKNOWN_HERE = frozenset({errno.ENOSYS, errno.EINVAL})
"""What a kernel, or a file system, says that has no such renames."""


def put(fresh: Path, target: Path, expected: bytes | None) -> bool:
    """Rename `fresh` to `target` if that holds `expected`, or is not there where None is. False: nothing was changed.

    `fresh` is gone afterwards if it was put. Raises OSError; nothing was changed then either.
    """
    if _read(target) != expected:
        return False
    try:
        return _create(fresh, target) if expected is None else _exchange(fresh, target, expected)
    except OSError as error:
        if error.errno not in UNKNOWN_HERE:
            raise
    fresh.replace(target)
    return True


def _create(fresh: Path, target: Path) -> bool:
    try:
        _rename(fresh, target, NO_REPLACE)
    except FileExistsError:
        return False
    return True


def _exchange(fresh: Path, target: Path, expected: bytes) -> bool:
    ours = fresh.stat().st_ino
    try:
        _rename(fresh, target, EXCHANGE)
        if _read(fresh) == expected:
            fresh.unlink()
            return True
        _rename(fresh, target, EXCHANGE)
        if fresh.stat().st_ino != ours:
            # Somebody saved between the two: that is the newer one.
            _rename(fresh, target, EXCHANGE)
    except FileNotFoundError:
        pass  # the target was taken away: then it is not what it should be
    return False


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _rename(source: Path, target: Path, flags: int) -> None:
    if _renameat2()(AT_FDCWD, os.fsencode(source), AT_FDCWD, os.fsencode(target), flags):
        number = _errno()
        raise OSError(number, os.strerror(number), str(target))


@cache
def _renameat2() -> Callable[..., int]:
    """The C library's own; it is not on the way to the first poll."""
    import ctypes  # noqa: PLC0415

    found = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    return found if found is not None else lambda *_: ctypes.set_errno(errno.ENOSYS) or -1


def _errno() -> int:
    import ctypes  # noqa: PLC0415

    return ctypes.get_errno()
