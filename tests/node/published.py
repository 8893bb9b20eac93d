"""The published client in a process of its own, as a test speaks to it: see `drive.mjs` for the other side."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from tests.node.packages import NODE
from tests.protocol.frames import Frames
from tests.real.process import TOKEN, Gateway, RpcError

DRIVER = Path(__file__).with_name("drive.mjs")
PATIENCE = 20.0
LONGEST_LINE = 8 * 1024 * 1024


class PublishedClient:
    """`async with PublishedClient(packages, gateway) as client:` has been told to connect; its requests are answered.

    `options` are those of the package's `GatewayClient`.
    """

    def __init__(self, packages: Path, gateway: Gateway, *, with_device: bool = False, **options: Any) -> None:
        self._packages = packages
        url = gateway.url.replace("http", "ws", 1) + "/ws"
        options = {"url": url, "token": TOKEN} | options
        self._first = {"command": "start", "options": options, "withDevice": with_device}
        self.happened: list[dict[str, Any]] = []
        """What the client has reported, in its order; frames are checked, and not kept."""
        self._heard = asyncio.Condition()
        self._ended = False
        self._frames: defaultdict[int, Frames] = defaultdict(Frames)
        self._number = 0

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            NODE, DRIVER, self._packages, stdin=-1, stdout=-1, limit=LONGEST_LINE
        )  # fmt: skip
        self._reading = asyncio.ensure_future(self._read())
        self._tell(self._first)
        return self

    async def __aexit__(self, *error: object) -> None:
        try:
            if error[0] is None:
                self._tell({"command": "stop"})
                assert await asyncio.wait_for(self._process.wait(), PATIENCE) == 0
        finally:
            if self._process.returncode is None:
                self._process.kill()
                await self._process.wait()
            await self._reading

    def _tell(self, command: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")

    async def _read(self) -> None:
        assert self._process.stdout is not None
        try:
            async for line in self._process.stdout:
                self._take(json.loads(line))
                async with self._heard:
                    self._heard.notify_all()
        finally:
            self._ended = True
            async with self._heard:
                self._heard.notify_all()

    def _take(self, report: dict[str, Any]) -> None:
        if report["what"] == "said":
            self._frames[report["socket"]].said(report["text"])
        elif report["what"] == "heard":
            self._frames[report["socket"]].heard(report["text"])
        else:
            self.happened.append(report)

    # What happened

    def all(self, what: str) -> list[dict[str, Any]]:
        """The reports of a kind: hello, event, close, gap, paused or connect error."""
        return [report for report in self.happened if report["what"] == what]

    def events(self, name: str) -> list[dict[str, Any]]:
        """The payloads of an event so far."""
        return [report["event"]["payload"] for report in self.all("event") if report["event"]["event"] == name]

    async def until(self, holds: Callable[[], Any]) -> Any:
        """Wait until it holds; what it returned."""
        try:
            async with asyncio.timeout(PATIENCE), self._heard:
                await self._heard.wait_for(lambda: holds() or self._ended)
        except TimeoutError:
            raise AssertionError(f"not in {PATIENCE} s; last: {json.dumps(self.happened[-5:])[:3000]}") from None
        if self._ended:
            await self._reading
        return holds()

    async def hello(self, connection: int = 1) -> dict[str, Any]:
        """The hello-ok of its first connection, or of a later one."""
        await self.until(lambda: len(self.all("hello")) >= connection)
        return dict(self.all("hello")[connection - 1]["hello"])

    async def request(self, method: str, params: dict[str, Any] | None = None) -> Any:
        """The payload of the answer. Raises RpcError."""
        self._number += 1
        number = self._number
        self._tell({"command": "request", "id": number, "method": method, "params": params or {}})
        answer = await self.until(lambda: [report for report in self.all("answer") if report["id"] == number])
        if "error" in answer[0]:
            raise RpcError(answer[0]["error"])
        return answer[0]["payload"]
