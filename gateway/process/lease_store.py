"""Where hosts write down for each other who receives: any store that refuses to write over what the writer has not read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from msgspec.structs import replace

from gateway.errors import GatewayError
from statemachine import Event
from statemachine.lease import HoldLease, LeaseDenied, LeaseReleased, LeaseTaken, ReleaseLease, StoreFailed
from statemachine.lease_record import Record, claim


class StoreUnreachableError(GatewayError):
    """The store did not answer, or what it has is no record of ours."""


class OutrunError(GatewayError):
    """Somebody has written the record since it was read. Nothing was written."""


class LeaseStore(Protocol):
    """One record a bot."""

    async def read(self, key: str) -> tuple[Record | None, int]:
        """A record and its revision; None and what a first one is written over. Raises StoreUnreachableError."""

    async def write(self, key: str, record: Record, revision: int) -> None:
        """Write over that revision. Raises OutrunError, StoreUnreachableError."""

    async def close(self) -> None:
        """Let go of it."""


class Holder:
    """What one gateway does with the records. `me` is its holder, `who` its name for people, `now` has monotonic seconds."""

    def __init__(self, store: LeaseStore, me: str, who: str, now: Callable[[], float]) -> None:
        self._store = store
        self._me = Record(me, who, 0, 0.0, settled=True)
        self._now = now
        self._seen: dict[str, tuple[int, float]] = {}
        """By key, the revision that was read last, and since when it is that one."""

    async def hold(self, effect: HoldLease) -> Event:
        """Take it, or renew it, where that may be."""
        at = self._now()
        try:
            record, revision = await self._store.read(effect.key)
            claimed = claim(record, self._me, effect, at, self._unchanged(effect.key, revision))
            if claimed is None:
                return LeaseDenied(effect.attempt, record.who if record is not None else "nobody")
            await self._store.write(effect.key, claimed.record, revision)
        except OutrunError:
            return StoreFailed(effect.attempt, self._now(), "somebody else wrote at the same moment")
        except StoreUnreachableError as error:
            return StoreFailed(effect.attempt, self._now(), str(error))
        return LeaseTaken(effect.attempt, at, claimed.record.term, claimed.waits)

    async def release(self, effect: ReleaseLease) -> Event:
        """Let anybody have it; where it is not held under that number any more, that is so already."""
        try:
            record, revision = await self._store.read(effect.key)
            if record is not None and record.holder == self._me.holder and record.term == effect.term:
                await self._store.write(effect.key, replace(record, released=True), revision)
        except (OutrunError, StoreUnreachableError) as error:
            return StoreFailed(effect.attempt, self._now(), str(error))
        return LeaseReleased(effect.attempt)

    def _unchanged(self, key: str, revision: int) -> float:
        """Seconds for which it has been seen to be that one. Of all clocks only our own is read, and after the answer."""
        known, since = self._seen.get(key, (-1, 0.0))
        if known != revision:
            since = self._now()
            self._seen[key] = revision, since
        return self._now() - since
