"""Reads the revision that should run: the file, or what `Standing` says is held in its place."""

from __future__ import annotations

import asyncio
from pathlib import Path

from gateway.config import file
from gateway.config.file import MISSING, Reader, Revision
from gateway.config.history import History
from gateway.config.secrets import secrets_of
from gateway.config.standing import Standing
from gateway.errors import ConfigError, Issue, UnknownRevisionError
from gateway.redact import Redactor

REREADS = 2
REREAD_PAUSE = 0.15
"""A file that is missing or cut off is read again that often, that many seconds apart, before it counts."""


class Wanted:
    """`on_disk` is the hash of the file when it was read last, "missing" when there was none."""

    def __init__(
        self, path: Path, on_disk: str, reader: Reader, standing: Standing, history: History, redactor: Redactor
    ) -> None:
        self._path = path
        self._reader = reader
        self._standing = standing
        self._history = history
        self._redactor = redactor
        self.on_disk = on_disk
        self._seen = on_disk
        """The same, before it counts: what is cut off is read again."""

    async def load(self) -> Revision:
        """Read again a little later when the file is missing or cut off. Raises ConfigError."""
        for attempt in range(REREADS + 1):
            try:
                revision = await asyncio.to_thread(self._load)
            except ConfigError:
                if attempt == REREADS:
                    self.on_disk = self._seen
                    raise
                await asyncio.sleep(REREAD_PAUSE)
            else:
                self.on_disk = self._seen
                break
        return revision

    def _load(self) -> Revision:
        """The file is looked at in any case: what it holds decides what is wanted."""
        try:
            raw = file.read(self._path)
            self._seen = file.revision_of(raw)
        except ConfigError as error:
            self._seen = error.revision or MISSING
            raw = None
        wanted = self._standing.wanted(self._seen)
        if wanted != self._seen:
            raw = self._kept(wanted)
        revision = self._reader.load(file.read(self._path) if raw is None else raw)
        if revision.id == self._seen:
            self._standing.forget(self._seen)
        self._redactor.learn(secrets_of(revision.config))
        return revision

    async def load_kept(self, revision: str) -> Revision:
        """One of the history. Raises ConfigError."""
        return await asyncio.to_thread(lambda: self._reader.load(self._kept(revision)))

    async def load_file(self) -> Revision:
        """The file as it is, whatever is wanted. Raises ConfigError."""
        return await asyncio.to_thread(lambda: self._reader.load(file.read(self._path)))

    def _kept(self, revision: str) -> bytes:
        try:
            return self._history.raw(revision)
        except UnknownRevisionError as error:
            raise ConfigError([Issue("", str(error))], revision) from error
