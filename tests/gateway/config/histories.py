"""A history in a folder, and entries of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gateway.config.file import revision_of
from gateway.config.history import KEPT, History, HistoryEntry
from tests.virtual import VirtualClock


class StoppedClock(VirtualClock):
    """Needs no loop."""

    def wall_ms(self) -> int:
        return 1_800_000_000_000


def history(folder: Path, *pinned: bytes) -> History:
    return History(folder, StoppedClock(), lambda: set(map(revision_of, pinned)))


def text(number: int) -> bytes:
    return b"gateway: {name: n%d}\n" % number


def enter(to: History, number: int, **more: Any) -> int:
    """The entry of one in a chain of revisions."""
    raw, before = text(number), text(number - 1) if number else None
    return to.open(
        revision_of(raw),
        raw,
        **{
            "base": before and revision_of(before),
            "base_raw": before,
            "requester": "http 127.0.0.1",
            "road": "http",
            "note": f"note {number}",
            "paths": ["gateway.name"],
        }
        | more,
    )


def whole(folder: Path) -> list[HistoryEntry]:
    """What a new process finds, every text that is named with it."""
    found = history(folder)
    entries = found.entries(KEPT)
    for entry in entries:
        found.raw(entry.revision)
        if entry.base is not None:
            found.raw(entry.base)
    return entries


def numbers(of: History) -> list[int]:
    return [entry.number for entry in of.entries(KEPT)]
