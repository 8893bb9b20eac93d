"""A run: phases of chaos, each followed by a calm, until the time is spent. Some phases kill, most let one process live."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from tests.chaos.calm import BACK_WITHIN, Calm
from tests.chaos.disk import Disk
from tests.chaos.doings import Doings
from tests.chaos.faults import Faults
from tests.chaos.post import Post
from tests.chaos.process import now
from tests.chaos.record import Record
from tests.chaos.report import progress
from tests.chaos.trials import Trials
from tests.chaos.world import PATIENCE, World
from tests.fakes.telegram import FakeTelegram
from tests.protocol.frames import take_faults

GATEWAY = [sys.executable, "-m", "gateway"]
LONGEST_PHASE = 150.0
PHASES = ("deaths", "lives", "lives", "lives", "lives")
"""Again and again: one phase in which the process is killed, then four through which one process lives."""
AT_LEAST = 2
"""Phases, whatever time they take: one of each kind, and what leaks shows in the second. A busy machine spends a short run on one."""
PATIENT = 5
"""After so many phases people leave alone what would start by itself in the end."""
SHORT = 120.0
"""Runs of less are hasty: what the long ones wait for, people do."""
BETWEEN_DOINGS = 0.12
BETWEEN_FAULTS = 1.2
BETWEEN_DEATHS = 4.0
AT_ONCE = 60
"""Doings that may be under way at once; what comes then is left out."""
WATCH = 0.5
POLLS_TOLD = 6
TELL = 10.0


@dataclass(frozen=True)
class Order:
    """What is to be run. Patience (for an answer, for what a process holds) is shortened by tests of the referee itself."""

    seconds: float
    seed: int
    command: tuple[str, ...] = tuple(GATEWAY)
    patience: float = PATIENCE
    back_within: float = BACK_WITHIN
    phases: tuple[str, ...] = PHASES
    restart: str = "auto"
    """How it restarts. What leaks in one image of the program is gone with it: `in_process` shows it."""
    hurry: float = 1.0
    """How many times as much is done as usual."""
    enough: Callable[[Record], bool] = lambda _: False
    """Looked at after each phase: a test of the referee ends when it has found what it was to find."""


@dataclass
class Outcome:
    """What came of it."""

    record: Record
    world: World
    seconds: float


async def run(order: Order, folder: Path, tell: Callable[[str], None]) -> Outcome:
    """Chaos in `folder`; `tell` gets a line now and then."""
    with Disk.under(folder / "gateway") as disk:
        async with FakeTelegram() as telegram:
            async with World(order.seed, disk.folder, telegram, disk, list(order.command), order.restart) as world:
                world.patience = order.patience
                await _Run(order, world, tell).through()
            return Outcome(world.record, world, world.record.seconds)


class _Run:
    def __init__(self, order: Order, world: World, tell: Callable[[str], None]) -> None:
        self._order = order
        self._world = world
        self._post = Post(world)
        self._tell = tell
        self._hasty = order.seconds < SHORT
        self._phase = ""
        self._under_way: set[asyncio.Task[Any]] = set()
        self._seen: dict[tuple[str, str], int] = {}

    async def through(self) -> None:
        """Phase after phase; the last thing is a stop."""
        beside = [asyncio.ensure_future(self._watch()), asyncio.ensure_future(self._progress())]
        try:
            if await self._world.life_ready():
                await self._phases()
                await self._world.end()
            self._look()
        finally:
            for task in (*beside, *self._under_way):
                task.cancel()
            await asyncio.gather(*beside, *self._under_way, return_exceptions=True)

    async def _phases(self) -> None:
        world, end = self._world, now() + self._order.seconds
        length = min(LONGEST_PHASE, self._order.seconds / 3)
        number = 0
        while (now() < end or number < AT_LEAST) and not self._order.enough(world.record):
            kind = self._order.phases[number % len(self._order.phases)]
            self._phase = f"phase {number + 1} ({kind})"
            world.record.note(self._phase)
            world.record.counts[f"phases: {kind}"] += 1
            left = length if number < AT_LEAST else end - now()
            await self._chaos(now() + min(length, left), deaths=kind == "deaths")
            patient = not self._hasty and number % PATIENT == PATIENT - 1
            self._phase = f"calm {number + 1}"
            await Calm(world, self._post, hasty=self._hasty, back_within=self._order.back_within).judge(patient=patient)
            world.calm.clear()
            number += 1

    # Chaos

    async def _chaos(self, end: float, *, deaths: bool) -> None:
        """Doings and faults at random moments, each on its own; then wait until all of them have ended."""
        doings, faults, record = Doings(self._world, self._post), Faults(self._world), self._world.record
        trials, hurry = Trials(self._world, doings), self._order.hurry
        streams = [
            self._stream(end, BETWEEN_DOINGS / hurry, doings.weights | trials.weights, record.doings),
            self._stream(end, BETWEEN_FAULTS / hurry, faults.weights, record.faults),
        ]
        if deaths:
            # So that there are some in the shortest phase too.
            between = min(BETWEEN_DEATHS, (end - now()) / 5)
            streams.append(self._stream(end, between, faults.deaths | trials.deaths, record.faults))
        await asyncio.gather(*streams)
        self._world.calm.set()
        while self._under_way:
            await asyncio.wait(self._under_way)

    async def _stream(
        self, end: float, between: float, weights: dict[Callable[[], Awaitable[None]], int], counted: Any
    ) -> None:
        # A source of its own: what is done, and how long after what, is then the seed's alone.
        random = Random(f"{self._order.seed} {self._phase} {between}")
        while True:
            await asyncio.sleep(min(random.expovariate(1 / between), 2 * between))
            if now() >= end:
                return
            if len(self._under_way) >= AT_ONCE:
                self._world.record.counts["left out"] += 1
                continue
            (what,) = random.choices(list(weights), list(weights.values()))
            name = what.__name__
            counted[name] += 1
            self._world.record.note(name)
            task = asyncio.ensure_future(self._guarded(name, what()))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def _guarded(self, name: str, doing: Awaitable[None]) -> None:
        """A doing that breaks down is a defect of the referee, or an answer that nobody foresaw: both must be seen."""
        try:
            await doing
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told
            self._world.record.violation(f"{name} broke down: {error!r}")

    # Watching

    async def _watch(self) -> None:
        """Look, and tell of each violation at once: an hour is long."""
        told = 0
        while True:
            self._look()
            for violation in self._world.record.violations[told:]:
                self._tell(f"at {violation.at} s: {violation.what}")
                told += 1
            await asyncio.sleep(WATCH)

    def _look(self) -> None:
        """At the Bot API's counts, of which none may ever grow, and at the frames that the clients were sent."""
        for fault in take_faults():
            self._world.record.violation(fault)
        for name, bot in self._world.bots.items():
            for what, count in (("overlaps", bot.stats.overlaps), ("409s of our own making", bot.stats.conflicts_self)):
                if count > self._seen.get((name, what), 0):
                    self._seen[name, what] = count
                    self._world.record.violation(f"{name}: {count} {what}; {self._story(name)}")

    def _story(self, name: str) -> str:
        """The latest polls of a bot and the moves of its account, by one clock."""
        polls = "; ".join(
            f"{poll.arrived_at:.3f} to {poll.ended_at or 0:.3f} {poll.outcome}"
            for poll in self._world.bots[name].stats.poll_log[-POLLS_TOLD:]
        )
        return f"polls: {polls}; moves: {'; '.join(self._world.ear.moves.get(f'telegram/{name}', ()))}"

    async def _progress(self) -> None:
        while True:
            self._tell(f"[{time.strftime('%H:%M:%S')}] {self._phase}: {progress(self._world)}")
            await asyncio.sleep(TELL)
