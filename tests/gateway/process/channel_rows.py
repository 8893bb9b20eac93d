"""What can happen to an account while it runs: its poll hangs, its host sleeps, somebody else receives on it for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from gateway.errors import AccountRefusedError, ConflictError, ConnectionLostError
from statemachine.channel_events import By, Stop
from tests.gateway.configs import telegram
from tests.gateway.fakes import NEVER, Script
from tests.gateway.process.house import House

MAIN = "telegram/main"
ONE = telegram(main="token: one-token")
POLLS = Script(polls=10.0)


async def runs_again(house: House, generation: int) -> None:
    await house.until_account(MAIN, "running")
    assert house.channel(MAIN).data.generation == generation


async def hangs(folder: Path) -> House:
    """Its poll, without an error; and once more, where it has to be cut off."""
    house = House(folder, ONE)
    house.network.policy = {"stall_after": 40.0}
    house.network.script(MAIN, Script(), Script(lingers=NEVER), POLLS)
    async with house:
        for generation, states in ((1, ("stopping", "backoff")), (2, ("stop_overdue", "backoff"))):
            await runs_again(house, generation)
            for state in states:
                await house.until_account(MAIN, state)
        await runs_again(house, 3)
        await asyncio.sleep(1_000)
        await runs_again(house, 3)
    return house


async def sleeps(folder: Path) -> House:
    """In every state that it can be in."""
    house = House(folder, ONE)
    house.network.policy = {"intensity": 2, "half_open_after": 120.0}
    async with house:
        await runs_again(house, 1)
        house.network.live(MAIN)[0].script.lingers = 1.0
        house._accounts.woke(3600.0)
        await house.until_account(MAIN, "stopping")
        house._accounts.woke(3600.0)
        await house.until_account(MAIN, "starting")
        house._accounts.woke(3600.0)
        await runs_again(house, 2)
        house.network.live(MAIN)[0].fail(ConnectionLostError("the line broke", retry_after=60.0))
        await house.until_account(MAIN, "backoff")
        house._accounts.woke(59.0)
        house._accounts.woke(60.0)
        await runs_again(house, 3)
        house.network.live(MAIN)[0].fail(ConnectionLostError("the line broke"))
        await house.until_account(MAIN, "suppressed")
        house._accounts.woke(119.0)
        house._accounts.woke(120.0)
        await runs_again(house, 4)
        house.network.live(MAIN)[0].fail(ConflictError("somebody else receives"))
        await house.until_account(MAIN, "conflict")
        house._accounts.woke(45.0)
        await runs_again(house, 5)
        live = house.network.live(MAIN)[0].script
        live.lingers, live.fence_fails = NEVER, 1
        house._accounts.woke(3600.0)
        await house.until_account(MAIN, "stop_overdue")
        house._accounts.woke(3600.0)
        await runs_again(house, 6)
        house.network.live(MAIN)[0].fail(AccountRefusedError("revoked"))
        await house.until_account(MAIN, "failed")
        house._accounts.woke(3600.0)
        await house.post(Stop(By.PERSON), MAIN)
        house._accounts.woke(3600.0)
        await asyncio.sleep(1_000)
        assert house.account(MAIN) == "stopped"
    return house


async def shares_its_bot(folder: Path) -> House:
    """The other is ended by our first poll, and comes back; until it does not."""
    house = House(folder, ONE)
    house.network.script(MAIN, *[Script(fails_after=5.0, error=ConflictError("somebody else receives"))] * 3)
    async with house:
        for _ in range(3):
            await house.until_account(MAIN, "running")
            await house.until_account(MAIN, "conflict")
        await house.until_account(MAIN, "running")
        assert house.channel(MAIN).data.conflict_since is not None
        await asyncio.sleep(60)
        assert house.channel(MAIN).data.conflict_since is None
    return house


async def spends_its_starts(folder: Path) -> House:
    """Its network lets it start two sessions a day, and both are over."""
    house = House(folder, ONE)
    house.network.starts_a_day, house.network.remembers = 2, False
    async with house:
        for generation in (1, 2):
            await runs_again(house, generation)
            house.network.live(MAIN)[0].fail(ConnectionLostError("the session is over"))
            await house.until_account(MAIN, "backoff")
        await house.until_account(MAIN, "suppressed")
        await house.until_account(MAIN, "running", within=100_000.0)
        assert len(house.network.starts) == 3
    return house


SCENARIOS: tuple[Callable[[Path], Coroutine[Any, Any, House]], ...] = (hangs, sleeps, shares_its_bot, spends_its_starts)
