"""A store in a folder, and what is put into it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any

from structlog.testing import capture_logs

from gateway.messages.model import Message, Outgoing
from gateway.store.store import FILE, Received, Store
from tests.virtual import VirtualClock, run_virtual

IDENTITY = "telegram:1001:abc"


def message(name: str, text: str = "hello", **more: Any) -> Message:
    return Message(name, "telegram", "main", "7", "5", "ann", text, 1_700_000_000_000, **more)


async def take(store: Store, identity: str, offset: int, messages: list[Message]) -> list[Received]:
    """Those that were not known, when all of them are kept."""
    return await store.new_of(store.receive(identity, offset, messages))


def outgoing(number: int, key: str | None = None, text: str = "hello", **more: Any) -> Outgoing:
    return Outgoing(number, key or f"key {number}", "telegram", "main", "7", text, 0, 10, **more)


async def opened(folder: Path) -> Store:
    store = Store(folder, lambda: "full", VirtualClock())
    await store.open()
    return store


def run(main: Callable[[Store], Coroutine[Any, Any, None]], folder: Path) -> None:
    async def whole() -> None:
        store = await opened(folder)
        await main(store)
        assert await store.close()

    with capture_logs():
        run_virtual(whole())


def rows(folder: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(folder / FILE)) as other:
        return other.execute(sql).fetchall()
