"""The cold start: from the spawn of the process to its first getUpdates, beside a bare poll loop."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any, NamedTuple

from tests.bench.bot_api import BotApi
from tests.bench.counts import Counts
from tests.bench.numbers import summary
from tests.bench.programs import BARE, GATEWAY, Program


class Start(NamedTuple):
    """One start, in milliseconds."""

    first_poll: float
    cpu: float
    """CPU time when the server said that the poll is there: what other work on the machine cannot change much.
    The gateway goes on meanwhile (it imports its server), so this is a little to its disadvantage."""
    ready: float | None


async def once(name: str, folder: Path, api: BotApi) -> Start:
    async with Program(name, folder, api) as program:
        return Start(await program.first_poll(), program.cpu(), await program.ready())


async def starts(api: BotApi, folder: Path, counts: Counts) -> dict[str, Any]:
    """In turn, so that whatever else the machine does meets both; one of each before, which leaves the .pyc files."""
    for name in (GATEWAY, BARE):
        await once(name, folder, api)
    pairs = [(await once(GATEWAY, folder, api), await once(BARE, folder, api)) for _ in range(counts.pairs)]
    ours, bare = zip(*pairs, strict=True)
    return {
        "pairs": counts.pairs,
        "gateway_ms": summary([each.first_poll for each in ours]),
        "bare_ms": summary([each.first_poll for each in bare]),
        "gateway_ready_ms": summary([each.ready or 0.0 for each in ours]),
        "gateway_cpu_ms": summary([each.cpu for each in ours]),
        "bare_cpu_ms": summary([each.cpu for each in bare]),
        "ratio": ratio([each.first_poll for each in ours], [each.first_poll for each in bare]),
        "cpu_ratio": ratio([each.cpu for each in ours], [each.cpu for each in bare]),
        "ratio_of_pairs": summary([mine.first_poll / other.first_poll for mine, other in pairs]),
    }


def ratio(ours: list[float], theirs: list[float]) -> float:
    """Of the medians."""
    return round(statistics.median(ours) / statistics.median(theirs), 3)
