"""What is forgotten, when, and what becomes of its room."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
from structlog.testing import capture_logs

from gateway.store.store import FILE, Store
from tests.gateway.store.stores import IDENTITY, message, outgoing, rows, run, take
from tests.virtual import VirtualClock, run_virtual


def test_only_what_has_ended_before_that_is_forgotten(tmp_path: Path) -> None:
    async def main(store: Store) -> None:
        await take(store, IDENTITY, 42, [message("old"), message("not finished"), message("young")])
        for number in (1, 2, 3, 4):
            store.queue(outgoing(number))
        for number, state in ((1, "sent"), (2, "unknown"), (3, "dead")):
            store.mark(number, state, 1)
        store.finish(1, "handled", "", 1)
        for seq in (1, 2, 3):
            store.journal(seq, store._clock.wall_ms() if seq == 3 else 0, "gateway", b"{}")
        store.request("old", 0, "done", {})
        store.request("young", store._clock.wall_ms(), "done", {})
        store.intend("telegram/main", "stopped")
        await store.committed()
        await asyncio.sleep(100)
        middle = store._clock.wall_ms() - 50_000
        store.finish(3, "handled", "", 1)
        store.mark(4, "sent", 1)
        await store.committed()
        await store.forget(middle, 2**40, 0)
        assert rows(tmp_path, "SELECT id FROM inbox ORDER BY number") == [("not finished",), ("young",)]
        assert rows(tmp_path, "SELECT number FROM outbox ORDER BY number") == [(2,), (4,)]
        assert rows(tmp_path, "SELECT id FROM requests") == []
        assert rows(tmp_path, "SELECT seq FROM journal") == []
        assert (
            rows(tmp_path, "SELECT count(*) FROM offsets") == rows(tmp_path, "SELECT count(*) FROM intents") == [(1,)]
        )

    run(main, tmp_path)


def test_of_the_journal_no_more_is_kept_than_that_however_young(tmp_path: Path) -> None:
    async def main(store: Store) -> None:
        for seq in range(1, 3_001):
            store.journal(seq, store._clock.wall_ms(), "gateway", b"{}")
        await store.committed()
        await store.forget(0, 2**40, 2_900)
        assert rows(tmp_path, "SELECT min(seq), count(*) FROM journal") == [(2_901, 100)]

    run(main, tmp_path)


def test_what_is_forgotten_is_given_back_and_the_file_does_not_grow_for_ever(tmp_path: Path) -> None:
    async def main(store: Store) -> None:
        sizes, most = [], 0
        for round_ in range(5):
            messages = [message(f"{round_} {n}", "x" * 500) for n in range(3_000)]
            received = await take(store, IDENTITY, round_, messages)
            for each in received:
                number = store.next_number()
                store.finish(each.number, "handled", "", 1, [outgoing(number, text="x" * 500)])
                store.mark(number, "sent", 1)
            await store.committed()
            store._database.checkpoint()
            most = max(most, (tmp_path / FILE).stat().st_size)
            await asyncio.sleep(1)
            await store.forget(store._clock.wall_ms(), 2**40, 0)
            store._database.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            sizes.append((tmp_path / FILE).stat().st_size)
        assert most > 2_000_000
        assert max(sizes) < most / 10, "it is given back"
        assert sizes[-1] <= sizes[0], "and nothing stays behind"

    run(main, tmp_path)


def test_others_are_written_in_between_while_much_is_forgotten(tmp_path: Path) -> None:
    async def main(store: Store) -> None:
        received = await take(store, IDENTITY, 1, [message(f"{n}") for n in range(10_000)])
        for each in received:
            store.finish(each.number, "handled", "", 1)
        await store.committed()
        await asyncio.sleep(1)
        forgetting = asyncio.ensure_future(store.forget(store._clock.wall_ms(), 2**40, 0))
        await asyncio.sleep(0)
        await take(store, IDENTITY, 2, [message("new")])
        assert not forgetting.done()
        await forgetting
        assert rows(tmp_path, "SELECT id FROM inbox") == [("new",)]

    run(main, tmp_path)


def test_what_cannot_be_forgotten_now_is_forgotten_later(tmp_path: Path) -> None:
    async def main(store: Store) -> None:
        await take(store, IDENTITY, 1, [message("a")])
        store.finish(1, "handled", "", 1)
        await store.committed()
        await asyncio.sleep(1)
        with closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            forgetting = asyncio.ensure_future(store.forget(store._clock.wall_ms(), 2**40, 0))
            await asyncio.sleep(2)
            assert "locked" in store.trouble
        await forgetting
        assert (store.trouble, rows(tmp_path, "SELECT count(*) FROM inbox")) == ("", [(0,)])

    run(main, tmp_path)


def test_what_is_kept_of_how_things_went_holds_no_secret_and_messages_stay_as_they_are(tmp_path: Path) -> None:
    secret = "a-secret"

    async def main() -> None:
        store = Store(tmp_path, lambda: "full", VirtualClock(), redact=lambda text: text.replace(secret, "MARK"))
        await store.open()
        (kept,) = await take(store, "one", 1, [message("1", secret)])
        store.finish(kept.number, "handled", f"about {secret}", 1, [outgoing(1, text=secret)])
        store.mark(1, "dead", 1, f"about {secret}", "", marked=False)
        store.journal(1, 0, "gateway", msgspec.json.encode({"why": secret}))
        store.request("restart-1", 0, "done", {"reason": secret})
        assert await store.close()

    with capture_logs():
        run_virtual(main())
    assert rows(tmp_path, "SELECT why FROM inbox UNION ALL SELECT why FROM outbox") == [("about MARK",)] * 2
    bodies = rows(tmp_path, "SELECT body FROM journal UNION ALL SELECT body FROM requests")
    assert [msgspec.json.decode(body) for (body,) in bodies] == [{"why": "MARK"}, {"reason": "MARK"}]
    texts = rows(tmp_path, "SELECT body FROM inbox UNION ALL SELECT body FROM outbox")
    assert [msgspec.json.decode(body)["text"] for (body,) in texts] == [secret, secret]
