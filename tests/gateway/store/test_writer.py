"""One thread that writes: group commit, what `committed` promises, and what becomes of what cannot be written."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.errors import StoreError
from gateway.store.database import Database, Statements
from gateway.store.store import FINISH, MARK, OFFSET, QUEUE, RECEIVE, STATEMENTS
from gateway.store.writer import AGAIN_AFTER, Writer
from tests.virtual import run_virtual


class Held:
    """A commit that waits until it is let go: the first one, in the thread that writes."""

    def __init__(self, bench: Bench) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()
        real: Callable[..., int] = bench.database.commit

        def commit(*given: Any) -> int:
            self.begun.set()
            assert self.go_on.wait(10)
            return real(*given)

        bench.database.commit = commit  # type: ignore[assignment, method-assign]

    async def until_begun(self) -> None:
        while not self.begun.is_set():
            await asyncio.sleep(0)


class Bench:
    """A writer over a real file, and a count of its transactions."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "store.sqlite3"
        self.database = Database(self.path)
        self.durability = "full"
        self.writer = Writer(self.database, STATEMENTS, lambda: self.durability)
        self.commits = 0

    async def open(self) -> Bench:
        await self.writer.in_thread(self.database.open)
        self.database.connection.set_trace_callback(self._count)
        return self

    def _count(self, sql: str) -> None:
        self.commits += sql == "COMMIT"

    def receive(self, *numbers: int) -> None:
        for number in numbers:
            self.writer.write(RECEIVE, (number, f"id {number}", "telegram/main", "7", b"{}", 0))

    def rows(self, sql: str = "SELECT number FROM inbox ORDER BY number") -> list[Any]:
        """As another program sees them."""
        with closing(sqlite3.connect(self.path)) as other:
            found = other.execute(sql).fetchall()
        return [row[0] if len(row) == 1 else row for row in found]

    def lock(self) -> sqlite3.Connection:
        other = sqlite3.connect(self.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        return other


def run(main: Callable[[Bench], Coroutine[Any, Any, None]], folder: Path) -> list[dict[str, Any]]:
    async def whole() -> None:
        bench = await Bench(folder).open()
        await main(bench)
        await bench.writer.close(10)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with capture_logs() as lines:
        run_virtual(whole())
    return [dict(line) for line in lines]


# Group commit


def test_what_is_written_in_one_turn_is_one_transaction(tmp_path: Path) -> None:
    async def main(bench: Bench) -> None:
        bench.receive(*range(1, 1_001))
        bench.writer.write(OFFSET, ("telegram:1", 42, 0))
        await bench.writer.next_commit()
        assert bench.commits == 1
        assert len(bench.rows()) == 1_000
        assert bench.rows("SELECT next FROM offsets") == [42]

    run(main, tmp_path)


def test_what_comes_while_one_is_under_way_is_the_next_one(tmp_path: Path) -> None:
    async def main(bench: Bench) -> None:
        held = Held(bench)
        bench.receive(1)
        await held.until_begun()
        waiting = []
        for number in range(2, 102):
            bench.receive(number)
            waiting.append(asyncio.ensure_future(bench.writer.next_commit()))
            await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
        held.go_on.set()
        await asyncio.gather(*waiting)
        assert bench.commits == 2
        assert bench.rows() == list(range(1, 102))

    run(main, tmp_path)


def test_rows_are_inserted_before_they_are_changed_and_changed_in_the_order_of_the_changes(tmp_path: Path) -> None:
    async def main(bench: Bench) -> None:
        bench.writer.write(MARK, ("sending", 1, "", "", 0, 1, 7))
        bench.writer.write(FINISH, ("handled", "", 5, 1, 3))
        bench.writer.write(QUEUE, (7, "a key", "telegram/main", "7", b"{}", 0, 0))
        bench.receive(3)
        bench.writer.write(MARK, ("sent", 1, "", "n7", 0, 2, 7))
        await bench.writer.next_commit()
        assert bench.commits == 1
        assert bench.rows("SELECT state, network_id, changed_at FROM outbox") == [("sent", "n7", 2)]
        assert bench.rows("SELECT state, ended_at FROM inbox") == [("handled", 5)]

    run(main, tmp_path)


def test_all_of_a_transaction_is_written_or_nothing(tmp_path: Path) -> None:
    async def main(bench: Bench) -> None:
        statements: Statements = {
            RECEIVE: [(1, "id", "telegram/main", "7", b"{}", 0)],
            OFFSET: [("telegram:1", "no number", 0)],
        }
        with pytest.raises(sqlite3.IntegrityError):
            await bench.writer.in_thread(lambda: bench.database.commit(statements, "full"))
        assert (bench.rows(), bench.rows("SELECT * FROM offsets")) == ([], [])

    run(main, tmp_path)


# What `committed` promises


def test_committed_is_said_when_another_program_can_read_it(tmp_path: Path) -> None:
    async def main(bench: Bench) -> None:
        await bench.writer.next_commit()
        for number in range(1, 6):
            bench.receive(number)
            await bench.writer.next_commit()
            assert bench.rows() == list(range(1, number + 1))
        await bench.writer.next_commit()
        assert bench.commits == 5

    run(main, tmp_path)


def test_asked_while_all_of_it_is_under_way_it_waits_for_that_and_not_for_what_comes_later(tmp_path: Path) -> None:
    async def main(bench: Bench) -> None:
        held = Held(bench)
        bench.receive(1)
        await held.until_begun()
        first = asyncio.ensure_future(bench.writer.next_commit())
        await asyncio.sleep(0)
        other = bench.lock()
        bench.receive(2)
        second = asyncio.ensure_future(bench.writer.next_commit())
        await asyncio.sleep(0)
        assert not first.done()
        other.close()
        held.go_on.set()
        await first
        assert bench.rows()[:1] == [1]
        other = bench.lock()
        bench.receive(3)
        await asyncio.sleep(3)
        assert first.done()
        other.close()
        await second

    run(main, tmp_path)


def test_whoever_is_cancelled_while_he_waits_cancels_nothing(tmp_path: Path) -> None:
    async def main(bench: Bench) -> None:
        held = Held(bench)
        bench.receive(1)
        gone, stays = (asyncio.ensure_future(bench.writer.next_commit()) for _ in range(2))
        await held.until_begun()
        bench.receive(2)
        gone_too, stays_too = (asyncio.ensure_future(bench.writer.next_commit()) for _ in range(2))
        await asyncio.sleep(0)
        gone.cancel()
        gone_too.cancel()
        await asyncio.wait({gone, gone_too})
        held.go_on.set()
        await asyncio.gather(stays, stays_too)
        assert bench.rows() == [1, 2]

    run(main, tmp_path)


# What cannot be written now


def test_what_cannot_be_written_waits_is_not_lost_and_is_said_once(tmp_path: Path) -> None:
    async def main(bench: Bench) -> None:
        other = bench.lock()
        bench.receive(1)
        first = asyncio.ensure_future(bench.writer.next_commit())
        await asyncio.sleep(3 * AGAIN_AFTER)
        bench.receive(2, 3)
        second = asyncio.ensure_future(bench.writer.next_commit())
        await asyncio.sleep(3 * AGAIN_AFTER)
        assert "locked" in bench.writer.trouble
        assert not first.done()
        assert not second.done()
        other.close()
        await asyncio.gather(first, second)
        assert bench.writer.trouble == ""
        assert bench.rows() == [1, 2, 3]
        assert bench.commits == 2

    stalled, recovered = run(main, tmp_path)
    assert (stalled["event"], stalled["log_level"], stalled["path"]) == (
        "store_stalled", "error", str(tmp_path / "store.sqlite3"),
    )  # fmt: skip
    assert recovered["event"] == "store_recovered"


def test_a_reading_that_succeeds_does_not_call_a_commit_that_fails_well(tmp_path: Path) -> None:
    async def main(bench: Bench) -> None:
        other = bench.lock()
        bench.receive(1)
        await asyncio.sleep(2 * AGAIN_AFTER)
        assert await bench.writer.surely(lambda: 42) == 42
        assert "locked" in bench.writer.trouble
        other.close()
        await bench.writer.next_commit()

    assert [line["event"] for line in run(main, tmp_path)] == ["store_stalled", "store_recovered"]


def test_a_commit_that_broke_is_not_half_done_when_it_is_tried_again(tmp_path: Path) -> None:
    """As on a full disk: some of its rows are in the file already when it fails."""

    async def main(bench: Bench) -> None:
        faults = [sqlite3.OperationalError("database or disk is full")]

        def authorize(action: int, table: str | None, *_: Any) -> int:
            if action == sqlite3.SQLITE_INSERT and table == "offsets" and faults:
                faults.pop()
                return sqlite3.SQLITE_DENY
            return sqlite3.SQLITE_OK

        bench.database.connection.set_authorizer(authorize)
        bench.receive(1)
        bench.writer.write(OFFSET, ("telegram:1", 42, 0))
        await bench.writer.next_commit()
        assert faults == []
        assert (bench.rows(), bench.rows("SELECT next FROM offsets")) == ([1], [42])

    run(main, tmp_path)


# How safe, and how fast


def test_durability_is_asked_at_each_commit(tmp_path: Path) -> None:
    async def main(bench: Bench) -> None:
        found = []
        for number, bench.durability in enumerate(("full", "normal", "full"), 1):
            bench.receive(number)
            await bench.writer.next_commit()
            found.append(bench.database.connection.execute("PRAGMA synchronous").fetchone()[0])
        assert found == [2, 1, 2]

    run(main, tmp_path)


# The end


def test_at_the_end_what_waits_is_written(tmp_path: Path) -> None:
    async def main(bench: Bench) -> None:
        bench.receive(1, 2, 3)
        await asyncio.sleep(0)
        assert await bench.writer.close(10)
        assert bench.rows() == [1, 2, 3]
        with pytest.raises(AssertionError):
            bench.database.connection  # noqa: B018 - it is closed

    async def whole() -> None:
        await main(await Bench(tmp_path).open())

    run_virtual(whole())


def test_what_was_written_in_the_last_turn_is_written_too(tmp_path: Path) -> None:
    async def whole() -> None:
        bench = await Bench(tmp_path).open()
        bench.receive(1)
        assert await bench.writer.close(10), "not even handed over"
        assert bench.rows() == [1]

    run_virtual(whole())


def test_when_it_is_closed_nothing_is_written_and_nobody_is_told_that_it_was(tmp_path: Path) -> None:
    async def whole() -> None:
        bench = await Bench(tmp_path).open()
        assert await bench.writer.close(10)
        bench.receive(1)
        with pytest.raises(StoreError, match=r"store\.sqlite3 is closed"):
            await bench.writer.next_commit()
        for _ in range(20):
            await asyncio.sleep(0)
            assert asyncio.all_tasks() == {asyncio.current_task()}, "nothing is begun"
        assert bench.rows() == []

    run_virtual(whole())


def test_an_end_does_not_wait_for_ever_and_says_what_it_could_not_do(tmp_path: Path) -> None:
    async def whole() -> None:
        bench = await Bench(tmp_path).open()
        other = bench.lock()
        bench.receive(1)
        waiting = asyncio.ensure_future(bench.writer.next_commit())
        before = asyncio.get_running_loop().time()
        assert not await bench.writer.close(2)
        assert asyncio.get_running_loop().time() - before == pytest.approx(2, abs=AGAIN_AFTER)
        other.close()
        waiting.cancel()
        await asyncio.wait({waiting})
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert bench.rows() == []

    with capture_logs():
        run_virtual(whole())
