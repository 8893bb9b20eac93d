"""`python -m tests.bench [--json bench.json] [--quick]`: measure, print a table, write a file. It judges nothing: 0 when it ran."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.bench import table
from tests.bench.bot_api import BotApi
from tests.bench.counts import FULL, QUICK, SMOKE, Counts
from tests.bench.idle import idles
from tests.bench.messages import messages
from tests.bench.page import pages
from tests.bench.programs import prepare
from tests.bench.reload import reloads
from tests.bench.restart import restarts
from tests.bench.scale import scales
from tests.bench.start import starts
from tests.bench.writes import writes


async def measure(counts: Counts) -> dict[str, Any]:
    """Everything, one after another: no two measurements share the machine."""
    began, load = time.monotonic(), os.getloadavg()[0]
    async with BotApi() as api:
        with tempfile.TemporaryDirectory() as name:
            folder = prepare(Path(name), api)
            say("cold start")
            start = await starts(api, folder, counts)
            say("idle")
            idle = await idles(api, folder, counts)
        say("reload")
        reload = await reloads(api, counts)
        say("restart")
        restart = await restarts(api, counts)
        say("a long config")
        written = await writes(counts)
        say("one of many accounts")
        scale = await scales(api, counts)
        say("messages")
        echoed = await messages(api, counts)
        say("the page")
        page = await pages(api, counts)
    about = {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "python": platform.python_version(),
        "cpus": len(os.sched_getaffinity(0)),
        "load": [load, os.getloadavg()[0]],
        "took_s": round(time.monotonic() - began, 1),
        "counts": asdict(counts),
    }
    return {
        "about": about, "reload": reload, "idle": idle, "start": start, "restart": restart, "writes": written,
        "scale": scale, "messages": echoed, "page": page,
    }  # fmt: skip


def say(what: str) -> None:
    print(f"measuring: {what} ...", file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", default=Path("bench.json"), help="default: bench.json")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    parser.add_argument("--smoke", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    results = asyncio.run(measure(SMOKE if given.smoke else QUICK if given.quick else FULL))
    given.json.write_text(json.dumps(results, indent=2) + "\n")
    print(table.whole(results))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
