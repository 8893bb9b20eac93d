"""An honest Discord gateway inside the test process: sessions that are started, taken up again or refused, and counted.

It speaks what Discord documents of its gateway: HELLO (10), IDENTIFY (2) and READY, heartbeats (1, 11), RESUME (6) with all
that came since and RESUMED, RECONNECT (7), INVALID_SESSION (9) that can be taken up again or cannot. A session lives on when
its line breaks or is closed with a code of the client's own; one that is closed with 1000 or 1001 is over.

Where it is simpler: a session that nobody takes up does not time out, and starts may follow each other at once. Where it is
harder: a start above `starts_a_day` resets the token at once, as Discord does in the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import WSMsgType, web

from .telegram_wire import Peer

DISPATCH, HEARTBEAT, IDENTIFY, RESUME, RECONNECT, INVALID_SESSION, HELLO, ACKNOWLEDGED = 0, 1, 2, 6, 7, 9, 10, 11
NOT_AUTHENTICATED = 4004
ENDING = (1000, 1001)
"""Codes by which a client ends its session together with the line."""


class Line:
    """One connection of a client, from its side of the kernel: it may be gone before the loop has seen it."""

    def __init__(self, socket: web.WebSocketResponse, request: web.Request) -> None:
        self._socket = socket
        self._peer = Peer(request.transport)
        self.path = request.path
        self.session: Session | None = None
        self.news = asyncio.Event()

    @property
    def receives(self) -> bool:
        return self.session is not None and not self._socket.closed and not self._peer.gone()

    async def send(self, op: int, d: Any = None, **more: Any) -> None:
        with contextlib.suppress(ConnectionError):
            await self._socket.send_json({"op": op, "d": d, **more})

    async def refuse(self, code: int) -> None:
        await self._socket.close(code=code)

    def drop(self) -> None:
        """Break it, as a network does."""
        self._peer.abort(reset=True)

    def let_go(self) -> None:
        self._peer.close()


@dataclass
class Session:
    """What a client was told of, and what it has not been told yet."""

    id: str
    events: list[dict[str, Any]] = field(default_factory=list)
    told: int = 0
    """How many of them went down the present line."""
    line: Line | None = None

    def happens(self, name: str, data: Any) -> None:
        self.events.append({"t": name, "s": len(self.events) + 1, "d": data})
        if self.line is not None:
            self.line.news.set()


class Bot:
    """One account, with all that was counted of it."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.reset = False
        """Its token is none any more: it was started too often."""
        self.identifies = 0
        self.resumes = 0
        self.refused_resumes = 0
        self.most_lines = 0
        """How many received at one moment, at the most."""
        self.sessions: dict[str, Session] = {}
        self.invalid = False
        """No session can be started: each start is answered with INVALID_SESSION."""
        self.not_now = 0
        """How often one is told to try its RESUME again later."""
        self.answers: list[tuple[str, str]] = []
        self._numbers = itertools.count(1_000_000_000)

    @property
    def lines(self) -> list[Line]:
        """Who receives now."""
        return [s.line for s in self.sessions.values() if s.line is not None and s.line.receives]

    def say(self, text: str, channel: str = "7") -> None:
        """Ann writes: whoever has a session is told, now or when it is taken up again."""
        message = {
            "id": str(next(self._numbers)),
            "channel_id": channel,
            "author": {"id": "5", "username": "ann"},
            "content": text,
        }
        for session in self.sessions.values():
            session.happens("MESSAGE_CREATE", message)

    def drop(self) -> None:
        for line in self.lines:
            line.drop()

    async def ask_to_reconnect(self) -> None:
        for line in self.lines:
            await line.send(RECONNECT)

    def forget(self) -> None:
        """Its sessions are over: none of them can be taken up again."""
        self.sessions.clear()


class FakeDiscord:
    """The server: `async with FakeDiscord() as discord`, then point an adapter at `discord.url`."""

    def __init__(self, starts_a_day: int = 1000, beat: float = 0.5) -> None:
        """`beat`: seconds between two heartbeats."""
        self.url = ""
        self.bots: dict[str, Bot] = {}
        self.starts_a_day = starts_a_day
        self.beat = beat
        self._names = itertools.count(1)
        self._lines: set[Line] = set()
        app = web.Application()
        app.router.add_get("/", self._gateway)
        app.router.add_get("/resume", self._gateway)
        app.router.add_post("/api/channels/{channel}/messages", self._message)
        app.router.add_post("/api/channels/{channel}/typing", self._typing)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5, handler_cancellation=True)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        for line in tuple(self._lines):
            line.drop()
        await self._runner.cleanup()

    def add_bot(self, token: str) -> Bot:
        """The part of the token before the point is its id."""
        bot = self.bots[token] = Bot(token)
        return bot

    # The gateway

    async def _gateway(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        line = Line(socket, request)
        self._lines.add(line)
        telling = asyncio.ensure_future(self._tell(line))
        try:
            await line.send(HELLO, {"heartbeat_interval": round(self.beat * 1000)})
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    await self._hear(line, json.loads(message.data))
        finally:
            telling.cancel()
            self._ended(line, socket.close_code)
        return socket

    def _ended(self, line: Line, code: int | None) -> None:
        line.let_go()
        self._lines.discard(line)
        if line.session is not None and line.session.line is line:
            line.session.line = None
            if code in ENDING:
                for bot in self.bots.values():
                    bot.sessions.pop(line.session.id, None)

    async def _tell(self, line: Line) -> None:
        while True:
            await line.news.wait()
            line.news.clear()
            session = line.session
            while session is not None and session.line is line and session.told < len(session.events):
                event = session.events[session.told]
                session.told += 1
                await line.send(DISPATCH, event["d"], t=event["t"], s=event["s"])

    async def _hear(self, line: Line, payload: dict[str, Any]) -> None:
        op, data = payload["op"], payload["d"]
        if op == HEARTBEAT:
            await line.send(ACKNOWLEDGED)
            return
        bot = self.bots.get(data["token"])
        if bot is None or bot.reset:
            await line.refuse(NOT_AUTHENTICATED)
        elif op == IDENTIFY:
            await self._identify(line, bot)
        elif op == RESUME:
            await self._resume(line, bot, data)

    async def _identify(self, line: Line, bot: Bot) -> None:
        bot.identifies += 1
        if bot.identifies > self.starts_a_day:
            bot.reset = True
            await line.refuse(NOT_AUTHENTICATED)
        elif bot.invalid:
            await line.send(INVALID_SESSION, False)
        else:
            session = Session(f"session-{next(self._names)}")
            bot.sessions[session.id] = session
            self._attach(line, bot, session, told=0)
            session.happens("READY", {"session_id": session.id, "resume_gateway_url": f"ws://{self.url}/resume"})

    async def _resume(self, line: Line, bot: Bot, data: dict[str, Any]) -> None:
        session = bot.sessions.get(data["session_id"])
        if bot.not_now > 0:
            bot.not_now -= 1
            await line.send(INVALID_SESSION, True)
        elif session is None or data["seq"] > len(session.events) or line.path != "/resume":
            bot.refused_resumes += 1
            await line.send(INVALID_SESSION, False)
        else:
            bot.resumes += 1
            self._attach(line, bot, session, told=data["seq"])
            session.happens("RESUMED", None)

    def _attach(self, line: Line, bot: Bot, session: Session, told: int) -> None:
        session.line, session.told, line.session = line, told, session
        line.news.set()
        bot.most_lines = max(bot.most_lines, len(bot.lines))

    # Messages from the bot

    def _bot_of(self, request: web.Request) -> Bot:
        bot = self.bots.get(request.headers.get("Authorization", "").removeprefix("Bot "))
        if bot is None:
            raise web.HTTPUnauthorized
        return bot

    async def _message(self, request: web.Request) -> web.Response:
        bot, body = self._bot_of(request), await request.json()
        bot.answers.append((request.match_info["channel"], body["content"]))
        return web.json_response({"id": str(next(bot._numbers))})

    async def _typing(self, request: web.Request) -> web.Response:
        self._bot_of(request)
        return web.Response(status=204)
