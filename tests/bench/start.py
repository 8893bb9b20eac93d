"""The cold start: from the spawn of the process to its first getUpdates, beside a bare poll loop."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from tests.bench.bot_api import BotApi
from tests.bench.counts import Counts
from tests.bench.numbers import summary
from tests.bench.programs import BARE, GATEWAY, Program

Start = tuple[float, float | None]


async def once(name: str, folder: Path, api: BotApi) -> Start:
    """One start: milliseconds to the first poll, and to `gateway ready`."""
    async with Program(name, folder, api) as program:
        return await program.first_poll(), await program.ready()


async def starts(api: BotApi, folder: Path, counts: Counts) -> dict[str, Any]:
    """In turn, so that whatever else the machine does meets both; one of each before, which leaves the .pyc files."""
    for name in (GATEWAY, BARE):
        await once(name, folder, api)
    pairs = [(await once(GATEWAY, folder, api), await once(BARE, folder, api)) for _ in range(counts.pairs)]
    ours, bare = [pair[0][0] for pair in pairs], [pair[1][0] for pair in pairs]
    return {
        "pairs": counts.pairs,
        "gateway_ms": summary(ours),
        "bare_ms": summary(bare),
        "gateway_ready_ms": summary([pair[0][1] or 0.0 for pair in pairs]),
        "ratio": round(statistics.median(ours) / statistics.median(bare), 3),
        "ratio_of_pairs": summary([mine / other for mine, other in zip(ours, bare, strict=True)]),
    }
