"""The file itself: made, brought up to date, shrunk, copied."""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import StoreError
from gateway.store import database as database_module
from gateway.store.database import PAGES_FREED, Database, version_of
from gateway.store.migrations import migrations
from gateway.store.store import OFFSET, RECEIVE
from tests.gateway.store.disks import full
from tests.gateway.store.rows import numbers, put, row

NEWEST = max(migrations())


# Made


def test_only_its_owner_can_read_it_whatever_the_umask(path: Path) -> None:
    before = os.umask(0)
    try:
        database = Database(path)
        database.open()
        put(database, 1)
        found = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
        assert found == dict.fromkeys((path.name, f"{path.name}-wal", f"{path.name}-shm"), 0o600)
        database.close()
    finally:
        os.umask(before)


def test_it_is_one_that_readers_do_not_stop_and_that_can_shrink(database: Database) -> None:
    def pragma(name: str) -> Any:
        return database.connection.execute(f"PRAGMA {name}").fetchone()[0]

    assert (pragma("journal_mode"), pragma("auto_vacuum"), pragma("user_version")) == ("wal", 2, NEWEST)


def test_what_was_committed_is_there_when_it_is_opened_again(path: Path) -> None:
    for number in (1, 2, 3):
        database = Database(path)
        database.open()
        put(database, number)
        if number != 2:
            database.close()  # the second life ends without
    assert numbers(path) == [1, 2, 3]


def test_any_folder_will_do(tmp_path: Path) -> None:
    folder = tmp_path / "a b?mode=memory#%41&ä"
    folder.mkdir()
    database = Database(folder / "gateway.sqlite3")
    database.open()
    put(database, 1)
    with closing(database.reader()) as reader:
        assert [row["number"] for row in reader.execute("SELECT number FROM inbox")] == [1]
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            reader.execute("DELETE FROM inbox")
    database.close()
    assert {file.name for file in tmp_path.iterdir()} == {folder.name}


# Brought up to date


def filled(connection: sqlite3.Connection) -> dict[str, int]:
    """Put three rows into every table, whatever tables there are; how many each has."""
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    made: dict[str, Callable[[int], Any]] = {
        "INTEGER": lambda n: n, "TEXT": lambda n: f"text {n}", "BLOB": lambda n: b"%d" % n, "REAL": float,
    }  # fmt: skip
    for table in tables:
        if table.startswith("sqlite_"):
            continue
        kinds = [kind for _, _, kind, *_ in connection.execute(f"PRAGMA table_info({table})")]
        marks = ", ".join("?" * len(kinds))
        for number in (1, 2, 3):
            connection.execute(f"INSERT INTO {table} VALUES ({marks})", [made[kind](number) for kind in kinds])
    return {table: 3 for table in tables if not table.startswith("sqlite_")}


def test_versions_are_numbered_without_a_gap() -> None:
    assert list(migrations()) == list(range(1, NEWEST + 1))


@pytest.mark.parametrize("version", range(NEWEST + 1))
def test_a_database_of_any_older_version_is_brought_up_to_date_with_all_that_is_in_it(path: Path, version: int) -> None:
    with closing(sqlite3.connect(path)) as old:
        old.execute("PRAGMA journal_mode = WAL")
        for number, script in migrations().items():
            if number <= version:
                old.executescript(script)
        old.execute(f"PRAGMA user_version = {version}")
        expected = filled(old)
        old.commit()
    database = Database(path)
    database.open()
    assert version_of(database.connection) == NEWEST
    for table, count in expected.items():
        assert database.connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (count,), table
    put(database, 1_000)
    database.close()
    database.open()
    assert database.connection.execute("SELECT count(*) FROM inbox WHERE number = 1000").fetchone() == (1,)
    database.close()


def test_a_step_that_breaks_leaves_the_version_before_and_nothing_of_itself(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(path)
    database.open()
    put(database, 1)
    database.close()
    steps = {**migrations(), NEWEST + 1: "CREATE TABLE half (a INTEGER); INSERT INTO nowhere VALUES (1);"}
    monkeypatch.setattr(database_module, "migrations", lambda: steps)
    with pytest.raises(StoreError, match="nowhere"):
        database.open()
    with closing(sqlite3.connect(path)) as other:
        assert version_of(other) == NEWEST
        assert other.execute("SELECT count(*) FROM sqlite_master WHERE name = 'half'").fetchone() == (0,)
    monkeypatch.undo()
    database.open()
    assert numbers(path) == [1]
    database.close()


def test_one_of_a_newer_version_is_refused_and_not_touched(path: Path) -> None:
    with closing(sqlite3.connect(path)) as newer:
        newer.execute("CREATE TABLE future (a INTEGER)")
        newer.execute(f"PRAGMA user_version = {NEWEST + 1}")
        newer.commit()
    with pytest.raises(StoreError) as caught:
        Database(path).open()
    why = f"{path} is of version {NEWEST + 1}, and this gateway knows versions up to {NEWEST}: use the gateway that made it"
    assert str(caught.value).startswith(why)
    with closing(sqlite3.connect(path)) as newer:
        assert version_of(newer) == NEWEST + 1
        assert newer.execute("SELECT count(*) FROM sqlite_master").fetchone() == (1,)


# Retention


def test_freed_pages_are_given_back_some_at_a_time(database: Database, path: Path) -> None:
    put(database, *range(1, 2_001), body=b"x" * 2_000)
    database.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    large = path.stat().st_size
    assert database.commit({"DELETE FROM inbox WHERE number > ?": [(10,)]}, "full") == 1_990
    free = database.connection.execute("PRAGMA freelist_count").fetchone()[0]
    rounds = 1
    while database.give_back():
        rounds += 1
    assert rounds == -(-free // PAGES_FREED) > 3
    database.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert path.stat().st_size < large / 10
    assert not database.give_back()


# Copied


def test_a_backup_while_it_is_written_to_is_whole_and_private(database: Database, path: Path, tmp_path: Path) -> None:
    put(database, *range(1, 201), body=b"x" * 2_000)
    going_on, written = threading.Event(), [200]

    def write() -> None:
        while not going_on.is_set():
            number = written[0] + 1
            database.commit({RECEIVE: [row(number, b"y" * 500)], OFFSET: [("telegram:1", number, 0)]}, "normal")
            written[0] = number

    writing = threading.Thread(target=write)
    writing.start()
    try:
        target = tmp_path / "copy.sqlite3"
        before = written[0]
        while written[0] < before + 20:
            pass
        database.backup(target)
        least = before
    finally:
        going_on.set()
        writing.join()
    assert target.stat().st_mode & 0o777 == 0o600
    assert {file.name for file in tmp_path.iterdir()} == {"copy.sqlite3", "state"}
    with closing(sqlite3.connect(target)) as copy:
        assert copy.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        found = [number for (number,) in copy.execute("SELECT number FROM inbox ORDER BY number")]
        assert found == list(range(1, len(found) + 1)), "as it was at one moment"
        assert least <= len(found) <= written[0]
        assert copy.execute("SELECT next FROM offsets").fetchall() == [(len(found),)]


def test_a_backup_can_take_the_place_of_the_database(database: Database, path: Path, tmp_path: Path) -> None:
    put(database, 1, 2)
    database.backup(tmp_path / "copy")
    put(database, 3)
    database.close()
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    shutil.copy(tmp_path / "copy", path)
    database.open()
    assert numbers(path) == [1, 2]
    put(database, 3)


def test_a_backup_replaces_an_older_one_only_when_it_is_whole(database: Database, path: Path, tmp_path: Path) -> None:
    target = tmp_path / "copy"
    target.write_bytes(b"the older one")
    put(database, *range(1, 101), body=b"x" * 1_000)
    with full(path), pytest.raises(StoreError, match=f"no backup was made at {target}"):
        database.backup(target)
    assert target.read_bytes() == b"the older one"
    assert {file.name for file in tmp_path.iterdir()} == {"copy", "state"}
    with pytest.raises(StoreError, match="no backup was made at"):
        database.backup(tmp_path / "no folder" / "copy")
    database.backup(target)
    assert numbers(target) == list(range(1, 101))
