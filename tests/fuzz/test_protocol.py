"""A conversation of any length: clients come and go, ask, write and restart, and a referee knows what the config must be."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
from aiohttp import WSMsgType
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from structlog.testing import capture_logs

from gateway.admin.auth import FAILURES, PERIOD
from gateway.admin.limits import PERIOD as WRITES_PERIOD
from gateway.admin.methods import ADMIN, ALLOWS, METHODS, READ, WRITE
from gateway.config.file import parse
from gateway.config.merge import identity, merged
from statemachine.lifecycle import LifecycleState
from tests.fuzz.frames import params_of
from tests.fuzz.profiles import tries
from tests.fuzz.test_frames import RESTARTING, check_frame
from tests.gateway.admin.house import TEXT, TOKEN, AdminHouse, Socket
from tests.virtual import VirtualLoop

T = TypeVar("T")

SCOPES = st.lists(st.sampled_from([READ, WRITE, ADMIN]), min_size=1, unique=True)
CALLS = sorted(set(METHODS) - {"config.set", "config.apply", "config.patch", "gateway.restart.request"})
"""What is asked with any parameters; what changes the config or the run is asked by rules that know what must follow."""
GOOD = st.one_of(
    st.sampled_from(["home", "office", "ü", "true", "?"]).map(lambda name: {"gateway": {"name": name}}),
    st.sampled_from([{}, {"enabled": False}, None]).map(
        lambda one: {"channels": {"webchat": {"accounts": {"more": one}}}}
    ),
    st.booleans().map(lambda on: {"channels": {"telegram": {"accounts": {"main": {"enabled": on}}}}}),
    st.sampled_from([{"type": "echo"}, None]).map(lambda one: {"handlers": {"spare": one}}),
    st.integers(0, 3).map(lambda count: {"routes": [{"handler": "echo"}] * count}),
    st.integers(0, 3).map(lambda number: {"gateway": {"restart": {"cooldown_ms": number}}}),
    st.just({}),
)
BAD = st.sampled_from(
    [
        {"gateway": {"nmae": 1}},
        {"gateway": {"name": ""}},
        {"routes": [{"handler": "nobody"}]},
        {"channels": {"webchat": {"accounts": {"a b": {}}}}},
        {"store": []},
        {"gateway": {"name": "${NO_SUCH}"}},
    ]
)
CLOSING = "this connection is being closed"
"""What a request is told that comes between the last answer and the close of a restart."""
SECONDS_A_WRITE = WRITES_PERIOD / 20
"""Slow enough for the limit on writes."""


class Client:
    """A signed-in connection: what it may do, and in which run of the gateway it was opened."""

    def __init__(self, socket: Socket, scopes: list[str], boot: int) -> None:
        self.socket = socket
        self.scopes = scopes
        self.boot = boot
        self.number = 0
        self.answers: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        # It reads at all times: who does not is dropped, be it for a ping that nobody answers.
        self.reading = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        """Put every answer where `ask` finds it, and None at the end."""
        while (message := await self.socket.socket.receive()).type is WSMsgType.TEXT:
            self.socket.house.frames.append(message.data)
            frame: dict[str, Any] = json.loads(message.data)
            check_frame(frame)
            if frame["type"] == "res":
                self.answers.put_nowait(frame)
        self.answers.put_nowait(None)

    async def leave(self) -> None:
        """Close; whatever was still there to be read was no answer."""
        await self.socket.socket.close()
        await self.reading
        assert self.answers.get_nowait() is None

    async def ask(self, method: str, params: Any) -> dict[str, Any] | None:
        """The one response; None when a restart closed the connection, before or after the request came."""
        self.number += 1
        request = f"{method} {self.number}"
        try:
            await self.socket.send(type="req", id=request, method=method, params=params)
        except ConnectionError:
            self._check_close()
            return None
        async with asyncio.timeout(400):
            frame = await self.answers.get()
        if frame is None:
            await self.reading
            self._check_close()
            return None
        assert frame["id"] == request, "an answer that nobody waits for"
        return frame

    def _check_close(self) -> None:
        assert len(self.socket.house.boots) > self.boot, "closed without a restart"
        assert self.socket.socket.close_code == RESTARTING


class Conversation(RuleBasedStateMachine):
    """See the module."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=VirtualLoop)
        self.folder = tempfile.TemporaryDirectory()
        self.logs = capture_logs()
        self.lines = self.logs.__enter__()
        self.house = AdminHouse(Path(self.folder.name))
        self.do(self.house.__aenter__())
        self.clients: list[Client] = []
        self.text = TEXT.encode()

    def do(self, what: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(what)

    @property
    def config(self) -> dict[str, Any]:
        return parse(self.text)

    def ask(self, data: st.DataObject, method: str, params: Any) -> dict[str, Any] | None:
        """Ask as one of the clients. None when there is nothing more to check: it was closed, or may not ask this."""
        client = data.draw(st.sampled_from(self.clients), label="client")
        answer = self.do(client.ask(method, params))
        if answer is None or answer.get("error", {}).get("message", "").startswith(CLOSING):
            self.clients.remove(client)
            return None
        if not any(METHODS[method].scope in ALLOWS[scope] for scope in client.scopes):
            assert answer["error"]["details"]["missingScope"] == METHODS[method].scope
            return None
        return answer

    def wait(self, seconds: float) -> None:
        self.do(asyncio.sleep(seconds))

    # Coming and going

    @rule(scopes=SCOPES)
    def connect(self, scopes: list[str]) -> None:
        async def sign_in() -> Client:
            await self.house.until(LifecycleState.RUNNING)
            boot = len(self.house.boots)
            socket = await self.house.sign_in(scopes=scopes)
            assert socket.hello["auth"]["scopes"] == sorted(scopes)
            assert set(socket.hello["features"]["methods"]) == {"connect", *METHODS}
            return Client(socket, scopes, boot)

        if len(self.clients) < 4:
            self.clients.append(self.do(sign_in()))

    @rule(token=st.sampled_from([None, "wrong", TOKEN[:-1], TOKEN + "x", ""]))
    def connect_wrongly(self, token: str | None) -> None:
        async def try_in() -> None:
            await self.house.until(LifecycleState.RUNNING)
            socket = await self.house.open()
            answer = await socket.connect(token)
            assert answer["error"]["code"] == "INVALID_REQUEST"
            assert answer["error"]["details"]["code"] == ("AUTH_TOKEN_MISMATCH" if token else "AUTH_TOKEN_MISSING")
            assert await socket.closed() == 1008

        self.wait(PERIOD / (FAILURES - 2))
        self.do(try_in())

    @precondition(lambda self: self.clients)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        client = data.draw(st.sampled_from(self.clients), label="client")
        self.clients.remove(client)
        self.do(client.leave())

    # Asking

    @precondition(lambda self: self.clients)
    @rule(data=st.data(), method=st.sampled_from(CALLS))
    def call(self, data: st.DataObject, method: str) -> None:
        self.ask(data, method, data.draw(params_of(METHODS[method].params), label="params"))

    @precondition(lambda self: self.clients)
    @rule(data=st.data())
    def read_config(self, data: st.DataObject) -> None:
        answer = self.ask(data, "config.get", {})
        if answer is not None:
            assert answer["payload"]["hash"] == self.house.hash
            assert answer["payload"]["valid"]

    # Writing

    @precondition(lambda self: self.clients)
    @rule(data=st.data(), patch=GOOD)
    def write(self, data: st.DataObject, patch: dict[str, Any]) -> None:
        self.wait(SECONDS_A_WRITE)
        before, wanted = self.text, merged(self.config, patch)
        params = {"raw": json.dumps(patch), "baseHash": self.house.hash, "replacePaths": ["routes"]}
        answer = self.ask(data, "config.patch", params)
        self.text = self.house.on_disk()
        if answer is None:  # not heard, or not allowed: all of it, or nothing
            assert identity(self.config) in (identity(wanted), identity(parse(before)))
            return
        assert answer["ok"], answer
        receipt = answer["payload"]["receipt"]
        assert identity(self.config) == identity(wanted)
        assert receipt["hash"] == self.house.hash
        assert receipt["outcome"] in ("noop", "applied", "restart_pending")
        assert (receipt["restart"] is None) == (receipt["outcome"] != "restart_pending")

    @precondition(lambda self: self.clients)
    @rule(data=st.data(), patch=st.one_of(GOOD, BAD), base=st.sampled_from([None, "0" * 64, "stale", ""]))
    def write_on_an_old_hash(self, data: st.DataObject, patch: dict[str, Any], base: str | None) -> None:
        self.wait(SECONDS_A_WRITE)
        answer = self.ask(data, "config.patch", {"raw": json.dumps(patch), "baseHash": base})
        if answer is not None:
            assert answer["error"]["details"]["currentHash"] == self.house.hash

    @precondition(lambda self: self.clients)
    @rule(data=st.data(), patch=BAD)
    def write_what_is_wrong(self, data: st.DataObject, patch: dict[str, Any]) -> None:
        self.wait(SECONDS_A_WRITE)
        answer = self.ask(data, "config.patch", {"raw": json.dumps(patch), "baseHash": self.house.hash})
        if answer is not None:
            assert answer["error"]["code"] == "INVALID_REQUEST"
            assert answer["error"]["details"]["issues"]

    @rule(comment=st.integers(0, 5))
    def edit_by_hand(self, comment: int) -> None:
        self.text += f"\n# {comment}\n".encode()
        self.do(self.house.edit(self.text.decode()))

    # Restarting

    @precondition(lambda self: self.clients)
    @rule(data=st.data(), delay=st.sampled_from([0, 100, 60_000]), force=st.booleans())
    def restart(self, data: st.DataObject, delay: int, force: bool) -> None:
        answer = self.ask(data, "gateway.restart.request", {"delayMs": delay, "force": force})
        if answer is not None:
            assert answer["ok"], answer
            assert answer["payload"]["id"].startswith("restart-")

    @rule(seconds=st.sampled_from([0.01, 2.5, 70.0]))
    def let_time_pass(self, seconds: float) -> None:
        self.wait(seconds)

    # What always holds

    @invariant()
    def the_file_is_what_was_written_last(self) -> None:
        assert self.house.on_disk() == self.text

    def teardown(self) -> None:
        try:
            self.do(self._end())
        finally:
            self.runner.close()
            self.logs.__exit__(None, None, None)
            self.folder.cleanup()
        assert [line for line in self.lines if line["event"] in ("call_failed", "http_failed")] == []

    async def _end(self) -> None:
        """Whoever is still there has no second answer to anything."""
        for client in self.clients:
            if await client.ask("health", {}) is not None:
                await client.leave()
        await self.house.__aexit__(None, None, None)


TestConversation = pytest.mark.timeout(600)(Conversation.TestCase)  # a failure is shrunk first, and that takes a while
TestConversation.settings = tries(15, stateful_step_count=20)
