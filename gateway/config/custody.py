"""Whose the config file is: one that somebody else owns is never written, only followed.

A file that nobody may write, a mount that brings a new version as a whole (a ConfigMap), a file that was mounted alone:
its source is elsewhere, and what we wrote would be lost, or could not be written at all.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from gateway.errors import ConfigOwnedError

LINKS = 40
"""Links on the way to a file that are followed: as many as the kernel does."""
ANYBODY = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH


def refuse_if_owned(path: Path) -> None:
    """Raises ConfigOwnedError, which says whose the file is and what to do."""
    if owner := custody_of(path):
        raise ConfigOwnedError(str(path), owner)


def custody_of(path: Path) -> str | None:
    """Why the file is not ours to write, None where it is. Of a file that is not there it is asked whether it can be made."""
    target = Path(os.path.realpath(path))
    try:
        if any(link.name == "..data" for link in _links(path)):
            return "it comes from a mount that is replaced as a whole (its path leads through ..data)"
        return (_custody_of_file(target) if target.is_file() else None) or _custody_of_folder(target.parent)
    except OSError:
        return None  # it is being replaced, or cannot be reached: the write itself will find out


def _custody_of_file(path: Path) -> str | None:
    mode = path.stat().st_mode
    if not mode & ANYBODY:
        # Our own write puts a new file in its place, for which its mode is no hindrance: this must be asked for.
        return f"its mode, {stat.S_IMODE(mode):04o}, lets nobody write it"
    if _mount_of(path) != _mount_of(path.parent):
        return "it is a mount of its own, and another file cannot take its place"
    return None


def _custody_of_folder(folder: Path) -> str | None:
    """A write puts a new file into the folder, so it is the folder's permission that counts."""
    if not folder.is_dir() or os.access(
        folder, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids
    ):
        return None
    if os.statvfs(folder).f_flag & os.ST_RDONLY:
        return f"the file system of {folder} is read-only"
    return f"this user may not write to {folder}"


def _links(path: Path) -> Iterator[Path]:
    """The symlinks on the way to the file, in the order in which they are followed."""
    for _ in range(LINKS):
        link = next((place for place in (*reversed(path.parents), path) if place.is_symlink()), None)
        if link is None:
            return
        yield link
        path = link.parent / link.readlink() / path.relative_to(link)


def _mount_of(path: Path) -> str | int:
    """What the file is mounted with. A bind mount has the device of its source, so the kernel is asked for the mount's number."""
    descriptor = os.open(path, getattr(os, "O_PATH", os.O_RDONLY))
    try:
        with open(f"/proc/self/fdinfo/{descriptor}", encoding="ascii") as lines:  # noqa: PTH123
            return next(line for line in lines if line.startswith("mnt_id:"))
    except (OSError, StopIteration):
        return os.fstat(descriptor).st_dev
    finally:
        os.close(descriptor)
