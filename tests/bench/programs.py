"""The two programs that are compared, started the same way: same interpreter, `-m`, same environment, same folder."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import time
from pathlib import Path
from typing import Self

import psutil

from tests.bench.bot_api import TOKEN, BotApi
from tests.real.process import ROOT, config_text, telegram_account

GATEWAY, BARE, ECHO = "gateway", "bare poll loop", "bare echo loop"
UNPACED = {"sends_per_second": 0, "sends_per_second_in_a_chat": 0}
"""The stand-in for the network sets no pace."""
READY = re.compile(rb"gateway ready (\S+)")
UNWANTED = frozenset({"PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX"})
"""Where these are set, the run that should leave the compiled files leaves none, and every start compiles."""


class Program:
    """One process with one account that polls; `async with Program(name, folder, api) as program:`."""

    def __init__(self, name: str, folder: Path, api: BotApi) -> None:
        self.name = name
        self._folder = folder
        self._api = api

    async def __aenter__(self) -> Self:
        self._earlier = (await self._api.call("polls"))["count"]
        with (self._folder / "log").open("ab") as log:
            self.began = time.monotonic()
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", *self._arguments(),
                cwd=self._folder, env=environment(),
                stdout=asyncio.subprocess.PIPE, stderr=log,
            )  # fmt: skip
        return self

    def _arguments(self) -> list[str]:
        if self.name == GATEWAY:
            return ["gateway"]
        return [
            "tests.bench.bare_poll" if self.name == BARE else "tests.bench.bare_echo",
            f"{self._api.url}/bot{TOKEN}",
        ]

    async def __aexit__(self, *_: object) -> None:
        if self.process.returncode is None:
            self.process.terminate()
        await self.process.communicate()

    async def first_poll(self) -> float:
        """Milliseconds from the spawn to the arrival of the first getUpdates at the server."""
        arrival: float = (await self._api.call("arrival", number=self._earlier))["at"]
        return (arrival - self.began) * 1000

    def cpu(self) -> float:
        """Milliseconds of CPU time so far, of all its threads."""
        return cpu_seconds(psutil.Process(self.process.pid)) * 1000

    async def ready(self) -> float | None:
        """Milliseconds from the spawn to the line `gateway ready`; the bare loop says nothing."""
        if self.name != GATEWAY:
            return None
        assert self.process.stdout is not None
        while not READY.search(await self.process.stdout.readline()):
            if self.process.stdout.at_eof():
                raise RuntimeError(f"the gateway did not start: see {self._folder / 'log'}")
        return (time.monotonic() - self.began) * 1000


def cpu_seconds(process: psutil.Process) -> float:
    """User and system time together, of all threads, to the nanosecond where the kernel tells it, else in ticks."""
    schedstats = list(Path(f"/proc/{process.pid}/task").glob("*/schedstat"))
    if schedstats:
        return sum(int(each.read_text().split()[0]) for each in schedstats) / 1e9
    times = process.cpu_times()
    return float(times.user + times.system)


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in UNWANTED}
    return {**kept, "PYTHONPATH": str(ROOT)}


def prepare(folder: Path, api: BotApi) -> Path:
    """A folder with a config: one Telegram account, the web chat, and an echo."""
    (folder / "gateway.yaml").write_text(
        config_text(telegram_account("main", TOKEN, api.url, poll_timeout_s=30, **UNPACED))
    )
    return folder
