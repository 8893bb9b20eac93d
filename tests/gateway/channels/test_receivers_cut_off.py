"""Receivers that do not end when they are told to: they are cut off, and only then called dead."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.errors import ConnectionLostError, GenerationRevokedError, SendError
from statemachine.channel_events import ReceiverFenced
from tests.gateway.channels.receivers_bench import NAME, Bench, ended, run
from tests.gateway.fakes import NEVER, Script
from tests.virtual import VirtualClock


def test_no_goodbye_is_said_beside_a_receiver_that_does_not_end() -> None:
    """At the end of a process the work is cancelled while the receiver still polls: a second poll would be a conflict."""

    async def main() -> None:
        bench = Bench()
        bench.network.script(NAME, Script(lingers=2))
        task, receiver = await bench.opened()
        bench.close(confirm=True)
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait({task})
        assert receiver.closed
        assert receiver.confirmed == 0
        await asyncio.sleep(5)

    run(main())


def test_what_one_that_was_cut_off_still_ends_in_is_no_error_of_ours() -> None:
    async def main() -> None:
        bench = Bench()
        complaints: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        bench.network.script(NAME, Script(lingers=NEVER))
        task, receiver = await bench.opened()

        async def break_late() -> None:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.5)
            raise ConnectionLostError("the transport was aborted")

        receiver._deliver_late = break_late  # type: ignore[method-assign]
        bench.close()
        await bench.fence()
        await ended(task)
        await asyncio.sleep(1)
        gc.collect()
        assert complaints == []

    run(main())


def test_one_that_does_not_end_is_cut_off_and_can_deliver_nothing_more() -> None:
    async def main() -> None:
        bench = Bench()
        bench.network.script(NAME, Script(lingers=NEVER))
        task, receiver = await bench.opened()
        bench.close()
        await asyncio.sleep(60)
        assert not task.done()
        before = VirtualClock().monotonic()
        assert await bench.fence() == ReceiverFenced(1, before)
        assert bench.network.all_live() == []
        # From now on the next one may begin, whatever is left of this one.
        again, _ = await bench.opened(2)
        assert bench.network.refused_late == 1
        with pytest.raises(GenerationRevokedError):
            receiver.intake.received()
        assert bench.delivered == []
        assert (await ended(task)).why in ("fenced", "")
        bench.close(2)
        await ended(again)
        assert bench.network.violations == []

    run(main())


def test_while_it_cannot_be_cut_off_it_counts_as_alive() -> None:
    async def main() -> None:
        bench = Bench()
        bench.network.script(NAME, Script(lingers=NEVER, fence_fails=1))
        task, receiver = await bench.opened()
        bench.close()
        with pytest.raises(OSError, match="cannot be aborted"):
            await bench.fence()
        with pytest.raises(RuntimeError, match="has a live receiver"):
            await bench.open(2)
        with pytest.raises(GenerationRevokedError):
            receiver.intake.received()
        assert isinstance(await bench.fence(), ReceiverFenced)
        await ended(task)

    run(main())


def test_one_that_was_cut_off_says_no_goodbye() -> None:
    async def main() -> None:
        bench = Bench()
        bench.network.script(NAME, Script(lingers=NEVER))
        task, receiver = await bench.opened()
        bench.close(confirm=True)
        await bench.fence()
        await ended(task)
        assert receiver.confirmed == 0

    run(main())


def test_one_that_is_cut_off_in_its_goodbye_neither_confirms_nor_puts_its_successor_out_of_use() -> None:
    async def main() -> None:
        bench = Bench()
        bench.drain_takes = 2.0
        with capture_logs():
            first, old = await bench.opened()
            bench.close(confirm=True)
            await asyncio.sleep(1)
            await bench.fence()
            second, new = await bench.opened(2)
            await ended(first)
            await asyncio.sleep(10)
            await bench.send()
        assert (old.confirmed, len(new.sent)) == (0, 1)
        bench.close(2)
        await ended(second)

    run(main())


def test_the_late_first_receive_of_one_that_is_cut_off_lets_nobody_send_through_it() -> None:
    async def main() -> None:
        bench = Bench()
        bench.network.script(NAME, Script(ready_after=NEVER, lingers=NEVER))
        task = bench.open()
        await asyncio.sleep(1)
        bench.close()
        bench.network.receivers[-1].intake.received()
        await bench.fence()
        with pytest.raises(SendError):
            await bench.send()
        await ended(task)

    run(main())


def test_told_to_end_twice_it_is_not_disturbed_in_ending() -> None:
    async def main() -> None:
        bench = Bench()
        bench.network.script(NAME, Script(lingers=3))
        task, receiver = await bench.opened()
        for _ in range(3):
            bench.close()
            await asyncio.sleep(0.5)
        await ended(task)
        assert receiver.cancels == 1

    run(main())


def test_cutting_off_what_is_not_there_is_done_at_once() -> None:
    async def main() -> None:
        assert isinstance(await Bench().fence(7), ReceiverFenced)

    run(main())
