"""A gateway in a process of its own, and a client of its WebSocket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, Self

import aiohttp

from tests.machine_coverage import note_log
from tests.protocol import frames

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "a-token-for-tests-0123456789"
READY = re.compile(r"gateway ready (http://\S+) pid=(\d+) boot=(\S+)")
PATIENCE = 20.0

NO_CERTIFICATES = {"SSL_CERT_FILE": os.devnull, "SSL_CERT_DIR": os.devnull}
"""No network of the tests speaks TLS, and to read the machine's certificates is a tenth of a boot."""


def config_text(
    accounts: str = "",
    *,
    restart: str = "{delay_ms: 2000, cooldown_ms: 0}",
    reload: str = "{mode: hybrid, debounce_ms: 300}",
    channels: str = "",
    extra: str = "",
) -> str:
    """A config with an echo for everything. `accounts` are lines of YAML, indented by six spaces; `channels` by two."""
    telegram = f"  telegram:\n    accounts:\n{accounts}" if accounts else ""
    return f"""\
# a comment that must survive
gateway:
  admin: {{port: 0, token: {TOKEN}, writes_per_minute: 0}}
  reload: {reload}
  restart: {restart}
channels:
  webchat: {{accounts: {{default: {{}}}}}}
{telegram}{channels}handlers:
  echo: {{type: echo}}
routes:
  - {{channel: "*", handler: echo}}
{extra}"""


def telegram_account(name: str, token: str, api_base: str, **more: object) -> str:
    """An account's lines of YAML."""
    keys = {"token": token, "api_base": api_base, "poll_timeout_s": 5} | more
    return f"      {name}: {{{', '.join(f'{key}: {json.dumps(value)}' for key, value in keys.items())}}}\n"


async def side_by_side(scenarios: Mapping[str, Coroutine[Any, Any, None]], at_once: int = 8) -> None:
    """Run each, that many at a time, to its end; those that failed are raised together, each with its name."""
    room = asyncio.Semaphore(at_once)

    async def run(scenario: Coroutine[Any, Any, None]) -> None:
        async with room:
            await scenario

    results = await asyncio.gather(*map(run, scenarios.values()), return_exceptions=True)
    failures = []
    for name, result in zip(scenarios, results, strict=True):
        if isinstance(result, BaseException):
            result.add_note(f"in the scenario: {name}")
            failures.append(result)
    if failures:
        raise BaseExceptionGroup(f"{len(failures)} of {len(scenarios)} scenarios failed", failures)


class RpcError(Exception):
    """A response frame with ok: false."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(f"{error['code']}: {error['message']}")
        self.error = error


async def attempt(call: Awaitable[dict[str, Any]]) -> dict[str, Any] | RpcError:
    """The answer to a request, or its refusal."""
    try:
        return await call
    except RpcError as error:
        return error


class Client:
    """A client of the WebSocket protocol that keeps every event it was sent."""

    def __init__(self, session: aiohttp.ClientSession, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._session = session
        self.socket = socket
        self.events: list[dict[str, Any]] = []
        self.patience = 60.0
        """Seconds for the answer to a request."""
        self.hello: dict[str, Any] = {}
        self._answers: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._number = 0
        self._reading: asyncio.Task[None] | None = None

    @classmethod
    async def connect(cls, url: str, token: str = TOKEN, scopes: list[str] | None = None) -> Self:
        session = frames.session()
        try:
            client = cls(session, await session.ws_connect(url + "/ws", max_msg_size=0))
        except BaseException:
            await session.close()
            raise
        try:
            await client._sign_in(token, scopes)
        except BaseException:
            await client.close()
            raise
        return client

    async def _sign_in(self, token: str, scopes: list[str] | None) -> None:
        challenge = await self.socket.receive_json()
        assert challenge["event"] == "connect.challenge"
        self._reading = asyncio.ensure_future(self._read())
        self.hello = await self.request(
            "connect",
            {
                "minProtocol": 4,
                "maxProtocol": 4,
                "client": {"id": "test", "version": "1", "platform": "linux", "mode": "test"},
                "role": "operator",
                "scopes": scopes or ["operator.read", "operator.write", "operator.admin"],
                "auth": {"token": token},
            },
        )

    async def _read(self) -> None:
        end: Exception | None = None
        try:
            async for message in self.socket:
                frame = self.hear(message.data)
                if frame["type"] == "event":
                    self.events.append(frame)
                elif frame["id"] in self._answers and not self._answers[frame["id"]].done():
                    self._answers[frame["id"]].set_result(frame)
        except frames.FrameError as error:
            end = error
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(end or ConnectionError(f"closed with {self.socket.close_code}"))
        self._answers.clear()

    def hear(self, text: str) -> dict[str, Any]:
        """A frame as it comes; whoever wants to look at every one of them looks here."""
        frame: dict[str, Any] = json.loads(text)
        return frame

    async def request(self, method: str, params: dict[str, Any] | None = None, **more: str) -> dict[str, Any]:
        """The payload of the answer. `more` is what else stands in the frame. Raises RpcError."""
        if self._reading is not None and self._reading.done():
            raise ConnectionError(f"closed with {self.socket.close_code}")
        self._number += 1
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        call = str(self._number)
        self._answers[call] = answer
        try:
            await self.socket.send_json({"type": "req", "id": call, "method": method, "params": params or {}, **more})
            frame = await asyncio.wait_for(answer, self.patience)
        finally:
            self._answers.pop(call, None)
        if not frame["ok"]:
            raise RpcError(frame["error"])
        payload: dict[str, Any] = frame["payload"]
        return payload

    async def patch(self, patch: str, **more: Any) -> dict[str, Any]:
        """config.patch with the hash of the moment."""
        config = await self.request("config.get")
        return await self.request("config.patch", {"raw": patch, "baseHash": config["hash"], **more})

    async def socket_closed(self) -> None:
        """Wait until the server has closed the connection."""
        assert self._reading is not None
        await self._reading

    async def close(self) -> None:
        await self.socket.close()
        if self._reading is not None:
            self._reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reading
        await self._session.close()


class Gateway:
    """`async with Gateway(folder, text) as gateway:` a running process; it is stopped, and its exit checked, at the end."""

    def __init__(self, folder: Path, text: str | None, *, command: list[str] | None = None, **environ: str) -> None:
        self.folder = folder
        self.config = folder / "gateway.yaml"
        if text is not None:
            self.config.write_text(text)
        self._command = command or [sys.executable, "-m", "gateway"]
        self._environ = environ
        self.inherit: tuple[int, ...] = ()
        """Descriptors that the process is given, under their own numbers."""
        self.process: asyncio.subprocess.Process | None = None
        self.url = ""
        self.token = TOKEN
        self.boots: list[str] = []
        self._reading: asyncio.Task[None] | None = None
        self._session: aiohttp.ClientSession | None = None
        self._clients: list[Client] = []
        self._ready = asyncio.Event()

    @property
    def log(self) -> list[dict[str, Any]]:
        """The log so far, a mapping a line; a line that is not JSON is under `raw`."""
        return [_log_line(line) for line in (self.folder / "log").read_text().splitlines()]

    def moves(self, machine: str) -> list[tuple[str, str]]:
        """What the log says of a machine's way: (source, dest) of each `transition` line."""
        lines = [line for line in self.log if line["event"] == "transition" and line["machine"] == machine]
        return [(line["source"], line["dest"]) for line in lines]

    def starts(self, machine: str) -> int:
        """How often a machine has begun to start, by the log."""
        return [dest for _, dest in self.moves(machine)].count("starting")

    async def start(self) -> None:
        """Start the process; returns when it is ready."""
        await self.spawn()
        await asyncio.wait_for(self._ready.wait(), PATIENCE)

    async def spawn(self) -> None:
        with (self.folder / "log").open("ab") as log:
            await self.launch(stderr=log)

    async def launch(self, **more: Any) -> None:
        """A process, and somebody who reads its standard output; `more` says where its log goes."""
        environ = {**os.environ, **NO_CERTIFICATES, "PYTHONPATH": str(ROOT), **self._environ}
        self._ready.clear()
        self.process = await asyncio.create_subprocess_exec(
            *self._command, cwd=self.folder, env=environ, stdout=asyncio.subprocess.PIPE, pass_fds=self.inherit, **more
        )
        self._reading = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            found = READY.search(line.decode())
            if found:
                self.url = found[1]
                self.boots.append(found[3])
                self._ready.set()

    async def ready(self, boots: int) -> None:
        """Wait until it has said that often that it is ready: once, and once more for each restart."""
        while len(self.boots) < boots:
            await asyncio.sleep(0.02)

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    async def wait(self, timeout: float = PATIENCE) -> int:
        """Wait for the process to end; its exit code."""
        assert self.process is not None
        return await asyncio.wait_for(self.process.wait(), timeout)

    async def stop(self) -> int:
        """SIGTERM, and the exit code."""
        if self.process is not None and self.process.returncode is None:
            self.signal(signal.SIGTERM)
        return await self.wait()

    async def close(self) -> None:
        """End it, whatever it is doing."""
        for client in self._clients:
            await client.close()
        if self._session is not None:
            await self._session.close()
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()
        if self._reading is not None:
            await self._reading
        if (self.folder / "log").exists():
            note_log(self.folder / "log", self.log)

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *error: object) -> None:
        try:
            if error[0] is None:
                assert await self.stop() == 0
        finally:
            await self.close()

    # Asking it

    async def http(self, method: str, path: str, *, token: str | None = "", **more: Any) -> tuple[int, Any]:
        """Status and JSON body. Without a `token` said it is the right one; None sends none."""
        token = self.token if token == "" else token
        if self._session is None:
            self._session = frames.session()
        headers = ({"Authorization": f"Bearer {token}"} if token else {}) | more.pop("headers", {})
        async with self._session.request(method, self.url + path, headers=headers, **more) as response:
            return response.status, await response.json(content_type=None)

    async def client(self) -> Client:
        """A client that has signed in; it is closed with the gateway."""
        client = await Client.connect(self.url, self.token)
        self._clients.append(client)
        return client

    async def status(self) -> dict[str, Any]:
        code, body = await self.http("GET", "/api/v1/status")
        assert code == 200, body
        found: dict[str, Any] = body
        return found

    async def account(self, name: str) -> dict[str, Any]:
        accounts = (await self.status())["accounts"]
        return next(account for account in accounts if f"{account['channel']}/{account['account']}" == name)

    async def journal(self) -> list[dict[str, Any]]:
        _, body = await self.http("GET", "/api/v1/journal?limit=1000")
        entries: list[dict[str, Any]] = body["entries"]
        return entries

    async def until(self, holds: Callable[[dict[str, Any]], bool], timeout: float = PATIENCE) -> dict[str, Any]:
        """Poll the status until it holds; the status that did."""
        deadline = time.monotonic() + timeout
        while True:
            status = await self.status()
            if holds(status):
                return status
            assert time.monotonic() < deadline, f"not reached in {timeout} s: {json.dumps(status)[:2000]}"
            await asyncio.sleep(0.02)

    async def edit(self, change: Callable[[str], str]) -> None:
        """Save the file as an editor does: a new file, renamed over the old one."""
        text = change(self.config.read_text())
        fresh = self.config.with_name("gateway.yaml.new")
        fresh.write_text(text)
        fresh.replace(self.config)


def _log_line(line: str) -> dict[str, Any]:
    """A line that is being written, and so is not whole yet, is no JSON either."""
    try:
        return dict(json.loads(line))
    except ValueError:
        return {"event": "raw", "raw": line}
