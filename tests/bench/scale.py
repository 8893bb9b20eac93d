"""What one edited account costs among very many, beside the same where it is the only one."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import resource
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.bot_api import BotApi, token_of
from tests.bench.counts import Counts
from tests.bench.numbers import summary
from tests.real.process import Client, Gateway, config_text, telegram_account

DEBOUNCE_MS = 300
FILE, APPLY, PATCH = "file edit", "config.apply", "config.patch"
BOOT_PATIENCE = 120.0
PAUSE = 0.2
"""Seconds between two changes."""


@dataclass
class Crowd:
    """A gateway with so many accounts, of which one is changed again and again."""

    gateway: Gateway
    client: Client
    api: BotApi
    first: int
    size: int
    seconds: int = 30

    @property
    def number(self) -> int:
        """The one in the middle."""
        return self.size // 2

    def next_text(self) -> str:
        """The file's text with another setting of the one."""
        self.seconds = 30 + (self.seconds + 1) % 20
        account = rf"(      n{self.number}: .*poll_timeout_s\"?: )\d+"
        text, found = re.subn(account, rf"\g<1>{self.seconds}", self.gateway.config.read_text(), count=1)
        assert found == 1
        return text

    async def change(self, way: str) -> dict[str, float]:
        """Milliseconds to the one's next poll, and to the answer."""
        return await (self._by_file() if way == FILE else self._by_call(way))

    async def _by_file(self) -> dict[str, float]:
        """Rename a new version into place. The answer is the event that says that it runs."""
        text = self.next_text()
        wanted = hashlib.sha256(text.encode()).hexdigest()
        fresh = self.gateway.config.with_name("gateway.yaml.new")
        fresh.write_text(text)
        self.client.events.clear()
        since = time.monotonic()
        fresh.replace(self.gateway.config)
        while not any(frame["payload"].get("applied") == wanted for frame in self.client.events):
            await asyncio.sleep(0.001)
        answered = (time.monotonic() - since) * 1000
        return {"poll_ms": await self._first_poll(since), "answer_ms": answered}

    async def _by_call(self, method: str) -> dict[str, float]:
        raw, base = self.next_text(), hashlib.sha256(self.gateway.config.read_bytes()).hexdigest()
        if method == PATCH:
            accounts = {f"n{self.number}": {"poll_timeout_s": self.seconds}}
            raw = json.dumps({"channels": {"telegram": {"accounts": accounts}}})
        since = time.monotonic()
        answer = await self.client.request(method, {"raw": raw, "baseHash": base})
        answered = (time.monotonic() - since) * 1000
        assert answer["receipt"]["outcome"] == "applied", answer["receipt"]
        return {"poll_ms": await self._first_poll(since), "answer_ms": answered}

    async def _first_poll(self, since: float) -> float:
        found = await self.api.call("next_poll", first=self.first, number=self.number, since=since)
        return float(found["at"] - since) * 1000


@asynccontextmanager
async def crowd(api: BotApi, first: int, size: int) -> AsyncIterator[Crowd]:
    """All of them poll when it begins."""
    await api.call("crowd", first=first, size=size)
    accounts = "".join(
        telegram_account(f"n{place}", token_of(first + place), api.url, poll_timeout_s=30) for place in range(size)
    )
    with tempfile.TemporaryDirectory() as folder:
        text = config_text(accounts, reload=f"{{mode: hybrid, debounce_ms: {DEBOUNCE_MS}}}")
        async with Gateway(Path(folder), text) as gateway:
            client = await gateway.client()
            client.patience = BOOT_PATIENCE
            async with asyncio.timeout(BOOT_PATIENCE):
                await api.call("crowd_polling", first=first)
            yield Crowd(gateway, client, api, first, size)
            await client.close()


async def scales(api: BotApi, counts: Counts) -> list[dict[str, Any]]:
    """By each road, the one and the many in turn, so that whatever else the machine does meets both."""
    allow_files()
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(crowd(api, 5_000, 1))
        many = await stack.enter_async_context(crowd(api, 10_000, counts.accounts))
        rows = [await compare(way, one, many, counts.edits) for way in (FILE, APPLY, PATCH)]
        others = await api.call("interrupted", first=many.first, number=many.number)
    return [row | others for row in rows]


async def compare(way: str, one: Crowd, many: Crowd, times: int) -> dict[str, Any]:
    samples = []
    for _ in range(times):
        await asyncio.sleep(PAUSE)
        samples.append((await one.change(way), await many.change(way)))
    return {
        "change": way,
        "times": times,
        "accounts": many.size,
        "debounce_ms": DEBOUNCE_MS if way == FILE else 0,
        **{
            f"{who}_{key}": summary([sample[place][key] for sample in samples])
            for place, who in enumerate(("one", "many"))
            for key in ("poll_ms", "answer_ms")
        },
    }


def allow_files() -> None:
    """Each account has a connection, and the server of their bots another one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
