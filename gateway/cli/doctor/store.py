"""The store's file: whether it is whole, of which version it is, and what in it waits for a person."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator

from gateway.cli.doctor.finding import Finding, Patient, Severity
from gateway.store.database import REMEDY, Database, damage_of, version_of
from gateway.store.migrations import migrations
from gateway.store.store import FILE

WAITING = "SELECT state, count(*) FROM outbox WHERE state IN ('unknown', 'dead') GROUP BY state"
SAID = {
    "unknown": (Severity.WARNING, "may have been sent and may not, and a person must say"),
    # It was told of when it died, and is forgotten in time.
    "dead": (Severity.NOTE, "could not be sent"),
}


def store(patient: Patient) -> Iterator[Finding]:
    """It is only read, also while a gateway writes to it."""
    path = patient.state_dir / FILE
    if not path.exists():
        yield Finding("store", Severity.OK, f"{path} does not exist yet: the first start makes it")
        return
    try:
        with contextlib.closing(Database(path).reader()) as connection:
            yield from _examine(connection, patient)
    except (sqlite3.Error, OSError) as error:
        yield Finding("store", Severity.ERROR, f"{path} cannot be read: {error}", REMEDY)


def _examine(connection: sqlite3.Connection, patient: Patient) -> Iterator[Finding]:
    path = patient.state_dir / FILE
    have, newest = version_of(connection), max(migrations())
    if damage := damage_of(connection):
        yield Finding("store", Severity.ERROR, f"{path} is damaged ({damage})", REMEDY)
        return
    if have > newest:
        yield Finding(
            "store",
            Severity.ERROR,
            f"{path} is of version {have}, and this gateway knows versions up to {newest}",
            "use the gateway that made it, or a newer one",
        )
        return
    older = f"; of version {have}, which the next start brings up to {newest}" if have < newest else ""
    size = path.stat().st_size // 1024
    yield Finding("store", Severity.NOTE if older else Severity.OK, f"{path} is whole, {size:,} KB{older}")
    if have:
        for state, count in connection.execute(WAITING):
            severity, said = SAID[state]
            remedy = f"`python -m gateway outbox --state {state}` lists them; `outbox retry ID`, `outbox discard ID`"
            yield Finding("store", severity, f"{count} outgoing message(s) {said}", remedy)
