"""What a gateway costs that has nothing to do: memory, and CPU time. Beside it the bare poll loop."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import psutil

from tests.bench.bot_api import BotApi
from tests.bench.counts import Counts
from tests.bench.programs import BARE, GATEWAY, Program, cpu_seconds

MB = 1024 * 1024


async def one(name: str, api: BotApi, folder: Path, counts: Counts) -> dict[str, Any]:
    async with Program(name, folder, api) as program:
        await program.first_poll()
        await program.ready()
        await asyncio.sleep(counts.settle_s)
        process = psutil.Process(program.process.pid)
        before = cpu_seconds(process)
        await asyncio.sleep(counts.idle_s)
        spent, memory = cpu_seconds(process) - before, process.memory_full_info()
        return {
            "program": name,
            "seconds": counts.idle_s,
            "cpu_s": round(spent, 4),
            "cpu_percent": round(spent / counts.idle_s * 100, 3),
            **{f"{key}_mb": round(getattr(memory, key) / MB, 1) for key in ("rss", "pss", "uss")},
            "threads": process.num_threads(),
        }


async def idles(api: BotApi, folder: Path, counts: Counts) -> list[dict[str, Any]]:
    """One Telegram account and the web chat, no client."""
    return [await one(name, api, folder, counts) for name in (GATEWAY, BARE)]
