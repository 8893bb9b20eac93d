"""What a route is: how a call is reached, and what it takes and gives. The router and the OpenAPI document are made from it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from aiohttp import web

from gateway.admin.schemas import Params
from gateway.errors import GatewayError

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
YAML_TYPES = ("application/yaml", "application/x-yaml", "text/yaml")
ANY = "*/*"
OPEN_PATHS = frozenset({"/", "/ws", "/healthz", "/readyz", "/favicon.ico"})
"""Served without a token: the page's own files, the probes, and the WebSocket, which signs in by its first frame."""
PAGE_FILES = "/page/"
VENDORED = "/page/vendor/"
METRICS = "/metrics"
SIGN_IN = "/api/v1/sign-in"
"""Asked with a one-time code in place of the token."""
TELEGRAM = "/telegram/"
"""What Telegram brings: with a secret of its own in place of the token."""


def is_open(path: str) -> bool:
    """Whether a path is served without a token."""
    return path in OPEN_PATHS or path == SIGN_IN or path.startswith(PAGE_FILES)


def is_brought(path: str) -> bool:
    """Whether a network calls it, with the secret that it was given for that."""
    return path.startswith(TELEGRAM)


@dataclass(frozen=True)
class Route:
    """One call. `gives` has, by status, a model in `answers` (or several, with `|` between them), or the types of what is no JSON."""

    method: str
    path: str
    handler: Handler
    gives: Mapping[int, str | tuple[str, ...]]
    also: tuple[str, ...] = ()
    """Types in which the good answer can be had beside JSON, where the query asks for one."""
    query: type[Params] | None = None
    takes: type[Params] | str = ""
    """The body: a model, or `config`, `patch` or `plan` (either of both) for the config's own, or a network's `update`."""
    errors: tuple[type[GatewayError], ...] = ()
    """What it may raise beside the refusals at the door, which every call shares."""

    def definition(self) -> web.RouteDef:
        """For the router. Whoever may GET may HEAD."""
        return (
            web.get(self.path, self.handler)
            if self.method == "GET"
            else web.route(self.method, self.path, self.handler)
        )
