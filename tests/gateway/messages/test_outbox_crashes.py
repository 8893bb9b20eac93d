"""What a process that is killed leaves to be sent is sent by the next, and never twice unless it says so."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import SendError
from statemachine.delivery import BEFORE_RESEND
from tests.gateway.messages.bench import (
    ASK,
    LOST,
    Life,
    Network,
    not_now,
    play,
    state,
)


async def killed(folder: Path, steps: list[Exception | float], seconds: float, config: Any = None) -> Network:
    """A life that says `first` and `second`, and ends as SIGKILL ends one."""
    life = Life(folder)
    if config is not None:
        life.config = config
    await life.begin()
    life.network.steps.extend(steps)
    await life.say("first", "second")
    await asyncio.sleep(seconds)
    await life.store.committed()
    await life.crash()
    return life.network


def test_what_was_queued_is_sent_in_the_next_life_in_order(tmp_path: Path) -> None:
    async def main() -> None:
        life = Life(tmp_path)
        life.go_down()
        await life.begin()
        await life.say("first", "second")
        await life.pipeline.drain()
        await life.store.committed()
        await life.crash()
        again = await Life(tmp_path).begin()
        await again.end()
        assert [(each.text, each.marked) for each in again.network.sent] == [("first", False), ("second", False)]
        assert await _nothing_left(tmp_path)

    play(main())


async def _nothing_left(folder: Path) -> bool:
    """A further life finds nothing to do, and sends nothing."""
    life = await Life(folder).begin()
    await asyncio.sleep(100)
    await life.end()
    return life.network.asked == [] and life.handled == []


def test_what_was_to_be_tried_again_is_tried_in_the_next_life(tmp_path: Path) -> None:
    async def main() -> None:
        await killed(tmp_path, [not_now(500.0)], 1)
        again = await Life(tmp_path).begin()
        await again.end()
        assert [(each.text, each.marked) for each in again.network.sent] == [("first", False), ("second", False)]
        kept = await _kept(tmp_path, 1)
        assert kept == ("sent", 2), "the attempts go on"

    play(main())


async def _kept(folder: Path, number: int) -> tuple[str, int]:
    other = sqlite3.connect(folder / "gateway.sqlite3")
    state, attempts = other.execute("SELECT state, attempts FROM outbox WHERE number = ?", (number,)).fetchone()
    other.close()
    return state, attempts


def test_case_31_what_was_being_sent_is_unknown_and_is_sent_once_more_and_marked(tmp_path: Path) -> None:
    async def main() -> None:
        await killed(tmp_path, [20.0], 1)
        again = await Life(tmp_path).begin()
        await asyncio.sleep(0.1)
        why = "the process ended between the sending and its answer"
        assert await again.deliveries() == {"first": ("unknown", why), "second": ("queued", "")}
        assert again.network.asked == []
        await asyncio.sleep(5)
        await again.end()
        assert [(each.text, each.marked) for each in again.network.sent] == [("first", True), ("second", False)]
        assert await _nothing_left(tmp_path)

    play(main())


def test_case_31_where_a_person_shall_decide_it_stays_unknown_through_lives(tmp_path: Path) -> None:
    async def main() -> None:
        await killed(tmp_path, [20.0], 1, ASK)
        for boot in range(3):
            again = Life(tmp_path)
            again.config = ASK
            await again.begin()
            await asyncio.sleep(100)
            assert state(again, 1) == "unknown"
            assert again.network.texts == (["second"] if boot == 0 else []), "what follows does not wait for it"
            assert (await again.deliveries())["first"][0] == "unknown"
            await again.end()

    play(main())


def test_case_31_killed_in_the_second_sending_too_a_person_must_decide(tmp_path: Path) -> None:
    """At most once more, whatever happens."""

    async def main() -> None:
        await killed(tmp_path, [20.0], 1)
        again = Life(tmp_path)
        again.network.steps.append(20.0)
        await again.begin()
        await asyncio.sleep(BEFORE_RESEND + 1)
        assert [each.marked for _, each in again.network.asked] == [True]
        await again.store.committed()
        await again.crash()
        last = await Life(tmp_path).begin()
        await asyncio.sleep(100)
        assert state(last, 1) == "unknown"
        assert last.network.texts == ["second"]
        await last.end()

    play(main())


def test_killed_while_it_waits_to_be_sent_once_more_it_is_sent_in_the_next_life(tmp_path: Path) -> None:
    async def main() -> None:
        await killed(tmp_path, [LOST], BEFORE_RESEND / 2)
        again = await Life(tmp_path).begin()
        await asyncio.sleep(5)
        await again.end()
        assert [(each.text, each.marked) for each in again.network.sent] == [("first", True), ("second", False)]

    play(main())


def test_case_30_what_was_sent_or_is_dead_is_not_sent_again_however_many_lives(tmp_path: Path) -> None:
    async def main() -> None:
        await killed(tmp_path, [SendError("too long", retryable=False)], 1)
        for _ in range(3):
            assert await _nothing_left(tmp_path)

    play(main())


@pytest.mark.parametrize("commits", range(9))
def test_killed_at_any_commit_nothing_is_lost_and_what_may_be_there_twice_says_so(tmp_path: Path, commits: int) -> None:
    async def main() -> None:
        network = Network()
        life = Life(tmp_path, network)
        life.commits_no_more_after(commits)
        await life.begin()
        saying = asyncio.ensure_future(life.say("first", "second"))
        await asyncio.sleep(5)
        accepted = saying.done()
        await life.crash()
        await asyncio.wait({saying})
        again = await Life(tmp_path, network).begin()
        if not accepted:
            await again.say("first", "second")  # it was not confirmed: the network sends it again
        await asyncio.sleep(5)
        await again.end()
        for text in ("first", "second"):
            marks = [each.marked for each in network.sent if each.text == text]
            assert marks[:1] == [False] or marks == [True], "sent"
            assert marks.count(False) <= 1, "twice, and does not say so"
            assert len(marks) <= 2
        firsts = [text for n, text in enumerate(network.texts) if text not in network.texts[:n]]
        assert firsts == ["first", "second"]

    play(main())
