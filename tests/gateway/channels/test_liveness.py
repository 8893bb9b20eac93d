"""Who looks at receivers: what hangs is found once and in time; silence, waiting for the gateway, and a halted process are no stall."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from gateway.channels.base import Intake, Offsets
from gateway.channels.liveness import LOOKS, Watch
from gateway.messages.model import Message
from tests.virtual import VirtualLoop, run_virtual

WITHIN = 40.0
A_LOOK = WITHIN / LOOKS
DAY = 86_400.0


class Bench:
    """An intake whose consumer can be made to wait, and a watch on it."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.has_room = asyncio.Event()
        self.has_room.set()
        self.intake = Intake(Offsets(), self, lambda: None, lambda: 0)
        self.stalls: list[float] = []
        self.intake.received()
        self.watch = Watch(self.intake, WITHIN, lambda: self.stalls.append(self.loop.time()))

    async def room(self) -> None:
        await self.has_room.wait()

    async def accept(self, identity: str, offset: int, messages: list[Message], first: int | None) -> int:
        await self.has_room.wait()
        return 0

    async def poll(self, every: float, times: int) -> None:
        """Empty receives, one after the other."""
        for _ in range(times):
            await asyncio.sleep(every)
            self.intake.received()


def run(main: Coroutine[Any, Any, None]) -> None:
    run_virtual(main)


def test_a_day_of_silence_is_no_stall() -> None:
    async def main() -> None:
        bench = Bench()
        await bench.poll(WITHIN - 1, int(DAY / (WITHIN - 1)))
        assert bench.stalls == []

    run(main())


def test_what_hangs_is_found_once_and_not_before_its_time() -> None:
    async def main() -> None:
        for last in range(int(2 * WITHIN)):
            bench = Bench()
            await bench.poll(1.0, last)
            since = bench.loop.time()
            await asyncio.sleep(DAY)
            (found,) = bench.stalls
            assert WITHIN <= found - since <= WITHIN + A_LOOK

    run(main())


def test_one_that_waits_for_the_gateway_is_not_stalled_and_has_its_whole_time_afterwards() -> None:
    async def main() -> None:
        for takes in (False, True):
            bench = Bench()
            bench.has_room.clear()
            waiting = asyncio.ensure_future(bench.intake.accept("bot", 1, []) if takes else bench.intake.room())
            await asyncio.sleep(DAY)
            assert bench.stalls == []
            bench.has_room.set()
            await waiting
            released = bench.loop.time()
            await asyncio.sleep(DAY)
            (found,) = bench.stalls
            assert found - released >= WITHIN - A_LOOK

    run(main())


def test_a_gap_in_which_nothing_ran_is_no_stall_however_long() -> None:
    """The answer may lie in the socket: it is read in the turns that follow."""

    async def main() -> None:
        bench = Bench()
        assert isinstance(bench.loop, VirtualLoop)
        await asyncio.sleep(WITHIN - A_LOOK + 1)
        bench.loop._virtual.now += DAY
        await asyncio.sleep(0)
        assert bench.stalls == []
        await asyncio.sleep(0)
        bench.intake.received()
        await asyncio.sleep(WITHIN - 1)
        assert bench.stalls == []

    run(main())


def test_nobody_looks_any_more_after_the_end() -> None:
    async def main() -> None:
        bench = Bench()
        await asyncio.sleep(WITHIN - 1)
        bench.watch.stop()
        await asyncio.sleep(DAY)
        assert bench.stalls == []

    run(main())
