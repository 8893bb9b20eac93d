"""From effect to completion: every effect is an owned task, and each ends in exactly one completion event.

An exception, a cancellation and a timeout are completions too: whoever registers a kind of work says which event they become.
Timers are the runner's own: one a machine, as `statemachine.effects` says.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any, TypeVar

import structlog

from gateway.clock import Clock
from gateway.dispatcher import Dispatcher
from statemachine import Command, Effect, Event, Work
from statemachine.effects import ArmTimer, DisarmTimer

log: structlog.stdlib.BoundLogger = structlog.get_logger()

W = TypeVar("W", bound=Work)
C = TypeVar("C", bound=Command)


@dataclass(frozen=True)
class _Worker:
    perform: Callable[[str, Any], Awaitable[Event]]
    failed: Callable[[Any, str], Event]
    timeout: float | None


class Runner:
    """Performs effects. Register each kind with `work` or `command`, then connect it to the dispatcher."""

    def __init__(self, dispatcher: Dispatcher, clock: Clock, random: Random) -> None:
        self._dispatcher = dispatcher
        self._clock = clock
        self._random = random
        self._performers: dict[type[Effect], Callable[[str, Any, str], None]] = {
            ArmTimer: self._arm,
            DisarmTimer: lambda machine, *_: self._disarm(machine),
        }
        """Each is given the machine's name, the effect, and its cause."""
        self._tasks: dict[str, set[asyncio.Task[Event]]] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def work(
        self,
        kind: type[W],
        perform: Callable[[str, W], Awaitable[Event]],
        failed: Callable[[W, str], Event],
        timeout: float | None = None,
    ) -> None:
        """`perform(machine, effect)` returns the completion; `failed(effect, why)` makes the one for an exception.

        `timeout` (seconds) is for work for which no state's own deadline stands behind.
        """
        self._performers[kind] = partial(self._start, _Worker(perform, failed, timeout))

    def command(self, kind: type[C], perform: Callable[[str, C], None]) -> None:
        self._performers[kind] = lambda machine, effect, _: perform(machine, effect)

    def perform(self, machine: str, effects: tuple[Effect, ...], cause: str) -> None:
        """Set the effects of one step going, in their order. `cause` is the step, and is their completions' cause."""
        for effect in effects:
            self._performers[type(effect)](machine, effect, cause)

    def cancel(self, machine: str) -> None:
        """Cancel the work of one machine; the completions still come."""
        for task in self._tasks.get(machine, ()):
            task.cancel()

    @property
    def busy(self) -> int:
        """How many pieces of work are under way."""
        return sum(map(len, self._tasks.values()))

    @property
    def lingering(self) -> int:
        """How many of them were told to end and have not: nobody waits for them, and they hold up nothing."""
        return sum(task.cancelling() > 0 for tasks in self._tasks.values() for task in tasks)

    @property
    def timers(self) -> list[str]:
        """The machines that have one."""
        return list(self._timers)

    @property
    def unfinished(self) -> list[str]:
        """The names of their tasks."""
        return sorted(task.get_name() for tasks in self._tasks.values() for task in tasks)

    async def close(self) -> None:
        """Cancel everything and wait for it."""
        for handle in self._timers.values():
            handle.cancel()
        tasks = [task for tasks in self._tasks.values() for task in tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # Work

    def _start(self, worker: _Worker, machine: str, effect: Work, cause: str) -> None:
        # A fresh context: nothing of whoever posted the event (a request, its log context) leaks into the work.
        task = asyncio.get_running_loop().create_task(
            self._carry_out(worker, machine, effect),
            name=f"{machine}:{type(effect).__name__}:{cause}",
            context=contextvars.Context(),
        )
        owned = self._tasks.setdefault(machine, set())
        owned.add(task)

        def complete(done: asyncio.Task[Event]) -> None:
            # Here and not in the task: one that is cancelled before its first step runs no line of its own.
            owned.discard(done)
            if not owned and self._tasks.get(machine) is owned:
                del self._tasks[machine]
            completion = worker.failed(effect, "it was cancelled") if done.cancelled() else done.result()
            self._dispatcher.tell(machine, completion, cause)

        task.add_done_callback(complete)

    async def _carry_out(self, worker: _Worker, machine: str, effect: Work) -> Event:
        try:
            if worker.timeout is None:
                return await worker.perform(machine, effect)
            async with asyncio.timeout(worker.timeout):
                return await worker.perform(machine, effect)
        except Exception as error:
            log.error("work_failed", machine=machine, effect=type(effect).__name__, exc_info=True)
            return worker.failed(effect, f"{type(error).__name__}: {error}")

    # Timers

    def _arm(self, machine: str, effect: ArmTimer, cause: str) -> None:
        self._disarm(machine)
        now = self._clock.monotonic()
        wait = effect.after if effect.at is None else effect.at - now
        if effect.jitter:
            wait = self._random.uniform(0, wait)
        wait = max(wait, effect.at_least, 0.0)
        self._timers[machine] = asyncio.get_running_loop().call_later(wait, self._fire, machine, effect.then, cause)

    def _disarm(self, machine: str) -> None:
        handle = self._timers.pop(machine, None)
        if handle is not None:
            handle.cancel()

    def _fire(self, machine: str, event: Event, cause: str) -> None:
        self._timers.pop(machine, None)
        self._dispatcher.tell(machine, event, f"timer of {cause}")
