"""The store in the world of messages: what is on the disk, what is being committed, and what is only in memory yet.

Whatever waits is committed as one, and a crash leaves what is on the disk and nothing else.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec
from msgspec.structs import replace

R = TypeVar("R")

COUNT = 2
"""Messages, all in one conversation."""


class Inbox(msgspec.Struct, frozen=True, cache_hash=True):
    """A row of the inbox."""

    state: str
    attempts: int = 0


class Outbox(msgspec.Struct, frozen=True, cache_hash=True):
    """A row of the outbox."""

    state: str = "queued"
    marked: bool = False


class Image(msgspec.Struct, frozen=True, cache_hash=True):
    """All that the store holds. The reply to a message has the message's place."""

    offset: int = 0
    """How many messages were received, as the next poll tells the network."""
    inbox: tuple[Inbox | None, ...] = (None,) * COUNT
    outbox: tuple[Outbox | None, ...] = (None,) * COUNT

    def receive(self, offset: int) -> tuple[Image, frozenset[int]]:
        """Take over what is below an offset; which of it was not known before."""
        fresh = frozenset(place for place in range(offset) if self.inbox[place] is None)
        inbox = tuple(Inbox("received") if place in fresh else row for place, row in enumerate(self.inbox))
        return replace(self, offset=offset, inbox=inbox), fresh

    def take_up(self, place: int, lives: int) -> Image:
        """It is given to its handler again, after so many lives in which it was."""
        row = self.inbox[place]
        assert row is not None, "what is taken up is there"
        return replace(self, inbox=_put(self.inbox, place, replace(row, attempts=lives)))

    def finish(self, place: int, outcome: str, attempts: int, *, replies: bool) -> Image:
        """The end of a message and its reply, as one."""
        outbox = _put(self.outbox, place, Outbox()) if replies else self.outbox
        return replace(self, inbox=_put(self.inbox, place, Inbox(outcome, attempts)), outbox=outbox)

    def mark(self, place: int, row: Outbox) -> Image:
        return replace(self, outbox=_put(self.outbox, place, row))

    def unfinished(self) -> list[int]:
        """The messages that have not ended, in their order."""
        return [place for place, row in enumerate(self.inbox) if row is not None and row.state == "received"]

    def unsent(self) -> list[int]:
        """The replies that are neither sent nor dead, in their order."""
        return [place for place, row in enumerate(self.outbox) if row is not None and row.state not in ("sent", "dead")]


class Store(msgspec.Struct, frozen=True, cache_hash=True):
    """Three images of it. `flying` is None while nothing is being committed."""

    disk: Image = Image()
    flying: Image | None = None
    memory: Image = Image()


def _put(rows: tuple[R, ...], place: int, row: R) -> tuple[R, ...]:
    return (*rows[:place], row, *rows[place + 1 :])
