"""Asks the running gateway, which is found through its state folder. With the standard library alone: a command is to be quick."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import ProxyHandler, Request, build_opener

from gateway.config.file import parse, read
from gateway.config.secrets import interpolate
from gateway.errors import ConfigError, GatewayError
from gateway.process.address import find

TIMEOUT = 180.0
"""Seconds. A change is answered when its accounts have settled, which takes an account up to 45."""
UNAUTHORIZED = 401
NOT_LET_IN = "the gateway takes none of the tokens that are in its config, in GATEWAY_TOKEN and in its state folder"


class UnreachableError(GatewayError):
    """No gateway can be asked: none runs, it does not answer, or it takes no token that was found."""


class CallError(GatewayError):
    """The gateway has refused a call. `body` is what it said."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        error = body.get("error", {})
        super().__init__(error.get("message", f"the gateway answered with status {status}"))
        self.status = status
        self.body = body

    @property
    def details(self) -> dict[str, Any]:
        return dict(self.body.get("error", {}).get("details") or {})


class Client:
    """One gateway. Its token is looked for where it may be, and one that is refused is not tried again.

    `address` is where it answers, `tokens` are those that are left to be tried.
    """

    def __init__(self, config: Path, state_dir: Path, patience: float | None = None) -> None:
        """`patience` is in seconds: how long each answer may take. Raises UnreachableError."""
        address = find(state_dir)
        if address is None:
            raise UnreachableError(
                f"no gateway runs with the state folder {state_dir}; start one, or name another with --state-dir"
            )
        self.address = address
        self.tokens = list(dict.fromkeys(_tokens(config, state_dir)))
        # No proxy: it would be handed the token.
        self._opener = build_opener(ProxyHandler({}))
        self._patience = TIMEOUT if patience is None else patience

    def another(self) -> Client:
        """For another thread, which asks the same gateway with what is known to let in."""
        other = copy.copy(self)
        other.tokens = list(self.tokens)
        return other

    def call(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        kind: str = "application/json",
        base: str | None = None,
        **query: object,
    ) -> dict[str, Any]:
        """The JSON answer. Raises CallError, UnreachableError."""
        asked = urlencode({name: value for name, value in query.items() if value is not None})
        request = Request(f"{self.address}{path}{'?' if asked else ''}{asked}", data=body, method=method)  # noqa: S310
        if body is not None:
            request.add_header("Content-Type", kind)
        if base is not None:
            request.add_header("If-Match", f'"{base}"')
        return dict(json.loads(self._ask(request)))

    def read(self, path: str) -> bytes:
        """What is no JSON: a picture, say. Raises CallError, UnreachableError."""
        return self._ask(Request(f"{self.address}{path}"))  # noqa: S310

    def _ask(self, request: Request) -> bytes:
        """With each token in turn, until one is taken."""
        while True:
            if self.tokens:
                request.add_header("Authorization", f"Bearer {self.tokens[0]}")
            try:
                return self._answer(request)
            except CallError as error:
                if error.status != UNAUTHORIZED:
                    raise
                del self.tokens[:1]
                if not self.tokens:
                    raise UnreachableError(NOT_LET_IN) from error

    def _answer(self, request: Request) -> bytes:
        try:
            with self._opener.open(request, timeout=self._patience) as response:
                return bytes(response.read())
        except HTTPError as error:
            raise CallError(error.code, _body(error)) from error
        except (URLError, OSError) as error:
            why = getattr(error, "reason", error)
            raise UnreachableError(f"the gateway at {self.address} cannot be reached: {why}") from error


def _body(error: HTTPError) -> dict[str, Any]:
    try:
        return dict(json.loads(error.read()))
    except ValueError:
        return {}


def _tokens(config: Path, state_dir: Path) -> Iterator[str]:
    """Where a token may be, the likeliest first."""
    if token := _configured(config):
        yield token
    if token := os.environ.get("GATEWAY_TOKEN"):
        yield token
    try:
        yield (state_dir / "admin-token").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return


def _configured(config: Path) -> str | None:
    """What the config's file says, if it can be read at all."""
    try:
        admin = parse(read(config)).get("gateway", {}).get("admin", {})
        token = interpolate(admin, os.environ, []).get("token")
        if isinstance(token, dict):
            token = (config.absolute().parent / Path(str(token["file"])).expanduser()).read_text("utf-8").strip()
    except (ConfigError, AttributeError, KeyError, OSError, UnicodeDecodeError):
        return None
    return token if isinstance(token, str) and token else None
