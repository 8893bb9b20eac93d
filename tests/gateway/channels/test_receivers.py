"""The owner of live receivers: one an account, each proven dead before it is called so."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Coroutine
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.channels import receivers as receivers_module
from gateway.channels.base import Lease, Offsets
from gateway.channels.receivers import Receivers
from gateway.channels.sessions import KeptSession, Sessions
from gateway.errors import (
    AccountRefusedError,
    ConflictError,
    ConnectionLostError,
    GenerationRevokedError,
    LeaseLostError,
    SendError,
    SessionsSpentError,
)
from gateway.messages.model import Message, Outgoing
from gateway.messages.pace import Limits
from statemachine import Event
from statemachine.channel_events import (
    Cause,
    CloseReceiver,
    FenceReceiver,
    OpenReceiver,
    ReceiverEnded,
    ReceiverFenced,
    ReceiverReady,
    ReceiverStalled,
    Run,
    WatchReceiver,
)
from tests.gateway.configs import config, telegram
from tests.gateway.fakes import NEVER, FakeNetwork, FakeReceiver, Script
from tests.virtual import VirtualClock, run_virtual

NAME = "telegram/main"
SETTINGS = config(telegram(main="token: a-token")).accounts()[NAME]
HELLO = Outgoing(1, "a key", "telegram", "main", "conversation", "hello", 0, 0)


class Bench:
    """Receivers over a fake network, with everything that they said and delivered."""

    def __init__(self, sessions: Sessions | None = None, lease: Lease | None = None) -> None:
        self.network = FakeNetwork()
        self.said: list[Event] = []
        self.delivered: list[Message] = []
        self.offsets = Offsets()
        self.drained: list[str] = []
        self.drain_takes = 0.0
        self.space = asyncio.Event()
        self.space.set()
        self.ups = 0
        self._upped = asyncio.Event()
        self.receivers = Receivers(
            {"telegram": self.network.adapter},
            {NAME: SETTINGS}.get,
            self.offsets,
            self._post,
            VirtualClock(),
            sessions=sessions,
            lease=lease,
        )
        self.receivers.connect(self, self._drain, self._up)

    async def accept(self, identity: str, offset: int, messages: list[Message], first: int | None) -> int:
        self.delivered += messages
        return len(messages)

    async def room(self) -> None:
        await self.space.wait()

    def _up(self, name: str) -> None:
        assert name == NAME
        assert self.receivers.is_up(name), "whoever is told may send at once"
        self.ups += 1
        self._upped.set()

    async def _drain(self, name: str) -> None:
        await asyncio.sleep(self.drain_takes)
        self.drained.append(name)

    def _post(self, name: str, event: Event) -> None:
        assert name == NAME
        self.said.append(event)

    def open(self, generation: int = 1) -> asyncio.Task[Event]:
        return asyncio.ensure_future(self.receivers.open(NAME, OpenReceiver(generation, Run("a", SETTINGS))))

    async def opened(self, generation: int = 1) -> tuple[asyncio.Task[Event], FakeReceiver]:
        """One that has completed its first receive."""
        task = self.open(generation)
        await asyncio.sleep(1)
        assert self.said[-1] == ReceiverReady(generation)
        return task, self.network.receivers[-1]

    def close(self, generation: int = 1, *, confirm: bool = False) -> None:
        self.receivers.close(NAME, CloseReceiver(generation, confirm))

    def watch(self, generation: int = 1, within: float | None = 40.0) -> None:
        self.receivers.watch(NAME, WatchReceiver(generation, within))

    async def fence(self, generation: int = 1) -> Event:
        return await self.receivers.fence(NAME, FenceReceiver(generation))

    async def send(self) -> str:
        return await self.receivers.send(NAME, HELLO)

    async def reply(self, within: float = 10.0) -> None:
        """Send as soon as somebody says that the account is up, as the outbox does."""
        async with asyncio.timeout(within):
            while not self.receivers.is_up(NAME):
                self._upped.clear()
                await self._upped.wait()
            await self.send()


def run(main: Coroutine[Any, Any, None]) -> None:
    run_virtual(main)


async def ended(task: asyncio.Task[Event]) -> ReceiverEnded:
    event = await asyncio.wait_for(task, 100)
    assert isinstance(event, ReceiverEnded)
    return event


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


# Cutting off


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


# Sending


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


# Several hosts


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
