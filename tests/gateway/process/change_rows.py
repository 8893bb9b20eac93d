"""What can happen to changes of the config: scenarios by which a running service takes every row of their table."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from gateway.config import file
from gateway.errors import AccountRefusedError, UnavailableError, WindowOpenError
from gateway.process.pending import Decision
from statemachine.lifecycle import LifecycleState
from statemachine.lifecycle_events import StopRequested
from tests.gateway.configs import cold, telegram
from tests.gateway.fakes import NEVER, Script
from tests.gateway.process.house import House, late

MAIN = "telegram/main"
S = LifecycleState
ONE, TWO, THREE, FOUR = (telegram(main=f"token: {number}-token") for number in ("one", "two", "three", "four"))
RESTARTS = cold(ONE)
REFUSED = Script(error=AccountRefusedError("getUpdates: Unauthorized"))
HOUR = 3600.0


async def runs(house: House) -> None:
    await house.until_account(MAIN, "running")


async def confirmed_extended_cancelled(folder: Path) -> House:
    """And another call beside it is refused."""
    async with House(folder, ONE) as house:
        await runs(house)
        revision = (await house.write(TWO, confirm=30))["revision"]
        with pytest.raises(WindowOpenError):
            await house.write(THREE)
        await house._changes.decide(revision, Decision.EXTEND, "test", seconds=60)
        await house._changes.decide(revision, Decision.CONFIRM, "test")
        revision = (await house.write(THREE, confirm=30))["revision"]
        await house._changes.decide(revision, Decision.CANCEL, "test")
        await house.write(FOUR, confirm=5)
        await asyncio.sleep(10)
        await runs(house)
    return house


async def accounts_are_lost(folder: Path) -> House:
    """At once, and in the probation."""
    async with House(folder, ONE) as house:
        await runs(house)
        house.network.script(MAIN, REFUSED)
        assert (await house.write(TWO, confirm=HOUR))["stage"] == "health"
        await runs(house)
        house.network.script(MAIN, Script(fails_after=5, error=REFUSED.error))
        await house.write(THREE, confirm=HOUR)
        await asyncio.sleep(10)
        await runs(house)
    return house


async def not_ready(folder: Path) -> House:
    """A text that is no config, and one that takes for ever to read."""
    async with House(folder, ONE) as house:
        await runs(house)
        with pytest.raises(Exception, match="nme"):
            await house.write("gateway: {nme: x}\n")

        async def never(*_: Any) -> None:
            await asyncio.Event().wait()

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(house._changes, "_prepare", never)
            with pytest.raises(UnavailableError, match="not ready within"):
                await house.write(TWO)
        assert house.on_disk() == ONE.encode()
    return house


async def waits_and_is_passed_over(folder: Path) -> House:
    """What waits for a restart is replaced, once by a call and once while the lifecycle has not said that it waits."""
    async with House(folder, ONE) as house:
        await runs(house)
        assert (await house.write(RESTARTS, delay=30))["outcome"] == "restart_pending"
        assert (await house.write(TWO))["outcome"] == "applied"
        house.network.script(MAIN, Script(ready_after=20))
        writing = [asyncio.ensure_future(house.write(text)) for text in (THREE,)]
        await house.until(S.HOT_RELOADING)
        # Known to be superseded before it runs, and before it is told to wait.
        writing.append(asyncio.ensure_future(house.write(RESTARTS.replace("one-", "two-"), delay=60)))
        await asyncio.sleep(1)
        writing.append(asyncio.ensure_future(house.write(FOUR)))
        await asyncio.gather(*writing)
        await asyncio.sleep(HOUR)
    return house


async def superseded_and_told_to_wait(folder: Path) -> House:
    """Its reload breaks, so that it needs a restart after all; a newer one has come meanwhile."""
    async with House(folder, ONE) as house:
        await runs(house)
        house.network.script(MAIN, Script(ready_after=5, error=RuntimeError("a defect")))
        first = asyncio.ensure_future(house.write(TWO, delay=60))
        await house.until(S.HOT_RELOADING)
        second = asyncio.ensure_future(house.write(THREE))
        await asyncio.gather(first, second)
        await runs(house)
    return house


async def breaks_off(folder: Path) -> House:
    """With and without somebody who must confirm it; a person has cancelled the restart that stood by."""
    async with House(folder, ONE) as house:
        await runs(house)
        for text, confirm in ((TWO, None), (THREE, HOUR)):
            house.network.script(MAIN, Script(ready_after=5, error=RuntimeError("a defect")))
            writing = asyncio.ensure_future(house.write(text, confirm=confirm))
            await house.until(S.HOT_RELOADING)
            await house.cancel(house.lifecycle.data.tickets[0].id)
            assert (await writing)["outcome"] == "rolled_back"
            await runs(house)
    return house


async def watched_for_long(folder: Path) -> House:
    """An account that does not run keeps it from being called good."""
    async with House(folder, ONE) as house:
        await runs(house)
        house.network.script(MAIN, REFUSED)
        await house.write(TWO)
        await asyncio.sleep(HOUR)
        assert house._standing.record.last_good is None
    return house


async def rolled_back_by_a_restart(folder: Path) -> House:
    """Cancelled in the middle of its reload; and one whose base needs a restart."""
    async with House(folder, ONE) as house:
        await runs(house)
        house.network.script(MAIN, Script(ready_after=20))
        writing = asyncio.ensure_future(house.write(TWO, confirm=HOUR))
        await house.until(S.HOT_RELOADING)
        told = await house._changes.decide(file.revision_of(TWO.encode()), Decision.CANCEL, "test")
        assert told["outcome"] == "rolled_back"
        assert (await writing)["outcome"] == "rolled_back"
        await house.write(RESTARTS, delay=1, confirm=5)
        await asyncio.sleep(30)
        await house.until(S.RUNNING)
    return house


async def its_base_is_passed_over(folder: Path) -> House:
    """What ran before needs a restart; a newer change comes first."""
    async with House(folder, ONE) as house:
        await runs(house)
        await house.write(RESTARTS, delay=1, confirm=5)
        await house.until(S.RESTARTING)
        await house.until(S.RUNNING)
        await house.until(S.RESTART_PENDING)
        await house.write(RESTARTS.replace("one-", "two-"))
        assert house.state is S.RUNNING
    return house


async def the_gateway_ends(folder: Path) -> House:
    """A reload is under way when it is told to stop."""
    async with House(folder, ONE) as house:
        await runs(house)
        house.network.script(MAIN, Script(ready_after=NEVER))
        writing = asyncio.ensure_future(house.write(TWO))
        await house.until(S.HOT_RELOADING)
        await house.post(StopRequested("test"))
        with pytest.raises(UnavailableError, match="written, and not applied"):
            await writing
    return house


async def slow_disk(folder: Path) -> House:
    """A write that has begun takes longer than a stage may."""
    async with House(folder, ONE) as house:
        await runs(house)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(asyncio, "to_thread", late(50, "_write_whole"))
            assert (await house.write(TWO))["outcome"] == "applied"
    return house


async def a_newer_change_beside_a_rollback(folder: Path) -> House:
    """What ran before needs a restart, which brings the newer one."""
    async with House(folder, ONE) as house:
        await runs(house)
        await house.write(RESTARTS, delay=1, confirm=5)
        await house.until(S.RESTARTING)
        await house.until(S.RUNNING)
        await house.until(S.RESTART_PENDING)
        await house.write(TWO)
        await house.until(S.RESTARTING)
        await house.until(S.RUNNING)
    return house


async def overdue_at_boot(folder: Path) -> House:
    """The time to confirm it runs out while no gateway is there."""
    async with House(folder, ONE) as house:
        await runs(house)
        await house.write(TWO, confirm=60)
    await asyncio.sleep(HOUR)
    async with House(folder, TWO) as house:
        await runs(house)
        await asyncio.sleep(1)
        assert house.outcomes()[0] == "rolled_back"
    return house


SCENARIOS: tuple[Callable[[Path], Coroutine[Any, Any, House]], ...] = (
    confirmed_extended_cancelled, accounts_are_lost, not_ready, waits_and_is_passed_over, superseded_and_told_to_wait,
    breaks_off, watched_for_long, rolled_back_by_a_restart, its_base_is_passed_over,
    the_gateway_ends, overdue_at_boot, slow_disk, a_newer_change_beside_a_rollback,
)  # fmt: skip
