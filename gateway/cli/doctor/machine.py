"""This machine: the state folder, room on its disk, files that may be open, and being told of edits."""

from __future__ import annotations

import os
import resource
import stat
from collections.abc import Iterator
from pathlib import Path

from gateway.cli.doctor.finding import Finding, Patient, Severity
from gateway.process.budget import LIMIT, REMEDY, limit_of, shortfall

MEGABYTE = 1 << 20
LITTLE, NONE = 200 * MEGABYTE, 20 * MEGABYTE
"""Bytes that are free: below the first the store has room for days, below the second for hours."""
FILES, FILES_OF_AN_ACCOUNT = 128, 8
"""Descriptors of the gateway itself, and of an account that polls and answers a few chats at once."""
REMOTE = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "glusterfs", "ceph", "afs"})
"""File systems on which neither SQLite's log nor the kernel's locks can be relied on: https://sqlite.org/wal.html, section 1."""


def state_folder(patient: Patient) -> Iterator[Finding]:
    """Whether a gateway could keep its files there, and whether others can read them."""
    folder, elsewhere = patient.state_dir, "mend that, or name another with --state-dir"
    if not folder.exists():
        parent = next(each for each in folder.absolute().parents if each.exists())
        if os.access(parent, os.W_OK | os.X_OK):
            yield Finding("state", Severity.OK, f"{folder} does not exist yet: the first start makes it")
        else:
            yield Finding("state", Severity.ERROR, f"{folder} cannot be made: {parent} may not be written", elsewhere)
        return
    if not folder.is_dir():
        yield Finding("state", Severity.ERROR, f"{folder} is no folder", elsewhere)
        return
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        yield Finding("state", Severity.ERROR, f"this user may not write to {folder}", elsewhere)
        return
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        yield Finding(
            "state", Severity.WARNING, f"others can look into {folder}: its mode is {mode:04o}", f"chmod 700 {folder}"
        )
    kind = _file_system(folder)
    if kind in REMOTE:
        yield Finding(
            "state",
            Severity.WARNING,
            f"{folder} is on a file system of another machine ({kind}): locks and the store cannot be relied on there",
            "name a folder on a local disk with --state-dir",
        )
    yield Finding("state", Severity.OK, f"{folder} can be used ({kind or 'unknown file system'})")


def _file_system(folder: Path) -> str:
    """Its kind, "" where nobody says."""
    try:
        mounts = [line.split(" - ") for line in Path("/proc/self/mountinfo").read_text("utf-8").splitlines()]
    except OSError:
        return ""
    # The last one mounted at a place is the one that is seen there.
    kinds = {left.split()[4]: right.split()[0] for left, right in mounts}
    real = Path(os.path.realpath(folder))
    return next((kinds[place] for each in (real, *real.parents) if (place := str(each)) in kinds), "")


def disk(patient: Patient) -> Iterator[Finding]:
    """Room for the store, the log and the next version of the config."""
    for folder in dict.fromkeys((_existing(patient.state_dir), _existing(patient.path))):
        found = os.statvfs(folder)
        free = found.f_bavail * found.f_frsize
        said = f"{free // MEGABYTE:,} MB are free at {folder}"
        if found.f_files and not found.f_favail:
            yield Finding("disk", Severity.ERROR, f"no file can be made at {folder}: no inode is left", "remove files")
        elif free < LITTLE:
            severity = Severity.ERROR if free < NONE else Severity.WARNING
            yield Finding("disk", severity, said, "make room; `store.keep_days` says how long messages are kept")
        else:
            yield Finding("disk", Severity.OK, said)


def _existing(path: Path) -> Path:
    return next(each for each in path.absolute().parents if each.exists()) if not path.is_dir() else path.absolute()


def descriptors(patient: Patient) -> Iterator[Finding]:
    """Each account holds connections, and each is an open file."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    accounts = len(patient.config.accounts()) if patient.config is not None else 0
    needed = FILES + FILES_OF_AN_ACCOUNT * accounts
    said = f"{limit:,} files may be open at once"
    if limit != resource.RLIM_INFINITY and limit < needed:
        yield Finding(
            "files",
            Severity.WARNING,
            f"{said}, and {accounts:,} accounts may need {needed:,}",
            f"ulimit -n {needed}, or LimitNOFILE={needed} in the systemd unit",
        )
    else:
        yield Finding("files", Severity.OK, said)


def stopping(patient: Patient) -> Iterator[Finding]:
    """Whether a stop ends before a supervisor would kill the process. Of one that runs its own environment counts."""
    if patient.config is None or patient.address is not None:
        return
    wanted = patient.config.gateway.restart.drain_timeout_ms / 1000
    try:
        limit = limit_of(os.environ)
    except ValueError as error:
        yield Finding("stop", Severity.WARNING, str(error), f"set {LIMIT} to seconds, or unset it")
        return
    if short := shortfall(wanted, limit):
        yield Finding("stop", Severity.WARNING, short, REMEDY)
    else:
        allowed = "nothing says that it is ended sooner" if limit is None else f"{LIMIT} allows {limit:g} s"
        yield Finding("stop", Severity.OK, f"a stop may take {wanted:g} s, and {allowed}")


def watching(patient: Patient) -> Iterator[Finding]:
    """Whether edits of the file are told by the kernel: tried, the way a gateway does it."""
    # Not imported by the other commands.
    from watchdog.events import FileSystemEventHandler  # noqa: PLC0415
    from watchdog.observers import Observer  # noqa: PLC0415

    observer = Observer()
    try:
        observer.schedule(FileSystemEventHandler(), str(_existing(patient.path)))
        observer.start()
    except OSError as error:
        yield Finding(
            "watch",
            Severity.WARNING,
            f"edits of {patient.path} are not told by the kernel ({error.strerror or error}): they are noticed by polling",
            "raise fs.inotify.max_user_instances and fs.inotify.max_user_watches with sysctl",
        )
        return
    observer.stop()
    observer.join()
    yield Finding("watch", Severity.OK, f"edits of {patient.path} are told by the kernel")
