"""The HTTP calls about messages. As in `http`: parse, call the API, answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from gateway.admin import schemas
from gateway.admin.errors import BadRequestError, NotFoundError, RefusedError
from gateway.admin.message_calls import MessageCalls
from gateway.admin.routes import Route
from gateway.errors import UnavailableError
from gateway.traces import carried


class MessageRoutes:
    """`body` reads a request's JSON, `answer` makes a response of JSON data and a status."""

    def __init__(
        self,
        calls: MessageCalls,
        body: Callable[[web.Request], Awaitable[Any]],
        answer: Callable[[Any, int], web.Response],
    ) -> None:
        self._calls = calls
        self._body = body
        self._answer = answer

    def routes(self) -> list[Route]:
        """Every call there is about messages."""
        outbox = "/api/v1/outbox"
        return [
            Route(
                "POST", "/api/v1/send", self.send, {202: "Sent"}, takes=schemas.Send,
                errors=(BadRequestError, NotFoundError, UnavailableError),
            ),
            Route("GET", outbox, self.outbox, {200: "Deliveries"}, query=schemas.OutboxQuery, errors=(BadRequestError,)),
            Route(
                "POST", outbox + "/{id}/{verb:retry|discard}", self.decide, {200: "DeliveryDecided"},
                errors=(RefusedError, NotFoundError),
            ),
            Route(
                "GET", "/api/v1/messages", self.inbox, {200: "IncomingMessages"}, query=schemas.InboxQuery,
                errors=(BadRequestError,),
            ),
        ]  # fmt: skip

    async def send(self, request: web.Request) -> web.Response:
        """Send a message. Answered when it is kept; a second time with the same key, nothing new is sent."""
        params = schemas.parse_params(schemas.Send, await self._body(request))
        return self._answer(await self._calls.send(params, carried(request.headers.get("traceparent"))), 202)

    async def outbox(self, request: web.Request) -> web.Response:
        """Outgoing messages, newest first: those that are neither sent nor dead, or those of one state."""
        query = schemas.parse_params(schemas.OutboxQuery, dict(request.query), strict=False)
        return self._answer(await self._calls.outbox(query), 200)

    async def decide(self, request: web.Request) -> web.Response:
        """Send an outgoing message that is unknown, dead or waits once more (retry); or never (discard)."""
        given = request.match_info["id"]
        number = int(given) if given.isascii() and given.isdigit() and len(given) < 19 else -1
        return self._answer(await self._calls.decide(number, request.match_info["verb"], f"http {request.remote}"), 200)

    async def inbox(self, request: web.Request) -> web.Response:
        """Incoming messages, newest first, and what became of each."""
        query = schemas.parse_params(schemas.InboxQuery, dict(request.query), strict=False)
        return self._answer(await self._calls.inbox(query), 200)
