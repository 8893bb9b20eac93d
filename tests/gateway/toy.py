"""A machine of two states and every kind of effect, and the parts that drive it: for what is true of any machine."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from enum import Enum
from random import Random

import msgspec

from gateway.dispatcher import Dispatcher
from gateway.journal import Journal
from gateway.runner import Runner
from statemachine import Command, Event, Machine, Row, Work
from statemachine._machine import Draft, action, guard
from statemachine.effects import ArmTimer, DisarmTimer
from tests.virtual import VirtualClock


class LampState(Enum):
    OFF = "off"
    ON = "on"


S = LampState


class LampData(msgspec.Struct, frozen=True):
    turned: int = 0
    ended: tuple[str, ...] = ()
    """What the completions of its work said, in their order."""
    rung: tuple[str, ...] = ()
    """Which timers have fired."""


class SwitchOn(Event, frozen=True):
    why: str = ""


class SwitchOff(Event, frozen=True):
    pass


class Burn(Event, frozen=True):
    """Asks for work."""

    how: str = ""


class Burnt(Event, frozen=True):
    """The completion of `Heat`."""

    said: str


class Set(Event, frozen=True):
    """Arms the timer."""

    timer: ArmTimer


class Unset(Event, frozen=True):
    pass


class Rang(Event, frozen=True):
    name: str = ""


class Crack(Event, frozen=True):
    """Its action is broken."""


class Doubt(Event, frozen=True):
    """Its guard is broken."""


class Heat(Work, frozen=True):
    how: str


class Click(Command, frozen=True):
    number: int


class Lamp(Machine[LampState, LampData]):
    kind = "lamp"
    states = LampState
    initial = S.OFF
    final = frozenset({S.OFF})
    exits = {}
    table = (
        Row(SwitchOn, S.OFF, S.ON, effects=("count", "click")),
        Row(SwitchOff, S.ON, S.OFF, ("was_turned",), effects=("count",)),
        Row(Burn, (S.OFF, S.ON), None, effects=("click", "heat", "count", "click")),
        Row(Burnt, (S.OFF, S.ON), None, effects=("note_end",)),
        Row(Set, (S.OFF, S.ON), None, effects=("arm",)),
        Row(Unset, (S.OFF, S.ON), None, effects=("disarm",)),
        Row(Rang, (S.OFF, S.ON), None, effects=("note_ring",)),
        Row(Crack, (S.OFF, S.ON), S.ON, effects=("count", "crack")),
        Row(Doubt, (S.OFF, S.ON), S.ON, ("doubt",)),
    )

    @guard
    def was_turned(data: LampData, event: Event) -> bool:
        return data.turned > 0

    @guard
    def doubt(data: LampData, event: Event) -> bool:
        raise RuntimeError("a broken guard")

    @action
    def count(draft: Draft[LampData], event: Event) -> None:
        draft.set(turned=draft.data.turned + 1)

    @action
    def click(draft: Draft[LampData], event: Event) -> None:
        draft.emit(Click(draft.data.turned))

    @action
    def heat(draft: Draft[LampData], event: Burn) -> None:
        draft.emit(Heat(event.how))

    @action
    def note_end(draft: Draft[LampData], event: Burnt) -> None:
        draft.set(ended=(*draft.data.ended, event.said))

    @action
    def arm(draft: Draft[LampData], event: Set) -> None:
        draft.emit(event.timer)

    @action
    def disarm(draft: Draft[LampData], event: Event) -> None:
        draft.emit(DisarmTimer())

    @action
    def note_ring(draft: Draft[LampData], event: Rang) -> None:
        draft.set(rung=(*draft.data.rung, event.name))

    @action
    def crack(draft: Draft[LampData], event: Event) -> None:
        raise RuntimeError("a broken action")


class House:
    """A dispatcher with its journal and runner, and some lamps."""

    def __init__(self, *lamps: str, random: Random | None = None) -> None:
        self.clock = VirtualClock()
        self.journal = Journal(self.clock)
        self.dispatcher = Dispatcher(self.journal)
        self.runner = Runner(self.dispatcher, self.clock, random or Random(1))
        self.clicks: list[tuple[str, int]] = []
        self.runner.command(Click, lambda name, effect: self.clicks.append((name, effect.number)))
        self.dispatcher.connect(self.runner.perform)
        for lamp in lamps or ("lamp",):
            self.dispatcher.add(Lamp(lamp, LampData()))

    def data(self, lamp: str = "lamp") -> LampData:
        found = self.dispatcher.machine(lamp).data
        assert isinstance(found, LampData)
        return found

    def state(self, lamp: str = "lamp") -> LampState:
        found = self.dispatcher.machine(lamp).state
        assert isinstance(found, LampState)
        return found

    @contextlib.asynccontextmanager
    async def turning(self) -> AsyncIterator[None]:
        """The dispatcher turns, and at the end nothing is left over."""
        task = asyncio.ensure_future(self.dispatcher.run())
        try:
            yield
        finally:
            await self.runner.close()
            task.cancel()
            await asyncio.wait({task})
        assert task.cancelled(), task.exception()
