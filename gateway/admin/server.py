"""The admin server: one aiohttp application on one listening socket, replaced as a whole by an in-process restart."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import NamedTuple
from weakref import WeakSet

from aiohttp import WSCloseCode, web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler

from gateway.admin.api import Api
from gateway.admin.auth import Gatekeeper, stored_token
from gateway.admin.events import Announcer
from gateway.admin.http import MAX_BODY, Http
from gateway.admin.methods import Context
from gateway.admin.services import Services
from gateway.admin.strangers import Strangers
from gateway.admin.views import Views
from gateway.admin.webhooks import Webhooks
from gateway.admin.websocket import WebSockets

STOP_GRACE = 0.05
"""Seconds between closing the listener and the cleanup. aiohttp lets a connection that was accepted in the very turn of
the cleanup sit out the whole shutdown timeout; after this pause there is none (measured: 2 to 3 s before, 51 to 138 ms with it)."""
LONGEST_GRACE = 0.3
"""Seconds that who was let in gets for asking at all. On a busy machine a client takes more than one grace for its first
words, and one that is hung up on does not know whether it was heard; a browser opens connections that it may never use."""
DRAIN_TIMEOUT = 1.0
"""Seconds that a call in flight gets to be answered when its server is replaced; aiohttp waits for twice as long at most."""

LONGEST_LINE = 16 * 1024
"""Bytes of a request's first line. A note of a thousand characters, each of them twelve in an address, fits."""


class _NoHttp(logging.Filter):
    """What is no HTTP at all says nothing of us: it is answered with 400, and whoever sends it fills no log."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.exc_info is None or not isinstance(record.exc_info[1], HttpProcessingError)


HTTP_LOG = logging.getLogger("gateway.admin.http")
HTTP_LOG.addFilter(_NoHttp())


class _Served(NamedTuple):
    """One server, from its listening socket to who is connected."""

    site: web.SockSite
    runner: web.AppRunner
    app: web.Application
    listener: socket.socket


class AdminServer:
    """Implements the lifecycle's `ControlPlane`."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._gatekeeper = Gatekeeper(self._token, services.clock)
        self._webhooks = Webhooks(services)
        self._views = Views(services)
        self._api = Api(services, self._views)
        self._app = web.Application()
        self._strangers = Strangers()
        self._sockets = WebSockets(services, lambda app: Context(self._api, app), self._gatekeeper, self._strangers)
        self._announcer = Announcer(services, self._views, self._sockets.broadcast, self._sockets.watched)
        self._runner: web.AppRunner | None = None
        self._site: web.SockSite | None = None
        self._listener: socket.socket | None = None
        self._ticking: asyncio.Task[None] | None = None
        self._asked: WeakSet[asyncio.Transport] = WeakSet()
        """The connections over which something was asked."""

    @property
    def listener(self) -> socket.socket:
        assert self._listener is not None, "open() comes first"
        return self._listener

    @property
    def address(self) -> str:
        """The address of the page."""
        host, port = self.listener.getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def _token(self) -> str:
        configured = self._services.ledger.applied.gateway.admin.token
        if configured:
            return configured.reveal()
        token = stored_token(self._services.state_dir)
        self._services.redactor.learn([token])  # the config may have had one of its own until now
        return token

    async def open(self, listener: socket.socket) -> None:
        """Serve on this listening socket."""
        self._services.redactor.learn([self._token()])
        self._announcer.start()
        self._ticking = asyncio.get_running_loop().create_task(self._sockets.tick())
        await self._serve(listener)

    async def replace(self, listener: socket.socket) -> Callable[[], Awaitable[None]]:
        """Serve on another socket from now on, beside the old server; the answer drains the old one."""
        old = self._served()
        await self._serve(listener)
        return lambda: self._drain(old)

    async def vacate(self) -> None:
        """Serve nobody any more; what comes waits in the backlog of whichever socket is handed on."""
        await self._drain(self._served())
        self._site = self._runner = None

    async def resume(self, listener: socket.socket) -> None:
        """Serve again: nothing has come of what it was vacated for."""
        await self._serve(listener)

    def _served(self) -> _Served:
        assert self._site is not None
        assert self._runner is not None
        return _Served(self._site, self._runner, self._app, self.listener)

    async def _drain(self, old: _Served) -> None:
        """The listener first: what it accepted later would be closed by nobody. Then who is there, and after the pause who was still signing in."""
        await _stop_accepting(old.site, old.listener)
        pause = self._until_asked(old.runner)
        await asyncio.gather(pause, self._sockets.close_all(WSCloseCode.SERVICE_RESTART, "restart", old.app))
        await self._sockets.close_all(WSCloseCode.SERVICE_RESTART, "restart", old.app)
        await old.runner.cleanup()
        old.listener.close()

    async def _until_asked(self, runner: web.AppRunner) -> None:
        """Return when each connection has asked for something; after a pause, and after a while in any case."""
        assert runner.server is not None
        server, step = runner.server, STOP_GRACE / 5
        await asyncio.sleep(STOP_GRACE)
        for _ in range(round((LONGEST_GRACE - STOP_GRACE) / step)):
            transports = [each.transport for each in server.connections]
            if all(each is None or each in self._asked for each in transports):
                return
            await asyncio.sleep(step)

    async def _serve(self, listener: socket.socket) -> None:
        # Asked once: a request on a kept connection may still come when the old listener is closed already.
        port = listener.getsockname()[1]
        http = Http(
            self._services, self._api, self._gatekeeper, self._strangers, self._webhooks, port, self._sockets.handle
        )
        self._app = web.Application(middlewares=[self._note_asking, http.gate], client_max_size=MAX_BODY)
        self._app.add_routes(route.definition() for route in http.routes())
        self._runner = web.AppRunner(
            self._app,
            access_log=None,
            logger=HTTP_LOG,
            shutdown_timeout=DRAIN_TIMEOUT,
            handle_signals=False,
            max_line_size=LONGEST_LINE,
        )
        await self._runner.setup()
        assert self._runner.server is not None
        _tell_who_comes(self._runner.server, self._strangers)
        self._site = web.SockSite(self._runner, listener, backlog=1024)
        await self._site.start()
        self._listener = listener

    @web.middleware
    async def _note_asking(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.transport is not None:
            self._asked.add(request.transport)
        return await handler(request)

    def announce_shutdown(self, reason: str, restart_expected_ms: int | None) -> None:
        expected = {} if restart_expected_ms is None else {"restartExpectedMs": restart_expected_ms}
        self._sockets.broadcast("shutdown", {"reason": reason, **expected})

    async def stop_listening(self) -> None:
        """Take no new connection; those that are open are served on."""
        if self._site is not None:
            await _stop_accepting(self._site, self.listener)
            self._site = None

    @property
    def clients(self) -> int:
        """How many are connected."""
        return self._sockets.connected

    async def close(self) -> None:
        """Tell the clients to go, and return when they have gone. What is left is cut off with the process."""
        if self._ticking is not None:
            self._ticking.cancel()
        if self._runner is None:
            return
        await self.stop_listening()
        await self._sockets.close_all(WSCloseCode.GOING_AWAY, "stop", self._app)
        await asyncio.sleep(STOP_GRACE)
        await self._runner.cleanup()


def _tell_who_comes(server: web.Server, strangers: Strangers) -> None:
    """By the method of its server that aiohttp calls for each connection."""
    made = server.connection_made

    def tell(handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        made(handler, transport)
        strangers.come(transport)

    server.connection_made = tell  # type: ignore[method-assign]


async def _stop_accepting(site: web.SockSite, listener: socket.socket) -> None:
    """Close a site without losing whom it has just let in.

    asyncio accepts in one turn of the loop and makes the connection in the next; a server that is closed in between
    leaves that one open, unserved and unanswered, until somebody collects the garbage.
    """
    if listener.fileno() < 0:
        return  # a restart that a stop has broken off came here first
    asyncio.get_running_loop().remove_reader(listener.fileno())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await site.stop()
