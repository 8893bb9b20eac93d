"""Tells the history what comes and what becomes of it, for every road by which a config changes."""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial

import structlog

from gateway.config.file import Revision, revision_of
from gateway.config.history import KEPT, PENDING, History
from gateway.config.ledger import Ledger
from gateway.config.plan import make_plan
from gateway.errors import ConfigWriteError, UnavailableError
from gateway.redact import Redactor

log: structlog.stdlib.BoundLogger = structlog.get_logger()

FILE = "file"
"""The road of what was found in the file."""
REFUSED = "refused"
"""The outcome of what was never written."""
WAITS = (PENDING, "restart_pending", "noted")
"""Another outcome is to come."""
RUNS = ("applied", "noop")


class Chronicle:
    """Knows which entry is whose until its outcome is final."""

    def __init__(self, history: History, ledger: Ledger, redactor: Redactor) -> None:
        self._history = history
        self._ledger = ledger
        self._redactor = redactor
        self._entered: dict[int, str] = {}
        """The entries that have an outcome to come, and the revision of each."""
        self._lock = asyncio.Lock()
        self._booting: asyncio.Task[None] | None = None
        self._said: deque[tuple[int, str, str]] = deque()
        self._telling: asyncio.Task[None] | None = None

    # What comes

    async def begin(self, revision: Revision, before: bytes | None, requester: str, note: str) -> None:
        """Before a write: both texts are on the disk when it returns. Raises ConfigWriteError: then nothing may be written."""
        async with self._lock:
            await self._open(revision, before, requester, requester.split(" ", maxsplit=1)[0], note)

    async def found(self, revision: Revision, requester: str) -> None:
        """This is in the file. Call it before the ledger is told: what was accepted last is what was there before."""
        before = self._ledger.accepted
        if revision.id != before.id:
            async with self._lock:
                await self._note(revision, before.raw, requester)

    def boot(self, revision: Revision) -> None:
        """A process runs this from its beginning: so there is a way back from the first change of all, too.

        It waits for no disk; whatever comes next has its entry after it.
        """
        self._booting = asyncio.ensure_future(self._boot(revision))

    async def _boot(self, revision: Revision) -> None:
        async with self._lock:
            await self._enter_boot(revision)
        self.settle(revision.id, "applied", "at a boot")

    async def _enter_boot(self, revision: Revision) -> None:
        try:
            entries = await asyncio.to_thread(self._history.entries, KEPT)
        except UnavailableError as error:
            _complain(revision, error)
            return
        newest = next((entry for entry in entries if entry.outcome != REFUSED), None)
        if newest is None or newest.revision != revision.id:
            await self._note(revision, None, "boot")
        elif newest.outcome in WAITS:
            self._entered[newest.number] = revision.id

    async def _note(self, revision: Revision, before: bytes | None, requester: str) -> None:
        try:
            await self._open(revision, before, requester, FILE, "")
        except ConfigWriteError as error:
            # It is in the file already: nothing is written over.
            _complain(revision, error)

    async def _open(self, revision: Revision, before: bytes | None, requester: str, road: str, note: str) -> None:
        paths = make_plan(self._ledger.accepted.config, revision.config).paths
        opening = partial(
            self._history.open, revision.id, revision.raw,
            base=None if before is None else revision_of(before), base_raw=before,
            requester=requester, road=road, note=self._redactor.text(note), paths=paths,
        )  # fmt: skip
        number = await asyncio.to_thread(opening)
        self._entered[number] = revision.id

    # What becomes of it

    def settle(self, revision: str, outcome: str, why: str = "") -> None:
        """Written in the order of the telling, by a thread."""
        number = max((number for number, entered in self._entered.items() if entered == revision), default=None)
        if number is None:
            return
        if outcome in RUNS:
            # What still waits and is older than what runs now will not run any more.
            for older in [other for other in self._entered if other < number]:
                del self._entered[older]
                self._said.append((older, "superseded", revision))
        if outcome not in WAITS:
            del self._entered[number]
        self._said.append((number, outcome, self._redactor.text(why)))
        if self._telling is None or self._telling.done():
            self._telling = asyncio.ensure_future(self._tell())

    async def _tell(self) -> None:
        while self._said:
            await asyncio.to_thread(self._history.conclude, *self._said.popleft())


def _complain(revision: Revision, error: Exception) -> None:
    log.warning("history_not_written", revision=revision.id[:12], why=str(error))
