"""The WebSocket side: frames of OpenClaw's gateway protocol, wire version 4.

A connection's life: challenge, `connect` as the first frame within 10 s and 64 KiB, then requests, each answered once,
and events as they happen. A client that does not read is dropped, not waited for.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable
from dataclasses import replace
from math import ceil
from typing import Any

import structlog
from aiohttp import WSCloseCode, WSMsgType, web

from gateway import __version__
from gateway.admin import schemas
from gateway.admin.auth import Gatekeeper, TooManyAttemptsError, UnauthorizedError
from gateway.admin.errors import Answer, BadRequestError, MissingScopeError, answer_for
from gateway.admin.methods import ALLOWS, EVENTS, METHODS, Method
from gateway.admin.methods import Context as CallContext
from gateway.admin.services import Services
from gateway.admin.strangers import Strangers
from gateway.errors import GatewayError, UnavailableError
from gateway.traces import LONGEST, carried

log: structlog.stdlib.BoundLogger = structlog.get_logger()

PROTOCOL = 4
CONNECT_TIMEOUT = 10.0
MAX_BEFORE = 64 * 1024
MAX_AFTER = 1024 * 1024
QUEUE = 2_000
"""Frames that may wait for a reader; one more and the reader is dropped."""
TICK = 15.0
ANSWERS_DEADLINE = 0.5
"""Seconds that requests which are under way get to be answered when their connection closes."""
FAREWELL = 0.05
"""Seconds between the last answer and the close: a client reacts to an answer with its next request, and that one is told
that nothing was done, where the close alone would leave it to guess."""
AT_ONCE = 32
"""Requests of one connection that may be under way at once."""


class Connection:
    """One client, from challenge to close."""

    def __init__(self, socket: web.WebSocketResponse, services: Services, context: CallContext) -> None:
        self._socket = socket
        self._services = services
        self.context = context
        self._outbox: asyncio.Queue[str] = asyncio.Queue(QUEUE)
        self._seq = 0
        self._calls: set[asyncio.Task[None]] = set()
        self._closing = False
        self.scopes: frozenset[str] = frozenset()
        self.is_welcome: Callable[[], bool] = lambda: True
        """Whether it would still be let in: its session may be over, and the token another one."""

    # Sending

    def send(self, frame: dict[str, Any]) -> None:
        """Queue a frame; drops the connection when its reader is too slow."""
        # In ASCII: half a character, which JSON can say and UTF-8 cannot, would break the connection of everyone.
        text = json.dumps(self._services.redactor.tree(frame))
        try:
            self._outbox.put_nowait(text)
        except asyncio.QueueFull:
            self._drop()

    def event(self, name: str, payload: dict[str, Any]) -> None:
        self._seq += 1
        self.send({"type": "event", "event": name, "payload": payload, "seq": self._seq})

    def _drop(self) -> None:
        log.warning("slow_reader_dropped", connection=self.context.connection)
        if self.context.transport is not None:
            self.context.transport.abort()

    async def write(self) -> None:
        """Send what is queued, for ever."""
        while True:
            await self._socket.send_str(await self._outbox.get())

    async def flush(self) -> None:
        while not self._outbox.empty():
            await self._socket.send_str(self._outbox.get_nowait())

    async def close(self, code: int, reason: str) -> None:
        """Answer what was asked before, and nothing that is asked from now on; then close."""
        self._closing = True
        if self._calls:
            await asyncio.wait(set(self._calls), timeout=ANSWERS_DEADLINE)
        await asyncio.sleep(FAREWELL)
        await self.flush()
        await self._socket.close(code=code, message=reason.encode()[:120])

    # Requests

    async def call(self, frame: dict[str, Any]) -> None:
        """Answer one request, exactly once."""
        call_id = frame["id"]
        try:
            method = self._method(frame["method"])
            context = replace(self.context, traceparent=carried(_traceparent(frame)))
            payload = await method.call(context, schemas.parse_params(method.params, frame.get("params")))
            self.send({"type": "res", "id": call_id, "ok": True, "payload": payload})
        except GatewayError as error:
            self.send({"type": "res", "id": call_id, "ok": False, "error": shape(answer_for(error))})
        except Exception:
            log.error("call_failed", method=frame["method"], exc_info=True)
            answer = Answer(500, "internal", "UNAVAILABLE", "an internal error; see the log")
            self.send({"type": "res", "id": call_id, "ok": False, "error": shape(answer)})

    def _method(self, name: str) -> Method:
        """The method, if there is one and the connection's scopes allow it. Raises BadRequestError, MissingScopeError."""
        method = METHODS.get(name)
        if method is None:
            raise BadRequestError(f"unknown method {name!r}; hello-ok lists those that exist")
        if not any(method.scope in ALLOWS.get(scope, ()) for scope in self.scopes):
            raise MissingScopeError(method.scope)
        return method

    async def read(self) -> None:
        """Handle frames until the client is gone. Requests run side by side, but not without bound."""
        async for message in self._socket:
            if message.type is not WSMsgType.TEXT:
                await self.close(WSCloseCode.UNSUPPORTED_DATA, "text frames only")
                return
            frame = parse_frame(message.data)
            if isinstance(frame, str):
                self.send({"type": "res", "id": "unknown", "ok": False, "error": _invalid(frame)})
                continue
            while len(self._calls) >= AT_ONCE:
                await asyncio.wait(self._calls, return_when=asyncio.FIRST_COMPLETED)
            if self._closing:
                error = shape(answer_for(UnavailableError("this connection is being closed; nothing was done")))
                self.send({"type": "res", "id": frame["id"], "ok": False, "error": error})
                continue
            task = asyncio.get_running_loop().create_task(self.call(frame))
            self._calls.add(task)
            task.add_done_callback(self._calls.discard)

    def cancel_calls(self) -> None:
        for task in self._calls:
            task.cancel()


class WebSockets:
    """All connections: opens them, tells them what happens, closes them."""

    def __init__(
        self,
        services: Services,
        context: Callable[[web.Application], CallContext],
        gatekeeper: Gatekeeper,
        strangers: Strangers,
    ) -> None:
        self._services = services
        self._make_context = context
        self._gatekeeper = gatekeeper
        self._strangers = strangers
        self._connections: set[Connection] = set()

    def broadcast(self, event: str, payload: dict[str, Any]) -> None:
        for connection in tuple(self._connections):
            connection.event(event, payload)

    def watched(self) -> bool:
        """Whether there is anybody to tell."""
        return bool(self._connections)

    async def tick(self) -> None:
        """Tell everyone, from time to time, that we live."""
        while True:
            await asyncio.sleep(TICK)
            await self._close_unwelcome()
            now = self._services.clock.wall_ms()
            self.broadcast("tick", {"ts": now})
            self.broadcast("health", {"ok": True, "ts": now})

    async def _close_unwelcome(self) -> None:
        unwelcome = [each for each in self._connections if not each.is_welcome()]
        closing = (each.close(WSCloseCode.POLICY_VIOLATION, "signed out") for each in unwelcome)
        await asyncio.gather(*closing, return_exceptions=True)

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        """One connection, from upgrade to close."""
        socket = web.WebSocketResponse(max_msg_size=MAX_AFTER, heartbeat=30.0, timeout=2.0)
        await socket.prepare(request)
        context = self._make_context(request.app)
        context.connection = secrets.token_hex(6)
        context.requester = f"ws {request.remote}"
        context.transport = request.transport
        connection = Connection(socket, self._services, context)
        context.say = connection.event
        if await self._sign_in(connection, socket, request.remote or ""):
            await self._serve(connection)
        return socket

    @property
    def connected(self) -> int:
        """How many clients there are, of whatever server."""
        return len(self._connections)

    async def close_all(self, code: int, reason: str, of: web.Application) -> None:
        """Close every connection of one server."""
        mine = [connection for connection in self._connections if connection.context.app is of]
        await asyncio.gather(*(connection.close(code, reason) for connection in mine), return_exceptions=True)

    async def _serve(self, connection: Connection) -> None:
        self._connections.add(connection)
        writer = asyncio.get_running_loop().create_task(connection.write())
        try:
            await connection.read()
        except ConnectionResetError:
            pass
        finally:
            self._connections.discard(connection)
            writer.cancel()
            connection.cancel_calls()

    # Signing in

    async def _sign_in(self, connection: Connection, socket: web.WebSocketResponse, address: str) -> bool:
        nonce = secrets.token_urlsafe(16)
        await socket.send_json(
            {
                "type": "event",
                "event": "connect.challenge",
                "payload": {"nonce": nonce, "ts": self._services.clock.wall_ms()},
            }
        )
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                message = await socket.receive()
        except TimeoutError:
            await socket.close(code=WSCloseCode.POLICY_VIOLATION, message=b"no connect within 10 s")
            return False
        if message.type is not WSMsgType.TEXT:
            await socket.close(code=WSCloseCode.POLICY_VIOLATION, message=b"the first frame must be connect")
            return False
        if len(message.data.encode()) > MAX_BEFORE:
            await socket.close(code=WSCloseCode.MESSAGE_TOO_BIG, message=b"at most 64 KiB before sign-in")
            return False
        frame = parse_frame(message.data)
        answer = self._check_connect(frame, address)
        if isinstance(answer, schemas.Connect) and isinstance(frame, dict):
            connection.context.requester += f" {answer.who}"
            connection.scopes = frozenset(answer.scopes or ("operator.read", "operator.write", "operator.admin"))
            given = answer.auth.secret or ""
            connection.is_welcome = lambda: self._gatekeeper.takes(given)
            self._strangers.welcome(connection.context.transport)
            hello = self._hello(connection, answer)
            await socket.send_json(
                {"type": "res", "id": frame["id"], "ok": True, "payload": self._services.redactor.tree(hello)}
            )
            return True
        frame_id = frame["id"] if isinstance(frame, dict) else "connect"
        await socket.send_json({"type": "res", "id": frame_id, "ok": False, "error": answer})
        await socket.close(code=WSCloseCode.POLICY_VIOLATION, message=b"not signed in")
        return False

    def _check_connect(self, frame: dict[str, Any] | str, address: str) -> schemas.Connect | dict[str, Any]:
        """The connect's parameters, or the error that answers it."""
        if isinstance(frame, str):
            return _invalid(frame)
        if frame["method"] != "connect":
            return _invalid(f"the first request must be connect, not {frame['method']}")
        try:
            params = schemas.parse_params(schemas.Connect, frame.get("params"))
            if not params.min_protocol <= PROTOCOL <= params.max_protocol:
                details = {"code": "PROTOCOL_MISMATCH", "expectedProtocol": PROTOCOL}
                raise BadRequestError(f"protocol mismatch: this gateway speaks {PROTOCOL}", details)
            if params.role != "operator":
                raise BadRequestError(f"unknown role {params.role!r}; this gateway knows operator")
            self._gatekeeper.check(params.auth.secret, address)
        except UnauthorizedError as error:
            code = "AUTH_TOKEN_MISMATCH" if error.given else "AUTH_TOKEN_MISSING"
            return _invalid(f"unauthorized: {error}", {"code": code})
        except TooManyAttemptsError as error:
            return _invalid(str(error), {"code": "AUTH_RATE_LIMITED"}) | {
                "retryAfterMs": ceil(error.retry_after * 1000)
            }
        except GatewayError as error:
            return shape(answer_for(error))
        return params

    def _hello(self, connection: Connection, params: schemas.Connect) -> dict[str, Any]:
        services, now = self._services, self._services.clock.wall_ms()
        return {
            "type": "hello-ok",
            "protocol": PROTOCOL,
            "server": {"version": __version__, "bootId": services.boot().id, "connId": connection.context.connection},
            "features": {"methods": ["connect", *METHODS], "events": list(EVENTS)},
            "snapshot": {
                "presence": [],
                "health": {"ok": True, "ts": now},
                "stateVersion": {"presence": 0, "health": 0},
                "uptimeMs": max(0, now - services.boot().at),
                "appliedConfigHash": services.ledger.applied_id,
                "configPath": str(services.changes.path),
                "stateDir": str(services.state_dir),
                "authMode": "token",
            },
            "auth": {"role": params.role, "scopes": sorted(connection.scopes)},
            "policy": {"maxPayload": MAX_AFTER, "maxBufferedBytes": QUEUE * 1024, "tickIntervalMs": round(TICK * 1000)},
        }


def parse_frame(text: str) -> dict[str, Any] | str:
    """A request frame, or what is wrong with it."""
    try:
        frame = json.loads(text)
    except (ValueError, RecursionError):
        return "the frame is not JSON"
    if not isinstance(frame, dict) or frame.get("type") != "req":
        return "the frame is not a request: type must be req"
    for name in ("id", "method"):
        if not isinstance(frame.get(name), str) or not frame[name]:
            return f"the frame has no {name}"
    return frame


def _traceparent(frame: dict[str, Any]) -> str:
    """What a request says of its trace, "" where it says nothing. Raises BadRequestError: whoever asked is told by the request's id."""
    found = frame.get("traceparent", "")
    if not isinstance(found, str) or len(found) > LONGEST:
        raise BadRequestError(f"the frame's traceparent is no text of {LONGEST} characters at the most")
    return found


def shape(answer: Answer) -> dict[str, Any]:
    """An error as a response frame carries it."""
    error: dict[str, Any] = {"code": answer.frame_code, "message": answer.message}
    if answer.details is not None:
        error["details"] = answer.details
    if answer.retry_after is not None:
        error |= {"retryable": True, "retryAfterMs": ceil(answer.retry_after * 1000)}
    return error


def _invalid(message: str, details: dict[str, Any] | None = None) -> dict[str, Any]:
    return shape(Answer(400, "bad_request", "INVALID_REQUEST", message, details))
