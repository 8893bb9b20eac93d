"""What a process that is killed leaves unfinished is taken up by the next, in order, and ends once."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import HandlerError
from gateway.messages import pipeline as pipeline_module
from gateway.messages.model import Message
from statemachine.incoming import LONGEST_WAIT, MOST_TAKEN_UP
from tests.gateway.fakes import FakeHandlers
from tests.gateway.messages.bench import IDENTITY, Life, Network, message, play


def test_what_no_life_before_has_finished_is_taken_up_in_order(tmp_path: Path) -> None:
    async def main() -> None:
        life = await Life(tmp_path).begin()
        await life.say("done")
        await life.drain()
        await life.store.committed()
        await life.say("sleep 5", "second", "third")
        await life.say("sleep 6", "also second", conversation="8")
        await asyncio.sleep(1)
        await life.crash()
        again = await Life(tmp_path).begin()
        await again.drain()
        assert again.texts == ["sleep 5", "second", "third", "sleep 6", "also second"]
        assert again.offsets.get(IDENTITY) == 6, "and the network is asked from there on"
        assert {state for state, _, _ in (await again.inbox()).values()} == {"handled"}
        await again.end()

    lines = play(main())
    assert [line["count"] for line in lines if line["event"] == "messages_taken_up"] == [5]


def test_a_crash_before_the_commit_has_taken_nothing_over(tmp_path: Path) -> None:
    async def main() -> None:
        life = await Life(tmp_path).begin()
        life.store._database.commit = _no_commit  # type: ignore[assignment, method-assign]
        accepting = asyncio.ensure_future(life.say("hello"))
        await asyncio.sleep(5)
        await life.crash()
        assert accepting.cancelled()
        again = await Life(tmp_path).begin()
        assert (again.offsets.get(IDENTITY), await again.inbox()) == (None, {})
        await again.say("hello")
        await again.end()
        assert again.texts == ["hello"]

    play(main())


def _no_commit(*_: Any) -> int:
    raise OSError("the disk is gone")


def test_a_message_and_its_replies_end_as_one(tmp_path: Path) -> None:
    """Crashed at every commit in turn: handled without its reply, or a reply without its end, is never found."""

    async def crashed_after(commits: int) -> tuple[str, int]:
        folder = tmp_path / str(commits)
        folder.mkdir()
        life = Life(folder)
        life.network.up.clear()
        life.commits_no_more_after(commits)
        await life.begin()
        saying = asyncio.ensure_future(life.say("hello"))
        await asyncio.sleep(5)
        await life.crash()
        await asyncio.wait({saying})
        with sqlite3.connect(life.store.path) as other:
            states = [row[0] for row in other.execute("SELECT state FROM inbox")]
            replies = other.execute("SELECT count(*) FROM outbox").fetchone()[0]
        other.close()
        return (states[0] if states else "", replies)

    async def main() -> None:
        found = [await crashed_after(commits) for commits in range(3)]
        assert found == [("", 0), ("received", 0), ("handled", 1)]

    play(main())


def test_what_is_sent_again_while_it_is_taken_up_is_handled_once(tmp_path: Path) -> None:
    async def main() -> None:
        life = await Life(tmp_path).begin()
        await life.say("sleep 5", "second")
        await life.crash()
        again = await Life(tmp_path).begin()
        await again.pipeline.accept(IDENTITY, 3, [message("sleep 5"), message("second"), message("third")])
        await again.end()
        assert again.texts == ["sleep 5", "second", "third"]

    play(main())


@pytest.mark.parametrize("delay", range(12))
def test_what_comes_while_others_are_taken_up_is_handled_after_them_and_not_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, delay: int
) -> None:
    monkeypatch.setattr(pipeline_module, "CHUNK", 2)

    async def main() -> None:
        life = await Life(tmp_path).begin()
        await life.say("sleep 1", "2", "3", "4", "5")
        await life.crash()
        again = await Life(tmp_path).begin()
        for _ in range(delay):
            await asyncio.sleep(0)
        saying = [asyncio.ensure_future(again.say(text)) for text in ("6", "7")]
        await asyncio.gather(*saying)
        await again.end()
        assert again.texts == ["sleep 1", "2", "3", "4", "5", "6", "7"]

    play(main())


def test_what_comes_in_the_very_moment_in_which_nothing_more_is_found_is_not_passed_over(tmp_path: Path) -> None:
    async def main() -> None:
        life = await Life(tmp_path).begin()
        await life.say("first")
        await life.crash()
        again = Life(tmp_path)
        found = again.store.unfinished
        came: list[str] = []

        async def unfinished(after: int, until: int, limit: int) -> Any:
            chunk = await found(after, until, limit)
            if not came:
                came.append("second")
                await again.say("second")
            return chunk

        again.store.unfinished = unfinished  # type: ignore[method-assign]
        await again.begin()
        await again.end()
        assert again.texts == ["first", "second"]

    play(main())


def test_more_is_left_over_than_there_is_room_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_module, "MOST_OPEN", 20)
    monkeypatch.setattr(pipeline_module, "CHUNK", 5)
    texts = [f"sleep 0.1{number:03}" for number in range(100)]

    async def main() -> None:
        life = await Life(tmp_path).begin()
        await life.pipeline.accept(IDENTITY, 1, [message(text, str(n % 3)) for n, text in enumerate(texts)])
        await life.crash()
        again = await Life(tmp_path).begin()
        most = 0
        asking = asyncio.ensure_future(again.pipeline.room())
        await asyncio.sleep(0)
        while not again.resuming.done():
            most = max(most, again.pipeline.in_flight)
            assert again.pipeline.full
            assert not asking.done(), "receivers wait until all of it is in memory"
            await asyncio.sleep(0.05)
        await asking
        assert 5 < most <= 20
        await again.end()
        for conversation in range(3):
            mine = [
                text
                for _, text in sorted((m.text, m.text) for _, m in again.handled if m.conversation == str(conversation))
            ]
            assert [m.text for _, m in again.handled if m.conversation == str(conversation)] == mine
        assert sorted(again.texts) == texts

    play(main())


def test_what_is_left_over_is_read_when_it_can_be(tmp_path: Path) -> None:
    async def main() -> None:
        life = await Life(tmp_path).begin()
        await life.say("hello")
        await life.crash()
        again = await Life(tmp_path).begin()
        real, faults = again.store._database, [sqlite3.OperationalError("disk I/O error")]

        class Faulty:
            @property
            def connection(self) -> sqlite3.Connection:
                if faults:
                    raise faults.pop()
                return real.connection

            def __getattr__(self, name: str) -> Any:
                return getattr(real, name)

        again.store._database = Faulty()  # type: ignore[assignment]
        await again.end()
        assert faults == []
        assert again.texts == ["hello"]

    assert [line["event"] for line in play(main())] == ["store_stalled", "store_recovered", "messages_taken_up"]


def test_only_the_first_of_a_conversation_is_counted_as_tried(tmp_path: Path) -> None:
    """What stood behind it was never given to a handler."""

    async def main() -> None:
        for _ in range(3):
            life = await Life(tmp_path).begin()
            if not await life.inbox():
                await life.say("sleep 900", "second", conversation="7")
                await life.say("sleep 901", conversation="8")
            await asyncio.sleep(LONGEST_WAIT)
            await life.crash()
        last = await Life(tmp_path).begin()
        await asyncio.sleep(LONGEST_WAIT)
        assert {name: attempts for name, (_, _, attempts) in (await last.inbox()).items()} == {
            "sleep 900": 3, "second": 0, "sleep 901": 3,
        }  # fmt: skip
        await last.drain()
        attempts = {message.text: message.attempt for _, message in last.handled}
        assert attempts == {"sleep 900": 4, "sleep 901": 4, "second": 1}
        await last.end()

    play(main())


def test_one_that_ends_the_process_each_time_is_given_up_and_what_follows_is_handled(tmp_path: Path) -> None:
    async def main() -> None:
        network = Network()
        boots = 0
        while True:
            life = await Life(tmp_path, network).begin()
            if boots == 0:
                await life.say("sleep 1000", "after")
            boots += 1
            await asyncio.sleep(LONGEST_WAIT)
            if (await life.inbox())["sleep 1000"][0] == "dead":
                break
            assert life.texts == []
            await life.crash()
        why = f"{MOST_TAKEN_UP} boots have taken it up, and none came to an end with it"
        assert (await life.inbox())["sleep 1000"] == ("dead", why, MOST_TAKEN_UP + 1)
        assert boots == MOST_TAKEN_UP + 2, (
            "the life that received it, those that took it up, and the one that gave it up"
        )
        await life.end()
        assert life.texts == ["after"]

    play(main())


class Doomed(Life):
    """A life that a message of the text `poison` ends, 0.1 s after its handler has it."""

    given: asyncio.Event
    counted: list[tuple[int, int]]
    """Of each that was given: which attempt it is, and how many the disk knows of."""

    async def begin(self) -> Doomed:
        self.given, self.counted = asyncio.Event(), []
        await super().begin()
        return self

    async def handle(self, message: Message) -> str | None:
        with sqlite3.connect(self.store.path) as other:
            kept = other.execute("SELECT attempts FROM inbox WHERE id = ?", (message.id,)).fetchone()
        other.close()
        self.counted.append((message.attempt, kept[0] if kept else 0))
        if message.text == "poison":
            await asyncio.sleep(0.1)
            self.given.set()
            await asyncio.sleep(1000)
        return await super().handle(message)


def test_what_was_only_beside_the_one_that_ends_the_process_is_handled(tmp_path: Path) -> None:
    """Thirty conversations, each with something that takes longer than that one leaves it when all begin at once."""
    bystanders = [f"sleep 0.2{n:02}" for n in range(30)]

    async def main() -> None:
        network, handled = Network(), Counter[str]()
        for boot in range(MOST_TAKEN_UP + 1):
            life = await Doomed(tmp_path, network).begin()
            if boot == 0:
                for n, text in enumerate(["poison", *bystanders]):
                    await life.say(text, conversation=str(n))
            await life.given.wait()
            handled.update(life.texts)
            await life.crash()
        last = await Doomed(tmp_path, network).begin()
        await last.end()
        handled.update(last.texts)
        inbox = outcomes(tmp_path)
        assert inbox.pop("poison") == "dead"
        assert inbox == dict.fromkeys(bystanders, "handled")
        assert set(handled) == set(bystanders)

    play(main())


def test_lives_that_end_before_it_is_given_to_its_handler_do_not_count(tmp_path: Path) -> None:
    """Killed from outside again and again: it is handled by the first life that has the time."""

    async def main() -> None:
        life = await Life(tmp_path).begin()
        await life.say("sleep 5")
        await life.crash()
        for _ in range(50):
            life = await Life(tmp_path).begin()
            await asyncio.sleep(0.5)
            await life.crash()
            assert outcomes(tmp_path) == {"sleep 5": "received"}
        last = await Life(tmp_path).begin()
        await last.end()
        assert last.texts == ["sleep 5"]

    play(main())


def test_that_it_is_given_again_is_on_the_disk_before_its_handler_has_it(tmp_path: Path) -> None:
    async def main() -> None:
        counted = []
        for boot in range(MOST_TAKEN_UP + 1):
            life = await Doomed(tmp_path).begin()
            if boot == 0:
                await life.say("poison")
            await life.given.wait()
            counted += life.counted
            await life.crash()
        assert counted == [(attempt + 1, attempt) for attempt in range(MOST_TAKEN_UP + 1)]

    play(main())


def outcomes(folder: Path) -> dict[str, str]:
    """The state of every message that is kept, by its id."""
    with sqlite3.connect(folder / "gateway.sqlite3") as other:
        rows = other.execute("SELECT id, state FROM inbox").fetchall()
    other.close()
    return dict(rows)


def test_the_attempts_of_other_lives_are_used_up_too(tmp_path: Path) -> None:
    async def main() -> None:
        life = await Life(tmp_path).begin()
        await life.say("sleep 1000")
        await asyncio.sleep(1)
        await life.crash()

        async def fails(message: Message) -> str:
            again.handled.append((0.0, message))
            raise HandlerError("not now", retryable=True)

        again = Life(tmp_path)
        again.pipeline._handlers = FakeHandlers(fails, attempts=3)
        await again.begin()
        await again.end()
        assert [message.attempt for _, message in again.handled] == [2, 3]

    play(main())
