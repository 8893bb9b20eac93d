"""From a reply to its network: in order, at its pace, and never twice unless it says so."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from gateway.config.model import Config
from gateway.errors import SendError
from gateway.messages.model import Address, Message, Outgoing, Reply
from gateway.messages.outbox import MAX_AGE
from gateway.messages.pace import Limits, Rate
from statemachine.delivery import BEFORE_RESEND, DeliveryData
from tests.gateway.configs import config, telegram
from tests.gateway.fakes import FakeHandlers
from tests.gateway.messages.bench import (
    ASK,
    LOST,
    MAIN,
    OTHER,
    Life,
    Network,
    no_space,
    not_now,
    order,
    play,
    run,
    state,
)

# Order


def test_a_conversation_gets_its_messages_in_order_one_at_a_time(tmp_path: Path) -> None:
    async def main(life: Life) -> None:
        life.network.steps.extend([5.0, 3.0, 1.0])
        await order(life, "first", "second", "third")
        await asyncio.sleep(4)
        assert len(life.network.asked) == 1, "what follows waits for the answer"

    life = run(main, tmp_path)
    assert life.network.texts == ["first", "second", "third"]
    first, second, third = life.network.times
    assert (second - first, third - second) == pytest.approx((5.0, 3.0))


def test_a_reply_that_comes_as_the_one_before_it_is_sent_has_one_turn(tmp_path: Path) -> None:
    """And takes its share of the network's pace once."""

    async def main(life: Life) -> None:
        life.network.allows = Limits(conversation=Rate(60.0, 3))
        life.network.steps.append(5.0)
        await life.say("first", "sleep 5", "third")
        await asyncio.sleep(10)
        assert life.network.texts == ["first", "sleep 5", "third"], "the three that may follow each other at once"

    life = run(main, tmp_path)
    assert [entry.why for entry in life.journal.page(0, 1_000) if entry.kind == "refusal"] == []


def test_conversations_do_not_wait_for_each_other(tmp_path: Path) -> None:
    async def main(life: Life) -> None:
        life.network.steps.extend([20.0, 1.0, 1.0])
        await order(life, "slow")
        await order(life, "quick", conversation="8")
        await order(life, "another", account="other")
        await asyncio.sleep(2)
        assert life.network.texts == ["quick", "another"]

    assert run(main, tmp_path).network.texts == ["quick", "another", "slow"]


def test_a_long_reply_is_sent_in_parts_in_order_and_the_first_refers_to_the_message(tmp_path: Path) -> None:
    async def main(life: Life) -> None:
        life.network.allows = Limits(text=10)

        class Long(FakeHandlers):
            async def handle(self, handler: str, message: Message) -> tuple[Reply, ...]:
                return (
                    Reply("one two three four", quote=True),
                    Reply("elsewhere", to=Address("telegram", "other", "9")),
                )

        life.pipeline._handlers = Long(life.handle)
        await life.say("hello")

    life = run(main, tmp_path)
    by_conversation = [[s for s in life.network.sent if s.conversation == name] for name in ("7", "9")]
    assert [(each.text, each.quote) for each in by_conversation[0]] == [("one two", "n:hello"), ("three four", None)]
    assert [(each.name, each.text, each.quote) for each in by_conversation[1]] == [(OTHER, "elsewhere", None)]
    assert sorted(each.key for each in life.network.sent) == ["hello#1", "hello#2", "hello#3"]
    assert {each.answers for each in life.network.sent} == {1}


def test_that_it_is_being_sent_is_on_the_disk_before_the_network_hears_of_it(tmp_path: Path) -> None:
    async def main(life: Life) -> None:
        seen: list[str] = []
        send = life.network.send

        async def look(account: str, outgoing: Outgoing) -> str:
            with sqlite3.connect(life.store.path) as other:
                seen.extend(
                    row[0] for row in other.execute("SELECT state FROM outbox WHERE number = ?", (outgoing.number,))
                )
            other.close()
            return await send(account, outgoing)

        life.network.send = look  # type: ignore[method-assign]
        await life.say("hello")
        await life.drain()
        assert seen == ["sending"]
        assert await life.deliveries() == {"hello": ("sent", "")}
        kept = await life.store.outgoing(1)
        assert kept is not None
        assert (kept.network_id, kept.attempts, kept.marked) == ("n1", 1, False)

    run(main, tmp_path)


def test_nothing_is_sent_while_that_cannot_be_written_down(tmp_path: Path) -> None:
    async def main(life: Life) -> None:
        life.go_down()
        await order(life, "hello")
        other = sqlite3.connect(life.store.path, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        life.go_up()
        await asyncio.sleep(5)
        assert life.network.asked == []
        other.close()

    assert run(main, tmp_path).network.texts == ["hello"]


@pytest.mark.parametrize("settings", [config(telegram(main="token: x")), ASK], ids=["resend", "ask"])
def test_a_store_that_stalls_for_long_makes_nothing_unknown(tmp_path: Path, settings: Config) -> None:
    """The network has heard nothing: it is sent as soon as that can be written down, as new."""

    async def main(life: Life) -> None:
        life.go_down()
        await life.say("hello")
        await asyncio.sleep(1)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(life.store._database, "commit", no_space)
            life.go_up()
            await asyncio.sleep(120)
            assert state(life, 1) in ("sending", "retry_wait", "queued")
            assert life.network.asked == []
        await asyncio.sleep(70)
        assert [(outgoing.text, outgoing.marked) for outgoing in life.network.sent] == [("hello", False)]

    run(main, tmp_path, settings)


# Failures


def test_what_the_network_does_not_take_now_is_sent_later_and_what_follows_waits_with_it(tmp_path: Path) -> None:
    async def main(life: Life) -> None:
        life.network.steps.extend([not_now(), not_now(), not_now()])
        await order(life, "first", "second")
        await asyncio.sleep(0.1)
        assert state(life, 1) == "retry_wait"
        assert await life.deliveries() == {"first": ("retry_wait", "not now"), "second": ("queued", "")}
        await asyncio.sleep(10)

    life = run(main, tmp_path)
    assert life.network.texts == ["first", "second"]
    waits = [after - before for before, after in zip(life.network.times, life.network.times[1:], strict=False)]
    for wait, longest in zip(waits[:3], (0.5, 1.0, 2.0), strict=True):
        assert longest / 2 <= wait <= longest + 1e-6


@pytest.mark.parametrize("asked", [7.0, 3_600.0])
def test_it_waits_as_long_as_the_network_asked(tmp_path: Path, asked: float) -> None:
    async def main(life: Life) -> None:
        life.network.steps.append(not_now(asked))
        await order(life, "hello")
        # Draining is done: nothing can be sent now.
        await life.outbox.drain()
        await asyncio.sleep(asked + 1)

    life = run(main, tmp_path)
    assert life.network.times[1] - life.network.times[0] == pytest.approx(asked)


def test_a_message_that_the_network_refuses_is_dead_and_what_follows_is_sent(tmp_path: Path) -> None:
    async def main(life: Life) -> None:
        life.network.steps.append(SendError("message is too long", retryable=False))
        await order(life, "first", "second")
        await life.outbox.drain()
        assert await life.deliveries() == {"first": ("dead", "message is too long"), "second": ("sent", "")}
        assert life.tally.outgoing == {"dead": 1, "sent": 1}
        assert life.outbox.depth == 0

    life = run(main, tmp_path)
    assert [(line["event"], line["state"]) for line in life.lines] == [("delivery", "dead")]


def test_one_that_may_be_there_is_sent_once_more_and_says_so_and_what_follows_waits(tmp_path: Path) -> None:
    async def main(life: Life) -> None:
        life.network.steps.append(LOST)
        await order(life, "first", "second")
        await asyncio.sleep(0.1)
        assert await life.deliveries() == {"first": ("unknown", "the line broke"), "second": ("queued", "")}
        await asyncio.sleep(5)

    life = run(main, tmp_path)
    assert [(each.text, each.marked) for each in life.network.sent] == [("first", True), ("second", False)]
    assert life.network.times[1] - life.network.times[0] == pytest.approx(BEFORE_RESEND)


def test_lost_again_a_person_must_decide_and_what_follows_is_sent(tmp_path: Path) -> None:
    async def main(life: Life) -> None:
        life.network.steps.extend([LOST, LOST])
        await order(life, "first", "second")
        await asyncio.sleep(60)
        assert life.network.texts == ["second"]
        assert (state(life, 1), state(life, 2)) == ("unknown", "gone")
        assert (await life.deliveries())["first"] == ("unknown", "the line broke")
        assert life.outbox.depth == 1, "it is shown"

    run(main, tmp_path)


def test_where_a_person_shall_decide_it_is_not_sent_again_and_makes_way(tmp_path: Path) -> None:
    async def main(life: Life) -> None:
        life.network.steps.append(LOST)
        await life.say("first", "second")
        await asyncio.sleep(60)
        assert life.network.texts == ["second"]
        assert state(life, 1) == "unknown"

    run(main, tmp_path, ASK)


def test_a_network_that_does_not_answer_is_given_up_and_the_message_unknown(tmp_path: Path) -> None:
    async def main(life: Life) -> None:
        life.network.steps.append(1_000.0)
        await order(life, "first", "second")
        await asyncio.sleep(DeliveryData().patience - 1)
        assert state(life, 1) == "sending"
        await asyncio.sleep(1.5)
        assert await life.deliveries() == {
            "first": ("unknown", "the network did not answer in time"), "second": ("queued", ""),
        }  # fmt: skip
        await asyncio.sleep(5)

    life = run(main, tmp_path)
    assert [(each.text, each.marked) for each in life.network.sent] == [("first", True), ("second", False)]


def test_what_breaks_in_sending_may_have_sent(tmp_path: Path) -> None:
    async def main(life: Life) -> None:
        life.network.steps.append(KeyError("a defect"))
        await order(life, "first")
        await asyncio.sleep(5)

    life = run(main, tmp_path)
    assert [(each.text, each.marked) for each in life.network.sent] == [("first", True)]
    assert [line["event"] for line in life.lines] == ["work_failed", "delivery"]


# The account, and its pace


def test_it_waits_while_the_account_does_not_run(tmp_path: Path) -> None:
    async def main(life: Life) -> None:
        life.go_down()
        await order(life, "first", "second")
        await order(life, "third", conversation="8")
        await asyncio.sleep(3_600)
        assert life.network.asked == []
        assert life.outbox.depth == 3
        await life.outbox.drain()
        life.go_up(OTHER)
        await asyncio.sleep(1)
        assert life.network.asked == [], "another account is another account"
        life.go_up()

    life = run(main, tmp_path)
    assert sorted(life.network.texts) == ["first", "second", "third"]
    assert life.network.texts.index("first") < life.network.texts.index("second")


def test_down_in_the_middle_the_rest_waits_and_up_again_it_goes_on(tmp_path: Path) -> None:
    async def main(life: Life) -> None:
        life.network.steps.append(2.0)
        await order(life, "first", "second")
        await asyncio.sleep(1)
        life.go_down()
        await asyncio.sleep(60)
        assert life.network.texts == ["first"]
        life.go_up()

    assert run(main, tmp_path).network.texts == ["first", "second"]


def test_a_conversation_has_its_pace(tmp_path: Path) -> None:
    async def main(life: Life) -> None:
        life.network.allows = Limits(conversation=Rate(2.0, burst=3))
        await order(life, *"abcdef")
        await order(life, "at once", conversation="8")
        await life.outbox.drain()

    life = run(main, tmp_path)
    begin = life.network.times[0]
    mine = [at - begin for at, each in life.network.asked if each.conversation == "7"]
    assert mine == pytest.approx([0, 0, 0, 2, 4, 6])
    assert [each.text for _, each in life.network.asked if each.conversation == "7"] == list("abcdef")
    assert [at - begin for at, each in life.network.asked if each.conversation == "8"] == pytest.approx([0])


def test_an_account_has_its_pace_over_all_its_conversations(tmp_path: Path) -> None:
    async def main(life: Life) -> None:
        life.network.allows = Limits(account=Rate(0.5))
        for conversation in "1234":
            await order(life, conversation, conversation=conversation)
        await order(life, "another account", account="other")
        await life.outbox.drain()

    life = run(main, tmp_path)
    begin = life.network.times[0]
    assert [at - begin for at, each in life.network.asked if each.name == MAIN] == pytest.approx([0, 0.5, 1.0, 1.5])
    assert [at - begin for at, each in life.network.asked if each.name == OTHER] == pytest.approx([0])


# Age


def test_one_that_could_not_be_sent_in_time_is_dead_and_what_is_younger_is_not(tmp_path: Path) -> None:
    async def main(life: Life) -> None:
        life.go_down()
        await order(life, "old")
        await asyncio.sleep(100)
        await order(life, "young")
        await asyncio.sleep(MAX_AGE - 50)
        assert await life.deliveries() == {
            "old": ("dead", "too old: it could not be sent in time"), "young": ("queued", ""),
        }  # fmt: skip
        life.go_up()

    assert run(main, tmp_path).network.texts == ["young"]


def test_a_routes_age_is_its_replies(tmp_path: Path) -> None:
    async def main(life: Life) -> None:
        life.go_down()
        await life.say("hello", "second")
        await asyncio.sleep(59)
        assert life.outbox.depth == 2
        await asyncio.sleep(2)
        assert life.outbox.depth == 0
        life.go_up()

    text = telegram(main="token: x").replace("handler: echo}", "handler: echo, max_age_s: 60}")
    assert run(main, tmp_path, config(text)).network.asked == []


def test_one_that_would_be_too_old_when_it_may_be_tried_again_is_dead_at_once(tmp_path: Path) -> None:
    async def main(life: Life) -> None:
        life.network.steps.append(not_now(MAX_AGE))
        await order(life, "hello")
        await asyncio.sleep(1)
        assert await life.deliveries() == {"hello": ("dead", "not now")}

    run(main, tmp_path)


def test_a_life_later_it_is_as_old_as_it_is(tmp_path: Path) -> None:
    async def main() -> None:
        life = await Life(tmp_path).begin()
        life.go_down()
        await order(life, "hello")
        await asyncio.sleep(MAX_AGE - 100)
        await life.crash()
        network = Network()
        network.up.clear()
        again = await Life(tmp_path, network).begin()
        await asyncio.sleep(99)
        assert state(again, 1) == "queued"
        await asyncio.sleep(2)
        assert (await again.deliveries())["hello"][0] == "dead"
        await again.end()

    play(main())


# Draining


def test_draining_waits_for_what_is_being_sent_and_what_can_be(tmp_path: Path) -> None:
    async def main(life: Life) -> None:
        life.network.steps.extend([5.0, 0.0, 2.0])
        await order(life, "first", "second")
        await order(life, "elsewhere", account="other")
        draining = asyncio.ensure_future(life.outbox.drain(MAIN))
        await asyncio.sleep(6)
        assert not draining.done()
        assert life.outbox.under_way == 1
        await asyncio.wait_for(draining, 3)
        assert sorted(life.network.texts) == ["elsewhere", "first", "second"]
        assert life.outbox.under_way == 0

    run(main, tmp_path)


def test_draining_does_not_wait_for_what_cannot_be_sent_now(tmp_path: Path) -> None:
    async def main(life: Life) -> None:
        life.network.steps.extend([1.0, not_now(500.0)])
        await order(life, "slow", conversation="8")
        await order(life, "waits", "behind it")
        await order(life, "down")
        before = life.clock.monotonic()
        await life.outbox.drain()
        assert life.clock.monotonic() - before == pytest.approx(1.0)
        assert life.network.texts == ["slow"]

    run(main, tmp_path)


def test_draining_ends_when_what_is_being_sent_fails(tmp_path: Path) -> None:
    async def main(life: Life) -> None:
        async def fails_slowly(account: str, outgoing: Outgoing) -> str:
            await asyncio.sleep(2)
            raise not_now(500.0)

        life.network.send = fails_slowly  # type: ignore[method-assign]
        await order(life, "hello")
        before = life.clock.monotonic()
        await life.outbox.drain()
        assert life.clock.monotonic() - before == pytest.approx(2.0)

    run(main, tmp_path)


def test_of_what_has_ended_nothing_is_remembered(tmp_path: Path) -> None:
    async def main(life: Life) -> None:
        for number in range(50):
            await order(life, f"text {number}", conversation=str(number))
        await life.outbox.drain()
        assert life.outbox._open == {}
        assert life.outbox._accounts[MAIN].lanes == {}
        assert life.outbox._accounts[MAIN].ready == set()
        assert life.dispatcher._machines == {}
        assert life.runner._timers == {}

    run(main, tmp_path)
