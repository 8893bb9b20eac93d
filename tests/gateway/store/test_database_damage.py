"""A file that is damaged, deleted in use, or replaced."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.errors import StoreError
from gateway.store.database import Database, version_of
from gateway.store.migrations import migrations
from tests.gateway.store.disks import full
from tests.gateway.store.rows import numbers, put

NEWEST = max(migrations())


# Damaged


def large(path: Path) -> None:
    """A database of some hundred pages, all in one file."""
    database = Database(path)
    database.open()
    put(database, *range(1, 501), body=b"x" * 900)
    database.close()


def overwrite(path: Path, offset: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def no_header(path: Path) -> None:
    large(path)
    overwrite(path, 0, b"no database at all")


def rotten_pages(path: Path) -> None:
    large(path)
    size = path.stat().st_size
    for offset in range(4096 * 8, size - 4096, 4096 * 5):
        overwrite(path, offset, random.Random(offset).randbytes(4096))


def truncated(path: Path) -> None:
    large(path)
    os.truncate(path, path.stat().st_size // 2)


def cut_in_a_page(path: Path) -> None:
    large(path)
    os.truncate(path, 4096 + 100)


def zeroed_schema(path: Path) -> None:
    large(path)
    overwrite(path, 100, bytes(4096 - 100))


def a_text(path: Path) -> None:
    path.write_text("gateway:\n  name: home\n" * 500)


def a_folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize(
    "damage",
    [no_header, rotten_pages, truncated, cut_in_a_page, zeroed_schema, a_text, a_folder],
    ids=lambda d: d.__name__,
)
def test_a_damaged_file_is_refused_with_its_name_and_a_remedy_and_is_left_there(
    path: Path, damage: Callable[[Path], None]
) -> None:
    damage(path)
    before = path.read_bytes() if path.is_file() else b""
    database = Database(path)
    with pytest.raises(StoreError) as caught:
        database.open()
    said = str(caught.value)
    assert said.startswith(str(path))
    assert said.endswith("restore a backup there, or move it away: the gateway then begins with an empty one")
    assert database._connection is None
    assert (path.read_bytes() if path.is_file() else b"") == before
    # And the remedy works.
    shutil.move(path, path.with_name("damaged"))
    for left in ("-wal", "-shm"):
        path.with_name(path.name + left).unlink(missing_ok=True)
    database.open()
    put(database, 1)
    database.close()
    assert numbers(path) == [1]


def test_on_a_full_disk_nobody_is_told_to_move_it_away(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite says the same of a full disk as of a damaged file."""

    def full(_: object) -> sqlite3.Connection:
        raise sqlite3.OperationalError("disk I/O error")

    database = Database(path)
    monkeypatch.setattr(database, "_connect", full)
    with pytest.raises(StoreError, match="move it away"):
        database.open()
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result((4096, 4096, 1024, 0, 0, 64, 9, 9, 0, 255)))
    with pytest.raises(StoreError, match="its disk is full: make room") as caught:
        database.open()
    assert "move it away" not in str(caught.value)


def test_an_empty_file_is_a_new_one(path: Path) -> None:
    path.touch(0o600)
    database = Database(path)
    database.open()
    put(database, 1)
    database.close()


# Deleted, replaced


def delete(path: Path, *suffixes: str) -> None:
    for suffix in suffixes:
        path.with_name(path.name + suffix).unlink()


@pytest.mark.parametrize("suffixes", [("",), ("", "-wal"), ("", "-wal", "-shm")], ids="".join)
def test_deleted_while_it_is_in_use_it_comes_back_with_everything(
    database: Database, path: Path, suffixes: tuple[str, ...]
) -> None:
    put(database, *range(1, 101), body=b"x" * 1_000)
    delete(path, *suffixes)
    put(database, 101)
    assert numbers(path) == list(range(1, 102))
    put(database, 102)
    assert numbers(path)[-1] == 102
    assert path.stat().st_mode & 0o777 == 0o600
    assert database.connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    delete(path, "")
    put(database, 103)
    database.close()
    database.open()
    assert numbers(path) == list(range(1, 104))
    assert version_of(database.connection) == NEWEST


def test_deleted_while_somebody_reads_it_comes_back_and_he_reads_on(database: Database, path: Path) -> None:
    put(database, *range(1, 5))
    begun = threading.Event()
    found: list[int] = []

    def slowly(number: int) -> int:
        begun.set()
        time.sleep(0.1)
        return number

    def read() -> None:
        database.fetch("SELECT 1", ())
        assert database._beside is not None
        database._beside.create_function("slowly", 1, slowly)
        found.extend(row[0] for row in database.fetch("SELECT slowly(number) FROM inbox ORDER BY number", ()))
        found.extend(row[0] for row in database.fetch("SELECT number FROM inbox ORDER BY number", ()))
        database.leave_beside()

    reading = threading.Thread(target=read)
    reading.start()
    assert begun.wait(10)
    delete(path, "")
    put(database, 5)
    reading.join()
    assert found == [1, 2, 3, 4, 1, 2, 3, 4, 5], "the second time in the file that came back"


def test_deleted_with_its_folder_it_comes_back_when_there_is_one(database: Database, path: Path) -> None:
    put(database, 1)
    shutil.rmtree(path.parent)
    for _ in range(3):
        with pytest.raises(OSError, match="No such file"):
            put(database, 2)
    path.parent.mkdir()
    put(database, 2)
    assert numbers(path) == [1, 2]


def test_while_it_cannot_come_back_nothing_half_stands_in_its_place(database: Database, path: Path) -> None:
    put(database, *range(1, 101), body=b"x" * 1_000)
    delete(path, "", "-wal", "-shm")
    with full(path):
        for _ in range(3):
            with pytest.raises((sqlite3.Error, OSError)):
                put(database, 101)
            assert not path.exists()
    put(database, 101)
    assert numbers(path) == list(range(1, 102))


def test_it_comes_back_although_it_cannot_be_opened_again_at_once(
    database: Database, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(database, 1)
    delete(path, "")

    def no_more(_: Path) -> sqlite3.Connection:
        raise OSError("Too many open files")

    monkeypatch.setattr(database, "_connect", no_more)
    for _ in range(3):
        with pytest.raises(OSError, match="Too many open files"):
            put(database, 2)
    monkeypatch.undo()
    put(database, 2)
    assert numbers(path) == [1, 2]


@pytest.mark.parametrize("theirs", [b"", b"somebody else's file"])
def test_replaced_by_another_file_it_stalls_and_says_so_and_theirs_is_not_written_over(
    database: Database, path: Path, theirs: bytes
) -> None:
    put(database, 1)
    fresh = path.with_name("fresh")
    fresh.write_bytes(theirs)
    fresh.replace(path)
    for _ in range(3):
        with pytest.raises(OSError, match="was replaced by another file while it was in use"):
            put(database, 2)
    assert path.read_bytes() == theirs
    path.unlink()
    put(database, 2)
    assert numbers(path) == [1, 2]


def test_moved_away_and_put_back_it_goes_on(database: Database, path: Path) -> None:
    put(database, 1)
    path.rename(path.with_name("elsewhere"))
    path.with_name("elsewhere").rename(path)
    put(database, 2)
    assert numbers(path) == [1, 2]
