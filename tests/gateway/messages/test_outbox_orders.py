"""What others than handlers want of the outbox: that something is said, sent once more, or not at all."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

from gateway.errors import SendError
from gateway.messages.model import Reply
from statemachine.delivery import DiscardRequested, RetryRequested
from tests.gateway.messages.bench import (
    ASK,
    HERE,
    LOST,
    Life,
    not_now,
    order,
    play,
    run,
    state,
)

# Ordered by others than handlers


def test_whoever_asks_twice_with_one_key_has_one_message_sent(tmp_path: Path) -> None:
    async def main(life: Life) -> None:
        (first,) = await life.outbox.ask("a key", HERE, Reply("hello"))
        (again,) = await life.outbox.ask("a key", HERE, Reply("hello"))
        assert again == first
        both = await asyncio.gather(*(life.outbox.ask("another", HERE, Reply("more")) for _ in range(3)))
        assert both[0] == both[1] == both[2]
        await life.outbox.drain()
        assert await life.outbox.ask("a key", HERE, Reply("hello")) == [first]

    assert run(main, tmp_path).network.texts == ["hello", "more"]


def test_a_key_is_known_in_the_next_life(tmp_path: Path) -> None:
    async def main() -> None:
        life = await Life(tmp_path).begin()
        await life.outbox.ask("a key", HERE, Reply("hello"))
        await life.end()
        again = await Life(tmp_path).begin()
        (known,) = await again.outbox.ask("a key", HERE, Reply("hello"))
        (new,) = await again.outbox.ask("another key", HERE, Reply("more"))
        assert new.number > known.number
        await again.end()
        assert again.network.texts == ["more"]

    play(main())


def test_what_somebody_orders_is_on_the_disk_when_it_is_promised(tmp_path: Path) -> None:
    async def main() -> None:
        life = Life(tmp_path)
        life.go_down()
        await life.begin()
        await life.outbox.ask("a key", HERE, Reply("hello"))
        await life.crash()
        again = await Life(tmp_path).begin()
        await again.end()
        assert again.network.texts == ["hello"]

    play(main())


def test_whoever_orders_and_goes_away_is_served_all_the_same(tmp_path: Path) -> None:
    async def main(life: Life) -> None:
        other = sqlite3.connect(life.store.path, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        asking = asyncio.ensure_future(life.outbox.ask("a key", HERE, Reply("hello")))
        await asyncio.sleep(1)
        asking.cancel()
        other.close()
        await asyncio.sleep(5)

    assert run(main, tmp_path).network.texts == ["hello"]


def test_an_empty_order_is_none(tmp_path: Path) -> None:
    async def main(life: Life) -> None:
        assert await life.outbox.ask("a key", HERE, Reply(" \n")) == []

    assert run(main, tmp_path).network.asked == []


# What a person asks for


async def tell(life: Life, number: int, event: Any) -> None:
    name = await life.outbox.reopen(number)
    assert name == f"delivery/{number}"
    await life.dispatcher.post(name, event, "test")
    life.outbox.let_go(name)


def retry(life: Life) -> RetryRequested:
    return RetryRequested("test", life.clock.monotonic() + 100)


def test_a_person_has_a_dead_one_sent_after_all(tmp_path: Path) -> None:
    async def main(life: Life) -> None:
        life.network.steps.append(SendError("blocked", retryable=False))
        await order(life, "hello")
        await life.outbox.drain()
        await tell(life, 1, retry(life))
        await life.outbox.drain()
        assert await life.deliveries() == {"hello": ("sent", "")}

    assert run(main, tmp_path).network.texts == ["hello"]


def test_a_person_decides_about_an_unknown_one(tmp_path: Path) -> None:
    async def main(life: Life) -> None:
        life.network.steps.extend([LOST, LOST])
        await life.say("first", "second")
        await asyncio.sleep(10)
        await tell(life, 1, retry(life))
        await tell(life, 2, DiscardRequested("test"))
        await life.outbox.drain()
        assert await life.deliveries() == {"first": ("sent", ""), "second": ("dead", "discarded by test")}
        assert life.outbox.depth == 0

    assert run(main, tmp_path, ASK).network.texts == ["first"]


def test_what_is_discarded_while_it_waits_is_not_sent_and_what_follows_is(tmp_path: Path) -> None:
    async def main(life: Life) -> None:
        life.network.steps.append(not_now(50.0))
        await order(life, "first", "second", "third")
        await asyncio.sleep(1)
        await tell(life, 2, DiscardRequested("test"))
        await tell(life, 1, DiscardRequested("test"))
        await asyncio.sleep(1)
        assert (await life.deliveries())["second"] == ("dead", "discarded by test")

    assert run(main, tmp_path).network.texts == ["third"]


def test_what_was_sent_is_not_sent_again_for_anybody_and_is_forgotten_again(tmp_path: Path) -> None:
    async def main(life: Life) -> None:
        await order(life, "hello")
        await life.outbox.drain()
        for event in (retry(life), DiscardRequested("test")):
            await tell(life, 1, event)
            assert (state(life, 1), life.outbox.depth) == ("gone", 0)
        assert await life.deliveries() == {"hello": ("sent", "")}
        assert await life.outbox.reopen(99) is None

    assert run(main, tmp_path).network.texts == ["hello"]
