"""A short chaos; `make chaos MINUTES=60` is a long one. And planted faults, each of which the referee must find."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from tests.chaos.disk import Disk
from tests.chaos.record import Record
from tests.chaos.report import table, violations
from tests.chaos.run import Order, run
from tests.chaos.spoilt_gateway import FAULTS
from tests.real.process import Gateway, RpcError, config_text

SECONDS = 20.0
SPOILT_SECONDS = 14.0
"""At the most: a run ends with the phase that shows what was planted."""
TOLD = {
    "second-poll": "overlaps",
    "silent": "not answered in 1.0 s: chat.send",
    "forgetful": "has no outcome",
    "leaky": "at its first rest",
    "talkative": "a secret is in the log",
}
"""What the referee must say of each planted fault."""


@pytest.mark.timeout(200)
async def test_a_short_chaos_keeps_the_promises(tmp_path: Path) -> None:
    """A phase with deaths and phases without; seed 1."""
    outcome = await run(Order(SECONDS, seed=1), tmp_path, print)
    print(table(outcome.world))
    assert outcome.record.violated == 0, violations(outcome.world)
    assert outcome.record.counts["processes"] > 1, "nothing was killed"
    assert len({rest.pid for rest in outcome.record.rests}) < len(outcome.record.rests), (
        "no process lived through a phase"
    )


async def test_there_is_a_word_for_every_planted_fault() -> None:
    assert set(TOLD) == set(FAULTS)


@pytest.mark.timeout(200)
async def test_the_referee_finds_what_was_planted(tmp_path: Path) -> None:
    """A second poll, an answer that never comes, an outcome that is never recorded, a leak, a token in the log."""
    found = await asyncio.gather(*(_violations_of(fault, tmp_path / fault) for fault in TOLD))
    assert {fault: told for fault, told in zip(TOLD, found, strict=True) if not shows(fault, told)} == {}


async def test_a_limit_stands_in_for_a_full_disk(tmp_path: Path) -> None:
    """Where nothing can be mounted: a write is refused, the file stays whole, and afterwards it can be written again."""
    async with Gateway(tmp_path, config_text()) as gateway:
        assert gateway.process is not None
        disk, before = Disk(tmp_path), gateway.config.read_bytes()
        client = await gateway.client()
        disk.fill(gateway.process.pid)
        with pytest.raises(RpcError, match="cannot be written"):
            await client.patch("gateway: {name: five}")
        assert gateway.config.read_bytes() == before
        disk.free(gateway.process.pid)
        assert (await client.patch("gateway: {name: five}"))["ok"]


def shows(fault: str, told: list[str]) -> bool:
    return any(TOLD[fault] in what for what in told)


async def _violations_of(fault: str, folder: Path) -> list[str]:
    command = (sys.executable, "-m", "tests.chaos.spoilt_gateway", fault)
    order = Order(
        SPOILT_SECONDS, 1, command, patience=1.0, back_within=2.0, phases=("lives",), hurry=3.0, restart="in_process",
        enough=lambda record: shows(fault, _told(record)),
    )  # fmt: skip
    return _told((await run(order, folder, lambda _: None)).record)


def _told(record: Record) -> list[str]:
    return [violation.what for violation in record.violations]
