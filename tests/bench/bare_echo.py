"""What messages are measured against: the least program that echoes with aiohttp. `python -m tests.bench.bare_echo URL`.

It keeps the order within a chat, sends 32 at once, confirms after the whole batch, and keeps nothing: killed in the
middle it answers the batch again, and while a slow answer is made nothing else is received.
"""

import asyncio
import sys
from collections import defaultdict
from typing import Any

import aiohttp

AT_ONCE = 32


async def call(session: aiohttp.ClientSession, method: str, **params: Any) -> Any:
    async with session.post(f"{sys.argv[1]}/{method}", json=params) as response:
        return (await response.json())["result"]


async def echo(session: aiohttp.ClientSession, room: asyncio.Semaphore, updates: list[dict[str, Any]]) -> None:
    for update in updates:
        async with room:
            message = update["message"]
            await call(session, "sendMessage", chat_id=message["chat"]["id"], text=message["text"])


async def main() -> None:
    offset, room = 0, asyncio.Semaphore(AT_ONCE)
    async with aiohttp.ClientSession() as session:
        await call(session, "getMe")
        while True:
            updates = await call(session, "getUpdates", timeout=30, offset=offset)
            chats = defaultdict(list)
            for update in updates:
                chats[update["message"]["chat"]["id"]].append(update)
            await asyncio.gather(*(echo(session, room, of_chat) for of_chat in chats.values()))
            offset = updates[-1]["update_id"] + 1 if updates else offset


if __name__ == "__main__":
    asyncio.run(main())
