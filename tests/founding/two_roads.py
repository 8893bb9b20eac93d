"""Two roads from one `config.apply` to the same account, as programs of this kind have them.

A call writes the file. The *watcher* sees the write, waits until the file is quiet, and hot-reloads the account. The *signal*
road has armed a restart for some seconds later, by SIGUSR1. Each road does the same to the account: it reads the config,
tells the receiver to end, waits until it has ended, and starts a receiver. Neither knows of the other.

No such program writes these tables down; this is what its flags, timers and tasks amount to. Then the three guards that were
tried, each alone:

  snapshot     the road remembers how often the account had been started when its timer was armed, and lets go if that has changed
  cancelling   the watcher's reload cancels the restart that is still pending
  coalescing   for some seconds after a restart has begun a second one is swallowed
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Any, ClassVar, NamedTuple

import msgspec

from statemachine import Command, Event, Machine, Row, Work
from statemachine._machine import Draft, Exits, action, guard
from statemachine.explore import Move
from statemachine.promises import CHANGE_KEPT, ONE_RECEIVER


class RoadState(Enum):
    """Where one road is."""

    IDLE = "idle"
    """It does nothing to the account. Its timer may run: the debounce of the watcher, the delay of the restart."""
    STOPPING = "stopping"
    """It has told the receiver to end, and will start one as soon as that has ended."""


S = RoadState


class RoadData(msgspec.Struct, frozen=True):
    """What a road knows."""

    starts: int = 0
    """How often the account had been started when the timer was armed."""
    read: int = 0
    """The revision that it will start the account with."""


class Written(Event, frozen=True):
    """The road hears of a write."""

    starts: int


class Due(Event, frozen=True):
    """Its timer has rung. What the program could look at now: the file, the count of starts, and whether a restart has just begun."""

    disk: int
    starts: int
    just_begun: bool


class ReceiverEnded(Event, frozen=True):
    """The receiver that was told to end has ended."""


class ArmTimer(Command, frozen=True):
    pass


class CancelOther(Command, frozen=True):
    pass


class StopReceiver(Work, frozen=True):
    """Ends in ReceiverEnded."""


class StartReceiver(Command, frozen=True):
    revision: int


RESTARTS = ("read_config", "stop_receiver")


def road(name: str, *rows: Row[RoadState], restarts: tuple[str, ...] = RESTARTS) -> type[Road]:
    """A road with a guard: rows that are tried before those that every road has, or one thing more that a restart does."""
    every = (
        Row(Written, (S.IDLE, S.STOPPING), None, effects=("arm",)),
        Row(Due, S.IDLE, S.STOPPING, effects=restarts),
        Row(Due, S.STOPPING, None, effects=("read_config",)),
        Row(ReceiverEnded, S.STOPPING, S.IDLE, effects=("start_receiver",)),
    )
    return type(name, (Road,), {"__module__": __name__, "kind": name, "table": (*rows, *every)})


class Road(Machine[RoadState, RoadData]):
    """One of the two roads; `road` makes them with their tables."""

    kind = "road"
    states = RoadState
    initial = S.IDLE
    final = frozenset({S.IDLE})
    table: ClassVar[Any] = ()
    exits: ClassVar[Any] = {S.STOPPING: Exits((ReceiverEnded,), (), (), ())}

    @guard
    def started_since(data: RoadData, event: Due) -> bool:
        return event.starts != data.starts

    @guard
    def restart_has_just_begun(data: RoadData, event: Due) -> bool:
        return event.just_begun

    @action
    def arm(draft: Draft[RoadData], event: Written) -> None:
        draft.set(starts=event.starts)
        draft.emit(ArmTimer())

    @action
    def read_config(draft: Draft[RoadData], event: Due) -> None:
        draft.set(read=event.disk)

    @action
    def cancel_other(draft: Draft[RoadData], event: Due) -> None:
        draft.emit(CancelOther())

    @action
    def stop_receiver(draft: Draft[RoadData], event: Due) -> None:
        draft.emit(StopReceiver())

    @action
    def start_receiver(draft: Draft[RoadData], event: ReceiverEnded) -> None:
        draft.emit(StartReceiver(draft.data.read))


class Design(NamedTuple):
    """The two roads of one program."""

    name: str
    watcher: type[Road]
    signal: type[Road]


LETS_GO = Row(Due, (S.IDLE, S.STOPPING), None, ("started_since",))
SWALLOWS = Row(Due, (S.IDLE, S.STOPPING), None, ("restart_has_just_begun",))

UNGUARDED = Design("unguarded", road("watcher"), road("signal"))
SNAPSHOT = Design("snapshot", road("watcher"), road("signal", LETS_GO))
CANCELLING = Design("cancelling", road("watcher", restarts=("cancel_other", *RESTARTS)), road("signal"))
COALESCING = Design("coalescing", road("watcher", SWALLOWS), road("signal", SWALLOWS))
DESIGNS = (UNGUARDED, SNAPSHOT, CANCELLING, COALESCING)


class World(NamedTuple):
    """Both roads, the file, and the receivers that live."""

    roads: tuple[tuple[RoadState, RoadData], ...] = ((S.IDLE, RoadData()), (S.IDLE, RoadData()))
    timers: tuple[bool, bool] = (False, False)
    unseen: bool = False
    """The watcher has not seen the last write."""
    disk: int = 0
    receivers: tuple[int, ...] = (0,)
    """The revision of each."""
    ending: bool = False
    """The oldest receiver was told to end."""
    starts: int = 0
    just_begun: bool = False


WATCHER, SIGNAL = 0, 1
RINGS = ("the file is quiet: the watcher reloads", "SIGUSR1 comes: the account is restarted")


class TwoRoads:
    """The model to explore. `writes` says how many calls there may be."""

    def __init__(self, design: Design, writes: int = 1) -> None:
        self._machines = (design.watcher("watcher", RoadData()), design.signal("signal", RoadData()))
        self._writes = writes

    def start(self) -> World:
        return World()

    def moves(self, world: World) -> Iterator[Move[World]]:
        """Everything that can happen next, in any order: what is late on one road is early on the other."""
        if world.disk < self._writes:
            written = world._replace(disk=world.disk + 1, unseen=True)
            label = f"config.apply writes revision {written.disk}, and arms a restart"
            yield self._move(label, written, SIGNAL, Written(world.starts), owed=False)
        if world.unseen:
            yield self._move("the watcher sees the write", world._replace(unseen=False), WATCHER, Written(world.starts))
        for number in (WATCHER, SIGNAL):
            if world.timers[number]:
                rung = world._replace(timers=_put(world.timers, number, False))
                yield self._move(RINGS[number], rung, number, Due(world.disk, world.starts, world.just_begun))
        if world.ending:
            yield self._receiver_ends(world)
        if world.just_begun:
            yield Move("some seconds have passed since a restart began", world._replace(just_begun=False))

    def outstanding(self, world: World) -> Iterator[str]:
        if world.disk not in world.receivers:
            yield CHANGE_KEPT

    def tell(self, world: World) -> str:
        live = ", ".join(f"one with revision {revision}" for revision in world.receivers) or "none"
        return f"watcher {world.roads[WATCHER][0].value}, signal {world.roads[SIGNAL][0].value}; receivers: {live}"

    def _receiver_ends(self, world: World) -> Move[World]:
        """Whoever waits for it hears of it."""
        after = world._replace(receivers=world.receivers[1:], ending=False)
        broken: tuple[str, ...] = ()
        for number in (WATCHER, SIGNAL):
            after, more = self._fire(after, number, ReceiverEnded())
            broken += more
        return Move("the receiver has ended; who waited for that starts one", after, broken=broken)

    def _move(self, label: str, world: World, number: int, event: Event, *, owed: bool = True) -> Move[World]:
        after, broken = self._fire(world, number, event)
        return Move(label, after, owed, broken)

    def _fire(self, world: World, number: int, event: Event) -> tuple[World, tuple[str, ...]]:
        machine = self._machines[number]
        machine.state, machine.data = world.roads[number]
        step = machine.fire(event)
        after = world._replace(roads=_put(world.roads, number, (machine.state, machine.data)))
        broken: tuple[str, ...] = ()
        for effect in getattr(step, "effects", ()):
            after, more = self._perform(after, number, effect)
            broken += more
        return after, broken

    def _perform(self, world: World, number: int, effect: Any) -> tuple[World, tuple[str, ...]]:
        match effect:
            case ArmTimer():
                return world._replace(timers=_put(world.timers, number, True)), ()
            case CancelOther():
                return world._replace(timers=_put(world.timers, 1 - number, False)), ()
            case StopReceiver():
                return world._replace(ending=True, just_begun=True), ()
            case StartReceiver(revision=revision):
                broken = (ONE_RECEIVER,) if world.receivers else ()
                return world._replace(receivers=(*world.receivers, revision), starts=world.starts + 1), broken
        return world, ()


def _put(pair: Any, number: int, value: Any) -> Any:
    return tuple(value if place == number else kept for place, kept in enumerate(pair))
