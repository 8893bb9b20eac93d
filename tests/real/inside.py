"""Looks from the inside of a gateway's process: a Python handler, `look` of `look.py` in its folder, says what it finds there."""

from __future__ import annotations

import asyncio

from tests.real.process import Gateway, config_text

SESSION = "webchat:default:main"


def looking_text(**more: str) -> str:
    """A config whose web chat is answered by the handler."""
    return config_text(**more).replace("echo: {type: echo}", "echo: {type: python, target: 'look:look'}")


async def seen_inside(gateway: Gateway) -> str:
    """What the handler says that it finds now."""
    client = await gateway.client()
    before = len((await client.request("chat.history", {"sessionKey": SESSION}))["messages"])
    key = f"{before} lines"
    await client.request("chat.send", {"sessionKey": SESSION, "message": "look", "idempotencyKey": key})
    while True:
        lines = (await client.request("chat.history", {"sessionKey": SESSION}))["messages"]
        if len(lines) == before + 2:
            return str(lines[-1]["text"])
        await asyncio.sleep(0.02)
