"""The handlers that the config names: made when they are first asked, made anew when their settings change, and asked
through one door, which keeps their number at once, their time and their circuit.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import structlog

from gateway.config.handlers import WorkingHandler
from gateway.config.model import Config
from gateway.errors import HandlerError
from gateway.handlers.base import Handler, Make, Tools
from gateway.messages.machines import Machines
from gateway.messages.model import Message, Reply
from statemachine import Refusal
from statemachine.circuit import (
    CallFailed,
    CallSucceeded,
    Circuit,
    CircuitData,
    TrialBegins,
    has_failed_lately,
    is_asked,
    may_be_tried,
)

log: structlog.stdlib.BoundLogger = structlog.get_logger()

BUILT_IN = {
    "echo": "gateway.handlers.echo:Echo",
    "http": "gateway.handlers.http:Http",
    "openai": "gateway.handlers.openai:Openai",
    "python": "gateway.handlers.python:Python",
    "command": "gateway.handlers.command:Command",
    "bridge": "gateway.handlers.bridge:Bridge",
}
"""Imported when the config names one: what is not used costs no start."""
QUEUE_PATIENCE = 600.0
"""Seconds that a message may wait until its handler has room, beside the time that it may take."""
BROKEN_PAUSE = 30.0
"""Seconds until a message is given again to a handler that cannot be made."""


@dataclass
class _Made:
    """A handler as it is asked."""

    settings: Any
    handler: Handler
    room: asyncio.Semaphore | None
    at_work: int = 0
    retired: bool = False
    closing: asyncio.Task[None] | None = field(default=None, repr=False)


class Handlers:
    """`config` returns what applies now; `plugins` are the types that are not built in; `observe` is told how long each took."""

    def __init__(
        self,
        config: Callable[[], Config],
        tools: Tools,
        machines: Machines,
        plugins: Mapping[str, Make],
        observe: Callable[[str, float], None],
    ) -> None:
        self._config = config
        self._tools = tools
        self._machines = machines
        self._plugins = plugins
        self._observe = observe
        self._made: dict[str, _Made] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self.broken: dict[str, str] = {}
        """Handlers that cannot be made of their settings, and why."""

    # As the pipeline asks

    def policy(self, handler: str) -> tuple[int, float]:
        """How often a message may be given to a handler, and how many seconds it may take with all its waiting."""
        settings = self._config().handlers.get(handler)
        if isinstance(settings, WorkingHandler):
            return 1 + settings.retries, settings.timeout_ms / 1000 + QUEUE_PATIENCE
        return 1, QUEUE_PATIENCE

    def acts_outside(self, handler: str) -> bool:
        """Whether it does more than answer."""
        made = self._made.get(handler)
        return made is None or made.handler.acts_outside

    async def handle(self, handler: str, message: Message) -> tuple[Reply, ...]:
        """What it answers. Raises HandlerError."""
        made = self._get(handler)
        if made.room is None:
            return tuple(await made.handler.handle(message))
        made.at_work += 1
        try:
            async with made.room:
                await self._check_circuit(handler)
                return await self._run(handler, made, message)
        finally:
            made.at_work -= 1
            if made.retired and not made.at_work:
                self._close(made)

    async def _run(self, handler: str, made: _Made, message: Message) -> tuple[Reply, ...]:
        limit, began = made.settings.timeout_ms / 1000, time.monotonic()
        try:
            async with asyncio.timeout(limit):
                replies = tuple(await made.handler.handle(message))
        except TimeoutError as error:
            self._say(handler, CallFailed())
            raise HandlerError(f"the handler {handler!r} took more than {limit:g} s", retryable=True) from error
        except HandlerError as error:
            # What can be tried again is its own fault; what cannot is the message's.
            self._say(handler, CallFailed() if error.retryable else CallSucceeded())
            raise
        finally:
            self._observe(handler, time.monotonic() - began)
        self._say(handler, CallSucceeded())
        return replies

    # Making them

    def _get(self, name: str) -> _Made:
        settings = self._config().handlers.get(name)
        made = self._made.get(name)
        if made is not None and made.settings is settings:
            return made
        if settings is None:
            raise HandlerError(f"there is no handler named {name!r} any more")
        if made is not None and made.settings == settings and settings.type != "python":
            made.settings = settings
            return made
        return self._make(name, settings)

    def _make(self, name: str, settings: Any) -> _Made:
        """In place of the one before, which does what it has begun, and is closed then."""
        try:
            handler = self._maker(settings.type)(name, settings, self._tools)
        except HandlerError as error:
            if self.broken.get(name) != str(error):
                log.error("handler_broken", handler=name, why=str(error))
            self.broken[name] = str(error)
            raise HandlerError(str(error), retryable=True, after=BROKEN_PAUSE, counts=False) from error
        self.broken.pop(name, None)
        self._retire(name)
        room = asyncio.Semaphore(settings.concurrency) if isinstance(settings, WorkingHandler) else None
        made = self._made[name] = _Made(settings, handler, room)
        return made

    def _maker(self, kind: str) -> Make:
        if kind in self._plugins:
            return self._plugins[kind]
        module, _, name = BUILT_IN[kind].partition(":")
        maker: Make = getattr(import_module(module), name)
        return maker

    def apply(self, config: Config) -> None:
        """A config runs: what it names is made, so that what is wrong with it shows at once; what it names no more is let go."""
        for name in [name for name in self._made if name not in config.handlers]:
            self._retire(name)
        self.broken = {name: why for name, why in self.broken.items() if name in config.handlers}
        for name in config.handlers:
            try:
                self._get(name)
            except HandlerError as error:
                log.debug("handler_not_made", handler=name, why=str(error))

    def _retire(self, name: str) -> None:
        made = self._made.pop(name, None)
        if made is not None:
            made.retired = True
            if not made.at_work:
                self._close(made)

    def _close(self, made: _Made) -> None:
        task = asyncio.get_running_loop().create_task(made.handler.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Nothing is asked any more."""
        for name in tuple(self._made):
            self._made[name].at_work = 0
            self._retire(name)
        if self._closing:
            await asyncio.wait(self._closing)

    # Their circuits

    async def _check_circuit(self, handler: str) -> None:
        """Raises HandlerError when it is not asked now; its message has not been given to it then."""
        machine = self._machines.find(f"circuit/{handler}")
        if machine is None or is_asked(machine):
            return
        if may_be_tried(machine):
            answer = await self._machines.post(machine.name, TrialBegins(), "a message")
            if not isinstance(answer, Refusal):
                return
        why = (
            f"the handler {handler!r} has failed {machine.data.failures} times in a row, and is left alone for a while"
        )
        raise HandlerError(why, retryable=True, after=machine.data.rest, counts=False)

    def _say(self, handler: str, event: CallFailed | CallSucceeded) -> None:
        name = f"circuit/{handler}"
        machine = self._machines.find(name)
        if machine is None:
            if isinstance(event, CallSucceeded):
                return
            self._machines.add(Circuit(name, CircuitData()))
        elif isinstance(event, CallSucceeded) and not has_failed_lately(machine):
            return
        self._machines.tell(name, event, "a call")
