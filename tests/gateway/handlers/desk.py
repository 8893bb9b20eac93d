"""What the tests of handlers share: a message, tools, and a web server that does what it is told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from gateway.handlers.base import Tools
from gateway.messages.model import Attachment, Message

MESSAGE = Message(
    "telegram:1:5", "telegram", "main", "77", "9", "ann", "hello", 1_700_000_000_000, kind="media",
    attachments=(Attachment("photo", "a-file", size=12),), reply_to="3",
)  # fmt: skip


def tools(folder: Path, said: list[tuple[str, str]] | None = None, typed: list[str] | None = None) -> Tools:
    async def typing(message: Message) -> None:
        if typed is not None:
            typed.append(message.conversation)

    async def earlier(_: Message, limit: int) -> list[tuple[str, str]]:
        return (said or [])[-limit:]

    return Tools(folder, typing, earlier)


@asynccontextmanager
async def serving(handle: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    """The address of a server that answers every POST so."""
    app = web.Application()
    app.router.add_post("/{path:.*}", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


def answering(*answers: web.Response, heard: list[tuple[web.Request, bytes]] | None = None) -> Any:
    """One answer after another, the last for ever."""
    left = list(answers)

    async def handle(request: web.Request) -> web.Response:
        body = await request.read()
        if heard is not None:
            heard.append((request, body))
        given = left.pop(0) if len(left) > 1 else left[0]
        return web.Response(status=given.status, body=given.body, headers=given.headers)

    return handle
