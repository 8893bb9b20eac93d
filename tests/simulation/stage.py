"""Puts the stand-ins in the places where the product looks for the outside, for the length of one schedule."""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import aiohttp
import structlog

import gateway.app
import gateway.boot
import gateway.channels.telegram_calls
import gateway.config.edit
import gateway.config.file
import gateway.config.history
import gateway.process.messages
import gateway.process.operations
import gateway.requests
from gateway.config.model import Account, Config, build_config_model
from tests.simulation.disk import SimulatedWatcher
from tests.simulation.process import Listener, WatchedDispatcher, WatchedHandlers, WatchedPipeline
from tests.simulation.store import SimulatedStore

if TYPE_CHECKING:
    from tests.simulation.play import Play

_ABSENT: Any = object()


@contextmanager
def staged(play: Play) -> Iterator[None]:
    places = _places(play)
    before = [(owner, name, vars(owner).get(name, _ABSENT)) for owner, name, _ in places]
    configured = structlog.get_config()
    structlog.configure(processors=[_drop], cache_logger_on_first_use=False)
    try:
        for owner, name, value in places:
            setattr(owner, name, value)
        yield
    finally:
        for owner, name, value in before:
            if value is _ABSENT:
                delattr(owner, name)
            else:
                setattr(owner, name, value)
        structlog.configure(**configured)


def _places(play: Play) -> list[tuple[Any, str, Any]]:
    identifiers = _Identifiers()
    library = SimpleNamespace(
        ClientSession=play.network.session, ClientTimeout=aiohttp.ClientTimeout, ClientError=aiohttp.ClientError,
        ClientConnectorError=aiohttp.ClientConnectorError,
    )  # fmt: skip
    return [
        (asyncio, "to_thread", play.disk.job),
        (gateway.app, "Clock", lambda: play.time),
        (gateway.app, "Random", lambda: Random(play.schedule.seed)),
        (gateway.app, "Dispatcher", lambda journal: _dispatcher(play, journal)),
        (gateway.process.messages, "Store", type("Store", (SimulatedStore,), {"disk": play.disk})),
        (gateway.process.messages, "Handlers", type("Handlers", (WatchedHandlers,), {"play": play})),
        (gateway.process.messages, "Pipeline", lambda *args: _pipeline(play, *args)),
        (gateway.app, "Watcher", lambda *args: _watcher(play, *args)),
        (gateway.app, "build_config_model", _model),
        (gateway.app, "Lines", lambda _: SimpleNamespace(msg=lambda _: play.alive.printed())),
        (gateway.app, "gc", SimpleNamespace(freeze=lambda: None, enable=lambda: None, set_threshold=lambda *_: None)),
        (gateway.boot, "secrets", identifiers),
        (gateway.requests, "secrets", identifiers),
        (gateway.channels.telegram_calls, "aiohttp", library),
        (gateway.config.file, "parse", parse := _remembering(gateway.config.file.parse)),
        (gateway.config.edit, "parse", parse),
        (gateway.config.file, "os", synced := SimpleNamespace(**(vars(os) | {"fsync": play.disk.sync}))),
        (gateway.config.history, "os", synced),
        (gateway.config.file, "write", play.disk.write),
        (gateway.process.operations, "bind", lambda *_: _bind(play)),
    ]


class _Identifiers:
    """In the place of `secrets`: identifiers that a seed gives again."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def token_hex(self, size: int) -> str:
        return f"{next(self._numbers):0{2 * size}x}"


def _remembering(parse: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """One schedule reads the same bytes again and again, and reading is what costs most; nobody writes to what was read."""
    known: dict[bytes, Any] = {}

    def remembering(raw: bytes) -> Any:
        if raw not in known:
            known[raw] = parse(raw)
        return known[raw]

    return remembering


def _drop(*_: object) -> Any:
    raise structlog.DropEvent


_MODELS: dict[tuple[str, ...], type[Config]] = {}


def _model(accounts: dict[str, type[Account]], _: object) -> type[Config]:
    """The same model for the same networks: a thousand equal ones would only fill the memory."""
    return _MODELS.setdefault(tuple(accounts), _MODELS.get(tuple(accounts)) or build_config_model(accounts))


def _dispatcher(play: Play, journal: Any) -> WatchedDispatcher:
    dispatcher = WatchedDispatcher(journal)
    dispatcher.monitor = play.alive.monitor
    return dispatcher


def _pipeline(play: Play, *args: Any) -> WatchedPipeline:
    pipeline = WatchedPipeline(*args)
    pipeline.line, pipeline.blame = play.alive.line, play.referee.blame
    return pipeline


def _watcher(play: Play, *args: Any) -> SimulatedWatcher:
    play.disk.watcher = SimulatedWatcher(*args)
    return play.disk.watcher


def _bind(play: Play) -> Listener:
    if play.time.now < play.port_taken_until:
        raise OSError(errno.EADDRINUSE, "Address already in use")
    return Listener()
