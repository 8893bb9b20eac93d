"""Children that nobody waits for are let go, and those that somebody waits for are not taken from him."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import pytest

from gateway.process import reaper
from gateway.process.reaper import reap

SLEEPS = [sys.executable, "-c", ""]


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reaper, "LOOK_EVERY", 0.2)


def exists(pid: int) -> bool:
    return pid in reaper._children()


async def test_what_it_was_begun_with_is_let_go_when_it_has_ended() -> None:
    left = os.posix_spawn(sys.executable, SLEEPS, os.environ)
    async with asyncio.timeout(20):
        await reap()
    assert not exists(left)


async def test_what_somebody_else_has_begun_since_is_his() -> None:
    """Whoever starts a program here, and looks much later at how it ended, still finds it."""
    left = os.posix_spawn(sys.executable, [sys.executable, "-c", "import time; time.sleep(1.5)"], os.environ)
    reaping = asyncio.ensure_future(reap())
    await asyncio.sleep(0)
    mine = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])
    async with asyncio.timeout(20):
        await reaping
    assert not exists(left)
    assert mine.wait() == 3


async def test_where_there_is_nothing_to_do_nobody_looks_again(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[None] = []

    def none() -> dict[int, str]:
        looks.append(None)
        return {}

    monkeypatch.setattr(reaper, "_children", none)
    async with asyncio.timeout(5):
        await reap()
    assert len(looks) == 1
