"""Receive, route, handle, reply."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.channels.base import Message
from gateway.config.model import Config
from gateway.errors import SendError
from gateway.messages.pipeline import LONGEST_PAUSE, SEND_ATTEMPTS, SEND_WAIT, Pipeline
from tests.gateway.configs import config, telegram
from tests.virtual import VirtualClock, run_virtual

CONFIG = config(telegram(main="token: x", other="token: y"))
Sent = tuple[str, str, str]


class Bench:
    """A pipeline with a handler that takes as long as the text says, and a network that fails as it is told."""

    def __init__(self, config: Config = CONFIG) -> None:
        self.config = config
        self.handled: list[tuple[float, str]] = []
        self.sent: list[Sent] = []
        self.attempts: list[float] = []
        self.failures: list[SendError] = []
        self.pipeline = Pipeline(lambda: self.config, {"echo": self._handle})
        self.pipeline.connect(self._send)
        self.lines: list[dict[str, Any]] = []

    async def _handle(self, message: Message, _: Any) -> str | None:
        text = message.text
        if text.startswith("sleep "):
            await asyncio.sleep(float(text.split()[1]))
        self.handled.append((VirtualClock().monotonic(), text))
        if text == "break":
            raise RuntimeError("a broken handler")
        return {"silence": None, "empty": ""}.get(text, text)

    async def _send(self, name: str, conversation: str, text: str, wait: float) -> None:
        assert wait == SEND_WAIT
        self.attempts.append(VirtualClock().monotonic())
        if self.failures:
            raise self.failures.pop(0)
        self.sent.append((name, conversation, text))

    async def say(self, *texts: str, conversation: str = "7", account: str = "main", sender: str = "5") -> None:
        await self.pipeline.accept(
            [Message(text, "telegram", account, conversation, sender, "ann", text, 0) for text in texts]
        )

    @property
    def texts(self) -> list[str]:
        return [text for _, _, text in self.sent]


def run(main: Callable[[Bench], Coroutine[Any, Any, None]], config: Config = CONFIG) -> Bench:
    async def whole() -> Bench:
        bench = Bench(config)
        await main(bench)
        await bench.pipeline.drain()
        assert bench.pipeline.in_flight == 0
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return bench

    with capture_logs() as lines:
        bench = run_virtual(whole())
    bench.lines = [dict(line) for line in lines]
    return bench


def test_a_message_is_answered_where_it_was_said() -> None:
    async def main(bench: Bench) -> None:
        await bench.say("hello", conversation="8", account="other")

    assert run(main).sent == [("telegram/other", "8", "hello")]


def test_ordered_within_a_conversation_and_concurrent_across_them() -> None:
    async def main(bench: Bench) -> None:
        await bench.say("sleep 5", "first", "second", conversation="slow")
        await bench.say("at once", conversation="quick")
        await bench.say("at once too", conversation="slow", account="other")
        await asyncio.sleep(1)
        assert bench.texts == ["at once", "at once too"]
        assert bench.pipeline.in_flight == 1

    assert run(main).texts == ["at once", "at once too", "sleep 5", "first", "second"]


def test_a_long_conversation_keeps_its_order() -> None:
    texts = [f"sleep 0.{9 - number % 10}" for number in range(50)]

    async def main(bench: Bench) -> None:
        for text in texts:
            await bench.say(text)
            await asyncio.sleep(0.05)

    assert run(main).texts == texts


def test_a_handler_that_breaks_harms_nobody() -> None:
    async def main(bench: Bench) -> None:
        await bench.say("break", "after")

    bench = run(main)
    assert bench.texts == ["after"]
    (line,) = bench.lines
    assert (line["event"], line["account"], line["message"], line["exc_info"]) == (
        "message_failed", "telegram/main", "break", True,
    )  # fmt: skip


def test_no_reply_is_a_reply_too() -> None:
    async def main(bench: Bench) -> None:
        await bench.say("silence", "empty", "hello")

    assert run(main).texts == ["hello"]


def test_who_may_not_speak_is_not_heard() -> None:
    async def main(bench: Bench) -> None:
        await bench.say("let me in", sender="6")
        await bench.say("it is me", sender="5")

    bench = run(main, config(telegram(main="token: x, allow_from: [5]")))
    assert (bench.texts, len(bench.handled)) == (["it is me"], 1)
    assert [line["event"] for line in bench.lines] == ["message_refused"]


def test_an_account_that_is_in_no_config_lets_nobody_in() -> None:
    """It is being removed: with it went the list of those whom it knew."""

    async def main(bench: Bench) -> None:
        await bench.say("let me in", account="gone")

    bench = run(main, config(telegram(main="token: x, allow_from: [5]")))
    assert (bench.handled, bench.sent) == ([], [])


def test_no_route_is_counted_and_no_failure() -> None:
    async def main(bench: Bench) -> None:
        await bench.say("hello", "again")
        await bench.pipeline.drain()
        assert bench.pipeline.unmatched == 2

    text = telegram(main="token: x").replace('channel: "*"', "channel: webchat")
    assert run(main, config(text)).sent == []


def test_a_live_change_is_the_next_messages() -> None:
    """allow_from and routes are read when a message is handled, not when its receiver was opened."""

    async def main(bench: Bench) -> None:
        await bench.say("sleep 1", "waiting")
        await asyncio.sleep(0.5)
        bench.config = config(telegram(main="token: x, allow_from: [6]"))
        await bench.say("after")

    assert run(main).texts == ["sleep 1"]


# Replies that do not arrive


def test_a_reply_that_can_be_sent_again_is() -> None:
    async def main(bench: Bench) -> None:
        bench.failures = [SendError("the line broke", retryable=True) for _ in range(3)]
        await bench.say("hello")

    bench = run(main)
    assert bench.texts == ["hello"]
    pauses = [after - before for before, after in zip(bench.attempts, bench.attempts[1:], strict=False)]
    assert pauses == pytest.approx([0.25, 0.5, 1.0])
    assert len(bench.handled) == 1, "the handler is not asked again"


def test_it_waits_as_long_as_the_network_asked_but_not_for_ever() -> None:
    async def main(bench: Bench) -> None:
        bench.failures = [SendError("wait", retryable=True, retry_after=wait) for wait in (7.0, 3_600.0)]
        await bench.say("hello")

    bench = run(main)
    pauses = [after - before for before, after in zip(bench.attempts, bench.attempts[1:], strict=False)]
    assert pauses == pytest.approx([7.0, LONGEST_PAUSE])
    assert bench.texts == ["hello"]


def test_a_reply_that_cannot_be_sent_is_dead_and_said_to_be() -> None:
    async def main(bench: Bench) -> None:
        bench.failures = [SendError("message is too long", retryable=False)]
        await bench.say("hello", "after")

    bench = run(main)
    assert (bench.texts, len(bench.attempts)) == (["after"], 2)
    assert [(line["event"], line["why"]) for line in bench.lines] == [("reply_dead", "message is too long")]


def test_it_is_not_tried_for_ever() -> None:
    async def main(bench: Bench) -> None:
        bench.failures = [SendError("the line broke", retryable=True) for _ in range(SEND_ATTEMPTS)]
        await bench.say("hello", "after")

    bench = run(main)
    assert bench.texts == ["after"]
    assert [line["event"] for line in bench.lines] == ["reply_dead"]


def test_what_breaks_in_sending_harms_nobody() -> None:
    async def main(bench: Bench) -> None:
        async def broken(*_: Any) -> None:
            raise KeyError("a defect")

        bench.pipeline.connect(broken)
        await bench.say("hello")
        await bench.pipeline.drain()
        bench.pipeline.connect(bench._send)
        await bench.say("after")

    bench = run(main)
    assert bench.texts == ["after"]
    assert [line["event"] for line in bench.lines] == ["message_failed"]


# Draining


def test_draining_waits_for_all_that_is_in_flight_also_what_comes_meanwhile() -> None:
    async def main(bench: Bench) -> None:
        await bench.say("sleep 2")
        draining = asyncio.ensure_future(bench.pipeline.drain())
        await asyncio.sleep(1)
        await bench.say("sleep 3", conversation="another")
        await draining
        assert bench.texts == ["sleep 2", "sleep 3"]

    run(main)


def test_draining_one_account_does_not_wait_for_another() -> None:
    async def main(bench: Bench) -> None:
        await bench.say("sleep 2")
        await bench.say("sleep 50", account="other")
        await bench.pipeline.drain("telegram/main")
        assert bench.texts == ["sleep 2"]
        await bench.pipeline.drain("telegram/nobody")
        assert bench.pipeline.in_flight == 1

    run(main)
