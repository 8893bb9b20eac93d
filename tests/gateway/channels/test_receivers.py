"""The owner of live receivers: one an account, each proven dead before it is called so."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.channels import receivers as receivers_module
from gateway.channels.sessions import KeptSession, Sessions
from gateway.errors import (
    AccountRefusedError,
    ConflictError,
    ConnectionLostError,
    GenerationRevokedError,
    SendError,
    SessionsSpentError,
)
from statemachine.channel_events import Cause, ReceiverEnded, ReceiverFenced, ReceiverReady, ReceiverStalled
from tests.gateway.channels.receivers_bench import NAME, SETTINGS, Bench, ended, run
from tests.gateway.fakes import NEVER, Script
from tests.virtual import VirtualClock

# One at a time


def test_a_second_open_is_refused_whatever_the_tables_say() -> None:
    async def main() -> None:
        bench = Bench()
        task, _ = await bench.opened()
        for generation in (1, 2):
            with pytest.raises(RuntimeError, match="telegram/main has a live receiver of generation 1"):
                await bench.open(generation)
        assert len(bench.network.receivers) == 1
        bench.close()
        await ended(task)
        again, _ = await bench.opened(2)
        bench.close(2)
        await ended(again)

    run(main())


def test_a_second_open_is_refused_while_the_first_is_still_closing() -> None:
    async def main() -> None:
        bench = Bench()
        bench.network.script(NAME, Script(closes_in=5))
        task, _ = await bench.opened()
        bench.close()
        await asyncio.sleep(1)
        with pytest.raises(RuntimeError):
            await bench.open(2)
        await ended(task)
        assert bench.network.violations == []

    run(main())


# The end of one


def test_how_far_a_session_is_is_written_when_its_receiver_has_ended() -> None:
    class Disk:
        def __init__(self) -> None:
            self.kept: dict[str, KeptSession] = {}

        def keep_session(self, identity: str, kept: KeptSession) -> None:
            self.kept[identity] = kept

        async def committed(self) -> None:
            """At once."""

    async def main() -> None:
        disk = Disk()
        bench = Bench(Sessions(VirtualClock(), disk))
        task, receiver = await bench.opened()
        receiver.intake.keep_session("fake", "begun")
        receiver.intake.keep_session("fake", "went on")
        assert disk.kept["fake"].session == "begun"
        bench.close()
        await ended(task)
        assert disk.kept["fake"].session == "went on"

    run(main())


def test_ended_is_said_when_the_task_has_ended_and_the_connection_is_closed() -> None:
    async def main() -> None:
        bench = Bench()
        bench.network.script(NAME, Script(lingers=2, closes_in=3))
        task, receiver = await bench.opened()
        before = VirtualClock().monotonic()
        bench.close()
        event = await ended(task)
        assert event == ReceiverEnded(1, Cause.CLOSED, "", before + 5)
        assert receiver.closed
        assert bench.network.all_live() == []

    run(main())


@pytest.mark.parametrize(
    ("error", "cause", "why", "retry_after"),
    [
        (ConnectionLostError("no network"), Cause.LOST, "no network", 0.0),
        (ConnectionLostError("too many requests", retry_after=7), Cause.LOST, "too many requests", 7.0),
        (ConflictError("somebody else"), Cause.CONFLICT, "somebody else", 0.0),
        (AccountRefusedError("revoked"), Cause.REFUSED, "revoked", 0.0),
        (SessionsSpentError("5 of 5", 7200.0), Cause.SPENT, "5 of 5", 7200.0),
        (RuntimeError("a defect"), Cause.CRASHED, "RuntimeError: a defect", 0.0),
        (GenerationRevokedError("cut off"), Cause.CRASHED, "GenerationRevokedError: cut off", 0.0),
        (None, Cause.CLOSED, "the receiver returned by itself", 0.0),
    ],
)
def test_the_class_of_an_error_says_why_it_ended(
    error: Exception | None, cause: Cause, why: str, retry_after: float
) -> None:
    async def main() -> None:
        bench = Bench()
        with capture_logs() as lines:
            task, receiver = await bench.opened()
            receiver.fail(error)
            event = await ended(task)
        assert (event.generation, event.cause, event.why, event.retry_after) == (1, cause, why, retry_after)
        assert receiver.closed
        crashed = [line for line in lines if line["event"] == "receiver_crashed"]
        assert bool(crashed) == (cause is Cause.CRASHED), "a defect is logged, with its traceback"
        assert all(line["exc_info"] is error for line in crashed)

    run(main())


def test_an_adapter_that_cannot_even_open_bars_nobody() -> None:
    async def main() -> None:
        bench = Bench()
        make = bench.network.adapter.open
        bench.network.adapter.open = _no_open  # type: ignore[assignment, method-assign]
        with pytest.raises(RuntimeError, match="no session"):
            await bench.open()
        bench.network.adapter.open = make  # type: ignore[method-assign]
        task, _ = await bench.opened(2)
        bench.close(2)
        await ended(task)

    run(main())


def _no_open(*_: Any) -> Any:
    raise RuntimeError("no session")


def test_one_whose_close_breaks_is_cut_off_instead() -> None:
    async def main() -> None:
        bench = Bench()
        bench.network.script(NAME, Script(close_error=OSError("it is broken")))
        with capture_logs() as lines:
            task, _ = await bench.opened()
            bench.close()
            assert (await ended(task)).cause is Cause.CLOSED
        assert "close_failed" in [line["event"] for line in lines]
        assert bench.network.all_live() == []
        again, _ = await bench.opened(2)
        bench.close(2)
        await ended(again)

    run(main())


def test_one_that_can_neither_be_closed_nor_cut_off_is_not_called_dead() -> None:
    async def main() -> None:
        bench = Bench()
        bench.network.script(NAME, Script(close_error=OSError("it is broken"), fence_fails=1))
        with capture_logs():
            task, _ = await bench.opened()
            bench.close()
            with pytest.raises(OSError, match="cannot be aborted"):
                await ended(task)
            with pytest.raises(RuntimeError, match="has a live receiver"):
                await bench.open(2)

    run(main())


def test_the_goodbye_of_a_clean_stop_comes_after_the_replies_and_before_the_close() -> None:
    async def main() -> None:
        bench = Bench()
        bench.drain_takes = 2.0
        task, receiver = await bench.opened()
        bench.close(confirm=True)
        await asyncio.sleep(1)
        assert (bench.drained, receiver.confirmed, receiver.closed) == ([], 0, False)
        await ended(task)
        assert (bench.drained, receiver.confirmed, receiver.closed) == ([NAME], 1, True)

    run(main())


@pytest.mark.parametrize("told_before", [False, True])
def test_replies_that_are_still_to_come_go_out_through_the_one_that_ends(told_before: bool) -> None:
    async def main() -> None:
        bench = Bench()
        bench.drain_takes = 1.0
        bench.network.script(NAME, Script(lingers=1))
        task, receiver = await bench.opened()
        if told_before:
            bench.close(confirm=False)
        bench.close(confirm=True)
        assert not bench.receivers.is_up(NAME)
        await bench.reply()
        await ended(task)
        assert receiver.sent == [("conversation", "hello")]
        with pytest.raises(SendError):
            await bench.send()

    run(main())


def test_a_reload_says_no_goodbye() -> None:
    async def main() -> None:
        bench = Bench()
        task, receiver = await bench.opened()
        bench.close(confirm=False)
        await ended(task)
        assert (bench.drained, receiver.confirmed) == ([], 0)

    run(main())


@pytest.mark.parametrize("error", [ConnectionLostError("no network"), ConflictError("somebody else")])
def test_a_goodbye_that_is_not_heard_is_no_failure(error: Exception) -> None:
    async def main() -> None:
        bench = Bench()
        bench.network.script(NAME, Script(confirm_error=error))
        with capture_logs() as lines:
            task, receiver = await bench.opened()
            bench.close(confirm=True)
            assert (await ended(task)).cause is Cause.CLOSED
        assert receiver.closed
        assert [line["event"] for line in lines] == ["not_confirmed"]

    run(main())


def test_replies_that_do_not_end_hold_up_the_goodbye_for_a_while_only() -> None:
    async def main() -> None:
        bench = Bench()
        bench.drain_takes = 1_000.0
        with capture_logs():
            task, receiver = await bench.opened()
            before = VirtualClock().monotonic()
            bench.close(confirm=True)
            await ended(task)
        assert VirtualClock().monotonic() - before == pytest.approx(receivers_module.DRAIN_TIMEOUT)
        assert receiver.confirmed == 0

    run(main())


def test_the_goodbye_fits_into_an_accounts_usual_deadline() -> None:
    assert SETTINGS.stop_timeout_ms / 1000 > receivers_module.DRAIN_TIMEOUT + receivers_module.CONFIRM_TIMEOUT


# Words about another generation


def test_close_and_fence_of_another_generation_touch_nothing() -> None:
    async def main() -> None:
        bench = Bench()
        first, _ = await bench.opened(1)
        bench.close(1)
        await ended(first)
        second, receiver = await bench.opened(2)
        for generation in (1, 3):
            bench.close(generation, confirm=True)
            fenced = await bench.fence(generation)
            assert isinstance(fenced, ReceiverFenced)
            assert fenced.generation == generation
        await asyncio.sleep(60)
        assert not second.done()
        assert bench.network.live(NAME) == [receiver]
        bench.network.push(NAME, "still here")
        await bench.send()
        await asyncio.sleep(1)
        assert [message.text for message in bench.delivered] == ["still here"]
        assert receiver.sent == [("conversation", "hello")]
        bench.close(2)
        assert (await ended(second)).generation == 2
        assert receiver.confirmed == 0

    run(main())


def test_one_that_is_told_to_end_before_its_work_began_never_begins() -> None:
    async def main() -> None:
        bench = Bench()
        task = bench.open()
        bench.close()
        assert (await ended(task)).cause is Cause.CLOSED
        assert bench.network.receivers == []
        again, _ = await bench.opened(2)
        bench.close(2)
        await ended(again)

    run(main())


def test_one_that_is_told_to_end_in_the_turn_it_begins_ends() -> None:
    async def main() -> None:
        bench = Bench()
        task = bench.open()
        await asyncio.sleep(0)
        bench.close()
        assert (await ended(task)).cause is Cause.CLOSED
        assert bench.network.all_live() == []
        assert bench.said == []

    run(main())


# Looking, and the end of the process


def test_the_last_receive_is_that_of_this_generation() -> None:
    async def main() -> None:
        bench = Bench()
        assert bench.receivers.last_receive(NAME) is None
        task, _ = await bench.opened()
        first = bench.receivers.last_receive(NAME)
        assert first is not None
        await asyncio.sleep(10)
        bench.network.push(NAME, "hello")
        await asyncio.sleep(0.01)
        assert bench.receivers.last_receive(NAME) == pytest.approx(first + 10_990, abs=20)
        bench.close()
        await ended(task)
        assert bench.receivers.last_receive(NAME) is None

    run(main())


def test_ready_is_said_once_a_generation() -> None:
    async def main() -> None:
        bench = Bench()
        task, _ = await bench.opened()
        for _ in range(5):
            bench.network.push(NAME, "hello")
        await asyncio.sleep(1)
        assert bench.said == [ReceiverReady(1)]
        bench.close()
        await ended(task)

    run(main())


def test_at_the_end_of_the_process_everything_is_closed_even_what_breaks() -> None:
    async def main() -> None:
        bench = Bench()
        bench.network.script(NAME, Script(close_error=OSError("it is broken")))
        with capture_logs():
            task, _ = await bench.opened()
            await bench.receivers.aclose()
            await ended(task)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(main())


# Liveness


def test_one_that_hangs_is_told_of_once() -> None:
    async def main() -> None:
        bench = Bench()
        task, _ = await bench.opened()
        bench.watch()
        await asyncio.sleep(39)
        assert bench.said == [ReceiverReady(1)]
        await asyncio.sleep(1_000)
        assert bench.said == [ReceiverReady(1), ReceiverStalled(1)]
        bench.close()
        await ended(task)

    run(main())


def test_one_that_polls_and_one_without_polls_are_not_told_of() -> None:
    async def main() -> None:
        for polls, within in ((30.0, 40.0), (NEVER, None)):
            bench = Bench()
            bench.network.script(NAME, Script(polls=polls))
            task, _ = await bench.opened()
            bench.watch(within=within)
            await asyncio.sleep(10_000)
            assert bench.said == [ReceiverReady(1)]
            bench.close()
            await ended(task)

    run(main())


@pytest.mark.parametrize("how", ["told to end", "by itself", "cut off"])
def test_one_that_ends_is_looked_at_no_more(how: str) -> None:
    """One that was told to end may take its time for that: its stop has a deadline of its own."""

    async def main() -> None:
        bench = Bench()
        bench.network.script(
            NAME, Script(lingers=NEVER if how == "cut off" else 1_000.0 if how == "told to end" else 0.0)
        )
        task, receiver = await bench.opened()
        bench.watch()
        if how == "by itself":
            receiver.fail(ConnectionLostError("the line broke"))
        else:
            bench.close()
            if how == "cut off":
                await bench.fence()
        await asyncio.sleep(500)
        assert bench.said == [ReceiverReady(1)]
        bench.network.release()
        await asyncio.wait({task})

    run(main())


def test_a_late_word_about_an_older_generation_looks_at_nobody() -> None:
    async def main() -> None:
        bench = Bench()
        task, _ = await bench.opened(2)
        bench.watch(1)
        await asyncio.sleep(1_000)
        assert bench.said == [ReceiverReady(2)]
        bench.close(2)
        await ended(task)
        bench.watch(2)
        await asyncio.sleep(1_000)
        assert bench.said == [ReceiverReady(2)]

    run(main())
