"""The two roads as what they are in a program: asyncio tasks, each with its timer, on a clock that jumps.

Delays are those of the case, drawn from a seed: the watcher's debounce is 300 ms, the restart comes after 2 s, a file event may
be late on a host under load, and a receiver takes its time to end.
"""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any, NamedTuple

from statemachine import Event
from statemachine.promises import CHANGE_KEPT, ONE_RECEIVER
from tests.founding.two_roads import (
    RINGS,
    SIGNAL,
    WATCHER,
    ArmTimer,
    CancelOther,
    Design,
    Due,
    ReceiverEnded,
    Road,
    RoadData,
    StartReceiver,
    StopReceiver,
    Written,
)
from tests.virtual import run_virtual

DEBOUNCE = 0.3
RESTART_DELAY = 2.0
WINDOW = 3.0
"""For so long after a restart has begun a second one is swallowed, where that is the guard."""
LATEST_FILE_EVENT = 3.0
LONGEST_STOP = 4.0
LATEST_WRITE = 4.0


class Run(NamedTuple):
    """What came of one seed."""

    broken: frozenset[str]
    story: tuple[str, ...]


def simulate(design: Design, seed: int, writes: int) -> Run:
    """The same seed gives the same run."""
    return run_virtual(_Program(design, Random(seed)).run(writes))


class _Program:
    def __init__(self, design: Design, random: Random) -> None:
        self._random = random
        self._machines: tuple[Road, ...] = (design.watcher("watcher", RoadData()), design.signal("signal", RoadData()))
        self._inboxes: tuple[asyncio.Queue[Event], ...] = (asyncio.Queue(), asyncio.Queue())
        self._timers: list[asyncio.TimerHandle | None] = [None, None]
        self._disk = 0
        self._receivers = [0]
        self._ending: asyncio.Task[None] | None = None
        self._starts = 0
        self._began = float("-inf")
        self._broken: set[str] = set()
        self._story: list[str] = []

    async def run(self, writes: int) -> Run:
        self._begin = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as tasks:
            roads = [tasks.create_task(self._follow(number)) for number in (WATCHER, SIGNAL)]
            for _ in range(writes):
                await self._write()
                await asyncio.sleep(self._random.uniform(0, LATEST_WRITE))
            await asyncio.sleep(60)  # by then everything that was armed has rung
            for task in roads:
                task.cancel()
        if self._disk not in self._receivers:
            self._note(f"!! revision {self._disk} was never started")
            self._broken.add(CHANGE_KEPT)
        return Run(frozenset(self._broken), tuple(self._story))

    def _note(self, line: str) -> None:
        self._story.append(f"{asyncio.get_running_loop().time() - self._begin:6.2f} s  {line}")

    async def _write(self) -> None:
        self._disk += 1
        self._note(f"config.apply writes revision {self._disk}, and arms a restart")
        self._inboxes[SIGNAL].put_nowait(Written(self._starts))
        late = self._random.uniform(0, LATEST_FILE_EVENT)
        asyncio.get_running_loop().call_later(late, self._see)

    def _see(self) -> None:
        self._note("the watcher sees the write")
        self._inboxes[WATCHER].put_nowait(Written(self._starts))

    async def _follow(self, number: int) -> None:
        """One road: it takes its events in turn, and does what its table says."""
        while True:
            event = await self._inboxes[number].get()
            for effect in getattr(self._machines[number].fire(event), "effects", ()):
                self._perform(number, effect)

    def _ring(self, number: int) -> None:
        self._timers[number] = None
        self._note(RINGS[number])
        just_begun = asyncio.get_running_loop().time() - self._began < WINDOW
        self._inboxes[number].put_nowait(Due(self._disk, self._starts, just_begun))

    def _perform(self, number: int, effect: Any) -> None:
        match effect:
            case ArmTimer():
                self._disarm(number)
                delay = (DEBOUNCE, RESTART_DELAY)[number]
                self._timers[number] = asyncio.get_running_loop().call_later(delay, self._ring, number)
            case CancelOther():
                self._disarm(1 - number)
            case StopReceiver():
                self._began = asyncio.get_running_loop().time()
                if self._ending is None:
                    self._ending = asyncio.get_running_loop().create_task(self._end())
            case StartReceiver(revision=revision):
                self._start(number, revision)

    def _disarm(self, number: int) -> None:
        timer = self._timers[number]
        if timer is not None:
            timer.cancel()
        self._timers[number] = None

    async def _end(self) -> None:
        await asyncio.sleep(self._random.uniform(0, LONGEST_STOP))
        self._receivers.pop(0)
        self._ending = None
        self._note("the receiver has ended")
        for inbox in self._inboxes:
            inbox.put_nowait(ReceiverEnded())

    def _start(self, number: int, revision: int) -> None:
        self._receivers.append(revision)
        self._starts += 1
        name = self._machines[number].name
        self._note(f"the {name} road starts a receiver with revision {revision}; there are {len(self._receivers)}")
        if len(self._receivers) > 1:
            self._broken.add(ONE_RECEIVER)
