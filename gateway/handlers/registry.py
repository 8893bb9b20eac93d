"""The handlers that the config names: made when they are first asked, made anew when their settings change, and asked
through one door, which keeps their number at once, their time and their circuit.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import structlog

from gateway.clock import Clock
from gateway.config.handlers import WorkingHandler
from gateway.config.model import Config
from gateway.errors import HandlerError
from gateway.handlers.base import Handler, Make, Tools
from gateway.messages.machines import Machines
from gateway.messages.model import Message, Reply
from gateway.traces import UNTRACED, Traces
from statemachine import Refusal
from statemachine.circuit import (
    CallFailed,
    CallSucceeded,
    Circuit,
    CircuitData,
    HandlerReplaced,
    TrialBegins,
    TrialDropped,
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
ROOM_PATIENCE = 300.0
"""Seconds that a message waits until its handler has room, before others of its kind have their turn first."""
QUEUE_PATIENCE = 2 * ROOM_PATIENCE
"""Seconds until a message is taken from a handler that does not even keep to its own limits."""
OUTAGE_SPARED = 3_600.0
"""Seconds. A younger message does not use up an attempt when it is the one that is tried half open: while a handler is
out nothing is lost. An older one does: it may be what the handler cannot take, and what follows it waits for it."""
BROKEN_PAUSE = 30.0
"""Seconds until a message is given again to a handler that cannot be made."""


@dataclass
class _Made:
    """A handler as it is asked."""

    settings: Any
    handler: Handler
    room: asyncio.Semaphore | None
    at_work: int = 0


class Handlers:
    """`config` returns what applies now; `plugins` are the types that are not built in; `observe` is told how long each took."""

    def __init__(
        self,
        config: Callable[[], Config],
        tools: Tools,
        machines: Machines,
        plugins: Mapping[str, Make],
        observe: Callable[[str, float], None],
        clock: Clock,
        traces: Traces = UNTRACED,
    ) -> None:
        self._config = config
        self._tools = tools
        self._machines = machines
        self._plugins = plugins
        self._observe = observe
        self._clock = clock
        self._traces = traces
        self._made: dict[str, _Made] = {}
        self._making: dict[str, tuple[Any, asyncio.Task[_Made]]] = {}
        """Handlers that are made in a thread, with the settings that they are made of."""
        self._circuits: set[str] = set()
        """Handlers that have one."""
        self._tasks: set[asyncio.Task[object]] = set()
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
        made = self._get(handler) or await self._awaited(handler)
        if made.room is None:
            with self._traces.handling(message, handler, made.settings.type) as given:
                return tuple(await made.handler.handle(given))
        made.at_work += 1
        try:
            await self._enter(handler, made.room)
            try:
                return await self._run(handler, made, message)
            finally:
                made.room.release()
        finally:
            made.at_work -= 1
            if not made.at_work and self._made.get(handler) is not made:
                self._close(made)  # another one stands in its place, and this was its last

    @staticmethod
    async def _enter(handler: str, room: asyncio.Semaphore) -> None:
        try:
            async with asyncio.timeout(ROOM_PATIENCE):
                await room.acquire()
        except TimeoutError as error:
            why = f"the handler {handler!r} had no room for {ROOM_PATIENCE:g} s: it is slower than the messages come"
            raise HandlerError(why, retryable=True, counts=False) from error

    async def _run(self, handler: str, made: _Made, message: Message) -> tuple[Reply, ...]:
        trial = await self._check_circuit(handler)
        limit, began = made.settings.timeout_ms / 1000, self._clock.monotonic()
        outcome: CallFailed | CallSucceeded | None = None
        try:
            with self._traces.handling(message, handler, made.settings.type) as given:
                async with asyncio.timeout(limit) as time_left:
                    replies = tuple(await made.handler.handle(given))
            outcome = CallSucceeded()
        except TimeoutError as error:
            if not time_left.expired():
                raise  # a defect of it, like any other
            outcome = CallFailed()
            raise self._failed(f"the handler {handler!r} took more than {limit:g} s", 0.0, trial, message) from error
        except HandlerError as error:
            # What can be tried again is its own fault; what cannot is the message's.
            outcome = CallFailed() if error.retryable else CallSucceeded()
            if not error.retryable:
                raise
            raise self._failed(str(error), error.after, trial, message) from error
        finally:
            self._observe(handler, self._clock.monotonic() - began)
            self._say(handler, outcome, trial=trial)
        return replies

    def _failed(self, why: str, after: float, trial: bool, message: Message) -> HandlerError:
        age = (self._clock.wall_ms() - message.received_at) / 1000
        return HandlerError(why, retryable=True, after=after, counts=not trial or age > OUTAGE_SPARED)

    # Making them

    def _get(self, name: str) -> _Made | None:
        """None where it is made in a thread: then it is to be waited for."""
        settings = self._config().handlers.get(name)
        made = self._made.get(name)
        if made is not None and made.settings is settings:
            return made
        if settings is None:
            raise HandlerError(f"there is no handler named {name!r} any more")
        if made is not None and made.settings == settings and settings.type != "python":
            made.settings = settings
            return made
        maker = self._maker(settings.type)
        if getattr(maker, "made_in_thread", False):
            return None
        with self._telling(name):
            return self._put(name, settings, maker(name, settings, self._tools))

    async def _awaited(self, name: str) -> _Made:
        """One at a time of a name, so that the last settings are what stands in the end."""
        while True:
            made = self._get(name)
            if made is not None:
                return made
            wanted = self._config().handlers[name]
            settings, making = self._making.get(name) or self._make_in_thread(name, wanted)
            await asyncio.wait({making})
            if settings is wanted:
                return making.result()

    def _make_in_thread(self, name: str, settings: Any) -> tuple[Any, asyncio.Task[_Made]]:
        async def make() -> _Made:
            try:
                with self._telling(name):
                    handler = await asyncio.to_thread(self._maker(settings.type), name, settings, self._tools)
                    return self._put(name, settings, handler)
            finally:
                del self._making[name]

        task = asyncio.get_running_loop().create_task(make())
        # Whether anybody waits for it or not.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._making[name] = settings, task
        return settings, task

    @contextlib.contextmanager
    def _telling(self, name: str) -> Iterator[None]:
        """What is wrong with a handler that cannot be made is shown, and its messages wait for it to be mended."""
        try:
            yield
        except HandlerError as error:
            if self.broken.get(name) != str(error):
                log.error("handler_broken", handler=name, why=str(error))
            self.broken[name] = str(error)
            raise HandlerError(str(error), retryable=True, after=BROKEN_PAUSE, counts=False) from error

    def _put(self, name: str, settings: Any, handler: Handler) -> _Made:
        """In place of the one before, which does what it has begun, and is closed then."""
        self.broken.pop(name, None)
        self._retire(name)
        room = asyncio.Semaphore(settings.concurrency) if isinstance(settings, WorkingHandler) else None
        made = self._made[name] = _Made(settings, handler, room)
        if name in self._circuits:
            self._machines.tell(f"circuit/{name}", HandlerReplaced(), "its settings changed")
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
                if self._get(name) is None:
                    self._own(self._awaited(name))
            except HandlerError as error:
                log.debug("handler_not_made", handler=name, why=str(error))
        for name in [name for name in self._circuits if name not in config.handlers]:
            self._let_circuit_go(name)

    def _retire(self, name: str) -> None:
        made = self._made.pop(name, None)
        if made is not None and not made.at_work:
            self._close(made)

    def _close(self, made: _Made) -> None:
        self._own(made.handler.close())

    def _own(self, work: Coroutine[Any, Any, object]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def close(self) -> None:
        """Nothing is asked any more."""
        for name in tuple(self._made):
            self._made[name].at_work = 0
            self._retire(name)
        for _, making in tuple(self._making.values()):
            making.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    # Their circuits

    async def _check_circuit(self, handler: str) -> bool:
        """Whether it is a trial. Raises HandlerError when the handler is not asked now; it has not been given the message then."""
        machine = self._machines.find(f"circuit/{handler}")
        if machine is None or is_asked(machine):
            return False
        if may_be_tried(machine):
            try:
                answer = await self._machines.post(machine.name, TrialBegins(), "a message")
            except asyncio.CancelledError:
                # It is announced, and nobody is left to try.
                self._machines.tell(machine.name, TrialDropped(), "a message")
                raise
            if not isinstance(answer, Refusal):
                return True
        why = (
            f"the handler {handler!r} has failed {machine.data.failures} times in a row, and is left alone for a while"
        )
        raise HandlerError(why, retryable=True, after=machine.data.rest, counts=False)

    def _say(self, handler: str, outcome: CallFailed | CallSucceeded | None, *, trial: bool) -> None:
        """What came of a call; None where it was given up or broke, which says nothing of who was asked."""
        name = f"circuit/{handler}"
        machine = self._machines.find(name)
        if outcome is None:
            if trial:
                self._machines.tell(name, TrialDropped(), "a call")
        elif machine is None:
            if isinstance(outcome, CallFailed):
                self._circuits.add(handler)
                self._machines.add(Circuit(name, CircuitData()))
                self._machines.tell(name, outcome, "a call")
        elif isinstance(outcome, CallFailed) or has_failed_lately(machine):
            self._machines.tell(name, outcome, "a call")

    def _let_circuit_go(self, handler: str) -> None:
        """Once its timer is; until then it is only closed."""
        name = f"circuit/{handler}"
        machine = self._machines.find(name)
        if machine is not None and has_failed_lately(machine):
            self._machines.tell(name, HandlerReplaced(), "it is gone")
        elif machine is not None:
            self._machines.remove(name)
            self._circuits.discard(handler)
