"""What can happen to a handler: scenarios by which a running service takes every row of its circuit's table."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path

from statemachine.circuit import CircuitData
from tests.gateway.process.house import House
from tests.gateway.process.message_rows import MAIN, ONE, OTHER, runs, says

BOT = """\
import asyncio
from gateway.errors import HandlerError

async def answer(message):
    *pause, what = message.text.split()
    if pause:
        await asyncio.sleep(float(pause[0]))
    if what == "fails":
        raise HandlerError("no answer", retryable=True)
    if what == "goes":
        raise asyncio.CancelledError
    return what
"""
TEXT = ONE.replace(", allow_from: [2]", "").replace(
    "echo: {type: echo}", 'echo: {type: python, target: "bot:answer", timeout_ms: 600000, retries: 0}'
)
FAILS = ["fails"] * CircuitData().allowed
REST = CircuitData().rest


async def opens(house: House) -> None:
    await runs(house)
    await says(house, *FAILS)
    assert circuit(house) == "open"


def circuit(house: House) -> str:
    return str(house._dispatcher.machine("circuit/echo").state.value)


def prepared(folder: Path) -> House:
    (folder / "bot.py").write_text(BOT)
    return House(folder, TEXT)


async def works_again(folder: Path) -> House:
    """Left alone, tried once, and asked as before; a call that was under way when it opened ends meanwhile."""
    async with prepared(folder) as house:
        await runs(house)
        await says(house, "10 late", name=OTHER)
        await opens(house)
        await says(house, "again")
        await asyncio.sleep(3 * REST)
        assert circuit(house) == "closed"
        await says(house, "fails", "fine")
        assert sorted(text for _, _, text in house.network.sent) == ["again", "fine", "late"]
    return house


async def still_fails(folder: Path) -> House:
    """The one that is let through fails, too; and so does one that was under way."""
    async with prepared(folder) as house:
        await runs(house)
        await says(house, "10 fails", name=OTHER)
        await opens(house)
        await says(house, "fails")
        await asyncio.sleep(1.7 * REST)
        assert circuit(house) == "open"
    return house


async def tried_by_one_that_goes_away(folder: Path) -> House:
    """Who tries says nothing: another may. Then one that was under way has decided before the one that tries goes."""
    async with prepared(folder) as house:
        await runs(house)
        await says(house, f"{1.7 * REST} fails", name=OTHER)
        await opens(house)
        await says(house, "goes", "20 goes")
        await asyncio.sleep(6 * REST)
    return house


async def replaced(folder: Path) -> House:
    """Its settings are mended: what was said of the old one does not count."""
    async with prepared(folder) as house:
        await opens(house)
        await house.write(TEXT.replace("retries: 0", "retries: 0, concurrency: 3"))
        await asyncio.sleep(1)
        assert circuit(house) == "closed"
        await says(house, "fine")
        assert [text for _, _, text in house.network.sent] == ["fine"]
        assert house.account(MAIN) == "running"
    return house


SCENARIOS: tuple[Callable[[Path], Coroutine[None, None, House]], ...] = (
    works_again, still_fails, tried_by_one_that_goes_away, replaced,
)  # fmt: skip
