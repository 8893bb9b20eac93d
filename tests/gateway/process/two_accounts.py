"""What tests of a house share: a config with two accounts, variations of it, and questions to the house."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from structlog.testing import capture_logs

from gateway.config import file
from gateway.messages.model import Message
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


def run(main: Coroutine[Any, Any, None]) -> list[dict[str, Any]]:
    """On virtual time; what was logged."""
    with capture_logs() as lines:
        run_virtual(main)
    return [dict(line) for line in lines]


def on_port(port: int) -> str:
    return ONE.replace("port: 0", f"port: {port}")


async def both_run(house: House) -> None:
    for name in (MAIN, OTHER):
        await house.until_account(name, "running")


def busy(house: House, seconds: float) -> None:
    """A message is being handled for that long."""

    async def handle(message: Message) -> str:
        await asyncio.sleep(seconds)
        return message.text

    house.answer_with(handle)
    house.network.push(MAIN, "hello")


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
