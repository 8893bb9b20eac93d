"""Receive, keep, route, handle: in order within a conversation, concurrent across them, and whatever ends the process."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import HandlerError
from gateway.messages import pipeline as pipeline_module
from gateway.messages.model import Message, Reply
from tests.gateway.configs import config, telegram
from tests.gateway.fakes import FakeHandlers
from tests.gateway.messages.bench import IDENTITY, MAIN, Life, message, play, run, stall


def test_a_message_is_answered_where_it_was_said(tmp_path: Path) -> None:
    async def main(life: Life) -> None:
        await life.say("hello", conversation="8", account="other")

    assert run(main, tmp_path).sent == [("telegram/other", "8", "hello")]


def test_ordered_within_a_conversation_and_concurrent_across_them(tmp_path: Path) -> None:
    async def main(life: Life) -> None:
        await life.say("sleep 5", "first", "second", conversation="slow")
        await life.say("at once", conversation="quick")
        await life.say("at once too", conversation="slow", account="other")
        await asyncio.sleep(1)
        assert life.network.texts == ["at once", "at once too"]
        assert life.pipeline.in_flight == 3

    assert run(main, tmp_path).network.texts == ["at once", "at once too", "sleep 5", "first", "second"]


def test_a_long_conversation_keeps_its_order(tmp_path: Path) -> None:
    texts = [f"sleep 0.{9 - number % 10}{number}" for number in range(50)]

    async def main(life: Life) -> None:
        for text in texts:
            await life.say(text)
            await asyncio.sleep(0.05)

    assert run(main, tmp_path).network.texts == texts


def test_a_handler_that_breaks_harms_nobody(tmp_path: Path) -> None:
    async def main(life: Life) -> None:
        await life.say("break", "after")
        await life.drain()
        assert await life.inbox() == {
            "break": ("dead", "RuntimeError: a broken handler", 1), "after": ("handled", "", 1),
        }  # fmt: skip

    life = run(main, tmp_path)
    assert life.network.texts == ["after"]
    broken, dead = life.lines
    assert (broken["event"], broken["exc_info"]) == ("work_failed", True)
    assert (dead["event"], dead["message"], dead["outcome"]) == ("message_not_handled", "break", "dead")


def test_what_is_no_reply_is_the_handlers_failure_and_nobody_elses(tmp_path: Path) -> None:
    """It is not looked at in the dispatcher's turn, where it would end the process."""

    class Rubbish(FakeHandlers):
        async def handle(self, handler: str, message: Message) -> Any:
            return (Reply(5),) if message.text == "a number" else [message.text]  # type: ignore[arg-type]

    async def main(life: Life) -> None:
        life.pipeline._handlers = Rubbish(life.handle)
        await life.say("a number", "a text")
        await life.drain()
        assert [state for state, _, _ in (await life.inbox()).values()] == ["dead", "dead"]
        life.pipeline._handlers = FakeHandlers(life.handle)
        await life.say("after")

    assert run(main, tmp_path).network.texts == ["after"]


def test_no_reply_is_a_reply_too(tmp_path: Path) -> None:
    async def main(life: Life) -> None:
        await life.say("silence", " ", "hello")
        await life.drain()
        assert {state for state, _, _ in (await life.inbox()).values()} == {"handled"}

    assert run(main, tmp_path).network.texts == ["hello"]


def test_who_may_not_speak_is_not_heard(tmp_path: Path) -> None:
    async def main(life: Life) -> None:
        await life.say("let me in", sender="6")
        await life.say("it is me", sender="5")
        await life.drain()
        assert (await life.inbox())["let me in"] == ("refused", "the sender is not in allow_from", 0)

    life = run(main, tmp_path, config(telegram(main="token: x, allow_from: [5]")))
    assert (life.network.texts, life.texts) == (["it is me"], ["it is me"])
    assert [(line["event"], line["outcome"]) for line in life.lines] == [("message_not_handled", "refused")]
    assert life.tally.incoming == {"refused": 1, "handled": 1}


def test_an_account_that_is_in_no_config_lets_nobody_in(tmp_path: Path) -> None:
    """It is being removed: with it went the list of those whom it knew."""

    async def main(life: Life) -> None:
        await life.say("let me in", account="gone")
        await life.drain()
        assert await life.inbox() == {"let me in": ("refused", "the account is gone", 0)}

    life = run(main, tmp_path, config(telegram(main="token: x, allow_from: [5]")))
    assert (life.texts, life.sent) == ([], [])


def test_no_route_is_counted_and_kept_and_no_failure(tmp_path: Path) -> None:
    async def main(life: Life) -> None:
        await life.say("hello", "again")
        await life.drain()
        assert life.tally.incoming == {"unmatched": 2}
        assert await life.inbox() == {
            "hello": ("unmatched", "no route matches", 0), "again": ("unmatched", "no route matches", 0),
        }  # fmt: skip

    text = telegram(main="token: x").replace('channel: "*"', "channel: webchat")
    assert run(main, tmp_path, config(text)).sent == []


def test_a_live_change_is_the_next_messages(tmp_path: Path) -> None:
    """allow_from and routes are read when a message is handled, not when its receiver was opened."""

    async def main(life: Life) -> None:
        await life.say("sleep 1", "waiting")
        await asyncio.sleep(0.5)
        life.config = config(telegram(main="token: x, allow_from: [6]"))
        await life.say("after")

    assert run(main, tmp_path).network.texts == ["sleep 1"]


def test_what_is_not_for_a_handler_any_more_is_not_tried_again(tmp_path: Path) -> None:
    async def fails(message: Message) -> str:
        raise HandlerError("not now", retryable=True)

    async def main(life: Life) -> None:
        life.pipeline._handlers = FakeHandlers(fails, attempts=9)
        await life.say("hello")
        await asyncio.sleep(0)
        life.config = config(telegram(main="token: x, allow_from: [6]"))
        await life.drain()
        (end,) = (await life.inbox()).values()
        assert end[:2] == ("dead", "it is not for any handler any more: the sender is not in allow_from")

    run(main, tmp_path)


def test_half_a_character_is_replaced_and_ends_nothing(tmp_path: Path) -> None:
    async def main(life: Life) -> None:
        await life.say("half: \ud800", conversation="\udfff", sender="\ud801")

    assert run(main, tmp_path).sent == [(MAIN, "?", "half: ?")]


@pytest.mark.parametrize(
    "text", ["\0", "a\0b", "\u202eright to left", "\ufeff", "\U0010ffff", "😀" * 3000, "\r\n\t", "e\u0301" * 99]
)
def test_a_text_is_kept_and_answered_as_it_is(tmp_path: Path, text: str) -> None:
    async def main(life: Life) -> None:
        await life.pipeline.accept(IDENTITY, 1, [message(text, name="1")])
        await life.drain()
        (kept,) = await life.store.messages(None, 9)
        assert kept["body"]["text"] == text

    life = run(main, tmp_path)
    assert [message.text for _, message in life.handled] == [text]
    said = text.replace("\0", "")  # no network takes it
    assert "".join(life.network.texts) == (said if said.strip() else "")


# Tried again


def test_a_handler_that_fails_is_asked_again_as_its_policy_says(tmp_path: Path) -> None:
    async def main(life: Life) -> None:
        failures = [HandlerError("not now", retryable=True), HandlerError("wait", retryable=True, after=30.0)]

        async def fails(message: Message) -> str:
            life.handled.append((life.clock.monotonic(), message))
            if failures:
                raise failures.pop(0)
            return "at last"

        life.pipeline._handlers = FakeHandlers(fails, attempts=3)
        await life.say("hello")
        await life.drain()
        assert await life.inbox() == {"hello": ("handled", "", 3)}

    life = run(main, tmp_path)
    (first, _), (second, _), (third, _) = life.handled
    assert second - first <= 1.0
    assert third - second >= 30.0
    assert [message.attempt for _, message in life.handled] == [1, 2, 3]
    assert life.network.texts == ["at last"]


def test_what_follows_waits_while_a_message_is_tried_again(tmp_path: Path) -> None:
    async def main(life: Life) -> None:
        failures = [HandlerError("not now", retryable=True, after=10.0)]

        async def fails(message: Message) -> str:
            if failures:
                raise failures.pop()
            return message.text

        life.pipeline._handlers = FakeHandlers(fails, attempts=2)
        await life.say("first", "second")
        await life.say("elsewhere", conversation="8")
        await asyncio.sleep(9)
        assert life.network.texts == ["elsewhere"]

    assert run(main, tmp_path).network.texts == ["elsewhere", "first", "second"]


@pytest.mark.parametrize("retryable", [True, False])
def test_a_handler_that_fails_too_often_or_for_good_leaves_it_dead(tmp_path: Path, retryable: bool) -> None:
    async def main(life: Life) -> None:
        async def fails(message: Message) -> str:
            life.handled.append((life.clock.monotonic(), message))
            raise HandlerError(f"failure {len(life.handled)}", retryable=retryable)

        life.pipeline._handlers = FakeHandlers(fails, attempts=3)
        await life.say("hello")
        await life.drain()
        tries = 3 if retryable else 1
        assert await life.inbox() == {"hello": ("dead", f"failure {tries}", tries)}

    assert run(main, tmp_path).sent == []


def test_a_handler_that_hangs_is_given_up_and_what_follows_is_handled(tmp_path: Path) -> None:
    async def main(life: Life) -> None:
        life.pipeline._handlers = FakeHandlers(life.handle, patience=10.0)
        await life.say("sleep 1000", "after")
        await asyncio.sleep(9)
        assert life.network.texts == []
        await asyncio.sleep(2)
        assert life.network.texts == ["after"]
        assert (await life.inbox())["sleep 1000"] == ("dead", "the handler took too long", 1)
        assert life.texts == ["after"], "it was cancelled"

    run(main, tmp_path)


# Back-pressure


def test_a_full_pipeline_asks_receivers_to_wait_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_module, "MOST_OPEN", 3)

    async def main(life: Life) -> None:
        await life.pipeline.room()
        assert not life.pipeline.full
        await life.say("sleep 10", "second", "third")
        assert life.pipeline.full
        waiting = [asyncio.ensure_future(life.pipeline.room()) for _ in range(2)]
        await asyncio.sleep(9)
        assert not any(task.done() for task in waiting)
        await asyncio.sleep(2)
        assert not life.pipeline.full
        await asyncio.gather(*waiting)

    life = run(main, tmp_path)
    said = [line for line in life.lines if line["event"].startswith("pipeline")]
    assert [line["event"] for line in said] == ["pipeline_full"] * 2 + ["pipeline_has_room"] * 2
    assert said[0]["open"] == 3


def test_what_comes_although_it_is_full_is_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A poll that was under way brings what it brings."""
    monkeypatch.setattr(pipeline_module, "MOST_OPEN", 2)

    async def main(life: Life) -> None:
        await life.say("sleep 1", "second")
        await life.say("third", "fourth")
        assert life.pipeline.in_flight == 4

    assert run(main, tmp_path).texts == ["sleep 1", "second", "third", "fourth"]


# Draining, and the end


def test_draining_waits_for_all_that_is_in_flight_also_what_comes_meanwhile(tmp_path: Path) -> None:
    async def main(life: Life) -> None:
        await life.say("sleep 2")
        draining = asyncio.ensure_future(life.pipeline.drain())
        await asyncio.sleep(1)
        await life.say("sleep 3", conversation="another")
        await draining
        assert life.texts == ["sleep 2", "sleep 3"]

    run(main, tmp_path)


def test_draining_one_account_does_not_wait_for_another(tmp_path: Path) -> None:
    async def main(life: Life) -> None:
        await life.say("sleep 2")
        await life.say("sleep 50", account="other")
        await life.pipeline.drain(MAIN)
        assert life.texts == ["sleep 2"]
        await life.pipeline.drain("telegram/nobody")
        assert life.pipeline.in_flight == 1

    run(main, tmp_path)


def test_draining_waits_for_what_is_being_taken_over(tmp_path: Path) -> None:
    async def main(life: Life) -> None:
        other = stall(life)
        accepting = asyncio.ensure_future(life.say("hello"))
        await asyncio.sleep(0)
        draining = asyncio.ensure_future(life.pipeline.drain())
        await asyncio.sleep(3)
        assert not draining.done()
        other.close()
        await draining
        assert life.texts == ["hello"]
        await accepting

    run(main, tmp_path)


def test_at_the_end_nothing_is_taken_over_any_more_and_nothing_is_lost(tmp_path: Path) -> None:
    async def main() -> None:
        life = await Life(tmp_path).begin()
        other = stall(life)
        accepting = asyncio.ensure_future(life.say("hello"))
        await asyncio.sleep(1)
        await life._stop_turning()
        assert accepting.cancelled()
        other.close()
        assert await life.store.close(), "what waited is written"
        again = await Life(tmp_path).begin()
        await again.end()
        assert again.texts == ["hello"]

    play(main())
