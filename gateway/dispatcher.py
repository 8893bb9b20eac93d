"""One inbox, one loop: the only caller of `fire()`.

Whatever happens is posted here as an event for one machine. Events are handled one at a time, in the order in which
they came; each is journalled, its submitter told the true outcome, and only then are its effects set going.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import structlog

from gateway.journal import Before, Journal
from statemachine import BrokenActionError, Effect, Event, Machine, Refusal, Step
from statemachine.record import ABSENT, DEFECT, EXISTS

log: structlog.stdlib.BoundLogger = structlog.get_logger()

LIFECYCLE = "gateway"
"""The name of the lifecycle's machine."""

TURNS_OF_A_SIGNAL = 5
"""Turns of the loop from a signal's byte in its pipe, by its handler, to the inbox; one more than were counted."""

AnyMachine = Machine[Any, Any]
Perform = Callable[[str, tuple[Effect, ...], str], None]
"""Sets effects going: the machine's name, the effects, and the cause that their completions shall carry."""


class _Posted(msgspec.Struct, frozen=True):
    machine: str
    event: Event
    cause: str
    answer: asyncio.Future[Step | Refusal] | None


class Dispatcher:
    """Owns the machines. Everything else asks, and is told."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self._machines: dict[str, AnyMachine] = {}
        self._by_kind: dict[type[AnyMachine], dict[str, AnyMachine]] = {}
        self._inbox: asyncio.Queue[_Posted] = asyncio.Queue()
        self._waiters: dict[str, list[tuple[Callable[[AnyMachine], bool], asyncio.Future[None]]]] = {}
        self._perform: Perform = lambda *_: None

    def connect(self, perform: Perform) -> None:
        """Say who performs effects."""
        self._perform = perform

    # The machines

    def add(self, machine: AnyMachine) -> None:
        self._machines[machine.name] = machine
        self._by_kind.setdefault(type(machine), {})[machine.name] = machine

    def remove(self, name: str) -> None:
        machine = self._machines.pop(name)
        del self._by_kind[type(machine)][name]

    def machine(self, name: str) -> AnyMachine:
        """The machine to look at, never to fire. Raises KeyError."""
        return self._machines[name]

    def find(self, name: str) -> AnyMachine | None:
        """The same, None where there is none."""
        return self._machines.get(name)

    def machines(self, kind: type[AnyMachine]) -> dict[str, AnyMachine]:
        """All of one kind, copied: of one alone ask `find`."""
        return dict(self._by_kind.get(kind, {}))

    # Events

    def post(self, machine: str, event: Event, cause: str) -> asyncio.Future[Step | Refusal]:
        """Queue an event. The future gets what became of it; cancelling the future changes nothing in the machine."""
        answer: asyncio.Future[Step | Refusal] = asyncio.get_running_loop().create_future()
        self._inbox.put_nowait(_Posted(machine, event, cause, answer))
        return answer

    def tell(self, machine: str, event: Event, cause: str) -> None:
        """Queue an event of which nobody waits to hear."""
        self._inbox.put_nowait(_Posted(machine, event, cause, None))

    async def run(self) -> None:
        """Handle events for ever."""
        while True:
            self._turn(await self._inbox.get())

    async def quiet(self) -> None:
        """Return when all that has come up to now is decided, a signal that the loop has not yet looked at included."""
        for _ in range(TURNS_OF_A_SIGNAL):
            await asyncio.sleep(0)
        while not self._inbox.empty():  # noqa: ASYNC110 - what is decided says so to nobody
            await asyncio.sleep(0)

    def _turn(self, posted: _Posted) -> None:
        machine = self._machines.get(posted.machine)
        before = Before(machine, machine.data) if machine is not None else None
        result = self._fire(posted)
        entry = self.journal.record(result, posted.cause, before)
        # A submitter that was cancelled has a done future: what it asked for happens all the same.
        if posted.answer is not None and not posted.answer.done():
            posted.answer.set_result(result)
        if isinstance(result, Step):
            self._perform(posted.machine, result.effects, f"step:{entry.seq}")
            self._tell_waiters(posted.machine)

    def _fire(self, posted: _Posted) -> Step | Refusal:
        machine = self._machines.get(posted.machine)
        if machine is None:
            return Refusal(posted.machine, ABSENT, posted.event, (), (EXISTS,))
        try:
            return machine.fire(posted.event)
        except BrokenActionError:
            log.error("broken_action", machine=posted.machine, trigger=posted.event.trigger, exc_info=True)
            return Refusal(posted.machine, machine.state.value, posted.event, machine.allowed, (DEFECT,))

    # Waiting

    async def until(self, name: str, holds: Callable[[AnyMachine], bool]) -> None:
        """Return as soon as `holds` is true of the machine. Raises KeyError when there is none."""
        if holds(self._machines[name]):
            return
        reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiter = (holds, reached)
        self._waiters.setdefault(name, []).append(waiter)
        try:
            await reached
        finally:
            self._waiters[name].remove(waiter)

    def _tell_waiters(self, name: str) -> None:
        for holds, reached in self._waiters.get(name, ()):
            if not reached.done() and holds(self._machines[name]):
                reached.set_result(None)
