"""What is kept, and what is asked for again."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from gateway.channels.sessions import KeptSession
from gateway.clock import Clock
from gateway.errors import StoreError, UnavailableError
from gateway.messages.model import Attachment, Message
from gateway.store import store as store_module
from gateway.store.database import Database
from gateway.store.store import FILE, Store
from tests.gateway.store.stores import IDENTITY, message, opened, outgoing, rows, run, take
from tests.virtual import VirtualClock, run_virtual

EVERY_PLANE = "".join(chr(plane * 0x10000 + 0x1234) for plane in range(17))
TEXTS = (
    "", " ", "hello", "\0", "a\0b\0", "\r\n\t\v", "\u202e\u200f\u2066", "\ufeff", "\u2028\u2029", "e\u0301", "👩‍👩‍👧‍👦",
    EVERY_PLANE, "\U0010ffff", "\ufffe\uffff", "x" * 100_000, "'; DROP TABLE inbox; --", "\\u0000 \\", '{"a": [1]}',
)  # fmt: skip


# Incoming


def test_what_is_received_is_on_the_disk_with_its_offset_and_has_its_place(tmp_path: Path) -> None:
    async def main(store: Store) -> None:
        found = await take(store, IDENTITY, 42, [message("a"), message("b")])
        assert [(received.number, received.message.id, received.attempts) for received in found] == [
            (1, "a", 0),
            (2, "b", 0),
        ]
        assert rows(tmp_path, "SELECT id, state FROM inbox ORDER BY number") == [("a", "received"), ("b", "received")]
        assert rows(tmp_path, "SELECT identity, next FROM offsets") == [(IDENTITY, 42)]

    run(main, tmp_path)


def test_only_those_are_new_that_were_not_known_before(tmp_path: Path) -> None:
    async def main(store: Store) -> None:
        await take(store, IDENTITY, 2, [message("a"), message("b")])
        found = await take(store, IDENTITY, 4, [message("b", "otherwise"), message("c"), message("c"), message("d")])
        assert [received.message.id for received in found] == ["c", "d"]
        assert await take(store, IDENTITY, 4, [message("a"), message("d")]) == []
        assert rows(tmp_path, "SELECT id FROM inbox ORDER BY number") == [("a",), ("b",), ("c",), ("d",)]
        assert b"otherwise" not in rows(tmp_path, "SELECT body FROM inbox WHERE id = 'b'")[0][0]

    run(main, tmp_path)


def test_one_of_another_life_is_known_too_and_so_is_one_that_has_ended(tmp_path: Path) -> None:
    async def main(store: Store) -> None:
        await take(store, IDENTITY, 2, [message("a"), message("b")])
        store.finish(1, "handled", "", 1)
        await store.committed()

    async def again(store: Store) -> None:
        found = await take(store, IDENTITY, 3, [message("a"), message("b"), message("c")])
        assert [(received.number, received.message.id) for received in found] == [(5, "c")]

    run(main, tmp_path)
    run(again, tmp_path)


def test_received_at_once_by_several_each_gets_its_own_and_one_gets_what_both_bring(tmp_path: Path) -> None:
    async def main(store: Store) -> None:
        batches = [[message(f"{bot} {n}") for n in range(20)] + [message("shared")] for bot in range(10)]
        found = await asyncio.gather(*(take(store, f"bot {bot}", 1, batch) for bot, batch in enumerate(batches)))
        names = [[received.message.id for received in each if received.message.id != "shared"] for each in found]
        assert names == [[f"{bot} {n}" for n in range(20)] for bot in range(10)]
        assert sum(received.message.id == "shared" for each in found for received in each) == 1
        taken = [received.number for each in found for received in each]
        assert len(taken) == len(set(taken)) == 201

    run(main, tmp_path)


def test_an_offset_moves_without_messages_too(tmp_path: Path) -> None:
    """What came was of no kind that a message is made of: it is confirmed with the others."""

    async def main(store: Store) -> None:
        assert await take(store, IDENTITY, 7, []) == []
        assert rows(tmp_path, "SELECT next FROM offsets") == [(7,)]
        await take(store, IDENTITY, 3, [])
        assert rows(tmp_path, "SELECT next FROM offsets") == [(3,)], "a network may begin anew"

    run(main, tmp_path)


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_a_text_is_given_back_as_it_was(tmp_path: Path, text: str) -> None:
    full = message(
        "a", text, kind="media", attachments=(Attachment("photo", text[:50], text[:50], "image/png", 2**40),),
        reply_to=text[:50], thread="t", network_id="n",
    )  # fmt: skip

    async def main(store: Store) -> None:
        await take(store, IDENTITY, 1, [full])
        store.queue(outgoing(1, text=text))
        store.finish(1, "dead", text, 1)
        store.mark(1, "dead", 1, text, text[:50])
        await store.committed()

    async def again(store: Store) -> None:
        (kept,) = await store.messages(None, 10)
        assert msgspec.convert(kept["body"], Message) == full
        assert kept["why"] == text
        found = await store.outgoing(1)
        assert found is not None
        assert (found.outgoing.text, found.why, found.network_id) == (text, text, text[:50])

    run(main, tmp_path)
    run(again, tmp_path)


def test_half_a_character_in_what_is_said_of_a_failure_stops_nothing(tmp_path: Path) -> None:
    async def main(store: Store) -> None:
        await take(store, IDENTITY, 1, [message("a")])
        store.queue(outgoing(1))
        store.finish(1, "dead", "half: \ud800", 1)
        store.mark(1, "dead", 1, "half: \udfff", "\ud800")
        await store.committed()
        assert rows(tmp_path, "SELECT why FROM inbox") == [("half: ?",)]
        assert rows(tmp_path, "SELECT why, network_id FROM outbox") == [("half: ?", "?")]

    run(main, tmp_path)


def test_a_message_ends_once_with_what_follows_from_it(tmp_path: Path) -> None:
    async def main(store: Store) -> None:
        await take(store, IDENTITY, 1, [message("a")])
        store.finish(1, "handled", "", 2, [outgoing(1), outgoing(2)])
        store.finish(1, "dead", "a late word", 9)
        store.taken_up(1, 7)
        await store.committed()
        assert rows(tmp_path, "SELECT state, why, attempts FROM inbox") == [("handled", "", 2)]
        assert [kept.outgoing.number for kept in await store.unsent()] == [1, 2]
        assert await store.unfinished(0, 100, 10) == []

    run(main, tmp_path)


def test_what_is_not_finished_is_read_in_order_in_pieces(tmp_path: Path) -> None:
    async def main(store: Store) -> None:
        await take(store, IDENTITY, 1, [message(f"{n}") for n in range(1, 11)])
        for number in (2, 5):
            store.finish(number, "handled", "", 1)
        store.taken_up(3, 4)
        await store.committed()
        first = await store.unfinished(0, 8, 3)
        assert [(received.number, received.attempts) for received in first] == [(1, 0), (3, 4), (4, 0)]
        assert [received.number for received in await store.unfinished(4, 8, 30)] == [6, 7, 8]
        assert [received.message.id for received in await store.unfinished(8, 100, 30)] == ["9", "10"]

    run(main, tmp_path)


# Outgoing


def test_of_two_with_one_key_the_first_is_kept(tmp_path: Path) -> None:
    async def main(store: Store) -> None:
        store.queue(outgoing(1, "a key", "first"))
        store.queue(outgoing(2, "a key", "second"))
        await store.committed()
        store.queue(outgoing(3, "a key", "third"))
        await store.committed()
        kept = await store.by_key("a key")
        assert kept is not None
        assert (kept.outgoing.number, kept.outgoing.text) == (1, "first")
        assert await store.by_key("another") is None
        assert await store.outgoing(2) is None

    run(main, tmp_path)


def test_what_is_neither_sent_nor_dead_is_found_in_order(tmp_path: Path) -> None:
    states = ("queued", "sending", "sent", "retry_wait", "unknown", "dead")

    async def main(store: Store) -> None:
        for number, state in enumerate(states, 1):
            store.queue(outgoing(number))
            store.mark(number, state, number, f"why {number}", f"n{number}", marked=number == 5)
        await store.committed()

    async def again(store: Store) -> None:
        unsent = await store.unsent()
        assert [(kept.outgoing.number, kept.state) for kept in unsent] == [
            (1, "queued"), (2, "sending"), (4, "retry_wait"), (5, "unknown"),
        ]  # fmt: skip
        assert (unsent[3].attempts, unsent[3].marked, unsent[3].why, unsent[3].network_id) == (5, True, "why 5", "n5")
        assert [kept.outgoing.number for kept in await store.outbox(None, 3)] == [5, 4, 2]
        assert [kept.outgoing.number for kept in await store.outbox("sent", 10)] == [3]
        assert await store.counts() == {f"outbox.{state}": 1 for state in states}

    run(main, tmp_path)
    run(again, tmp_path)


# What a boot must know


def test_a_life_goes_on_counting_where_the_one_before_has_stopped_also_when_its_rows_are_gone(tmp_path: Path) -> None:
    async def main(store: Store) -> None:
        assert store.next_number() == 1
        await take(store, IDENTITY, 42, [message("a"), message("b")])
        store.queue(outgoing(store.next_number()))
        store.journal(17, 0, "gateway", b"{}")
        for number in (1, 2):
            store.finish(number, "handled", "", 1)
        store.mark(2, "sent", 1)
        await store.committed()
        await store.forget(2**60, 2**40, 0)
        assert rows(tmp_path, "SELECT count(*) FROM inbox") == rows(tmp_path, "SELECT count(*) FROM outbox") == [(0,)]

    async def whole() -> None:
        store = Store(tmp_path, lambda: "full", VirtualClock())
        beginning = await store.open()
        assert (beginning.last_received, beginning.last_outgoing) == (2, 2)
        assert beginning.offsets == {IDENTITY: 42}
        assert store.next_number() == 3
        (received,) = await take(store, IDENTITY, 43, [message("c")])
        assert received.number == 3
        await store.close()

    run(main, tmp_path)
    run_virtual(whole())


def test_who_asks_when_it_is_closed_is_told_so(tmp_path: Path) -> None:
    """Found by half an hour of chaos: a call that a stop had left in its middle was an internal error."""

    async def main() -> None:
        store = await opened(tmp_path)
        await store.close()
        with pytest.raises(UnavailableError, match="its store is closed"):
            await store.conversation("webchat/default", "7", 10, unsent=False)

    run_virtual(main())


def test_a_new_one_begins_with_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        store = Store(tmp_path, lambda: "full", VirtualClock())
        assert await store.open() == ({}, 0, 0, 0, {}, {})
        await store.close()

    run_virtual(main())


def test_a_session_and_its_starts_are_those_that_were_kept_last(tmp_path: Path) -> None:
    async def main(store: Store) -> None:
        for kept in (KeptSession("one", (1,)), KeptSession("a half \ud83d one", (1, 2)), KeptSession("two \0", (2, 3))):
            store.keep_session("discord:1", kept)
        store.keep_session("discord:2", KeptSession("over", (1,)))
        store.keep_session("discord:2", KeptSession(None, tuple(range(1000))))
        store.keep_session("discord:3", KeptSession("half \ud83d"))
        await store.committed()
        await store.forget(2**60, 2**40, 0)

    async def again() -> None:
        store = Store(tmp_path, lambda: "full", VirtualClock())
        assert (await store.open()).sessions == {
            "discord:1": KeptSession("two \0", (2, 3)),
            "discord:2": KeptSession(None, tuple(range(1000))),
            "discord:3": KeptSession("half ?"),
        }
        await store.close()

    run(main, tmp_path)
    run_virtual(again())


def test_what_a_person_wants_of_an_account_is_the_last_that_was_said(tmp_path: Path) -> None:
    async def main(store: Store) -> None:
        for intent in (None, "stopped", None, "stopped"):
            store.intend("telegram/main", intent)
        for intent in ("stopped", None):
            store.intend("telegram/other", intent)
        await store.committed()

    async def whole() -> None:
        store = Store(tmp_path, lambda: "full", VirtualClock())
        assert (await store.open()).intents == {"telegram/main": "stopped"}
        await store.close()

    run(main, tmp_path)
    run_virtual(whole())


def test_one_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("no database" * 500)

    async def main() -> None:
        store = Store(tmp_path, lambda: "full", VirtualClock())
        with pytest.raises(StoreError, match=str(tmp_path / FILE)):
            await store.open()
        assert await store.close()

    run_virtual(main())


# The rest


def test_the_journal_is_paged_by_number_and_machine(tmp_path: Path) -> None:
    async def main(store: Store) -> None:
        for seq in range(1, 8):
            store.journal(seq, seq * 10, f"machine {seq % 2}", msgspec.json.encode({"seq": seq}))
        await store.committed()
        assert [entry["seq"] for entry in await store.journal_page(2, 3, None)] == [3, 4, 5]
        assert [entry["seq"] for entry in await store.journal_page(2, 10, "machine 1")] == [3, 5, 7]
        assert await store.journal_page(7, 10, None) == []
        assert [entry["seq"] for entry in await store.journal_before(6, 3)] == [3, 4, 5]
        assert [entry["seq"] for entry in await store.journal_before(6, 2, "machine 1")] == [3, 5]

    run(main, tmp_path)


def test_requests_and_notices_are_kept_in_their_latest_form(tmp_path: Path) -> None:
    async def main(store: Store) -> None:
        store.request("r1", 1, "pending", {"id": "r1"})
        store.request("r2", 2, "pending", {"id": "r2"})
        store.request("r1", 1, "done", {"id": "r1", "outcome": "done"})
        store.notice("r1", {"to": "7"})
        store.notice("r2", {"to": "8"})
        await store.committed()
        store.forget_notice("r1")
        await store.committed()

    async def again(store: Store) -> None:
        assert await store.requests(10) == [{"id": "r1", "outcome": "done"}, {"id": "r2"}]
        assert await store.requests(1) == [{"id": "r2"}]
        assert await store.notices() == {"r2": {"to": "8"}}

    run(main, tmp_path)
    run(again, tmp_path)


def test_whoever_wants_to_know_is_told_how_long_each_commit_took(tmp_path: Path) -> None:
    took: list[float] = []

    async def main() -> None:
        store = Store(tmp_path, lambda: "full", Clock(), took.append)
        await store.open()
        await take(store, IDENTITY, 1, [message("a")])
        assert len(took) == 1
        assert took[0] > 0
        await store.close()

    asyncio.run(main())


async def rows_of(store: Store, table: str) -> int:
    await store.committed()
    return len(await store._read(f"SELECT number FROM {table}", ()))


def test_so_many_that_ended_are_kept_and_no_more_and_all_that_have_not(tmp_path: Path) -> None:
    async def main(store: Store) -> None:
        received = await take(store, IDENTITY, 1, [message(f"{n}") for n in range(20)])
        for each in received[1:]:
            store.finish(each.number, "handled", "", 1)
        await store.committed()
        await store.forget(0, 5, 0)
        assert await rows_of(store, "inbox") == 6, "the five newest, and the first, which has not ended"

    run(main, tmp_path)


def test_while_somebody_still_reads_closing_holds_up_nobody_and_closes_nothing_under_him(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_on = threading.Event()

    class Slow(Database):
        def fetch(self, sql: str, values: tuple[Any, ...]) -> list[sqlite3.Row]:
            super().fetch(sql, values)
            assert read_on.wait(10)
            return super().fetch(sql, values)

    monkeypatch.setattr(store_module, "Database", Slow)

    async def main(store: Store) -> None:
        await take(store, IDENTITY, 42, [message("a")])
        reading = asyncio.ensure_future(store.unsent())
        await asyncio.sleep(0)
        closing_it = asyncio.ensure_future(store.close())
        for _ in range(10):
            await asyncio.sleep(0)
        assert not closing_it.done()
        read_on.set()
        assert await closing_it
        assert await reading == []

    async def whole() -> None:
        await main(await opened(tmp_path))

    with capture_logs():
        asyncio.run(whole())


def test_a_backup_is_made_while_it_is_in_use(tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()

    async def main(store: Store) -> None:
        await take(store, IDENTITY, 42, [message("a")])
        await asyncio.to_thread(Database(store.path).backup, tmp_path / "copy" / FILE)
        await take(store, IDENTITY, 43, [message("b")])
        with pytest.raises(StoreError, match="no backup was made"):
            Database(store.path).backup(tmp_path / "nowhere" / FILE)

    async def again(store: Store) -> None:
        assert [received.message.id for received in await store.unfinished(0, 100, 10)] == ["a"]

    run(main, tmp_path)
    run(again, tmp_path / "copy")
