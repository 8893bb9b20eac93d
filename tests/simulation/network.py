"""The network between the Telegram client and the Bot API: stands in for `aiohttp.ClientSession`, without sockets.

What a call meets is drawn when it begins, from the faults that the schedule has armed for its bot and method.
Closing a session, or aborting its connector, ends its polls on the server at once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

import aiohttp

from tests.simulation.botapi import BotApi, no
from tests.simulation.clock import Crash, Time
from tests.simulation.referee import Referee

LATENCIES = (0.0, 0.0, 0.001, 0.01, 0.01, 0.05)
"""Few values, so that things often happen at one instant."""
RECEIVER = ":receiver:"
"""What the name of a task has in it that receives."""
URL = "https://api.example/bot{token}/{method}: upstream failed"


@dataclass
class Fault:
    """What the next `count` calls of a bot meet. `kind` is one of KINDS, or 401; `method` "" is any; `seconds` its length."""

    kind: str
    bot: str
    method: str = ""
    count: int = 1
    seconds: float = 0.0


KINDS = (
    "refuse",  # no connection
    "reset",  # cut before the server has read it
    "lose",  # cut after the server has answered it
    "hang",  # the server never reads it, and nobody says so
    "swallow",  # the server answers, and the answer never comes
    "slow",  # everything takes `seconds` longer
    "500",
    "html",  # a proxy's page
    "half",  # an answer cut off in its middle
    "list",  # JSON that is no answer of a Bot API
    "429",  # and wait `seconds`
    "400",
    "deaf",  # the call does not end when it is cancelled, for `seconds`
    "hold",  # the answer has come, and its reader sits on it for `seconds`, whatever it is told
)
ANSWERED = {
    "500": no(500, f"Internal Server Error at {URL}"),
    "html": (502, f"<html>{URL}</html>"),
    "half": (200, '{"ok":true,"resu'),
    "list": (200, "[1, 2]"),
    "400": no(400, "Bad Request"),
    "401": no(401, "Unauthorized"),
}


@dataclass
class Quirk:
    """How the next sessions of a bot end: `close_takes` seconds to close, the fence fails or hangs that often."""

    close_takes: float = 0.0
    fence_fails: int = 0
    fence_hangs: int = 0


@dataclass
class Line:
    """One process' connection to everything. Cut: nothing comes through any more, in either direction."""

    sessions: list[Session] = field(default_factory=list)
    dead: bool = False


class Network:
    """Every line, what is armed for whom, and what was met."""

    def __init__(self, time: Time, api: BotApi, referee: Referee, random: Random) -> None:
        self.time = time
        self.api = api
        self.referee = referee
        self.random = random
        self.faults: list[Fault] = []
        self.quirks: dict[str, Quirk] = {}
        self.met: Counter[str] = Counter()
        self.line = Line()
        self.crash_in = 0
        """The process is gone when the server has answered the n-th message from now, and before it hears of that; 0 is never."""

    def latency(self) -> float:
        return self.random.choice(LATENCIES)

    def session(self, **_: Any) -> Session:
        """In the place of `aiohttp.ClientSession(...)`."""
        session = Session(self, self.line)
        self.line.sessions.append(session)
        return session

    def pick(self, bot: str, method: str) -> Fault | None:
        """The first armed fault that fits this call, which uses it up."""
        for fault in self.faults:
            if fault.bot == bot and fault.method in ("", method):
                fault.count -= 1
                if fault.count <= 0:
                    self.faults.remove(fault)
                self.met[fault.kind] += 1
                return fault
        return None

    def drop(self, bot: str) -> None:
        """Every connection of a bot is reset."""
        for session in self.line.sessions:
            if session.bot == bot:
                session.reset()

    def cut(self, line: Line) -> None:
        """The kernel closes what a process that is gone had open."""
        for session in line.sessions:
            session.end()

    def calm(self) -> None:
        self.crash_in = 0
        self.faults.clear()
        self.quirks.clear()
        for session in self.line.sessions:
            session.quirk = Quirk()
            session.calmed.set()
            for call in (*session.calls, *session.held):
                call.calm()


class Session:
    """Stands in for a ClientSession, as far as the Telegram client uses one."""

    def __init__(self, network: Network, line: Line) -> None:
        self.network = network
        self.line = line
        self.bot = ""
        self.owner = ""
        self.calls: list[Call] = []
        self.held: list[Call] = []
        """Those whose answers have come and whose readers sit on them."""
        self.connected = False
        self.receives = False
        self.over = False
        self.quirk = Quirk()
        self.calmed = asyncio.Event()
        self.connector: Connector | None = Connector(self)

    @property
    def closed(self) -> bool:
        return self.over

    def get(self, url: str, *, params: dict[str, Any], allow_redirects: bool) -> Call:
        assert not allow_redirects, "the token would go wherever a redirect leads"
        return Call(self, url, params)

    def post(self, url: str, *, json: dict[str, Any], allow_redirects: bool) -> Call:
        assert not allow_redirects, "the token would go wherever a redirect leads"
        return Call(self, url, json)

    def begin(self, token: str, method: str) -> None:
        """The first call makes it a receiver, whose task's name tells its generation; but for one that only asks who it is."""
        task = asyncio.current_task()
        self.bot, self.owner = token.split(":", maxsplit=1)[0], task.get_name() if task else "nobody"
        self.receives = RECEIVER in self.owner or method != "getMe"
        if self.receives:
            self.quirk = self.network.quirks.pop(self.bot, self.quirk)
            self.network.referee.begins(self)

    async def close(self) -> None:
        if self.line.dead:
            return
        if self.quirk.close_takes:
            self.network.met["slow close"] += 1
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.quirk.close_takes):
                    await self.calmed.wait()
        self.end()
        self.connector = None

    def end(self) -> None:
        """Whatever was open is closed: nothing can be received any more."""
        self.over = True
        self.reset()
        self.network.referee.ends(self)

    def reset(self) -> None:
        self.connected = False
        for call in tuple(self.calls):
            call.fail(aiohttp.ClientConnectionError("closed"))


class Connector:
    """What a fence takes hold of."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def close(self, *, abort_ssl: bool = False) -> None:
        quirk, met = self._session.quirk, self._session.network.met
        if self._session.line.dead:
            return
        if quirk.fence_hangs > 0:
            quirk.fence_hangs -= 1
            met["fence hangs"] += 1
            await asyncio.sleep(60)
        if quirk.fence_fails > 0:
            quirk.fence_fails -= 1
            met["fence fails"] += 1
            raise OSError("the transport cannot be aborted")
        met["fenced"] += 1
        self._session.end()


class Response:
    """An answer, and its `content`: what it holds comes in two pieces. A reader may be made to sit on it."""

    def __init__(self, call: Call, status: int, body: str) -> None:
        self._call = call
        self._body = body
        self.status = status
        self.content = self

    async def iter_any(self) -> AsyncIterator[bytes]:
        if self._call.fault is not None and self._call.fault.kind == "hold":
            held = self._call.session.held
            held.append(self._call)
            await self._call.sit(self._call.fault.seconds)
            held.remove(self._call)
        raw = self._body.encode()
        yield raw[: len(raw) // 2]
        yield raw[len(raw) // 2 :]


class Call:
    """One call: `async with session.get(...) as response`."""

    def __init__(self, session: Session, url: str, params: dict[str, Any]) -> None:
        self.session = session
        self.token, self.method = url.rsplit("/bot", 1)[1].split("/")
        self.params = params
        self.fault: Fault | None = None
        self._answer: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self._released = asyncio.Event()

    def __str__(self) -> str:
        return f"{self.session.owner} {self.method}"

    async def __aenter__(self) -> Response:
        session, network = self.session, self.session.network
        if session.line.dead or session.over:
            raise aiohttp.ClientConnectionError("the session is closed")
        if not session.bot:
            session.begin(self.token, self.method)
        if not session.receives:
            self.session.network.referee.expect(
                self.method == "getMe",
                "one receiver",
                f"{session.owner} only asked who it is, and went on to {self.method}",
            )
        if self.method == "sendMessage":
            network.api.letters.tries(session.bot, self.params["text"])
        session.calls.append(self)
        self.fault = network.pick(session.bot, self.method)
        self._send()
        try:
            return await self._listen()
        finally:
            self._leave()

    async def __aexit__(self, *_: object) -> None:
        """Nothing is kept open by an answer that was read."""

    async def _listen(self) -> Response:
        try:
            return await asyncio.shield(self._answer)
        except asyncio.CancelledError:
            if self.fault is None or self.fault.kind != "deaf" or self.session.line.dead:
                raise
            await self.sit(self.fault.seconds)
            raise

    async def sit(self, seconds: float) -> None:
        """Whatever it is told, it goes on; until it has had enough, or the outside is calm."""
        until = self.session.network.time.now + seconds
        while (left := until - self.session.network.time.now) > 0 and not self.session.line.dead:
            if self._released.is_set():
                return
            with contextlib.suppress(asyncio.CancelledError, TimeoutError):
                async with asyncio.timeout(left):
                    await self._released.wait()

    def calm(self) -> None:
        """What was to go wrong with it goes wrong now."""
        self._released.set()
        if self.fault is not None:
            self.fail(aiohttp.ClientConnectionError("calm"))

    def _leave(self) -> None:
        # A process that is gone tells nobody anything: its polls stay open until the kernel cuts them.
        if not self.session.line.dead:
            self.session.calls.remove(self)
            self.session.network.api.hang_up(self)
        if not self._answer.done():
            self._answer.cancel()

    # On the way

    def _send(self) -> None:
        network, session = self.session.network, self.session
        kind = self.fault.kind if self.fault else ""
        way = network.latency() + (0.0 if session.connected else 2 * network.latency())
        way += self.fault.seconds if self.fault and kind == "slow" else 0.0
        if kind == "refuse":
            nowhere = aiohttp.client_reqrep.ConnectionKey("api.example", 443, True, True, None, None, None)
            network.time.after(way, lambda: self.fail(aiohttp.ClientConnectorError(nowhere, OSError("refused"))))
        elif kind == "reset":
            network.time.after(way, lambda: self.fail(aiohttp.ClientConnectionError(kind)))
        elif kind != "hang":
            network.time.after(way, self._arrive)

    def _arrive(self) -> None:
        """The server reads it, unless its caller has gone meanwhile."""
        if self not in self.session.calls or self.session.over:
            return
        self.session.connected = True
        kind = self.fault.kind if self.fault else ""
        if kind == "429":
            assert self.fault is not None
            self._answered(*no(429, "Too Many Requests", retry_after=self.fault.seconds))
        elif kind in ANSWERED:
            self._answered(*ANSWERED[kind])
        else:
            self.session.network.api.handle(self, self.token, self.method, self.params, self._answered)

    def _answered(self, status: int, body: str) -> None:
        network, kind = self.session.network, self.fault.kind if self.fault else ""
        if self.method == "sendMessage" and network.crash_in and not self.session.line.dead:
            network.crash_in -= 1
            if not network.crash_in:
                raise Crash("between the network's answer and its commit")
        body = body.replace("{token}", self.token).replace("{method}", self.method)
        if kind == "swallow":
            return
        back = network.latency()
        if kind == "lose":
            network.time.after(back, lambda: self.fail(aiohttp.ServerDisconnectedError()))
        else:
            network.time.after(back, lambda: self._deliver(status, body))

    def _deliver(self, status: int, body: str) -> None:
        if not self._answer.done():
            self._answer.set_result(Response(self, status, body))

    def fail(self, error: Exception) -> None:
        self.session.network.api.hang_up(self)
        if not self._answer.done():
            self._answer.set_exception(error)
            self._answer.exception()  # one that nobody waits for any more is no complaint
