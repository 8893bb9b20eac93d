"""What the tests of confirmed changes share: a config with two accounts, variations of it, and questions to a house."""

from __future__ import annotations

from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from structlog.testing import capture_logs

from gateway.config import file
from statemachine.change import Change
from statemachine.lifecycle import LifecycleState
from tests.gateway.configs import cold, telegram
from tests.gateway.process.house import House
from tests.virtual import run_virtual

MAIN, OTHER = "telegram/main", "telegram/other"
ONE = telegram(main="token: one-token", other="token: other-token")
TWO = ONE.replace("one-token", "two-token")
THREE = ONE.replace("one-token", "three-token")
RESTARTS = cold(ONE)
"""Needs a restart."""
HOUR = 3600.0


def revision(text: str) -> str:
    return file.revision_of(text.encode())


def run(main: Coroutine[Any, Any, None]) -> None:
    with capture_logs():
        run_virtual(main)


async def both_run(house: House) -> None:
    for name in (MAIN, OTHER):
        await house.until_account(name, "running")


def token(house: House, name: str = MAIN) -> str:
    """What the account receives with now."""
    return str(house.network.live(name)[0].settings.token.reveal())


def changes(house: House) -> dict[str, str]:
    """The changes that have not ended, by name, with their states."""
    return {name: machine.state.value for name, machine in house._dispatcher.machines(Change).items()}


async def killed_in_the_window(folder: Path, seconds: float) -> int:
    """A gateway that dies with a change to be confirmed: nothing of its end runs. Its deadline, in wall-clock ms."""
    house = House(folder, ONE)
    await house.begin()
    await house.until(LifecycleState.RUNNING)
    await both_run(house)
    receipt = await house.write(TWO, confirm=seconds)
    await house._changes.transactions.close()
    await house.kill()
    return int(receipt["confirm_by"])
