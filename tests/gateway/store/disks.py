"""Disks that are full: a limit that stands for one, and one that really is."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def full(path: Path) -> Iterator[None]:
    """No file of this process may grow, for a while: as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    largest = max((file.stat().st_size for file in path.parent.iterdir() if file.suffix != ".filler"), default=0)
    resource.setrlimit(resource.RLIMIT_FSIZE, (min(largest, 4_096), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def mounted(folder: Path) -> Iterator[None]:
    """A disk of its own under a folder."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "test", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Until nothing more fits."""
    filler = folder / "filler"
    with filler.open("ab", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4_096))
        except OSError:
            return filler
