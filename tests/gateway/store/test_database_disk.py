"""A disk that is full or cannot be written to, and a file that another program has locked."""

from __future__ import annotations

import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from gateway.errors import StoreError
from gateway.store.database import Database
from tests.gateway.store.disks import fill, full, mounted
from tests.gateway.store.rows import numbers, put

FULL = r"full|disk I/O"


def put_many(database: Database) -> None:
    for number in range(2, 100):
        put(database, number, body=b"x" * 10_000)


def test_a_limit_that_stands_for_a_full_disk_takes_nothing_and_spoils_nothing(database: Database, path: Path) -> None:
    put(database, 1)
    with full(path):
        for number in range(2, 6):
            with pytest.raises(sqlite3.OperationalError, match=FULL):
                put(database, number, body=b"x" * 50_000)
    put(database, 2)
    assert numbers(path) == [1, 2]
    assert database.connection.execute("PRAGMA quick_check").fetchall() == [("ok",)]


def test_on_a_full_disk_nothing_is_taken_and_when_there_is_room_again_all_goes_on(path: Path) -> None:
    with mounted(path.parent):
        database = Database(path)
        database.open()
        put(database, 1)
        filler = fill(path.parent)
        with pytest.raises(sqlite3.OperationalError, match=FULL):
            put_many(database)
        known = numbers(path)
        for _ in range(3):
            with pytest.raises(sqlite3.OperationalError):
                put(database, 1_000, body=b"x" * 100_000)
        assert numbers(path) == known, "what was committed is there, and nothing else"
        filler.unlink()
        put(database, 1_000, body=b"x" * 100_000)
        assert numbers(path) == [*known, 1_000]
        database.close()
        database.open()
        assert numbers(path) == [*known, 1_000]
        database.close()


def test_on_a_full_disk_it_can_be_opened_where_nothing_need_be_made(path: Path) -> None:
    """A boot with a full disk: what is left over is not lost sight of."""
    with mounted(path.parent):
        database = Database(path)
        database.open()
        put(database, 1)
        database.close()
        filler = fill(path.parent)
        try:
            database.open()
        except StoreError as error:
            assert str(path) in str(error)  # noqa: PT017 - either is well
        else:
            assert numbers(path) == [1]
            database.close()
        filler.unlink()
        database.open()
        assert numbers(path) == [1]
        database.close()


@pytest.mark.parametrize("begin", ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
def test_locked_by_another_program_nothing_is_taken_until_it_lets_go(
    database: Database, path: Path, begin: str
) -> None:
    put(database, 1)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute(begin)
        for _ in range(2):
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                put(database, 2)
        other.execute("UPDATE inbox SET why = 'theirs'")
        other.execute("COMMIT")
    put(database, 2)
    assert database.connection.execute("SELECT number, why FROM inbox").fetchall() == [(1, "theirs"), (2, "")]


def test_read_by_others_all_the_time_it_is_written_all_the_same(database: Database, path: Path) -> None:
    put(database, 1)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN")
        assert other.execute("SELECT count(*) FROM inbox").fetchone() == (1,)
        put(database, 2)
        assert other.execute("SELECT count(*) FROM inbox").fetchone() == (1,)


def test_on_a_read_only_disk_it_cannot_be_opened_until_that_can_be_written_again(path: Path) -> None:
    with mounted(path.parent):
        database = Database(path)
        database.open()
        put(database, 1)
        # A file that is open for writing keeps a disk from being made read-only by hand.
        database.close()
        subprocess.run(["mount", "-o", "remount,ro", str(path.parent)], check=True)
        with pytest.raises(StoreError, match=str(path)):
            database.open()
        subprocess.run(["mount", "-o", "remount,rw", str(path.parent)], check=True)
        database.open()
        put(database, 2)
        assert numbers(path) == [1, 2]
        database.close()


def test_made_read_only_in_use_nothing_is_taken_until_it_can_be_written_again(database: Database, path: Path) -> None:
    """As a broken disk does to files that are open: writing fails, whoever writes."""
    put(database, 1)
    database.connection.execute("PRAGMA query_only = ON")
    for _ in range(2):
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            put(database, 2)
    database.connection.execute("PRAGMA query_only = OFF")
    put(database, 2)
    assert numbers(path) == [1, 2]
