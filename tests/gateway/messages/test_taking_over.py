"""Messages are taken over when they are in the store, and once: `accept`, as receivers call it."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.fakes import FakeHandlers
from tests.gateway.messages.bench import IDENTITY, Life, message, run, stall


def test_it_is_in_the_store_with_its_offset_before_accept_returns(tmp_path: Path) -> None:
    async def main(life: Life) -> None:
        await life.pipeline.accept(IDENTITY, 42, [message("sleep 5"), message("second")])
        with sqlite3.connect(life.store.path) as other:
            assert other.execute("SELECT id, state FROM inbox ORDER BY number").fetchall() == [
                ("sleep 5", "received"), ("second", "received"),
            ]  # fmt: skip
            assert other.execute("SELECT identity, next FROM offsets").fetchall() == [(IDENTITY, 42)]
        other.close()
        assert life.offsets.get(IDENTITY) == 42
        assert life.received == 2

    run(main, tmp_path)


def test_nothing_is_taken_over_while_the_store_cannot_write_and_all_of_it_after(tmp_path: Path) -> None:
    async def main(life: Life) -> None:
        other = stall(life)
        accepting = asyncio.ensure_future(life.pipeline.accept(IDENTITY, 42, [message("hello")]))
        await asyncio.sleep(5)
        assert not accepting.done()
        assert life.offsets.get(IDENTITY) is None
        assert life.pipeline.in_flight == 1, "it is on its way"
        assert life.texts == []
        assert "locked" in life.store.trouble
        other.close()
        await accepting
        assert life.store.trouble == ""
        assert life.offsets.get(IDENTITY) == 42

    life = run(main, tmp_path)
    assert life.network.texts == ["hello"]
    assert [line["event"] for line in life.lines] == ["store_stalled", "store_recovered"], "said once, not at each try"


@pytest.mark.parametrize("outside", [True, False], ids=["acts outside", "only answers"])
def test_only_what_answers_alone_begins_before_a_message_is_on_the_disk(tmp_path: Path, outside: bool) -> None:
    """And nothing of its answer leaves before that."""

    async def main(life: Life) -> None:
        life.pipeline._handlers = FakeHandlers(life.handle, outside=outside)
        await life.pipeline.accept(f"{IDENTITY}:x", 2, [message("one")], 1)
        await life.drain()
        other = stall(life)
        accepting = asyncio.ensure_future(life.pipeline.accept(f"{IDENTITY}:x", 3, [message("two")], 2))
        await asyncio.sleep(5)
        assert life.texts == (["one"] if outside else ["one", "two"])
        assert life.network.texts == ["one"]
        assert not accepting.done(), "its receiver does not go on before that, either"
        assert life.offsets.get(f"{IDENTITY}:x") == 2
        other.close()
        assert await accepting == 1
        assert life.offsets.get(f"{IDENTITY}:x") == 3

    life = run(main, tmp_path)
    assert life.texts == life.network.texts == ["one", "two"]


def test_accept_that_is_cancelled_while_its_messages_are_begun_with_takes_them_over_all_the_same(
    tmp_path: Path,
) -> None:
    async def main(life: Life) -> None:
        await life.pipeline.accept(f"{IDENTITY}:x", 2, [message("one")], 1)
        other = stall(life)
        accepting = asyncio.ensure_future(
            life.pipeline.accept(f"{IDENTITY}:x", 4, [message("two"), message("three")], 2)
        )
        await asyncio.sleep(1)
        assert life.pipeline.in_flight == 2, "each is counted once"
        accepting.cancel()
        await asyncio.wait({accepting})
        other.close()
        await life.drain()
        assert (life.offsets.get(f"{IDENTITY}:x"), life.received) == (4, 3)

    life = run(main, tmp_path)
    assert life.network.texts == ["one", "two", "three"]


def test_accept_that_is_cancelled_takes_over_all_the_same_and_once(tmp_path: Path) -> None:
    """A receiver that is told to end meanwhile: the next one asks from the offset on, or is sent them again."""

    async def main(life: Life) -> None:
        other = stall(life)
        accepting = asyncio.ensure_future(life.pipeline.accept(IDENTITY, 42, [message("hello")]))
        await asyncio.sleep(1)
        accepting.cancel()
        await asyncio.wait({accepting})
        again = asyncio.ensure_future(life.pipeline.accept(IDENTITY, 42, [message("hello"), message("more")]))
        await asyncio.sleep(1)
        other.close()
        await again
        await life.drain()
        assert life.offsets.get(IDENTITY) == 42
        assert list(await life.inbox()) == ["hello", "more"]

    assert run(main, tmp_path).texts == ["hello", "more"]


def test_one_that_is_sent_again_is_confirmed_again_and_not_handled_again(tmp_path: Path) -> None:
    async def main(life: Life) -> None:
        await life.say("one", "two")
        await life.drain()
        await life.pipeline.accept(IDENTITY, 7, [message("two"), message("three"), message("two")])
        assert life.offsets.get(IDENTITY) == 7

    life = run(main, tmp_path)
    assert life.texts == ["one", "two", "three"]
    assert life.received == 3


@pytest.mark.parametrize("kept_before", [True, False], ids=["on the disk", "on its way there"])
def test_a_bot_that_has_its_old_token_again_is_sent_nothing_twice(tmp_path: Path, kept_before: bool) -> None:
    """Offsets are kept by token, and messages by bot: what one token has brought the other may bring again."""
    one, two, three = (
        message(text, name=f"{IDENTITY}:{number}") for number, text in enumerate(("one", "two", "three"), 1)
    )

    async def main(life: Life) -> None:
        await life.pipeline.accept(f"{IDENTITY}:old", 2, [one], 1)
        other = asyncio.ensure_future(life.pipeline.accept(f"{IDENTITY}:new", 3, [one, two], 1))
        if kept_before:
            await other
        await life.pipeline.accept(f"{IDENTITY}:old", 4, [two, three], 2)
        await other

    assert run(main, tmp_path).network.texts == ["one", "two", "three"]


def test_what_was_brought_out_of_turn_in_an_earlier_life_is_known_when_it_is_polled(tmp_path: Path) -> None:
    """The network had not heard that the third has arrived. All that is polled before it is new; the third is not."""
    one, two, three = (
        message(text, name=f"{IDENTITY}:{number}") for number, text in enumerate(("one", "two", "three"), 1)
    )

    async def brought(life: Life) -> None:
        assert await life.pipeline.accept(f"{IDENTITY}:hook", 4, [three]) == 1

    async def polled(life: Life) -> None:
        assert await life.pipeline.accept(f"{IDENTITY}:token", 2, [one], 1) == 1
        assert await life.pipeline.accept(f"{IDENTITY}:token", 4, [two, three], 2) == 1

    assert run(brought, tmp_path).network.texts == ["three"]
    assert run(polled, tmp_path).network.texts == ["one", "two"]


def test_that_it_was_taken_over_is_told_although_it_cannot_be_read_back_at_once(tmp_path: Path) -> None:
    """Otherwise it would be in the store, known there, and handled by nobody before the next boot."""

    async def main(life: Life) -> None:
        real, faults = life.store._database.commit, [sqlite3.OperationalError("disk I/O error")] * 2

        class Faulty(sqlite3.Connection):
            def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
                if "BETWEEN" in sql and faults:
                    raise faults.pop()
                return super().execute(sql, *values)

        def commit(*given: Any) -> int:
            done = real(*given)
            if life.store._database._connection.__class__ is not Faulty:
                life.store._database.connection.close()
                life.store._database._connection = sqlite3.connect(
                    life.store.path, isolation_level=None, check_same_thread=False, factory=Faulty
                )
            return done

        life.store._database.commit = commit  # type: ignore[assignment, method-assign]
        await life.say("hello")
        assert faults == []

    assert run(main, tmp_path).texts == ["hello"]
