"""The journal as a file that `gateway replay` runs through the tables: a header line, then one JSON line an entry.

The first entry of a machine says where it began. Where the journal has dropped its beginning, that is where the machine
stood at the oldest entry that is kept: such a file is marked as cut, and replayed from there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from gateway import __version__
from gateway.journal import Entry, Journal
from statemachine import MACHINES, Machine
from statemachine.describe import digest
from statemachine.record import plain

FORMAT = 1
"""Of the file. What reads it refuses another one."""


def header(
    journal: Journal, entries: Sequence[Entry], boot: str, machine: str | None = None, after: int = 0
) -> dict[str, Any]:
    """What the file is. `machine` is the only one that it is about, None for all; it holds what came `after` that number."""
    return {
        "format": FORMAT,
        "gateway": __version__,
        "boot": boot,
        "machines": {kind.kind: digest(kind) for kind in MACHINES},
        "machine": machine,
        "entries": len(entries),
        "cut": not journal.is_whole(after),
    }


def exported(journal: Journal, entries: Sequence[Entry]) -> Iterator[dict[str, Any]]:
    """Each entry in full, with its machine's start where that is the first of it."""
    lives: dict[str, Machine[Any, Any]] = {}
    for entry in entries:
        data = journal.full(entry)
        if entry.standing is not None and lives.get(entry.machine) is not entry.standing.machine:
            machine, known = entry.standing
            lives[entry.machine] = machine
            data["start"] = {"kind": machine.kind, "state": entry.before, "data": plain(known, journal.seal)}
        yield data
