"""Whoever speaks to the Bot API server in its tests: calls with their answers, and polls on a bare socket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from .telegram import FakeTelegram

TOKEN = "1001:secret"
ONE_RECEIVER = "make sure that only one bot instance is running"
TERMINATED = f"Conflict: terminated by other getUpdates request; {ONE_RECEIVER}"


class Client:
    """A bot program: calls methods over one pool of connections."""

    def __init__(self, telegram: FakeTelegram, session: aiohttp.ClientSession) -> None:
        self._telegram = telegram
        self._session = session

    async def call(self, method: str, token: str = TOKEN, **params: Any) -> dict[str, Any]:
        url = f"{self._telegram.url}/bot{token}/{method}"
        async with self._session.post(url, json=params) as response:
            body: dict[str, Any] = await response.json()
            assert response.status == (200 if body["ok"] else body["error_code"])
            return body

    async def poll(self, **params: Any) -> list[int]:
        body = await self.call("getUpdates", **params)
        return [update["update_id"] for update in body["result"]]

    def start_poll(self, **params: Any) -> asyncio.Task[dict[str, Any]]:
        return asyncio.create_task(self.call("getUpdates", **params))


def connect(telegram: FakeTelegram) -> socket.socket:
    """A bare connection, whose bytes and end a test controls without the event loop."""
    where = urlsplit(telegram.url)
    return socket.create_connection((where.hostname, where.port))


def send_poll(sock: socket.socket, timeout: int = 30) -> None:
    head = f"GET /bot{TOKEN}/getUpdates?timeout={timeout} HTTP/1.1\r\nHost: fake\r\n\r\n"
    sock.sendall(head.encode())


async def reaches(holds: Callable[[], bool], timeout: float = 10.0) -> None:
    async with asyncio.timeout(timeout):
        while not holds():
            await asyncio.sleep(0.001)
