"""The file itself: made, brought up to date, damaged, full, locked, deleted, replaced, copied."""

from __future__ import annotations

import os
import random
import resource
import shutil
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import StoreError
from gateway.store import database as database_module
from gateway.store.database import PAGES_FREED, Database, version_of
from gateway.store.migrations import migrations
from gateway.store.store import OFFSET, RECEIVE

NEWEST = max(migrations())


def row(number: int, body: bytes = b"{}") -> tuple[Any, ...]:
    return (number, f"id {number}", "telegram/main", "7", body, 0)


def put(database: Database, *numbers: int, body: bytes = b"{}") -> None:
    database.commit({RECEIVE: [row(number, body) for number in numbers]}, "full")


def numbers(path: Path) -> list[int]:
    """What another program reads."""
    with closing(sqlite3.connect(path)) as other:
        return [number for (number,) in other.execute("SELECT number FROM inbox ORDER BY number")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    return folder / "gateway.sqlite3"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    database = Database(path)
    database.open()
    yield database
    database.close()


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


# Full, locked, read-only


@contextmanager
def full(path: Path) -> Iterator[None]:
    """No file of this process may grow, for a while: as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    largest = max((file.stat().st_size for file in path.parent.iterdir() if file.suffix != ".filler"), default=0)
    resource.setrlimit(resource.RLIMIT_FSIZE, (min(largest, 4_096), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def mounted(folder: Path) -> Iterator[None]:
    """A disk of its own under a folder."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "test", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Until nothing more fits."""
    filler = folder / "filler"
    with filler.open("ab", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4_096))
        except OSError:
            return filler


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
