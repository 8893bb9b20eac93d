"""What a message costs: a burst over many chats, and an even stream; the gateway and the bare echo loop in turn."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
from pathlib import Path
from typing import Any

from tests.bench.bot_api import TOKEN, BotApi
from tests.bench.counts import Counts
from tests.bench.programs import ECHO, GATEWAY, Program
from tests.real.process import config_text, telegram_account

CHATS = 200
RATE = 50


async def one(name: str, api: BotApi, counts: Counts) -> dict[str, Any]:
    """One program from its start to its end: once it is warm, first the stream, then the burst."""
    with tempfile.TemporaryDirectory() as folder_name:
        folder = Path(folder_name)
        account = telegram_account(
            "main", TOKEN, api.url, poll_timeout_s=30, sends_per_second=0, sends_per_second_in_a_chat=0
        )
        (folder / "gateway.yaml").write_text(config_text(account))
        async with Program(name, folder, api) as program:
            await program.first_poll()
            await program.ready()
            await api.call(
                "burst", count=counts.burst, chats=CHATS
            )  # to warm up: a program runs for days, not for seconds
            await asyncio.sleep(counts.settle_s)
            waits = (await api.call("even", rate=RATE, seconds=counts.stream_s, chats=CHATS))["waits_ms"]
            await asyncio.sleep(counts.settle_s / 2)
            before = program.cpu()
            burst = await api.call("burst", count=counts.burst, chats=CHATS)
            spent = program.cpu() - before
    return {
        "program": name,
        "per_s": counts.burst / burst["seconds"],
        "cpu_ms": spent / counts.burst,
        "p50_ms": statistics.median(waits),
        "p99_ms": statistics.quantiles(waits, n=100)[98],
    }


async def messages(api: BotApi, counts: Counts) -> list[dict[str, Any]]:
    """Each program several times, in turn, so that what else the machine does befalls both."""
    return [await one(name, api, counts) for _ in range(counts.echoes) for name in (GATEWAY, ECHO)]
