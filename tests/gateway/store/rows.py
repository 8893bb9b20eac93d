"""Rows for the tests of the database: written by it, read by another program."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from gateway.store.database import Database
from gateway.store.store import RECEIVE


def row(number: int, body: bytes = b"{}") -> tuple[Any, ...]:
    return (number, f"id {number}", "telegram/main", "7", body, 0)


def put(database: Database, *numbers: int, body: bytes = b"{}") -> None:
    database.commit({RECEIVE: [row(number, body) for number in numbers]}, "full")


def numbers(path: Path) -> list[int]:
    """What another program reads."""
    with closing(sqlite3.connect(path)) as other:
        return [number for (number,) in other.execute("SELECT number FROM inbox ORDER BY number")]
