"""The store as the rest of the gateway knows it: what is kept, and what is asked for again.

What is written goes through the writer's one thread, and nothing here waits for it but `committed`. Everything else is
read on a connection of its own, in a thread of its own.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import structlog

from gateway.channels.sessions import KeptSession
from gateway.clock import Clock
from gateway.errors import UnavailableError
from gateway.messages.model import Message, Outgoing
from gateway.store.database import LONGEST_LOG, Database, Statements
from gateway.store.looks import CONVERSATIONS, COUNTS, INBOX_PART, OPEN, OUTBOX_PART
from gateway.store.writer import Writer

log: structlog.stdlib.BoundLogger = structlog.get_logger()

FILE = "gateway.sqlite3"
CLOSE_PATIENCE = 5.0
"""Seconds that what waits gets to be written at the end of the process, where nobody says."""

# In the order in which they are run where several wait: a row is inserted before it is changed, and changed in the order
# in which the changes came. Each may be run twice, since a commit that failed in its last moment is tried again.
RECEIVE = "INSERT OR IGNORE INTO inbox (number, id, account, conversation, body, received_at) VALUES (?, ?, ?, ?, ?, ?)"
OFFSET = "INSERT OR REPLACE INTO offsets (identity, next, at) VALUES (?, ?, ?)"
FINISH = "UPDATE inbox SET state = ?, why = ?, ended_at = ?, attempts = ? WHERE number = ? AND state = 'received'"
TAKE_UP = "UPDATE inbox SET attempts = ? WHERE number = ? AND state = 'received'"
QUEUE = (
    "INSERT OR IGNORE INTO outbox (number, key, account, conversation, body, created_at, changed_at)"
    " VALUES (?, ?, ?, ?, ?, ?, ?)"
)
MARK = "UPDATE outbox SET state = ?, attempts = ?, why = ?, network_id = ?, marked = ?, changed_at = ? WHERE number = ?"
JOURNAL = "INSERT OR REPLACE INTO journal (seq, at, machine, body) VALUES (?, ?, ?, ?)"
REQUEST = "INSERT OR REPLACE INTO requests (id, at, outcome, body) VALUES (?, ?, ?, ?)"
INTEND = "INSERT OR REPLACE INTO intents (account, intent, at) VALUES (?, ?, ?)"
SESSION = "INSERT OR REPLACE INTO sessions (identity, session, starts, at) VALUES (?, ?, ?, ?)"
NOTICE = "INSERT OR REPLACE INTO notices (request, body, at) VALUES (?, ?, ?)"
FORGET_NOTICE = "DELETE FROM notices WHERE request = ?"
# Retention, some rows at a time, so that nobody waits for long.
FORGET_INBOX = (
    "DELETE FROM inbox WHERE number IN"
    " (SELECT number FROM inbox WHERE ended_at < ? OR (ended_at IS NOT NULL AND number <= ?) LIMIT 1000)"
)
FORGET_OUTBOX = (
    "DELETE FROM outbox WHERE number IN"
    " (SELECT number FROM outbox WHERE state IN ('sent', 'dead') AND (changed_at < ? OR number <= ?) LIMIT 1000)"
)
FORGET_JOURNAL = "DELETE FROM journal WHERE seq IN (SELECT seq FROM journal WHERE at < ? OR seq <= ? LIMIT 1000)"
FORGET_REQUESTS = "DELETE FROM requests WHERE id IN (SELECT id FROM requests WHERE at < ? LIMIT 1000)"
STATEMENTS = (
    RECEIVE, OFFSET, FINISH, TAKE_UP, QUEUE, MARK, JOURNAL, REQUEST, INTEND, SESSION, NOTICE, FORGET_NOTICE,
)  # fmt: skip

CONVERSATION = """
    SELECT * FROM (
        SELECT 'user' AS role, body, received_at AS at, id AS name, number AS place, 0 AS side FROM inbox
        WHERE account = ? AND conversation = ? ORDER BY number DESC LIMIT ?
    ) UNION ALL SELECT * FROM (
        SELECT 'assistant' AS role, body, created_at AS at, key AS name, number AS place, 1 AS side FROM outbox
        WHERE account = ? AND conversation = ? AND state != 'dead' AND (state = 'sent' OR ?) ORDER BY number DESC LIMIT ?
    ) ORDER BY at DESC, side DESC, place DESC LIMIT ?
"""
UNFINISHED = (
    "SELECT number, body, attempts FROM inbox WHERE state = 'received' AND number > ? AND number <= ?"
    " ORDER BY number LIMIT ?"
)
NO_INTENT = ""


class Received(NamedTuple):
    """A message of the inbox and its number; `attempts` is how often it was taken up."""

    number: int
    message: Message
    attempts: int = 0


class Kept(NamedTuple):
    """A message of the outbox, as it is kept."""

    outgoing: Outgoing
    state: str
    attempts: int
    marked: bool
    why: str
    network_id: str
    changed_at: int


class Conversation(NamedTuple):
    """Where something was said: the last that came in and the last that goes out, each with its state."""

    account: str
    conversation: str
    received: tuple[Message, str] | None
    said: tuple[Outgoing, str] | None


class Beginning(NamedTuple):
    """What a boot must know of the life before."""

    offsets: dict[str, int]
    last_received: int
    last_outgoing: int
    last_seq: int
    intents: dict[str, str]
    sessions: dict[str, KeptSession]


class Store:
    """Open it before the first message. `durability` is asked at each commit: full, or normal; `took` is told how long each took.

    `redact` takes secrets out of what is kept of how things went; messages are kept as they are.
    """

    def __init__(
        self,
        state_dir: Path,
        durability: Callable[[], str],
        clock: Clock,
        took: Callable[[float], None] = lambda _: None,
        redact: Callable[[str], str] = str,
    ) -> None:
        self._redact = redact
        self.path = state_dir / FILE
        self._clock = clock
        self._took = took
        self._durability = durability
        self._database = Database(self.path)
        self._writer = self._make_writer(self._database, durability)
        self._move_log_at = LONGEST_LOG
        self._checkpoint: asyncio.Future[None] | None = None
        self._readers = ThreadPoolExecutor(1, "store-reader")
        self._encode = msgspec.json.Encoder().encode
        self._message = msgspec.json.Decoder(Message)
        self._outgoing = msgspec.json.Decoder(Outgoing)

    def _make_writer(self, database: Database, durability: Callable[[], str]) -> Writer:
        return Writer(database, STATEMENTS, durability, self._note_commit)

    async def open(self) -> Beginning:
        """Raises StoreError when the file is damaged, is of a newer version, or cannot be used."""
        await self._writer.in_thread(self._database.open)
        beginning: Beginning = await self._writer.in_thread(partial(_beginning, self._database.connection))
        self._last_received = beginning.last_received
        self._last_outgoing = beginning.last_outgoing
        return beginning

    def _note_commit(self, seconds: float) -> None:
        """When the log is long it is moved into the file, beside the commits that go on."""
        self._took(seconds)
        if self._database.log_size() > self._move_log_at and (self._checkpoint is None or self._checkpoint.done()):
            self._checkpoint = asyncio.ensure_future(self._move_log())

    async def _move_log(self) -> None:
        """Most of it in the reader's thread. What is left is little, and then the log begins anew, unless somebody reads in it."""
        moved = False
        try:
            await self._in_reader(self._database.checkpoint)
            moved = await self._writer.in_thread(self._database.begin_log_anew)
        except sqlite3.Error as error:
            log.warning("checkpoint_failed", path=str(self.path), why=str(error))
        # Not again with each commit while somebody reads: each time those that wait for one wait for him, too.
        self._move_log_at = LONGEST_LOG if moved else self._database.log_size() + LONGEST_LOG // 4

    @property
    def trouble(self) -> str:
        """Why nothing can be written now; empty while all is well."""
        return self._writer.trouble

    def next_commit(self) -> asyncio.Future[None]:
        """Done when all that was written before is on the disk, however long that takes: who asks first is told first."""
        return self._writer.next_commit()

    async def committed(self) -> None:
        """The same, waited for."""
        await self._writer.next_commit()

    async def close(self, patience: float = CLOSE_PATIENCE) -> bool:
        """Whether everything was written within so many seconds. Most of them are for what waits to be written."""
        reading = patience / 8
        if self._checkpoint is not None:
            await asyncio.wait({self._checkpoint}, timeout=reading)
        left = asyncio.ensure_future(self._in_reader(self._database.leave_beside))
        await asyncio.wait({left}, timeout=reading)
        self._readers.shutdown(wait=False, cancel_futures=True)
        return await self._writer.close(patience / 2)

    # Incoming

    def receive(self, identity: str, offset: int, messages: Sequence[Message]) -> list[Received]:
        """Write messages down together with the offset behind them, with the next commit."""
        first = self._last_received + 1
        for message in messages:
            self._last_received += 1
            self._writer.write(
                RECEIVE,
                (
                    self._last_received, message.id, message.name, message.conversation, self._encode(message),
                    message.received_at,
                ),
            )  # fmt: skip
        self._writer.write(OFFSET, (identity, offset, self._clock.wall_ms()))
        return [Received(first + place, message) for place, message in enumerate(messages)]

    async def new_of(self, received: Sequence[Received]) -> list[Received]:
        """When they are on the disk: those of them that were not known before."""
        await self.committed()
        if not received:
            return []
        find = partial(_numbers, self._database, received[0].number, received[-1].number)
        numbers = await self._writer.surely(find)
        return [each for each in received if each.number in numbers]

    def finish(self, number: int, state: str, why: str, attempts: int, outgoing: Sequence[Outgoing] = ()) -> None:
        """What became of a message, and what follows from it, as one."""
        self._writer.write(FINISH, (state, self._told(why), self._clock.wall_ms(), attempts, number))
        for each in outgoing:
            self.queue(each)

    def _told(self, why: str) -> str:
        return _clean(self._redact(why))

    def taken_up(self, number: int, attempts: int) -> None:
        """That it is given to its handler again, after so many lives in which it was."""
        self._writer.write(TAKE_UP, (attempts, number))

    async def unfinished(self, after: int, until: int, limit: int) -> list[Received]:
        """Messages that no life before has finished, oldest first: numbers above `after`, up to `until`."""
        rows = await self._writer.surely(partial(_unfinished, self._database, after, until, limit))
        return [Received(number, self._message.decode(body), attempts) for number, body, attempts in rows]

    async def messages(
        self, state: str | None, limit: int, account: str | None = None, conversation: str | None = None
    ) -> list[dict[str, Any]]:
        """The newest messages of the inbox, newest first."""
        where = f"{INBOX_PART.get(state or '', 'true')} AND {_where(state=state, account=account, conversation=conversation)}"
        sql = f"SELECT * FROM inbox WHERE {where} ORDER BY number DESC LIMIT ?"  # noqa: S608 - names of ours
        rows = await self._read(sql, (*_given(state, account, conversation), limit))
        return [dict(row) | {"body": msgspec.json.decode(row["body"])} for row in rows]

    async def conversations(self, account: str | None, limit: int) -> list[Conversation]:
        """Those in which something was said last, newest first."""
        return [
            Conversation(
                row["account"], row["conversation"],
                (self._message.decode(row["received"]), row["received_state"]) if row["received"] else None,
                (self._outgoing.decode(row["said"]), row["said_state"]) if row["said"] else None,
            )
            for row in await self._read(CONVERSATIONS, (account, limit))
        ]  # fmt: skip

    async def conversation(
        self, account: str, conversation: str, limit: int, *, unsent: bool = True
    ) -> list[tuple[str, str, int, str]]:
        """What was said last, oldest first: role (user or assistant), text, when (wall-clock ms), and the message's id.

        Of what the gateway says, what is dead was not said; nor, without `unsent`, what is not sent yet.
        """
        rows = await self._read(
            CONVERSATION, (account, conversation, limit, account, conversation, unsent, limit, limit)
        )
        return [
            (row["role"], msgspec.json.decode(row["body"])["text"], row["at"], row["name"]) for row in reversed(rows)
        ]

    async def counts(self) -> dict[str, int]:
        """How many messages there are in each state, as `inbox.received` and so on."""
        found: dict[str, dict[str, int]] = {"inbox": {}, "outbox": {}}
        for row in await self._read(COUNTS, ()):
            found[row["counted"]][row["state"]] = row["n"]
        for ordinary, counts in (("handled", found["inbox"]), ("sent", found["outbox"])):
            counts[ordinary] -= sum(count for state, count in counts.items() if state != ordinary)
        return {f"{table}.{state}": n for table, counts in found.items() for state, n in counts.items() if n}

    # Outgoing

    def next_number(self) -> int:
        """The number of the next outgoing message."""
        self._last_outgoing += 1
        return self._last_outgoing

    def queue(self, outgoing: Outgoing) -> None:
        self._writer.write(
            QUEUE,
            (
                outgoing.number, outgoing.key, outgoing.name, outgoing.conversation, self._encode(outgoing),
                outgoing.created_at, outgoing.created_at,
            ),
        )  # fmt: skip

    def mark(
        self, number: int, state: str, attempts: int, why: str = "", network_id: str = "", marked: bool = False
    ) -> None:
        """Where an outgoing message is."""
        now = self._clock.wall_ms()
        self._writer.write(MARK, (state, attempts, self._told(why), _clean(network_id), int(marked), now, number))

    async def unsent(self) -> list[Kept]:
        """What is neither sent nor dead, oldest first."""
        return self._kept(await self._read(f"SELECT * FROM outbox WHERE {OPEN} ORDER BY number", ()))  # noqa: S608

    async def outbox(self, state: str | None, limit: int, account: str | None = None) -> list[Kept]:
        """The newest, newest first; without a state those that are neither sent nor dead."""
        where = f"{OUTBOX_PART.get(state, 'true') if state else OPEN} AND {_where(state=state, account=account)}"
        sql = f"SELECT * FROM outbox WHERE {where} ORDER BY number DESC LIMIT ?"  # noqa: S608 - names of ours
        return self._kept(await self._read(sql, (*_given(state, account), limit)))

    async def outgoing_of(self, account: str, conversation: str, limit: int) -> list[Kept]:
        """The newest of a conversation, newest first, whatever became of them."""
        sql = "SELECT * FROM outbox WHERE account = ? AND conversation = ? ORDER BY number DESC LIMIT ?"
        return self._kept(await self._read(sql, (account, conversation, limit)))

    async def outgoing(self, number: int) -> Kept | None:
        found = self._kept(await self._read("SELECT * FROM outbox WHERE number = ?", (number,)))
        return found[0] if found else None

    async def by_key(self, key: str) -> Kept | None:
        """What was asked for with this idempotency key before."""
        found = self._kept(await self._read("SELECT * FROM outbox WHERE key = ?", (key,)))
        return found[0] if found else None

    def _kept(self, rows: Iterable[sqlite3.Row]) -> list[Kept]:
        return [
            Kept(
                self._outgoing.decode(row["body"]), row["state"], row["attempts"], bool(row["marked"]), row["why"],
                row["network_id"], row["changed_at"],
            )
            for row in rows
        ]  # fmt: skip

    # The rest

    def journal(self, seq: int, at: int, machine: str, body: bytes) -> None:
        self._writer.write(JOURNAL, (seq, at, machine, self._redact(body.decode()).encode()))

    async def journal_page(self, after: int, limit: int, machine: str | None) -> list[dict[str, Any]]:
        """Entries with a higher number, oldest first."""
        where, values = ("AND machine = ?", (machine,)) if machine else ("", ())
        sql = f"SELECT body FROM journal WHERE seq > ? {where} ORDER BY seq LIMIT ?"  # noqa: S608
        return [msgspec.json.decode(row["body"]) for row in await self._read(sql, (after, *values, limit))]

    async def journal_before(self, seq: int, limit: int, machine: str | None = None) -> list[dict[str, Any]]:
        """The last entries with a lower number, oldest first."""
        where = f"seq < ? AND {_where(machine=machine)}"
        sql = f"SELECT body FROM journal WHERE {where} ORDER BY seq DESC LIMIT ?"  # noqa: S608 - names of ours
        rows = await self._read(sql, (seq, *_given(machine), limit))
        return [msgspec.json.decode(row["body"]) for row in reversed(rows)]

    def request(self, request: str, at: int, outcome: str, body: Any) -> None:
        self._writer.write(REQUEST, (request, at, outcome, self._redact(self._encode(body).decode()).encode()))

    async def requests(self, limit: int) -> list[dict[str, Any]]:
        """The newest, oldest first."""
        rows = await self._read("SELECT body FROM requests ORDER BY at DESC LIMIT ?", (limit,))
        return [msgspec.json.decode(row["body"]) for row in reversed(rows)]

    def intend(self, account: str, intent: str | None) -> None:
        """What a person wants of an account; None: nothing any more."""
        # One statement for both: two of them would not be run in the order in which they came.
        self._writer.write(INTEND, (account, intent or NO_INTENT, self._clock.wall_ms()))

    def keep_session(self, identity: str, kept: KeptSession) -> None:
        """A bot's session with its network, and when those of the last day were started."""
        session = None if kept.session is None else _clean(kept.session)
        self._writer.write(SESSION, (identity, session, self._encode(kept.starts).decode(), self._clock.wall_ms()))

    def notice(self, request: str, body: Any) -> None:
        """Somebody is to be told when a request is carried out."""
        self._writer.write(NOTICE, (request, self._encode(body), self._clock.wall_ms()))

    def forget_notice(self, request: str) -> None:
        self._writer.write(FORGET_NOTICE, (request,))

    async def notices(self) -> dict[str, Any]:
        rows = await self._read("SELECT request, body FROM notices ORDER BY at", ())
        return {row["request"]: msgspec.json.decode(row["body"]) for row in rows}

    # Keeping house

    async def forget(self, before: int, keep: int, journal_until: int) -> None:
        """Retention: what ended before that time (wall-clock ms), all but the newest `keep`, and the journal up to that number.

        What is not finished is never forgotten.
        """
        statements: Statements = {
            FORGET_INBOX: [(before, self._last_received - keep)],
            FORGET_OUTBOX: [(before, self._last_outgoing - keep)],
            FORGET_REQUESTS: [(before,)],
            FORGET_JOURNAL: [(before, journal_until)],
        }
        while await self._writer.surely(lambda: self._database.commit(statements, self._durability())):
            """Some rows at a time: nobody who waits for a commit waits for all of it."""
        while await self._writer.surely(self._database.give_back):
            """Some pages at a time, for the same reason."""

    async def _read(self, sql: str, values: tuple[Any, ...]) -> list[sqlite3.Row]:
        rows: list[sqlite3.Row] = await self._in_reader(partial(self._database.fetch, sql, values))
        return rows

    async def _in_reader(self, job: Callable[[], Any]) -> Any:
        """Raises UnavailableError for whoever asks when it is closed: calls that a stop has cut off in their middle."""
        try:
            reading = asyncio.get_running_loop().run_in_executor(self._readers, job)
        except RuntimeError as error:
            raise UnavailableError("the gateway ends, and its store is closed; ask again when it runs") from error
        return await reading


def _unfinished(database: Database, after: int, until: int, limit: int) -> list[tuple[int, bytes, int]]:
    return database.connection.execute(UNFINISHED, (after, until, limit)).fetchall()


def _numbers(database: Database, first: int, last: int) -> set[int]:
    rows = database.connection.execute("SELECT number FROM inbox WHERE number BETWEEN ? AND ?", (first, last))
    return {row[0] for row in rows}


def _beginning(connection: sqlite3.Connection) -> Beginning:
    def one(sql: str) -> int:
        return int(connection.execute(sql).fetchone()[0] or 0)

    def last(table: str) -> int:
        # SQLite remembers the highest number there ever was, also when its row is gone.
        return one(f"SELECT max(seq) FROM sqlite_sequence WHERE name = '{table}'")  # noqa: S608 - a name of ours

    return Beginning(
        offsets=dict(connection.execute("SELECT identity, next FROM offsets")),
        last_received=last("inbox"),
        last_outgoing=last("outbox"),
        last_seq=one("SELECT max(seq) FROM journal"),
        intents=dict(connection.execute("SELECT account, intent FROM intents WHERE intent != ?", (NO_INTENT,))),
        sessions={
            identity: KeptSession(session, tuple(msgspec.json.decode(starts)))
            for identity, session, starts in connection.execute("SELECT identity, session, starts FROM sessions")
        },
    )


def _where(**columns: str | None) -> str:
    """A condition for the columns of which a value is given; `_given` has their values."""
    return " AND ".join(f"{name} = ?" for name, value in columns.items() if value is not None) or "true"


def _given(*values: str | None) -> tuple[str, ...]:
    return tuple(value for value in values if value is not None)


def _clean(text: str) -> str:
    """Without half characters, which no database takes."""
    return text.encode(errors="replace").decode()
