"""What the table tests are made of: events and data with the indifferent parts filled in, cases of rows, stories."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from random import Random
from typing import Any, TypeVar

from msgspec.structs import replace

from statemachine import (
    Channel,
    ChannelState,
    Effect,
    Event,
    Lifecycle,
    LifecycleState,
    Machine,
    Outcome,
    Refusal,
    Step,
)
from statemachine._machine import Row, guard
from statemachine.change_events import ChangeData, RevisionSettled, Settlement
from statemachine.channel import ChannelData
from statemachine.channel_events import By, Cause, ChannelPolicy, ReceiverEnded, Restart, RetryDue, Run, Start
from statemachine.effects import ArmTimer, DisarmTimer
from statemachine.lifecycle_data import LifecycleData
from statemachine.lifecycle_events import (
    CloseTicket,
    ConfigChanged,
    Impact,
    LifecyclePolicy,
    Origin,
    SettleRevision,
    Ticket,
)

AnyMachine = Machine[Any, Any]
E = TypeVar("E", bound=Effect)


def armed(event: Event, after: float = 0.0, at_least: float = 0.0, *, due: float | None = None) -> ArmTimer:
    return ArmTimer(event, due, after, at_least=at_least)


# The lifecycle: revision "a" runs, the present timer is number 7 and the present work number 3.

POLICY = LifecyclePolicy(
    start_timeout=61.0, reload_timeout=62.0, restart_timeout=93.0, stop_timeout=40.0, cooldown=25.0, defer_timeout=300.0
)
"""No two budgets are alike, so that none can stand in for another unnoticed."""


def lifecycle_data(**changes: Any) -> LifecycleData:
    return LifecycleData(**{"policy": POLICY, "applied": "a", "known": "a", "timer": 7, "work": 3, **changes})


def lifecycle(state: LifecycleState, data: LifecycleData | None = None) -> Lifecycle:
    machine = Lifecycle("gateway", lifecycle_data() if data is None else data)
    machine.state = state
    return machine


def ticket(name: str, due_at: float = 100.0, revision: str | None = None, force: bool = False) -> Ticket:
    """A person's, unless it has a revision."""
    return Ticket(name, "somebody", "some reason", revision, due_at, force)


P1, P2 = ticket("p1", 100.0), ticket("p2", 200.0)
"""Tickets of persons."""
FOR_B, FOR_G = ticket("for b", 100.0, "b"), ticket("for g", 150.0, "g")
"""Tickets of revisions. `g` is one that needs a restart."""


def changed(
    revision: str,
    impact: Impact = Impact.LIVE,
    base: str = "a",
    overlay: bool = False,
    origin: Origin = Origin.CALL,
    reload: bool = True,
    due_at: float = 100.0,
    ticket_id: str | None = None,
) -> ConfigChanged:
    """A call with a live change, unless told otherwise. Its ticket is named after its revision."""
    own = ticket(f"for {revision}" if ticket_id is None else ticket_id, due_at, revision)
    return ConfigChanged(revision, base, impact, overlay, origin, reload, own)


# The channel: generation 4 is the present one, and the present timer is number 7.

PATIENCE = ChannelPolicy(
    backoff_base=1.0,
    backoff_cap=30.0,
    intensity=3,
    period=300.0,
    half_open_after=120.0,
    conflict_wait=45.0,
    start_timeout=31.0,
    stop_timeout=6.0,
    fence_retry=5.0,
    stall_after=55.0,
)


def run_of(settings: Hashable = "token", revision: str = "a", enabled: bool = True, policy: Any = PATIENCE) -> Run:
    return Run(revision, settings, enabled, policy)


OLD, NEW = run_of(), run_of("new token", "b", policy=replace(PATIENCE, start_timeout=32.0, stop_timeout=8.0))
OFF = run_of(enabled=False)


def channel_data(**changes: Any) -> ChannelData:
    return ChannelData(**{"generation": 4, "run": run_of(), "timer": 7, **changes})


def channel(state: ChannelState, data: ChannelData | None = None) -> Channel:
    machine = Channel("telegram/main", channel_data() if data is None else data)
    machine.state = state
    return machine


def start(by: By = By.PERSON, run: Run | None = None) -> Start:
    return Start(run_of() if run is None else run, by)


def restart(by: By = By.GATEWAY, run: Run | None = None) -> Restart:
    return Restart(run_of() if run is None else run, by)


def ended(
    cause: Cause = Cause.LOST, at: float = 1000.0, generation: int = 4, why: str = "it broke", retry_after: float = 0.0
) -> ReceiverEnded:
    return ReceiverEnded(generation, cause, why, at, retry_after)


def backoff(token: int, longest: float, at_least: float = 0.0) -> ArmTimer:
    return ArmTimer(RetryDue(token), None, longest, jitter=True, at_least=at_least)


# The change: it brings revision "b" in the place of "a"; timer 7 and work 3 are current.


def change_data(**changes: Any) -> ChangeData:
    return ChangeData(**{"revision": "b", "base": "a", "timer": 7, "work": 3, **changes})


def settled(settlement: Settlement, revision: str = "b", word: str = "its word", lost: str = "") -> RevisionSettled:
    return RevisionSettled(revision, settlement, word, "its reason", lost, "401" if lost else "")


# Cases


@dataclass(frozen=True)
class Case:
    """What one row does. Fired from each of `states`, it gives exactly this, and changes exactly these data."""

    name: str
    states: tuple[Enum, ...]
    data: Any
    event: Event
    after: Enum | None
    """None: the state is kept."""
    effects: tuple[Effect, ...] = ()
    changes: Mapping[str, Any] = field(default_factory=dict)
    outcome: Outcome = Outcome.DONE


def at(machine: type[AnyMachine], state: Enum, data: Any) -> AnyMachine:
    """A machine of this class that is in this state and knows this."""
    made = machine("under test", data)
    made.state = state
    return made


def row_for(machine: type[AnyMachine], state: Enum, data: Any, event: Event) -> int | None:
    """The number of the first row that fits, found without the engine."""
    for number, row in enumerate(machine.table):
        if row.on is type(event) and state in row.sources and all(holds(machine, n, data, event) for n in row.guards):
            return number
    return None


def holds(machine: type[AnyMachine], name: str, data: Any, event: Event) -> bool:
    return bool(getattr(machine, name)(data, event))


def guards_of(machine: type[AnyMachine]) -> set[str]:
    """Its own and those of its bases."""
    return {name for base in machine.__mro__ for name, thing in vars(base).items() if isinstance(thing, guard)}


def guarded_by(machine: type[AnyMachine], name: str, state: Enum, event: Event) -> type[AnyMachine]:
    """The machine class with a single row, which this guard alone protects."""
    row = Row(type(event), state, None, (name,))
    return type(f"{machine.__name__}Guarded", (machine,), {"__module__": machine.__module__, "table": (row,)})


# Stories


class Story:
    """One machine that events go through, all that it has asked for, and the timer that it has armed."""

    def __init__(self, machine: AnyMachine) -> None:
        self.machine = machine
        self.effects: list[Effect] = []
        self.armed: ArmTimer | None = None

    @property
    def data(self) -> Any:
        return self.machine.data

    @property
    def work(self) -> int:
        """The number of the present work."""
        return int(self.data.work)

    @property
    def token(self) -> int:
        """The number of the present timer."""
        return int(self.data.timer)

    @property
    def generation(self) -> int:
        return int(self.data.generation)

    def fire(self, event: Event, after: Enum, outcome: Outcome = Outcome.DONE) -> tuple[Effect, ...]:
        """The event must be accepted and lead there; returns what the step asks for."""
        step = self.machine.fire(event)
        assert isinstance(step, Step), step.why
        assert (self.machine.state, step.outcome) == (after, outcome)
        self.effects += step.effects
        for effect in step.effects:
            if isinstance(effect, ArmTimer):
                self.armed = effect
            elif isinstance(effect, DisarmTimer):
                self.armed = None
        return step.effects

    def refuse(self, event: Event, *guards: str) -> None:
        """The event must be refused by these guards, and nothing may have moved."""
        state, data = self.machine.state, self.machine.data
        refusal = self.machine.fire(event)
        assert isinstance(refusal, Refusal), f"{event.trigger} was accepted"
        assert refusal.guards == guards
        assert self.machine.state is state
        assert self.machine.data is data

    def ring(self, after: Enum, outcome: Outcome = Outcome.DONE) -> tuple[Effect, ...]:
        """The armed timer fires."""
        assert self.armed is not None, "no timer is armed"
        due, self.armed = self.armed.then, None
        return self.fire(due, after, outcome)

    def said(self, kind: type[E]) -> list[E]:
        """All effects of one kind so far."""
        return [effect for effect in self.effects if isinstance(effect, kind)]


def only(effects: tuple[Effect, ...], kind: type[E]) -> E:
    """The one effect of this kind."""
    (found,) = (effect for effect in effects if isinstance(effect, kind))
    return found


def numbered(rows: tuple[tuple[Case, ...], ...]) -> Iterator[tuple[int, Case]]:
    """The cases of a table, each with the number of its row."""
    for number, cases in enumerate(rows):
        for case in cases:
            yield number, case


def number(random: Random, current: int) -> int:
    """Of a timer, a generation or a piece of work: mostly the current one."""
    return current if random.random() < 0.75 else current + random.choice((-2, -1, 1))


def outcomes(story: Story) -> dict[str, str]:
    """The outcome of each ticket that has one."""
    closed = story.said(CloseTicket)
    assert len({told.id for told in closed}) == len(closed), "a ticket was closed twice"
    return {told.id: told.outcome for told in closed}


def settlements(story: Story, revision: str) -> list[str]:
    return [told.outcome for told in story.said(SettleRevision) if told.revision == revision]
