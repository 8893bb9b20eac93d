"""How long SQLite's write-ahead log becomes, and what lets it begin anew."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from gateway.store.database import LONGEST_LOG, Database
from gateway.store.store import Store
from tests.gateway.store.stores import message, outgoing, run


async def one_by_one(store: Store, count: int) -> list[int]:
    """Messages that come, are answered and sent, each in commits of its own; how long the log was after each."""
    lengths = []
    for number in range(count):
        (received,) = store.receive("telegram:1:a", number, [message(f"telegram:1:{number}")])
        reply = outgoing(store.next_number(), f"telegram:1:{number}#1")
        store.finish(received.number, "handled", "", 1, [reply])
        await store.committed()
        store.mark(reply.number, "sent", 1)
        await store.committed()
        lengths.append(store._database.log_size())
    return lengths


def test_the_log_of_messages_that_come_one_by_one_stays_short(tmp_path: Path) -> None:
    """Found by an hour of chaos: counted by rows it grew to 40 MB, and filled a small disk by itself."""

    async def main(store: Store) -> None:
        assert max(await one_by_one(store, 500)) < 1.25 * LONGEST_LOG
        assert store._database.fetch("SELECT count(*) FROM inbox", ())[0][0] == 500

    run(main, tmp_path)


def test_a_log_in_which_somebody_reads_is_tried_again_after_a_while_and_begun_anew_at_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.store.store.LONGEST_LOG", 1024 * 1024)
    tries = []
    real = Database.begin_log_anew

    def counted(database: Database) -> bool:
        tries.append(1)
        return real(database)

    monkeypatch.setattr(Database, "begin_log_anew", counted)

    async def main(store: Store) -> None:
        store._move_log_at = 1024 * 1024
        await one_by_one(store, 5)
        with closing(store._database.reader()) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM inbox").fetchone()
            lengths = await one_by_one(store, 100)
            assert lengths[-1] > 4 * 1024 * 1024
            assert 2 <= len(tries) <= lengths[-1] / (256 * 1024)
        tries.clear()
        longest = max(await one_by_one(store, 100))
        assert longest <= lengths[-1] + 512 * 1024, "it is begun anew as soon as nobody reads"
        assert tries

    run(main, tmp_path)
