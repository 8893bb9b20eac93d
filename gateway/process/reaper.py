"""Children that nobody waits for: process 1 of a container is given what handlers' programs leave behind, and a program that was
begun anew in its own process has what it had begun before.

Whoever starts a program here waits for it in a thread, and has it within moments of its end. So a child that has ended, and
is still there a while later, is nobody's.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path

import structlog

log: structlog.stdlib.BoundLogger = structlog.get_logger()

LOOK_EVERY = 5.0
"""Seconds. Twice that at the most is a child there that has ended."""
ENDED = "Z"


async def reap() -> None:
    """Let them go, as long as there may be any. Where it is not process 1, those are the ones that it was begun with."""
    inherited = set(_children())
    seen: set[int] = set()
    while (is_first := os.getpid() == 1) or inherited:
        await asyncio.sleep(LOOK_EVERY)
        ended = {pid for pid, state in _children().items() if state == ENDED} if _any_has_ended() else set()
        for pid in ended & seen:
            if is_first or pid in inherited:
                _let_go(pid)
                inherited.discard(pid)
        seen = ended


def _let_go(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    log.debug("child_reaped", pid=pid)


def _any_has_ended() -> bool:
    """One call to the kernel."""
    try:
        return os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return False


def _children() -> dict[int, str]:
    """By PID the state of each, as the kernel writes it."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The name before it may hold anything, brackets too.
            state, parent = stat.read_text(errors="replace").rpartition(")")[2].split()[:2]
            if int(parent) == os.getpid():
                found[int(stat.parent.name)] = state
    return found
