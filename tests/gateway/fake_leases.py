"""Leases in memory, as a store keeps them, with a line to it for each host: one that is slow, cut, or never ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from msgspec.structs import replace

from gateway.process.lease_store import OutrunError, StoreUnreachableError
from statemachine.lease_record import Record


class FakeLeases:
    """What all hosts see: by key, a record and its revision."""

    def __init__(self) -> None:
        self.records: dict[str, tuple[Record, int]] = {}
        self._revisions = 0

    def write(self, key: str, record: Record) -> None:
        self._revisions += 1
        self.records[key] = record, self._revisions

    def seize(self, key: str) -> None:
        """Another host writes that it has it now, whoever had it."""
        term = self.records[key][0].term + 1 if key in self.records else 1
        self.write(key, Record("another", "host-b, PID 7", term, 15.0, settled=True))

    def release(self, key: str) -> None:
        self.write(key, replace(self.records[key][0], released=True))

    def line(self) -> FakeLine:
        return FakeLine(self)


class FakeLine:
    """One host's way there."""

    def __init__(self, leases: FakeLeases) -> None:
        self._leases = leases
        self.cut = False
        self.takes = 0.001
        """Seconds that a question takes."""
        self.closed = 0
        self.written: Callable[[], Awaitable[None]] | None = None
        """Something that comes in between before the next writer hears of its writing."""

    async def read(self, key: str) -> tuple[Record | None, int]:
        await self._ask()
        return self._leases.records.get(key, (None, 0))

    async def write(self, key: str, record: Record, revision: int) -> None:
        await self._ask()
        if self._leases.records.get(key, (None, 0))[1] != revision:
            raise OutrunError(key)
        self._leases.write(key, record)
        if self.written is not None:
            between, self.written = self.written, None
            await between()

    async def _ask(self) -> None:
        await asyncio.sleep(self.takes)
        if self.cut:
            raise StoreUnreachableError("nats://fake: no answer")

    async def close(self) -> None:
        self.closed += 1
