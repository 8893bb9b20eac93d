"""Receivers where several hosts may have the account: without its lease none begins, and none goes on."""

from __future__ import annotations

import asyncio

import pytest

from gateway.errors import LeaseLostError
from statemachine.channel_events import Cause, ReceiverEnded, ReceiverFenced, Run
from tests.gateway.channels.receivers_bench import NAME, Bench
from tests.gateway.fakes import Script
from tests.virtual import run_virtual


class SlowLease:
    """Says when it is let to, and to each who asked, whether there may be a receiver."""

    def __init__(self) -> None:
        self.asked: list[asyncio.Future[str]] = []
        self.lost = False

    async def admit(self, account: str, run: Run) -> str:
        assert account == NAME
        self.asked.append(asyncio.get_running_loop().create_future())
        return await self.asked[-1]

    def permit(self, account: str) -> None:
        if self.lost:
            raise LeaseLostError("another host may receive")


def test_one_without_its_lease_does_not_begin_and_says_why() -> None:
    async def main() -> None:
        lease = SlowLease()
        bench = Bench(lease=lease)
        task = bench.open()
        await asyncio.sleep(1)
        assert bench.network.receivers == []
        lease.asked[0].set_result("host-b has it")
        ended = await task
        assert isinstance(ended, ReceiverEnded)
        assert (ended.cause, ended.why) == (Cause.STANDBY, "host-b has it")
        assert bench.network.receivers == []

    run_virtual(main())


@pytest.mark.parametrize("told_since", [False, True], ids=["told to end", "and so was the next one"])
def test_one_that_was_told_to_end_while_its_lease_was_asked_for_never_begins(told_since: bool) -> None:
    """Whichever of them hears of the lease first, and however late."""

    async def main() -> None:
        lease = SlowLease()
        bench = Bench(lease=lease)
        first = bench.open(1)
        await asyncio.sleep(1)
        bench.close(1)
        assert await bench.fence(1) == ReceiverFenced(1, 1001.0)
        second = bench.open(2)
        await asyncio.sleep(1)
        if told_since:
            bench.close(2)
        for asked in lease.asked:
            asked.set_result("")
        ended = await first
        assert isinstance(ended, ReceiverEnded)
        assert (ended.generation, ended.cause) == (1, Cause.CLOSED)
        await asyncio.sleep(1)
        assert len(bench.network.receivers) == (0 if told_since else 1)
        assert bench.network.violations == []
        if not told_since:
            bench.close(2)
        assert isinstance(await second, ReceiverEnded)

    run_virtual(main())


@pytest.mark.parametrize("what", ["a receive", "a message"])
def test_one_whose_lease_is_over_asks_for_nothing_and_takes_nothing(what: str) -> None:
    async def main() -> None:
        lease = SlowLease()
        bench = Bench(lease=lease)
        bench.network.script(NAME, Script(polls=5.0))
        task = bench.open()
        await asyncio.sleep(0)
        lease.asked[0].set_result("")
        await asyncio.sleep(1)
        lease.lost = True
        if what == "a message":
            bench.network.push(NAME, "for whoever has it now")
        ended = await task
        assert isinstance(ended, ReceiverEnded)
        assert (ended.cause, ended.why) == (Cause.STANDBY, "another host may receive")
        assert bench.delivered == []

    run_virtual(main())


def test_one_that_waited_for_room_until_its_lease_was_over_receives_nothing_more() -> None:
    """What there is to be received is left where it is."""

    async def main() -> None:
        lease = SlowLease()
        bench = Bench(lease=lease)
        bench.space.clear()
        bench.network.push(NAME, "for whoever has it now")
        task = bench.open()
        await asyncio.sleep(0)
        lease.asked[0].set_result("")
        await asyncio.sleep(1)
        lease.lost = True
        bench.space.set()
        ended = await task
        assert isinstance(ended, ReceiverEnded)
        assert ended.cause is Cause.STANDBY
        assert bench.network.queue(NAME).qsize() == 1

    run_virtual(main())
