"""What a change of the config costs one account: time without a poll, and time to the answer."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from tests.bench.bot_api import TOKEN, BotApi
from tests.bench.counts import Counts
from tests.bench.numbers import summary
from tests.bench.programs import UNPACED
from tests.bench.reference import EDIT, IDLE, LIVE, NOTHING, PATCH, SERIES, TRAFFIC
from tests.real.process import Client, Gateway, config_text, telegram_account

MAIN = "telegram/main"
PUSH_EVERY = 0.05
AFTERWARDS = 0.15
"""Seconds after the answer that still belong to the window in which polls are looked for."""
LOOK_EVERY = 0.005
LOOK_AFTER = 0.28
"""Seconds after an edit in which nothing is looked at: it cannot be done yet, and looking costs the gateway time."""
SEED = 1


@dataclass
class Rig:
    """One running gateway with one account, and who asks it."""

    gateway: Gateway
    client: Client
    api: BotApi
    number: int = 0

    def poll_timeout(self) -> int:
        """One that differs from the last."""
        self.number += 1
        return 30 + self.number % 20

    async def generation(self) -> int:
        found: int = (await self.gateway.account(MAIN))["generation"]
        return found


class Change(ABC):
    """One kind of change: prepared outside the measured time, made inside it."""

    name: str

    def __init__(self, rig: Rig) -> None:
        self.rig = rig

    @abstractmethod
    async def prepare(self) -> None:
        """Read what the change needs."""

    @abstractmethod
    async def make(self) -> None:
        """Ask for it; returns with the answer."""


class Nothing(Change):
    """The same looking without a change: what the traffic itself costs."""

    name = NOTHING

    async def prepare(self) -> None:
        """It needs nothing."""

    async def make(self) -> None:
        await asyncio.sleep(0.05)


class Patch(Change):
    """config.patch of a setting that the account is restarted for."""

    name = PATCH
    replaced: tuple[str, ...] = ()
    """The lists that the patch takes entries out of."""

    async def prepare(self) -> None:
        self.hash = (await self.rig.client.request("config.get"))["hash"]

    def patch(self) -> dict[str, Any]:
        return {"poll_timeout_s": self.rig.poll_timeout()}

    async def make(self) -> None:
        raw = json.dumps({"channels": {"telegram": {"accounts": {"main": self.patch()}}}})
        await self.rig.client.request(
            "config.patch", {"raw": raw, "baseHash": self.hash, "replacePaths": self.replaced}
        )


class LivePatch(Patch):
    """config.patch of a setting that the next message reads."""

    name = LIVE
    replaced = ("channels.telegram.accounts.main.allow_from",)

    def patch(self) -> dict[str, Any]:
        self.rig.number += 1
        return {"allow_from": ["*", str(self.rig.number)]}


class Series(Patch):
    """Many patches, each sent when the one before was answered; a config.get for its hash goes before each."""

    name = SERIES
    many = 20

    async def make(self) -> None:
        for _ in range(self.many):
            await super().prepare()
            await super().make()


class Edit(Change):
    """The file is replaced; the answer is that the status says so and the account runs with a new generation."""

    name = EDIT

    async def prepare(self) -> None:
        config = self.rig.gateway.config
        text = re.sub(r"poll_timeout_s: \d+", f"poll_timeout_s: {self.rig.poll_timeout()}", config.read_text())
        self.wanted = hashlib.sha256(text.encode()).hexdigest()
        self.fresh = config.with_name("gateway.yaml.new")
        self.fresh.write_text(text)
        self.before = await self.rig.generation()

    async def make(self) -> None:
        self.fresh.replace(self.rig.gateway.config)
        await asyncio.sleep(LOOK_AFTER)
        while not self._done(await self.rig.gateway.status()):
            await asyncio.sleep(LOOK_EVERY)

    def _done(self, status: dict[str, Any]) -> bool:
        account = next(each for each in status["accounts"] if each["channel"] == "telegram")
        applied: bool = status["config"]["applied"] == self.wanted
        running: bool = account["state"] == "running" and account["generation"] > self.before
        return applied and running


@asynccontextmanager
async def rig(api: BotApi) -> AsyncIterator[Rig]:
    """A gateway of its own in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        account = telegram_account("main", TOKEN, api.url, poll_timeout_s=30, **UNPACED)
        async with Gateway(Path(folder), config_text(account)) as gateway:
            client = await gateway.client()
            await api.call("polling")
            yield Rig(gateway, client, api)
            await client.close()


async def sample(change: Change) -> dict[str, float]:
    """One change, looked at from just before it until a while after its answer."""
    await change.prepare()
    since = time.monotonic()
    await change.make()
    answer = (time.monotonic() - since) * 1000
    await asyncio.sleep(AFTERWARDS)
    change.rig.client.events.clear()
    return {"answer_ms": answer, **await change.rig.api.call("window", since=since)}


async def measure(change: Change, traffic: str, times: int) -> dict[str, Any]:
    """One kind of change, so many times, at no particular moment of the stream."""
    api, random, samples = change.rig.api, Random(SEED), []
    before, first = await api.call("window", since=time.monotonic()), await change.rig.generation()
    if traffic == TRAFFIC:
        await api.call("stream", every=PUSH_EVERY)
    for _ in range(times):
        await asyncio.sleep(0.1 + random.random() * 2 * PUSH_EVERY)
        samples.append(await sample(change))
    messages = await api.call("dry") if traffic == TRAFFIC else {"pushed": 0, "lost": 0, "doubled": 0}
    after = await api.call("window", since=time.monotonic())
    return {
        "change": change.name,
        "traffic": traffic,
        "times": times,
        **{
            key: summary([each[key] for each in samples])
            for key in ("answer_ms", "longest_ms", "total_ms", "window_ms")
        },
        **{key: after[key] - before[key] for key in ("overlaps", "conflicts")},
        **messages,
        "account_restarts": await change.rig.generation() - first,
    }


def changes(rig: Rig, counts: Counts) -> Iterable[tuple[Change, int]]:
    series = Series(rig)
    series.many = counts.in_series
    yield from ((kind(rig), counts.reloads) for kind in (Nothing, Patch, LivePatch, Edit))
    yield series, counts.series


async def reloads(api: BotApi, counts: Counts) -> list[dict[str, Any]]:
    """Every kind of change, idle and in the middle of a stream of messages."""
    rows = []
    for traffic in (IDLE, TRAFFIC):
        async with rig(api) as each:
            rows += [await measure(change, traffic, times) for change, times in changes(each, counts)]
    return [row | {"usual_total_ms": usual(row, rows)} for row in rows]


def usual(row: dict[str, Any], rows: list[dict[str, Any]]) -> float:
    """The time without a poll that the same traffic causes in a window of the same length without any change."""
    idle = next(other for other in rows if other["change"] == NOTHING and other["traffic"] == row["traffic"])
    share = idle["total_ms"]["median"] / idle["window_ms"]["median"]
    return round(float(share * row["window_ms"]["median"]), 3)
