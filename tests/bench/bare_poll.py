"""What a start is measured against: the least program that polls a bot with aiohttp. `python -m tests.bench.bare_poll URL`."""

import asyncio
import sys
from typing import Any

import aiohttp


async def call(session: aiohttp.ClientSession, method: str, **params: Any) -> Any:
    async with session.post(f"{sys.argv[1]}/{method}", json=params) as response:
        return (await response.json())["result"]


async def main() -> None:
    offset = 0
    async with aiohttp.ClientSession() as session:
        await call(session, "getMe")
        while True:
            updates = await call(session, "getUpdates", timeout=30, offset=offset)
            offset = updates[-1]["update_id"] + 1 if updates else offset


if __name__ == "__main__":
    asyncio.run(main())
