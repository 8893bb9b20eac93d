"""kill -9 at random moments of writes: the file is the old one or the new one, whole, and the next boot runs what it holds."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import pytest

from tests.real.process import Gateway, config_text

KILLS = 200
LANES = 4
"""Gateways side by side: a boot is work for the processor, a write mostly for the disk."""
SEED = int(os.environ.get("SEED", "0")) or Random().randrange(1_000_000)
LONGEST = 24_000
"""Bytes of comments in a text: one that takes more than a block or two to write."""


def revision_of(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


@dataclass
class Lane:
    """One config and one state folder, and the gateways that die over them."""

    gateway: Gateway
    random: Random
    met: Counter[str] = field(default_factory=Counter)
    """How many kills came before, while and after what."""
    took: float = 0.05
    """Seconds of a write, as it was seen last."""
    number: int = 0

    def another_text(self) -> bytes:
        self.number += 1
        comments = "".join(f"# {self.number} {self.random.random()}\n" for _ in range(self.random.randrange(200, 400)))
        return (
            (config_text() + comments[:LONGEST])
            .replace("gateway:\n", f"gateway:\n  name: n{self.number}\n", 1)
            .encode()
        )

    async def write(self, text: bytes, base: str, window: float | None) -> dict[str, Any] | None:
        """The receipt; None where the process died first."""
        query = "" if window is None else f"?confirm_within_s={window}"
        headers = {"If-Match": base, "Content-Type": "application/yaml"}
        try:
            code, body = await self.gateway.http("PUT", f"/api/v1/config{query}", data=text, headers=headers)
        except (aiohttp.ClientError, ConnectionError):
            return None
        assert code == 200, body
        return dict(body)

    async def die_in_a_write(self) -> None:
        """One write, and the end of the process at some moment of it."""
        old, new = self.gateway.config.read_bytes(), self.another_text()
        window = 600.0 if self.random.random() < 0.4 else None
        began = time.monotonic()
        writing = asyncio.ensure_future(self.write(new, revision_of(old), window))
        await asyncio.sleep(self.random.random() * 1.3 * self.took)
        answered = writing.done()
        assert self.gateway.process is not None
        self.gateway.process.kill()
        await self.gateway.process.wait()
        receipt = await writing
        if receipt is not None:
            self.took = 0.8 * self.took + 0.2 * min(time.monotonic() - began, 0.3)
        here = self.gateway.config.read_bytes()
        assert here in (old, new), f"neither the old nor the new: {len(here)} of {len(old)} and {len(new)} bytes"
        assert here == new or receipt is None, "a write that was answered is not there"
        self.met["answered" if answered else "new" if here == new else "old"] += 1
        await self.come_up(here, old, window is not None)

    async def come_up(self, here: bytes, old: bytes, windowed: bool) -> None:
        """The next gateway runs what the file holds, and says what is still open."""
        await self.gateway.start()
        status = await self.gateway.status()
        config = status["config"]
        assert (config["on_disk"], config["applied"]) == (revision_of(here), revision_of(here)), status
        assert (config["issues"], status["degraded"], config["set_aside"]) == ([], [], None)
        if config["window"] is not None:
            assert windowed
            assert config["window"]["revision"] == revision_of(here) != revision_of(old)
            assert config["window"]["base"] == revision_of(old)
            self.met["windows"] += 1
            await self.decide(revision_of(here))

    async def decide(self, revision: str) -> None:
        call = {"revision": revision, "decision": "confirm"}
        code, told = await self.gateway.http("POST", "/api/v1/config/confirm", json=call)
        assert code == 200, told
        assert told["outcome"] == "committed"

    async def live(self, kills: int) -> None:
        async with self.gateway:
            for _ in range(kills):
                await self.die_in_a_write()
            # The last gateway is well: it writes, and has swept away what the others left.
            receipt = await self.write(self.another_text(), revision_of(self.gateway.config.read_bytes()), None)
            assert receipt is not None
            assert receipt["outcome"] == "applied"
            self.judge_what_is_left()

    def judge_what_is_left(self) -> None:
        folder = self.gateway.folder
        assert {found.name for found in folder.iterdir()} == {".gateway", "gateway.yaml", "log"}
        history = folder / ".gateway" / "config-history"
        for kept in history.glob("*.yaml"):
            assert revision_of(kept.read_bytes()) == kept.stem, "a torn text is in the history"
        numbers = [record["number"] for record in records(history / "log.jsonl") if "revision" in record]
        assert numbers == sorted(set(numbers)), "a number was given twice"


def records(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


@pytest.mark.timeout(300)  # two hundred boots
async def test_case_55_killed_at_any_moment_of_a_write_the_file_is_the_old_one_or_the_new_one(tmp_path: Path) -> None:
    print(f"SEED={SEED}")
    lanes = []
    for number in range(LANES):
        folder = tmp_path / str(number)
        folder.mkdir()
        lanes.append(Lane(Gateway(folder, config_text()), Random(SEED + number)))
    await asyncio.gather(*(lane.live(KILLS // LANES) for lane in lanes))
    met = sum((lane.met for lane in lanes), Counter[str]())
    print(f"{KILLS} kills: {dict(met)}")
    assert met["answered"] + met["old"] + met["new"] == KILLS
    assert min(met["old"], met["new"], met["windows"]) > 0, "some moments were never met"
