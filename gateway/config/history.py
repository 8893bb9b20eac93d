"""Every revision that came: who brought it, when, why and by which road, what it changed, and what came of it.

The folder holds the bytes, one file a revision, and a log, one line of JSON a record. A line with a revision opens an
entry, a later one with the same number concludes it. Values are in the bytes alone, never in the log.
What is read or written here blocks; callers use a thread.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any

import msgspec
import structlog

from gateway.clock import Clock
from gateway.config.file import revision_of, sync_folder, write
from gateway.errors import ConfigError, ConfigWriteError, Issue, UnavailableError, UnknownRevisionError

log: structlog.stdlib.BoundLogger = structlog.get_logger()

KEPT = 200
"""Entries."""
MOST_LINES = 4 * KEPT
"""The log is written anew when it has more."""
MOST_PATHS = 200
"""More changed paths than that are told by what they are under."""
LONGEST = 1000
"""Characters of a text in the log."""
PENDING = "pending"


@dataclass(frozen=True)
class HistoryEntry:
    """One revision and what became of it. `outcome` is pending until it is concluded. Times are wall-clock ms."""

    number: int
    revision: str
    base: str | None
    """What was in its place before; None when there was no file."""
    at: int
    requester: str
    road: str
    """How it came: file, http, ws."""
    note: str
    changed_paths: tuple[str, ...]
    outcome: str = PENDING
    why: str = ""
    ended_at: int | None = None
    stage: str = ""
    """How far it came, where it did not come to its end: validate, provision, write, swap, health, confirm."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class _Conclusion:
    number: int
    outcome: str
    why: str
    ended_at: int
    stage: str = ""


class History:
    """The newest KEPT entries, and the bytes of every revision that they name or that is `pinned`.

    Readable by the owner alone. `pinned` is asked in the thread of the caller.
    """

    def __init__(self, folder: Path, clock: Clock, pinned: Callable[[], set[str]] = set) -> None:
        self._folder = folder
        self._log = folder / "log.jsonl"
        self._clock = clock
        self._pinned = pinned
        self._lock = Lock()
        self._entries: dict[int, HistoryEntry] | None = None
        """By number, oldest first; None until they are first asked for: a boot does not wait for them."""
        self._end = 0
        """Where the last whole line of the log ends: what a crash or a full disk has left behind it is no part of it."""
        self._lines = 0

    # Writing

    def open(
        self,
        revision: str,
        raw: bytes,
        *,
        base: str | None,
        base_raw: bytes | None,
        requester: str,
        road: str,
        note: str,
        paths: list[str],
    ) -> int:
        """Keep both texts and begin an entry; its number. On the disk when it returns.

        Raises ConfigWriteError when it cannot be kept: then nothing may be written over.
        """
        with self._lock:
            try:
                entries = self._loaded()
                number = max(entries, default=0) + 1
                entry = HistoryEntry(
                    number, revision, base, self._clock.wall_ms(),
                    _text(requester), _text(road), _text(note), tuple(map(_text, _summary(paths))),
                )  # fmt: skip
                if base is not None and base_raw is not None:
                    self._keep(base, base_raw)
                self._keep(revision, raw)
                self._append(entry)
            except UnavailableError as error:
                raise ConfigWriteError(str(error)) from error
            entries[number] = entry
            while len(entries) > KEPT:
                del entries[next(iter(entries))]
            self._tidy(entries)
            return number

    def conclude(self, number: int, outcome: str, why: str = "", stage: str = "") -> None:
        """Say what became of an entry. When that cannot be written it is logged, and written with what comes next."""
        with self._lock:
            try:
                entries = self._loaded()
                if number not in entries:
                    return
                said = _Conclusion(number, outcome, _text(why), self._clock.wall_ms(), stage)
                entries[number] = _concluded(entries[number], said)
                self._append(said)
            except (ConfigWriteError, UnavailableError) as error:
                self._lines = MOST_LINES
                log.warning("history_not_written", entry=number, outcome=outcome, why=str(error))
            else:
                self._tidy(entries)

    def keep(self, raw: bytes) -> None:
        """Bytes that have no entry; they stay as long as they are pinned. Raises ConfigWriteError."""
        with self._lock:
            self._keep(revision_of(raw), raw)

    # Reading

    def entries(self, limit: int, before: int | None = None) -> list[HistoryEntry]:
        """The newest ones first, with numbers below `before`. Raises UnavailableError."""
        with self._lock:
            found = [entry for number, entry in self._loaded().items() if before is None or number < before]
        return found[::-1][:limit]

    def find(self, ref: str) -> HistoryEntry:
        """By number, or by the beginning of a revision (6 characters or more): its newest entry.

        Raises UnknownRevisionError, or UnavailableError.
        """
        newest_first = self.entries(KEPT)
        for entry in newest_first:
            if str(entry.number) == ref:
                return entry
        found = [entry for entry in newest_first if entry.revision.startswith(ref)] if _is_prefix(ref) else []
        if not found:
            raise UnknownRevisionError(f"the history has no entry {_text(ref)[:80]!r}; {_extent(newest_first)}")
        if len({entry.revision for entry in found}) > 1:
            raise UnknownRevisionError(f"several revisions begin with {ref}; give more of it, or an entry's number")
        return found[0]

    def raw(self, revision: str) -> bytes:
        """A revision's bytes, whole. Raises UnknownRevisionError when they are not kept, ConfigError when they are damaged."""
        file = self._file(revision)
        try:
            raw = file.read_bytes()
        except FileNotFoundError as error:
            raise UnknownRevisionError(f"the bytes of revision {revision[:12]} are not kept") from error
        except OSError as error:
            raise ConfigError([Issue("", f"{file} cannot be read: {error.strerror}")], revision) from error
        if revision_of(raw) != revision:
            raise ConfigError([Issue("", f"{file} is damaged: it is not what its name says")], revision)
        return raw

    # The folder

    def _file(self, revision: str) -> Path:
        if not re.fullmatch("[0-9a-f]{64}", revision):
            raise UnknownRevisionError(f"{_text(revision)[:80]!r} is no revision: one is 64 characters of 0-9 and a-f")
        return self._folder / f"{revision}.yaml"

    def _keep(self, revision: str, raw: bytes) -> None:
        self._make_folder()
        file = self._file(revision)
        with contextlib.suppress(OSError):
            if file.read_bytes() == raw:
                return
        write(file, raw)

    def _make_folder(self) -> None:
        try:
            if not self._folder.is_dir():
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                sync_folder(self._folder.parent)
            if self._folder.stat().st_mode & 0o077:
                self._folder.chmod(0o700)
        except OSError as error:
            raise ConfigWriteError(f"{self._folder} cannot be made: {error.strerror}") from error

    def _tidy(self, entries: dict[int, HistoryEntry]) -> None:
        """Make the log short again, and remove what nothing names. Whatever goes wrong here can wait for the next time."""
        named = {entry.revision for entry in entries.values()} | {entry.base for entry in entries.values()}
        try:
            if self._lines > MOST_LINES:
                self._write_anew(entries)
            named |= self._pinned()
            for file in self._folder.iterdir():
                # A temporary file is what a crash has left of a write: there is one writer, and it is here.
                forgotten = file.suffix == ".yaml" and file.stem not in named
                if forgotten or (file.name.startswith(".") and file.suffix == ".tmp"):
                    file.unlink(missing_ok=True)
        except (OSError, ConfigWriteError) as error:
            log.warning("history_not_tidied", why=str(error))

    # The log

    def _loaded(self) -> dict[int, HistoryEntry]:
        """The entries, read when they are first asked for. Raises UnavailableError."""
        if self._entries is not None:
            return self._entries
        try:
            content = self._log.read_bytes()
        except FileNotFoundError:
            content = b""
        except OSError as error:
            raise UnavailableError(f"{self._log} cannot be read: {error.strerror}") from error
        *lines, torn = content.split(b"\n")
        entries: dict[int, HistoryEntry] = {}
        damaged = 0
        for line in lines:
            try:
                _replay(line, entries)
            except (msgspec.DecodeError, UnicodeError, RecursionError):
                damaged += 1
        if torn or damaged:
            log.warning("history_damaged", file=str(self._log), torn=bool(torn), lines=damaged)
        self._end, self._lines = len(content) - len(torn), len(lines)
        self._entries = {number: entries[number] for number in sorted(entries)[-KEPT:]}
        return self._entries

    def _append(self, record: HistoryEntry | _Conclusion) -> None:
        """One more line, on the disk. Raises ConfigWriteError: the log then ends where it ended before."""
        line = msgspec.json.encode(record) + b"\n"
        try:
            if not self._log.exists() or self._log.stat().st_size < self._end:
                self._write_anew(self._loaded())  # somebody has taken it away, or it is the first line of all
            descriptor = os.open(self._log, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            try:
                os.ftruncate(descriptor, self._end)
                _write_out(descriptor, line)
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(descriptor, self._end)
                raise
            finally:
                os.close(descriptor)
        except OSError as error:
            raise ConfigWriteError(f"{self._log} cannot be written: {error.strerror}") from error
        self._end += len(line)
        self._lines += 1

    def _write_anew(self, entries: dict[int, HistoryEntry]) -> None:
        content = b"".join(msgspec.json.encode(entry) + b"\n" for entry in entries.values())
        write(self._log, content)
        self._end, self._lines = len(content), len(entries)


def _replay(line: bytes, entries: dict[int, HistoryEntry]) -> None:
    """Raises msgspec.DecodeError for what is no record."""
    record = msgspec.json.decode(line)
    if isinstance(record, dict) and "revision" in record:
        entry = msgspec.convert(record, HistoryEntry)
        entries[entry.number] = entry
    else:
        said = msgspec.convert(record, _Conclusion)
        if said.number in entries:  # or it is of one that is not kept any more
            entries[said.number] = _concluded(entries[said.number], said)


def _concluded(entry: HistoryEntry, said: _Conclusion) -> HistoryEntry:
    return replace(entry, outcome=said.outcome, why=said.why, ended_at=said.ended_at, stage=said.stage)


def _write_out(descriptor: int, line: bytes) -> None:
    """All of it, and on the disk."""
    rest = memoryview(line)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
    os.fsync(descriptor)


def _text(text: str) -> str:
    """What a line can hold of a text that anybody may have sent: half a character becomes a question mark."""
    return text[:LONGEST].encode(errors="replace").decode()


def _summary(paths: list[str]) -> list[str]:
    """The paths, or where there are too many what they are under."""
    while len(paths) > MOST_PATHS:
        paths = list(dict.fromkeys(path.rpartition(".")[0] for path in paths))
    return paths


def _is_prefix(ref: str) -> bool:
    return re.fullmatch("[0-9a-f]{6,64}", ref) is not None


def _extent(newest_first: list[HistoryEntry]) -> str:
    """What is kept, in words."""
    if not newest_first:
        return "it has none yet"
    kept = len(newest_first)
    return f"it keeps {kept} of at most {KEPT}, the oldest is number {newest_first[-1].number}"
