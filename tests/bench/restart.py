"""A restart by another image and one inside the process: how long the account is without a poll, and the port without an answer."""

from __future__ import annotations

import asyncio
import signal
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tests.bench.bot_api import TOKEN, BotApi
from tests.bench.counts import Counts
from tests.bench.numbers import summary
from tests.bench.programs import UNPACED
from tests.real.process import Gateway, config_text, telegram_account

AFTERWARDS = 0.3
BEFORE = 0.5
GIVEN_UP = 5.0


class Visit(NamedTuple):
    """One new connection to /healthz, from its connect to the end of its answer."""

    began: float
    took: float
    error: str


class Visitor:
    """A client that opens a new connection as soon as the last was answered."""

    def __init__(self, url: str) -> None:
        self._host, self._port = urlsplit(url).hostname, urlsplit(url).port
        self._request = (
            f"GET /healthz HTTP/1.1\r\nHost: {self._host}:{self._port}\r\nConnection: close\r\n\r\n".encode()
        )
        self.visits: list[Visit] = []

    async def go_on(self) -> None:
        while True:
            began, error = time.monotonic(), ""
            try:
                async with asyncio.timeout(GIVEN_UP):
                    answer = await self._visit()
                error = "" if answer.startswith(b"HTTP/1.1 200") else answer[:60].decode(errors="replace")
            except (OSError, TimeoutError) as why:
                error = repr(why)
            self.visits.append(Visit(began, time.monotonic() - began, error))

    async def _visit(self) -> bytes:
        reader, writer = await asyncio.open_connection(self._host, self._port)
        try:
            writer.write(self._request)
            return await reader.read()
        finally:
            writer.close()

    def during(self, since: float, until: float) -> list[Visit]:
        return [visit for visit in self.visits if visit.began < until and visit.began + visit.took > since]


def longest(visits: Iterable[Visit]) -> float:
    return max((visit.took * 1000 for visit in visits), default=0.0)


async def once(gateway: Gateway, crowd: list[Visitor], api: BotApi) -> dict[str, Any]:
    """One restart with the visitors before, during and after it."""
    quiet = time.monotonic()
    await asyncio.sleep(BEFORE)
    since, boots = time.monotonic(), len(gateway.boots)
    gateway.signal(signal.SIGUSR1)
    async with asyncio.timeout(60):
        while len(gateway.boots) == boots:
            await asyncio.sleep(0.001)
    ready = (time.monotonic() - since) * 1000
    await asyncio.sleep(AFTERWARDS)
    visits = [visit for visitor in crowd for visit in visitor.during(since, time.monotonic())]
    return {
        "ready_ms": ready,
        **await api.call("window", since=since),
        "stall_ms": longest(visits),
        "usual_stall_ms": longest(visit for visitor in crowd for visit in visitor.during(quiet, since)),
        "errors": sum(bool(visit.error) for visit in visits),
        "visits": len(visits),
    }


WAYS = (("exec", 1), ("in_process", 1), ("exec", 100))
"""How it restarts, and how many clients open connections as fast as they can."""


async def restarts(api: BotApi, counts: Counts) -> list[dict[str, Any]]:
    """Each way in its turn."""
    return [await _restarts(api, counts, mode, clients) for mode, clients in WAYS]


async def _restarts(api: BotApi, counts: Counts, mode: str, clients: int) -> dict[str, Any]:
    """SIGUSR1 to an idle gateway that may restart at once."""
    account = telegram_account("main", TOKEN, api.url, poll_timeout_s=30, **UNPACED)
    text = config_text(account, restart=f"{{mode: {mode}, delay_ms: 0, cooldown_ms: 0}}")
    with tempfile.TemporaryDirectory() as folder:
        async with Gateway(Path(folder), text) as gateway:
            await api.call("polling")
            before = await api.call("window", since=time.monotonic())
            crowd = [Visitor(gateway.url) for _ in range(clients)]
            going = [asyncio.ensure_future(visitor.go_on()) for visitor in crowd]
            samples = [await once(gateway, crowd, api) for _ in range(counts.restarts)]
            for each in going:
                each.cancel()
            await asyncio.wait(going)
    keys = ("ready_ms", "longest_ms", "total_ms", "stall_ms", "usual_stall_ms")
    return {
        "mode": mode,
        "clients": clients,
        "times": counts.restarts,
        **{key: summary([each[key] for each in samples]) for key in keys},
        **{key: samples[-1][key] - before[key] for key in ("overlaps", "conflicts")},
        "visits": sum(each["visits"] for each in samples),
        "errors": sum(each["errors"] for each in samples),
        "which_errors": sorted({visit.error for visitor in crowd for visit in visitor.visits if visit.error}),
    }
