"""The HTTP calls by which the page is signed in without the admin token. As in `http`: parse, call, answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from gateway.admin import schemas
from gateway.admin.auth import ForbiddenError, Gatekeeper, TooManyAttemptsError, UnauthorizedError, bearer
from gateway.admin.errors import BadRequestError
from gateway.admin.peer import owner_of
from gateway.admin.routes import SIGN_IN, Route
from gateway.admin.sessions import CODE_LASTS, SESSION_LASTS_MS

MAX_BODY = 64 * 1024
PATIENCE = 10.0
"""Seconds in which the code must have come: nobody has signed in yet."""


class SignInRoutes:
    """`body` reads a request's JSON. What is answered is a secret, and goes out as it is."""

    def __init__(self, gatekeeper: Gatekeeper, body: Callable[[web.Request], Awaitable[Any]]) -> None:
        self._gatekeeper = gatekeeper
        self._body = body

    def routes(self) -> list[Route]:
        """Both calls."""
        return [
            Route(
                "POST", SIGN_IN, self.sign_in, {200: "Session"}, takes=schemas.SignIn,
                errors=(BadRequestError, UnauthorizedError, TooManyAttemptsError),
            ),
            Route(
                "POST", SIGN_IN + "/codes", self.make_code, {201: "SignInCode"}, takes=schemas.MakeCode,
                errors=(BadRequestError, ForbiddenError),
            ),
        ]  # fmt: skip

    async def sign_in(self, request: web.Request) -> web.Response:
        """Exchange a one-time code for a session, which is taken wherever the token is. A code works once."""
        # It is read by a copy of the request: its limit is that of who has not signed in yet.
        small = request.clone(client_max_size=MAX_BODY)
        try:
            async with asyncio.timeout(PATIENCE):
                params = schemas.parse_params(schemas.SignIn, await self._body(small))
        except TimeoutError as error:
            raise BadRequestError(f"the code has not come within {PATIENCE:.0f} s") from error
        user = await asyncio.to_thread(owner_of, request.transport)
        session = self._gatekeeper.open_session(params.code, request.remote or "", user)
        return web.json_response({"token": session, "expires_in_ms": SESSION_LASTS_MS})

    async def make_code(self, request: web.Request) -> web.Response:
        """Make a one-time code for signing in. The admin token itself is needed, a session gets none.

        With `same_user` it works for programs of the user alone who asks; the answer says whether that user is known.
        """
        params = schemas.parse_params(schemas.MakeCode, await self._body(request))
        user = await asyncio.to_thread(owner_of, request.transport) if params.same_user else None
        code = self._gatekeeper.make_code(bearer(request.headers) or "", user)
        told = {"code": code, "expires_in_ms": round(CODE_LASTS * 1000), "same_user": user is not None}
        return web.json_response(told, status=201)
