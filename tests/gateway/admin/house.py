"""A gateway with its real control plane, on virtual time: server and clients share one loop, so nothing waits for real."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any

import aiohttp
from structlog.testing import capture_logs

from gateway.admin.server import AdminServer
from gateway.app import App
from tests.gateway.configs import telegram
from tests.gateway.process.house import House
from tests.protocol.frames import session
from tests.virtual import run_virtual

TOKEN = "the-admin-token"
SECRET = "one-secret-token"
TEXT = telegram(main=f"token: {SECRET}") + "  webchat: {accounts: {default: {}}}\n"
MAIN, CHAT = "telegram/main", "webchat/default"
CLIENT = {"id": "test", "version": "1", "platform": "linux", "mode": "test"}


class AdminHouse(House):
    """As `House`, and it can be spoken to."""

    def __init__(self, folder: Path, text: str = TEXT) -> None:
        super().__init__(folder, text)
        self.server: AdminServer | None = None
        self.session: aiohttp.ClientSession | None = None
        self.frames: list[str] = []
        """Every text that any client was sent."""

    async def _make_control_plane(self) -> Any:
        self.server = await App._make_control_plane(self)  # type: ignore[assignment]
        return self.server

    async def __aenter__(self) -> AdminHouse:
        await super().__aenter__()
        self.session = session()
        for name in self._ledger.applied.accounts():
            await self.until_account(name, "running")
        return self

    async def __aexit__(self, *error: object) -> None:
        if self.session is not None:
            await self.session.close()
        await super().__aexit__(*error)
        for text in self.frames:
            assert TOKEN not in text
            assert SECRET not in text

    @property
    def url(self) -> str:
        return self.boots[-1]

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    async def http(
        self, method: str, path: str, *, token: str | None = TOKEN, headers: dict[str, str] | None = None, **more: Any
    ) -> tuple[int, Any, Mapping[str, str]]:
        """Status, body (JSON where it is), headers."""
        assert self.session is not None
        sent = ({"Authorization": f"Bearer {token}"} if token is not None else {}) | (headers or {})
        async with self.session.request(method, self.url + path, headers=sent, **more) as response:
            text = await response.text()
            self.frames.append(text)
            body = json.loads(text) if response.content_type == "application/json" else text
            return response.status, body, response.headers

    async def dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A bare connection, for what no client of HTTP would say."""
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def open(self, path: str = "/ws", **more: Any) -> Socket:
        """A connection that has been challenged, and no more."""
        assert self.session is not None
        socket = Socket(self, await self.session.ws_connect(self.url + path, max_msg_size=0, **more))
        challenge = await socket.receive()
        assert (challenge["type"], challenge["event"]) == ("event", "connect.challenge")
        assert challenge["payload"]["nonce"]
        return socket

    async def sign_in(self, token: str = TOKEN, path: str = "/ws", **more: Any) -> Socket:
        socket = await self.open(path)
        answer = await socket.connect(token, **more)
        assert answer["ok"], answer
        socket.hello = answer["payload"]
        return socket


class Socket:
    """One client of the WebSocket, frame by frame."""

    def __init__(self, house: AdminHouse, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.house = house
        self.socket = socket
        self.hello: dict[str, Any] = {}
        self.events: list[dict[str, Any]] = []
        self._number = 0

    async def receive(self, timeout: float = 100.0) -> dict[str, Any]:
        message = await self.socket.receive(timeout)
        assert message.type is aiohttp.WSMsgType.TEXT, message
        self.house.frames.append(message.data)
        frame: dict[str, Any] = json.loads(message.data)
        return frame

    async def closed(self) -> int | None:
        """The code that it was closed with; what comes before that is kept."""
        while True:
            message = await self.socket.receive(100.0)
            if message.type is not aiohttp.WSMsgType.TEXT:
                return self.socket.close_code
            self.house.frames.append(message.data)
            self.events.append(json.loads(message.data))

    async def send(self, **frame: Any) -> None:
        await self.socket.send_json(frame)

    async def connect(self, token: str | None = TOKEN, **more: Any) -> dict[str, Any]:
        params = {
            "minProtocol": 4,
            "maxProtocol": 4,
            "client": CLIENT,
            "auth": {"token": token} if token else {},
        } | more
        await self.send(type="req", id="connect", method="connect", params=params)
        return await self.receive()

    async def answer(self, request: str) -> dict[str, Any]:
        """The response to a request; events that come first are kept."""
        while True:
            frame = await self.receive()
            if frame["type"] == "res":
                assert frame["id"] == request, frame
                return frame
            self.events.append(frame)

    async def request(self, method: str, params: Any = None) -> dict[str, Any]:
        self._number += 1
        await self.send(type="req", id=str(self._number), method=method, params=params)
        return await self.answer(str(self._number))

    async def ask(self, method: str, **params: Any) -> Any:
        """The payload of a request that must succeed."""
        frame = await self.request(method, params)
        assert frame["ok"], frame
        return frame["payload"]

    async def event(self, name: str) -> dict[str, Any]:
        """The next event of this name, and what came before it is kept."""
        for number, frame in enumerate(self.events):
            if frame["event"] == name:
                return self.events.pop(number)
        while (frame := await self.receive())["type"] != "event" or frame["event"] != name:
            self.events.append(frame)
        return frame


def run(main: Coroutine[Any, Any, None]) -> list[dict[str, Any]]:
    """Run it; the log lines."""
    with capture_logs() as lines:
        run_virtual(main)
    return [dict(line) for line in lines]
