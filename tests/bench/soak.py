"""Many messages through one gateway: what of it grows. `python -m tests.bench.soak [--messages 100000]`."""

from __future__ import annotations

import argparse
import asyncio
import re
import tempfile
from pathlib import Path

import aiohttp
import psutil

from tests.bench.bot_api import TOKEN, BotApi
from tests.bench.programs import GATEWAY, Program
from tests.real.process import TOKEN as ADMIN
from tests.real.process import config_text, telegram_account

CHATS = 200
PIECES = 20
KEPT = 10_000
STORE = "gateway.sqlite3"


async def soak(messages: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with BotApi() as api:
            account = telegram_account("main", TOKEN, api.url, sends_per_second=0, sends_per_second_in_a_chat=0)
            extra = f"store: {{keep_messages: {KEPT}}}\n"
            (folder / "gateway.yaml").write_text(config_text(account, extra=extra))
            async with Program(GATEWAY, folder, api) as program:
                await program.first_poll()
                await program.ready()
                process = psutil.Process(program.process.pid)
                print(f"{'messages':>9}  {'a second':>8}  {'RSS MB':>7}  {'store MB':>8}", flush=True)
                for piece in range(PIECES):
                    burst = await api.call("burst", count=messages // PIECES, chats=CHATS)
                    stored = sum(file.stat().st_size for file in (folder / ".gateway").glob(f"{STORE}*"))
                    done, rate = (piece + 1) * messages // PIECES, messages / PIECES / burst["seconds"]
                    memory = process.memory_info().rss
                    print(f"{done:>9,}  {rate:>8,.0f}  {memory / 2**20:>7.1f}  {stored / 2**20:>8.1f}", flush=True)
                url = (folder / ".gateway" / "address").read_text().strip()
                print(await _lag(url))


async def _lag(url: str) -> str:
    """The loop's lag at the 99th percentile: the bound of the bucket that it is in."""
    headers = {"Authorization": f"Bearer {ADMIN}"}
    async with aiohttp.ClientSession() as session, session.get(f"{url}/metrics", headers=headers) as response:
        text = await response.text()
    buckets = re.findall(r'gateway_loop_lag_seconds_bucket\{le="([^"]+)"\} (\S+)', text)
    most = float(buckets[-1][1])
    bound = next(bound for bound, count in buckets if float(count) >= 0.99 * most)
    return f"loop lag p99: at most {bound} s ({most:.0f} looks)"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.soak", description=__doc__)
    parser.add_argument("--messages", type=int, default=100_000)
    asyncio.run(soak(parser.parse_args().messages))


if __name__ == "__main__":
    main()
