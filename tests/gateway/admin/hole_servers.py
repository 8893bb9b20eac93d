"""Servers with a check taken out, each by the hole that it opens: `test_holes` must find every one of them.

A piece of a function's source is swapped for another, or a constant for another value, in the running process alone.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import textwrap
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from gateway.admin import auth, http, server, sessions, sign_in, strangers, websocket
from gateway.admin.routes import Route

MIB = 1024 * 1024
Break = Callable[[pytest.MonkeyPatch], None]


def swap(owner: Any, name: str, old: str, new: str, *more: Any) -> Break:
    """In the function `name` of a class or module. `more` are modules that have imported it under its name."""

    def put_in_place(patch: pytest.MonkeyPatch) -> None:
        function = inspect.getattr_static(owner, name)
        function = inspect.unwrap(function.__func__ if isinstance(function, staticmethod) else function)
        source = textwrap.dedent(inspect.getsource(function))
        assert source.count(old) == 1, f"{name} holds that piece {source.count(old)} times"
        scope: dict[str, Any] = {}
        exec(compile(source.replace(old, new), f"<{name} without its check>", "exec"), function.__globals__, scope)
        for place in (owner, *more):
            patch.setattr(place, name, scope[name])

    return put_in_place


def value(owner: Any, name: str, other: Any) -> Break:
    """Another value for a constant."""
    return lambda patch: patch.setattr(owner, name, other)


def without(mapping: Any, key: str) -> Break:
    """An entry less."""
    return lambda patch: patch.delitem(mapping, key)


async def _let_everybody_in(self: Any, connection: Any, socket: web.WebSocketResponse, _: str) -> bool:
    await socket.send_json({"type": "event", "event": "connect.challenge", "payload": {"nonce": "x", "ts": 1}})
    connection.scopes = frozenset({"operator.admin"})
    return True


async def _any_file(_: Any, request: web.Request) -> web.FileResponse:
    return web.FileResponse(http.PAGE / request.match_info["name"])


def csp(policy: str) -> Break:
    return lambda patch: patch.setitem(http.SAFE_HEADERS, "Content-Security-Policy", policy)


LET_IN = (http.Http, "_let_in")
PLACE = (auth, "check_place")

OPENED: dict[str, Break] = {
    "hole_01 a token in the query": swap(
        *LET_IN, "bearer(request.headers)", 'request.query.get("token") or bearer(request.headers)'
    ),
    "hole_01 a code in the query": swap(
        sign_in.SignInRoutes, "sign_in", "await self._body(small)", "await self._body(small) or dict(request.query)"
    ),
    "hole_01 a Referer": without(http.SAFE_HEADERS, "Referrer-Policy"),
    "hole_02 upgrades from anywhere": swap(
        *LET_IN,
        "    check_place(request.headers, self._port, admin)\n    if not",
        '    if "Upgrade" not in request.headers:\n        check_place(request.headers, self._port, admin)\n    if not',
    ),
    "hole_02 no look at Sec-Fetch-Site": swap(*PLACE, '== "cross-site"', '== "no-site"', http),
    "hole_03 any Host": value(auth, "_is_our_host", lambda *_: True),
    "hole_03 any Host that begins like ours": swap(
        auth, "_is_our_host", "host in allowed", "any(host.startswith(name.rpartition(':')[0]) for name in allowed)"
    ),
    "hole_04 an Origin by its beginning": swap(
        *PLACE, 'origin != f"http://{host}"', 'not origin.startswith(f"http://{host}")', http
    ),
    "hole_04 an Origin by its end": swap(*PLACE, 'origin != f"http://{host}"', "not origin.endswith(host)", http),
    "hole_05 the Origin null": swap(*PLACE, "origin is not None", 'origin not in (None, "null")', http),
    "hole_05 an empty Origin": swap(*PLACE, "origin is not None", "origin", http),
    "hole_06 loopback is not counted": swap(
        auth.Attempts, "refuse_too_many", "len(failures) >= FAILURES", 'len(failures) >= FAILURES and address != "127.0.0.1"'
    ),
    "hole_06 a header says who asks": swap(
        *LET_IN, 'request.remote or ""', 'request.headers.get("X-Forwarded-For", request.remote or "")'
    ),
    "hole_06 codes are not counted": swap(
        auth.Gatekeeper, "open_session", "self._attempts.refuse_too_many(address)", "pass"
    ),
    "hole_06 wrong codes are forgotten": swap(
        auth.Gatekeeper, "open_session", "self._attempts.refuse(code,", "self._attempts.refuse(None,"
    ),
    "hole_07 everybody is let in": value(websocket.WebSockets, "_sign_in", _let_everybody_in),
    "hole_07 everybody is told": swap(
        websocket.WebSockets, "handle",
        "    if await",
        "    self._connections.add(connection)\n    writing = asyncio.ensure_future(connection.write())\n    if await",
    ),
    "hole_07 who says nothing is let in": swap(
        websocket.WebSockets, "_check_connect", "self._gatekeeper.check(", "params.auth.secret and self._gatekeeper.check("
    ),
    "hole_08 any type of body": swap(http.Http, "_body", "request.content_type not in types", "False"),
    "hole_08 a type that has it inside": swap(
        http.Http, "_body", "request.content_type not in types", 'JSON not in request.headers["Content-Type"]'
    ),
    "hole_09 any file from the page's folder on": value(http.Http, "page_file", _any_file),
    "hole_09 a prefix anywhere": swap(
        http, "is_open", "path.startswith(PAGE_FILES)", "PAGE_FILES in path"
    ),
    "hole_10 a large body before signing in": value(sign_in, "MAX_BODY", MIB),
    "hole_10 a large frame before signing in": value(websocket, "MAX_BEFORE", MIB),
    "hole_10 a large frame": value(websocket, "MAX_AFTER", 8 * MIB),
    "hole_10 a large body": value(server, "MAX_BODY", 8 * MIB),
    "hole_11 no end to strangers": value(strangers, "MOST", 10_000),
    "hole_11 no end to silence": value(websocket, "CONNECT_TIMEOUT", 1e6),
    "hole_11 the log is filled": lambda patch: patch.setattr(server, "HTTP_LOG", logging.getLogger("aiohttp.server")),
    "hole_11 the log is filled by hanging up": swap(http.Http, "gate", "isinstance(error, ConnectionError)", "False"),
    "hole_11 who has signed in is pushed out, too": value(strangers.Strangers, "welcome", lambda *_: None),
    "hole_12 scripts of any type": without(http.SAFE_HEADERS, "X-Content-Type-Options"),
    "hole_12 for any origin": without(http.SAFE_HEADERS, "Cross-Origin-Resource-Policy"),
    "hole_12 by our leave": lambda patch: patch.setitem(http.SAFE_HEADERS, "Access-Control-Allow-Origin", "*"),
    "hole_12 lists": swap(http.Http, "channels", '{"accounts": self._api.views.accounts()}', "self._api.views.accounts()"),
    "hole_12 cookies": swap(*LET_IN, "bearer(request.headers)", 'request.cookies.get("token") or bearer(request.headers)'),
    "hole_13 in any frame": csp(http.CSP.replace("frame-ancestors 'none'", "frame-ancestors *")),
    "hole_13 forms to anywhere": csp(http.CSP.replace("form-action 'none'", "form-action *")),
    "hole_14 kept": without(http.SAFE_HEADERS, "Cache-Control"),
    "hole_14 an export that is kept": swap(
        http.Http, "_journal_file", "web.StreamResponse(headers=SAFE_HEADERS)", 'web.StreamResponse(headers={"Cache-Control": "private"})'
    ),
    "hole_15 HEAD without a token": swap(*LET_IN, "if not (is_open", 'if request.method != "HEAD" and not (is_open'),
    "hole_15 OPTIONS without a token": swap(*LET_IN, "if not (is_open", 'if request.method != "OPTIONS" and not (is_open'),
    "hole_15 any method for a change": swap(
        Route, "definition", "web.route(self.method,", "web.route(self.method if self.method != 'POST' else '*',"
    ),
    "hole_16 compared until they differ": swap(
        sessions, "same", "hmac.compare_digest(_bytes(given), _bytes(secret))", "given == secret", auth
    ),
    "hole_16 a token is compared until it differs": swap(auth.Gatekeeper, "takes", "same(given, token)", "given == token"),
    "hole_16 a code is compared until it differs": swap(sessions.Codes, "use", "same(hashed, each.hashed)", "hashed == each.hashed"),
    "hole_16 a session is compared until it differs": swap(
        sessions, "is_session", "same(signature, _signature(body, token))", "signature == _signature(body, token)", auth
    ),
    "hole_17 a code that works twice": swap(sessions.Codes, "use", "self._kept.remove(each)", "pass"),
    "hole_17 a code without an end": swap(sessions.Codes, "use", "now < each.ends", "True"),
    "hole_17 a session without an end": swap(sessions, "is_session", "now_ms < int(parts[1])", "True", auth),
    "hole_17 a session under any token": swap(sessions, "_signature", "_bytes(token)", 'b"a constant"'),
    "hole_17 a session that makes another": swap(auth.Gatekeeper, "make_code", "not same(given, self._token())", "False"),
    "hole_17 a session's end is not signed": swap(sessions, "_signature", "_bytes(body)", "_bytes(body[-16:])"),
    "hole_17 a connection outlives its session": value(websocket.WebSockets, "_close_unwelcome", lambda _: asyncio.sleep(0)),
}  # fmt: skip
