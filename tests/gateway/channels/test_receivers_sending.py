"""Sending: through the receiver that runs, and through no other."""

from __future__ import annotations

import asyncio

import pytest

from gateway.errors import SendError
from gateway.messages.pace import Limits
from statemachine import Event
from statemachine.channel_events import ReceiverReady
from tests.gateway.channels.receivers_bench import NAME, Bench, ended, run
from tests.gateway.fakes import NEVER, Script
from tests.virtual import VirtualClock


def test_a_reply_goes_through_the_receiver_that_runs() -> None:
    async def main() -> None:
        bench = Bench()
        task, receiver = await bench.opened()
        assert await bench.send() == "1", "the network's id of what was sent"
        assert receiver.sent == [("conversation", "hello")]
        bench.close()
        await ended(task)

    run(main())


def test_case_2_a_reply_waits_for_the_next_generation_and_goes_through_that() -> None:
    async def main() -> None:
        bench = Bench()
        first, old = await bench.opened()
        bench.close()
        sending = asyncio.ensure_future(bench.reply(within=100))
        await ended(first)
        await asyncio.sleep(30)
        assert not sending.done()
        second, new = await bench.opened(2)
        await asyncio.wait_for(sending, 1)
        assert (old.sent, new.sent) == ([], [("conversation", "hello")])
        bench.close(2)
        await ended(second)

    run(main())


def test_a_reply_does_not_go_through_one_that_has_not_received_yet() -> None:
    async def main() -> None:
        bench = Bench()
        bench.network.script(NAME, Script(ready_after=5))
        before = VirtualClock().monotonic()
        task = bench.open()
        await asyncio.sleep(1)
        with pytest.raises(SendError):
            await bench.send()
        await bench.reply()
        assert VirtualClock().monotonic() - before == pytest.approx(5)
        bench.close()
        await ended(task)

    run(main())


def test_a_reply_that_waited_does_not_go_through_one_that_is_told_to_end_that_very_moment() -> None:
    """Up and told to end within one turn of the loop: whoever waited wakes up after both."""

    class Hasty(Bench):
        def _post(self, name: str, event: Event) -> None:
            super()._post(name, event)
            if event == ReceiverReady(1):
                asyncio.get_running_loop().call_soon(self.close)

    async def main() -> None:
        bench = Hasty()
        sending = asyncio.ensure_future(bench.reply(within=100))
        await asyncio.sleep(0)
        first, old = await bench.opened()
        await ended(first)
        assert old.sent == []
        second, new = await bench.opened(2)
        await asyncio.wait_for(sending, 1)
        assert new.sent == [("conversation", "hello")]
        bench.close(2)
        await ended(second)

    run(main())


def test_a_reply_to_one_that_does_not_run_was_not_sent_and_can_be_sent_again() -> None:
    async def main() -> None:
        bench = Bench()
        for _ in range(2):
            with pytest.raises(SendError, match="telegram/main does not run") as caught:
                await bench.send()
            assert caught.value.retryable
            task, _ = await bench.opened()
            bench.close()
            await ended(task)
            assert not bench.receivers.is_up(NAME)

    run(main())


def test_it_is_said_once_a_generation_that_the_account_is_up() -> None:
    async def main() -> None:
        bench = Bench()
        for generation in (1, 2):
            task, _ = await bench.opened(generation)
            bench.network.push(NAME, "hello")
            await asyncio.sleep(1)
            assert bench.ups == generation
            bench.close(generation)
            await ended(task)

    run(main())


def test_one_that_was_told_to_end_before_its_first_receive_does_not_come_up() -> None:
    async def main() -> None:
        bench = Bench()
        bench.network.script(NAME, Script(ready_after=NEVER, lingers=3))
        task = bench.open()
        await asyncio.sleep(1)
        bench.close()
        await asyncio.sleep(1)
        bench.network.receivers[-1].intake.received()
        assert not bench.receivers.is_up(NAME)
        assert bench.ups == 0
        await ended(task)

    run(main())


def test_that_an_answer_is_on_its_way_is_shown_where_there_is_somebody_to_show_it() -> None:
    async def main() -> None:
        bench = Bench()
        await bench.receivers.typing(NAME, "conversation")
        task, _ = await bench.opened()
        await bench.receivers.typing(NAME, "another")
        assert bench.network.typing == [(NAME, "another")]
        bench.close()
        await ended(task)

    run(main())


def test_what_a_network_allows_is_asked_of_its_adapter_and_of_an_account_that_is_gone_there_is_a_default() -> None:
    async def main() -> None:
        bench = Bench()
        bench.network.limits = Limits(text=7)
        assert bench.receivers.limits(NAME) == Limits(text=7)
        assert bench.receivers.limits("telegram/gone") == Limits()

    run(main())


def test_the_successor_of_one_that_was_cut_off_can_be_sent_through_at_once() -> None:
    """What the old one does at its late end must not put the new one out of use."""

    async def main() -> None:
        for delay in range(8):
            bench = Bench()
            bench.network.script(NAME, Script(lingers=NEVER), Script(ready_after=0))
            first, _ = await bench.opened()
            bench.close()
            await bench.fence()
            for _ in range(delay):
                await asyncio.sleep(0)
            second = bench.open(2)
            await ended(first)
            await bench.reply(within=1)
            assert len(bench.network.receivers[-1].sent) == 1
            bench.close(2)
            await ended(second)

    run(main())
