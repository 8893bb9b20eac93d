"""The SQLite file: open it, bring it up to date, find out whether it is whole, and commit to it.

Everything here blocks, and is done in the store's thread.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gateway.errors import StoreError
from gateway.store.migrations import migrations

BUSY_TIMEOUT = 0.2
"""Seconds that a commit waits for a lock of another program before it says so; then it is tried again."""
PATIENCE_BESIDE = 5.0
SYNCHRONOUS = {"full": "FULL", "normal": "NORMAL"}
LONGEST_LOG = 16 * 1024 * 1024
"""Bytes to which the log is cut when it begins anew. Longer it takes room; and one that need not grow is written faster."""
PAGES_FREED = 200
"""Pages that one round of retention gives back to the disk: a few milliseconds."""

Rows = Sequence[tuple[Any, ...]]
Statements = Mapping[str, Rows]
"""SQL, and the parameters that it is run with."""


class Database:
    """One connection that writes, and one beside it that reads, each for a thread of its own. `open` before everything else.

    Each thread closes its own: a connection is not closed under somebody who reads.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = None
        self._beside: sqlite3.Connection | None = None
        self._inode = self._inode_beside = 0
        self._durability = ""

    def open(self) -> None:
        """Raises StoreError when the file is damaged, is of a newer version, or cannot be used."""
        try:
            self._connection = self._connect(self.path)
            _check(self._connection, self.path)
            _migrate(self._connection, self.path)
            self._inode = self.path.stat().st_ino
        except (sqlite3.Error, OSError) as error:
            self.close()
            raise StoreError(f"{self.path} cannot be used: {error}; {_remedy(self.path)}") from error
        except StoreError:
            self.close()
            raise

    def _connect(self, path: Path) -> sqlite3.Connection:
        # Not before it exists: SQLite would make it readable for everybody.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
        if path.stat().st_size == 0:
            # Before the first table: later it needs the whole file to be written again.
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA temp_store = MEMORY")
        # A checkpoint in the middle of commits makes one wait for it: it has a thread of its own.
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute(f"PRAGMA journal_size_limit = {LONGEST_LOG}")
        return connection

    @property
    def connection(self) -> sqlite3.Connection:
        assert self._connection is not None, "open() comes first"
        return self._connection

    def close(self) -> None:
        """Of the thread that writes; `leave_beside` is the other one's."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    # Writing

    def commit(self, statements: Statements, durability: str) -> int:
        """All of it or nothing; how many rows changed. Raises sqlite3.Error or OSError: nothing was, try again."""
        self._come_back_if_deleted()
        self._be_durable(durability)
        connection = self.connection
        before = connection.total_changes
        connection.execute("BEGIN IMMEDIATE")
        try:
            for sql, rows in statements.items():
                connection.executemany(sql, rows)
            connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise
        return connection.total_changes - before

    def _be_durable(self, durability: str) -> None:
        if durability != self._durability:
            self.connection.execute(f"PRAGMA synchronous = {SYNCHRONOUS[durability]}")
            self._durability = durability

    def _come_back_if_deleted(self) -> None:
        """A file that somebody removed lives on without a name as long as it is open: it is written out under its name again."""
        try:
            if self.path.stat().st_ino == self._inode:
                return
        except FileNotFoundError:
            pass
        else:
            # Somebody put another one in its place: that is theirs, and not written over.
            raise OSError(f"{self.path} was replaced by another file while it was in use")
        with _whole_or_nothing(self.path) as copy:
            self.connection.backup(copy)
            # They are of the file that is gone, and would be taken for this one's.
            for left in ("-wal", "-shm"):
                self.path.with_name(self.path.name + left).unlink(missing_ok=True)
        try:
            fresh = self._connect(self.path)
        except BaseException:
            # Else it would be taken for somebody else's. What it was written from is still open.
            self.path.unlink(missing_ok=True)
            raise
        self.close()
        self._connection, self._durability = fresh, ""
        self._inode = self.path.stat().st_ino

    def checkpoint(self) -> None:
        """Move what the log has into the file itself, beside the commits that go on."""
        self.fetch("PRAGMA wal_checkpoint(PASSIVE)", ())

    def begin_log_anew(self) -> bool:
        """Let the next commit write the log from its beginning, if nobody reads in it. Between two commits, and quick after a checkpoint."""
        busy, _, _ = self.connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
        return not busy

    def log_size(self) -> int:
        """Bytes of the log's file. When the log begins anew the file is cut to `LONGEST_LOG`."""
        try:
            return self.path.with_name(self.path.name + "-wal").stat().st_size
        except FileNotFoundError:
            return 0

    def give_back(self) -> bool:
        """Give some of the freed pages back to the disk; whether there are more. Raises sqlite3.Error."""
        # As a script: a statement without columns is left by Python after its first step, which frees one page.
        self.connection.executescript(f"PRAGMA incremental_vacuum({PAGES_FREED})")
        return bool(self.connection.execute("PRAGMA freelist_count").fetchone()[0])

    # Reading

    def fetch(self, sql: str, values: tuple[Any, ...]) -> list[sqlite3.Row]:
        """All rows, by the connection that stays open beside the one that writes.

        SQLite keeps what a closed connection had open for as long as another one has a lock; so none is opened for each.
        """
        if self._beside is None or self._inode_beside != self._inode:
            self.leave_beside()
            self._beside, self._inode_beside = self._open_beside(), self._inode
        try:
            return self._beside.execute(sql, values).fetchall()
        except sqlite3.Error:
            self.leave_beside()
            raise

    def _open_beside(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=PATIENCE_BESIDE, isolation_level=None, check_same_thread=False)
        connection.row_factory = sqlite3.Row
        return connection

    def leave_beside(self) -> None:
        """Close the connection that reads, until it is needed again."""
        if self._beside is not None:
            self._beside.close()
            self._beside = None

    def reader(self) -> sqlite3.Connection:
        """A connection of its own that only reads."""
        connection = sqlite3.connect(
            f"{self.path.absolute().as_uri()}?mode=ro",
            uri=True,
            timeout=PATIENCE_BESIDE,
            isolation_level=None,
            check_same_thread=False,
        )
        connection.row_factory = sqlite3.Row
        return connection

    def backup(self, target: Path) -> None:
        """A whole copy while it is in use. Raises StoreError, and leaves no half copy."""
        try:
            with _whole_or_nothing(target) as copy, contextlib.closing(self.reader()) as source:
                source.backup(copy, pages=1_000)
                _check(copy, target)
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"no backup was made at {target}: {error}") from error


@contextlib.contextmanager
def _whole_or_nothing(target: Path) -> Iterator[sqlite3.Connection]:
    """A database to copy to, which has the target's name only when it is complete."""
    partial = target.with_name(target.name + ".part")
    try:
        os.close(os.open(partial, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600))
        with contextlib.closing(sqlite3.connect(partial)) as copy:
            yield copy
        partial.replace(target)
    finally:
        for left in ("", "-journal", "-wal", "-shm"):
            partial.with_name(partial.name + left).unlink(missing_ok=True)


REMEDY = "restore a backup there, or move it away: the gateway then begins with an empty one"


def damage_of(connection: sqlite3.Connection) -> str:
    """What is damaged first, "" where nothing is. What SQLite cannot even read it says itself."""
    found = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    return "" if found == "ok" else found


def _remedy(path: Path) -> str:
    """On a full disk SQLite cannot make its log, and says that of any other fault, too: nothing is damaged then."""
    if os.statvfs(path.parent).f_bavail == 0:
        return "its disk is full: make room, and start again; nothing of it is lost"
    return REMEDY


def _check(connection: sqlite3.Connection, path: Path) -> None:
    """Raises StoreError for a file that is damaged."""
    if damage := damage_of(connection):
        raise StoreError(f"{path} is damaged ({damage}); {REMEDY}")


def version_of(connection: sqlite3.Connection) -> int:
    """The version of the schema; 0 of an empty file."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Each step as a whole. Raises StoreError for a file that a newer gateway has made."""
    steps = migrations()
    have, newest = version_of(connection), max(steps)
    if have > newest:
        raise StoreError(
            f"{path} is of version {have}, and this gateway knows versions up to {newest}: "
            "use the gateway that made it, or a newer one, or move the file away"
        )
    for number, script in steps.items():
        if number > have:
            connection.executescript(f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;")
