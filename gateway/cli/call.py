"""`gateway call METHOD PARAMS`: any method of the WebSocket protocol, as its clients call it."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import aiohttp

from gateway import __version__
from gateway.cli.client import NOT_LET_IN, TIMEOUT, Client, UnreachableError
from gateway.cli.exits import EXIT_FAILED, EXIT_OK, EXIT_USAGE, complain
from gateway.cli.plain import say_json

MISMATCH = "AUTH_TOKEN_MISMATCH"
SCOPES = ["operator.read", "operator.write", "operator.admin"]


class RefusedError(Exception):
    """A response frame with `ok: false`; `error` is what it says."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(f"{error.get('code')}: {error.get('message')}")
        self.error = error


def call(config: Path, state_dir: Path, *, method: str, params: str) -> int:
    """The payload of the answer, as JSON; of a refusal its error, and exit code 1."""
    try:
        wanted = _params(params)
    except OSError as error:
        complain(str(error))
        return EXIT_FAILED
    except ValueError as error:
        complain(f"PARAMS must be a JSON object: {error}")
        return EXIT_USAGE
    try:
        payload = asyncio.run(_call(Client(config, state_dir.absolute()), method, wanted))
    except RefusedError as error:
        complain(str(error))
        if error.error.get("details"):
            say_json(error.error)
    except UnreachableError as error:
        complain(str(error))
    else:
        say_json(payload)
        return EXIT_OK
    return EXIT_FAILED


def _params(given: str) -> dict[str, Any]:
    """Raises ValueError, and OSError for a file."""
    if given == "-":
        given = sys.stdin.read()
    elif given.startswith("@"):
        given = Path(given[1:]).read_text(encoding="utf-8")
    params = json.loads(given)
    if isinstance(params, dict):
        return params
    raise ValueError(f"this is a {type(params).__name__}")


async def _call(client: Client, method: str, params: dict[str, Any]) -> Any:
    """Raises RefusedError, UnreachableError."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT)) as session:
        for token in client.tokens:
            try:
                async with session.ws_connect(f"{client.address}/ws", max_msg_size=0) as socket:
                    if await _sign_in(socket, token):
                        return await _ask(socket, method, params)
            except (aiohttp.ClientError, TimeoutError) as error:
                raise UnreachableError(f"the gateway at {client.address} cannot be reached: {error}") from error
    raise UnreachableError(NOT_LET_IN)


async def _sign_in(socket: aiohttp.ClientWebSocketResponse, token: str) -> bool:
    """Whether the token lets us in."""
    me = {"id": "gateway-cli", "version": __version__, "platform": sys.platform, "mode": "cli"}
    protocol = {"minProtocol": 4, "maxProtocol": 4}
    try:
        await _ask(
            socket,
            "connect",
            {**protocol, "client": me, "role": "operator", "scopes": SCOPES, "auth": {"token": token}},
        )
    except RefusedError as error:
        if error.error.get("details", {}).get("code") != MISMATCH:
            raise
        return False
    return True


async def _ask(socket: aiohttp.ClientWebSocketResponse, method: str, params: dict[str, Any]) -> Any:
    """The answer to one request; events, the challenge among them, are passed over. Raises RefusedError, UnreachableError."""
    await socket.send_json({"type": "req", "id": method, "method": method, "params": params})
    async for message in socket:
        frame = json.loads(message.data) if message.type is aiohttp.WSMsgType.TEXT else {}
        if frame.get("type") == "res" and frame.get("id") == method:
            if frame["ok"]:
                return frame.get("payload")
            raise RefusedError(frame["error"])
    raise UnreachableError(f"the connection was closed with {socket.close_code} before the answer")
