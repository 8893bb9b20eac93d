"""A place for a database, and one that is open there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.store.database import Database


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    return folder / "gateway.sqlite3"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    database = Database(path)
    database.open()
    yield database
    database.close()
