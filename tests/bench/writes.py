"""How long the event loop lets others wait while a long config is written: pings as quick as they can be, on one connection."""

from __future__ import annotations

import asyncio
import json
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.bench.counts import Counts
from tests.bench.numbers import summary
from tests.real.process import TOKEN, Gateway
from tests.real.texts import by_hand

SIZE = 24 * 1024
QUIET = 0.3
"""Seconds of pings before each write, to know what they take when nothing is done."""


class Pings:
    """In a thread: this process's own loop must not be what is measured."""

    def __init__(self, url: str) -> None:
        place = urlsplit(url)
        assert place.hostname is not None
        self._place = place.hostname, place.port
        self._request = f"GET /healthz HTTP/1.1\r\nHost: {place.netloc}\r\n\r\n".encode()
        self._end = threading.Event()
        self.taken: list[tuple[float, float]] = []
        """When each began, and the milliseconds that it took."""

    def work(self) -> None:
        with socket.create_connection(self._place) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while not self._end.is_set():
                began = time.monotonic()
                connection.sendall(self._request)
                answer = b""
                while b'{"ok": true}' not in answer:
                    piece = connection.recv(4096)
                    assert piece, answer
                    answer += piece
                self.taken.append((began, (time.monotonic() - began) * 1000))

    @contextmanager
    def going_on(self) -> Iterator[Pings]:
        thread = threading.Thread(target=self.work)
        thread.start()
        try:
            yield self
        finally:
            self._end.set()
            thread.join()

    def longest(self, since: float, until: float) -> float:
        """Of those that were under way at any moment of that time."""
        return max(took for began, took in tuple(self.taken) if began < until and began + took / 1000 > since)


async def writes(counts: Counts) -> dict[str, Any]:
    """config.patch of one value of a file of 24 KB with comments, again and again."""
    with tempfile.TemporaryDirectory() as folder:
        async with Gateway(Path(folder), by_hand(SIZE, TOKEN)) as gateway:
            client = await gateway.client()
            with Pings(gateway.url).going_on() as pings:
                samples = [await once(number, client, pings) for number in range(counts.writes)]
            await client.close()
    return {
        "bytes": SIZE,
        "times": counts.writes,
        **{key: summary([sample[key] for sample in samples]) for key in samples[0]},
    }


async def once(number: int, client: Any, pings: Pings) -> dict[str, float]:
    base = (await client.request("config.get"))["hash"]
    quiet = time.monotonic()
    await asyncio.sleep(QUIET)
    since = time.monotonic()
    raw = json.dumps({"gateway": {"name": f"home {number}"}})
    answer = await client.request("config.patch", {"raw": raw, "baseHash": base})
    until = time.monotonic()
    assert answer["receipt"]["outcome"] == "applied"
    await asyncio.sleep(QUIET / 10)
    return {
        "answer_ms": (until - since) * 1000,
        "longest_ping_ms": pings.longest(since, until),
        "quiet_ping_ms": pings.longest(quiet, since),
    }
