"""A restart that replaces the process, on virtual time: what must have ended before it, and what is known after it."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest

from gateway.process import signals
from gateway.process.image import Carried
from statemachine.lifecycle import LifecycleState
from statemachine.lifecycle_events import StopRequested
from tests.gateway.configs import telegram
from tests.gateway.fakes import NEVER, Script
from tests.gateway.process.house import House
from tests.virtual import run_virtual

S = LifecycleState
MAIN = "telegram/main"
TEXT = telegram(main="token: one-token").replace("gateway:\n", "gateway:\n  restart: {cooldown_ms: 0}\n")


class Successor:
    """In the place of the kernel: remembers what it was asked for, and has no other image to give."""

    def __init__(self) -> None:
        self.asked: list[Carried] = []
        self.house: House | None = None
        self.live: list[int] = []

    def __call__(self, carried: Carried) -> NoReturn:
        self.asked.append(carried)
        assert self.house is not None
        self.live.append(len(self.house.network.all_live()))
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))


def house_of(folder: Path, **more: Any) -> tuple[House, Successor]:
    successor = Successor()
    successor.house = House(folder, TEXT, replace=successor, **more)
    return successor.house, successor


async def runs(house: House) -> None:
    await house.until(S.RUNNING)
    await house.until_account(MAIN, "running")


def test_what_is_asked_for_meanwhile_is_handed_on(tmp_path: Path) -> None:
    """Those whom the restart serves and those who came later, how often it has restarted, and how far each account has come."""

    async def main() -> None:
        house, successor = house_of(tmp_path)
        async with house:
            await runs(house)
            house.control.drain_takes = 5
            await house.ticket("first", 0)
            await house.until(S.RESTARTING)
            await house.ticket("second", 60)
            await house.until(S.RESTART_PENDING)
            (carried,) = successor.asked
            assert [ticket.id for ticket in carried.handover.served] == ["first"]
            assert [ticket.id for ticket in carried.handover.tickets] == ["second"]
            assert carried.generations[MAIN] == 1
            assert house.outcome("first") == "failed"
            await house.cancel("second")
            await runs(house)
            assert house.channel(MAIN).data.generation == 2

    run_virtual(main())


def test_a_receiver_that_takes_its_time_to_end_is_waited_for(tmp_path: Path) -> None:
    async def main() -> None:
        house, successor = house_of(tmp_path)
        async with house:
            house.network.live(MAIN)
            await runs(house)
            house.network.live(MAIN)[0].script.lingers = 3.0
            before = house.now()
            await house.ticket("restart", 0)
            await house.until(S.RESTARTING)
            await house.until(S.RUNNING)
            assert successor.live == [0]
            assert house.now() - before >= 3.0
            await runs(house)

    run_virtual(main())


def test_one_that_neither_ends_nor_can_be_cut_off_ends_with_the_image(tmp_path: Path) -> None:
    """The kernel closes what it has open: the next image is asked for after the time that a stop and a cutting off may take."""

    async def main() -> None:
        house, successor = house_of(tmp_path)
        async with house:
            await runs(house)
            script: Script = house.network.live(MAIN)[0].script
            script.lingers, script.fence_fails = NEVER, 100
            before = house.now()
            await house.ticket("restart", 0)
            async with asyncio.timeout(60):
                while not successor.asked:
                    await asyncio.sleep(0.5)
            assert successor.live == [1]
            assert house.now() - before < 15
            house.network.release()

    run_virtual(main())


def test_a_stop_that_has_come_wins_over_the_next_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal that the kernel took while the last was decided, and of which the loop has only a byte in a pipe yet."""

    async def main() -> None:
        house, successor = house_of(tmp_path)

        @contextmanager
        def held() -> Iterator[None]:
            loop = asyncio.get_running_loop()
            loop.call_soon(lambda: loop.call_soon(lambda: house.post(StopRequested("SIGTERM"))))
            yield

        monkeypatch.setattr(signals, "held", held)
        async with house:
            await runs(house)
            await house.ticket("restart", 0)
            assert await house._exit == 0
            assert successor.asked == []
            assert house.outcome("restart") == "failed"

    run_virtual(main())
