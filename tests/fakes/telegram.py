"""An honest Telegram Bot API server inside the test process.

It exists to prove that a gateway, run as another process, never gives an account two receivers. So
it does what Telegram does with getUpdates (of two polls the earlier is ended with 409 and the later
goes on, an offset forgets what lies below it) and it counts what really happened, see `Stats`.

What it can see: whether two polls overlapped is told from the kernel's own times of a request's
arrival and of a connection's end, so a late event loop hides nothing. Those times come in ticks: an
overlap shorter than `OVERLAP_RESOLUTION` (10 ms on most Linux kernels) can go unseen, or than
`PROBED` more where the earlier client had gone before the event loop saw it; no clean handover is
ever taken for one. All other times are when the event loop saw something.

Where it is simpler than Telegram: every later poll ends the earlier one, even one that would be
answered at once; a 409 is never held back; hammering is not slowed down.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, NoReturn, Self

from aiohttp import web

from .telegram_bot import Bot
from .telegram_wire import (
    NO_FAULT,
    NOT_FOUND,
    NOT_JSON,
    UNAUTHORIZED,
    CutShortError,
    Fault,
    Peer,
    Reply,
    kernel_time,
    parameters,
)

__all__ = ["Bot", "FakeTelegram"]


class FakeTelegram:
    """The server: `async with FakeTelegram() as telegram`, then point a gateway at `telegram.url`.

    `latency` seconds pass before each answer. While `blackhole` is set, requests are accepted and
    never answered, not even after it is unset.
    """

    def __init__(self) -> None:
        self.url = ""
        self.bots: dict[str, Bot] = {}
        self.latency = 0.0
        self.blackhole = False
        app = web.Application()
        for method in ("GET", "POST"):
            app.router.add_route(method, "/bot{token}/{method}", self._handle)
            app.router.add_route(method, "/{path:.*}", self._handle_elsewhere)
        self._runner = web.AppRunner(
            app,
            handler_cancellation=True,
            access_log=None,
            shutdown_timeout=1.0,
        )

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, backlog=4096).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        for bot in self.bots.values():
            bot.connection_ends()
        await self.drop_connections()
        await self._runner.cleanup()

    async def stop(self) -> None:
        """Listen no more, and reset every open connection: new ones are refused."""
        for site in tuple(self._runner.sites):
            await site.stop()
        await self.drop_connections()

    def add_bot(self, token: str, username: str) -> Bot:
        """Create an account; the part of the token before the colon is its numeric id."""
        bot = self.bots[token] = Bot(token, username)
        return bot

    async def drop_connections(self) -> None:
        """Reset every open connection; new ones are accepted as before."""
        for bot in self.bots.values():
            bot.connection_dropped()
        if self._runner.server is not None:
            for connection in self._runner.server.connections:
                with contextlib.closing(Peer(connection.transport)) as peer:
                    peer.abort(reset=True)
        await asyncio.sleep(0)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        bot = self.bots.get(request.match_info["token"])
        method = request.match_info["method"].lower()
        params = await parameters(request)
        try:
            if params is None or bot is None:
                reply = UNAUTHORIZED if bot is None else NOT_JSON
                return await self._answer(request, reply, NO_FAULT)
            fault = bot.take_fault(method)
            if method == "getupdates":
                return await self._handle_poll(request, bot, params, fault)
            return await self._answer(request, await bot.answer(method, params, fault), fault)
        except ConnectionError:
            return await _until_disconnected()

    async def _handle_elsewhere(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, NOT_FOUND, NO_FAULT)

    async def _handle_poll(
        self,
        request: web.Request,
        bot: Bot,
        params: dict[str, Any],
        fault: Fault,
    ) -> web.StreamResponse:
        poll = bot.poll_arrives(params, Peer(request.transport))
        try:
            try:
                reply = await bot.answer_poll(poll, fault)
                await poll.pause(self.latency)
            except CutShortError as cut:
                reply, fault = cut.reply, NO_FAULT
                await asyncio.sleep(self.latency)
            began = kernel_time()
            response = await self._write(request, reply, fault)
            if response is not None:
                bot.poll_answered(poll, reply, began)
                return response
            bot.poll_ends(poll, "half" if fault.half else "reset", began)
        finally:
            bot.poll_ends(poll, "gone", poll.peer.presence().left)
        return await _until_disconnected()

    async def _answer(self, request: web.Request, reply: Reply, fault: Fault) -> web.StreamResponse:
        await asyncio.sleep(self.latency)
        response = await self._write(request, reply, fault)
        return await _until_disconnected() if response is None else response

    async def _write(
        self,
        request: web.Request,
        reply: Reply,
        fault: Fault,
    ) -> web.StreamResponse | None:
        """Write the answer out, or return None when a fault broke it off.

        Raises ConnectionError when the client has gone.
        """
        if self.blackhole:
            await _until_disconnected()
        with contextlib.closing(Peer(request.transport)) as peer:
            if fault.reset:
                peer.abort(reset=True)
                return None
            if peer.gone():
                raise ConnectionResetError("the client has gone")
            response = web.StreamResponse(status=reply.status)
            response.content_type = "application/json"
            response.content_length = len(reply.body)
            await response.prepare(request)
            if fault.half:
                await response.write(reply.body[: len(reply.body) // 2])
                peer.abort(reset=False)
                return None
            await response.write(reply.body)
            await response.write_eof()
            return response


async def _until_disconnected() -> NoReturn:
    """Answer nothing more; the runner cancels the handler when the connection is lost."""
    await asyncio.Event().wait()
    raise AssertionError("nothing sets this event")
