"""The engine: a table of rows in, one Step or one Refusal out.

This is the only module that knows the `transitions` library.
A machine class is checked and built once, when Python makes the class: a misspelt guard, effect or state stops the import, not the tenth hour of a night.
An instance holds a state and its data; `fire()` is pure but for replacing those two, and replaces both or neither.

The library is used for what it is good at (choosing the row) and kept from what it is not (measured with version 0.9.3):
its return value cannot tell a refused guard from an ignored trigger, so the chosen row and every guard that said no are recorded here;
it moves before `after` callbacks run, so effects are collected in `before`, and nothing is committed unless all of them were.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any, ClassVar, Generic, TypeVar

import msgspec
import transitions
from msgspec.structs import replace

from statemachine.errors import BrokenActionError, TableError

# Each trigger logs four lines at INFO otherwise, at twice the cost of the trigger itself; and at WARNING each machine
# that is built says of every trigger that it binds no method for it, which is what `model_override` is there for.
logging.getLogger("transitions").setLevel(logging.ERROR)

S = TypeVar("S", bound=Enum)
D = TypeVar("D")


class Event(msgspec.Struct, frozen=True):
    """Something that happened. Subclasses are frozen records, named in the past or as a request.

    `trigger` is the class name in snake_case: the event's name in tables, logs and the API.
    A machine has dozens of these; as a Struct one costs 20 µs to make at import, as a dataclass 270.
    """

    trigger: ClassVar[str] = ""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.trigger = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()


class Effect(msgspec.Struct, frozen=True):
    """What a transition asks the outside to do. Subclasses are frozen records."""


class Work(Effect, frozen=True):
    """An effect that takes time. It ends in exactly one completion event, whatever happens."""


class Command(Effect, frozen=True):
    """An effect that is done at once, in the dispatcher's own turn, and cannot fail."""


class Outcome(Enum):
    """What an accepted trigger meant to the one who sent it."""

    DONE = "done"
    """It moved the machine, or changed what the machine knows."""
    COALESCED = "coalesced"
    """It joined something that was under way already."""
    DEFERRED = "deferred"
    """It is kept and will be handled when the present work ends."""


@dataclass(frozen=True)
class Row(Generic[S]):
    """One line of a table: on this event, from these states, if the guards allow, to that state.

    `dest` None keeps the state. All of `guards` must hold; they and `effects` are names of guards and
    actions of the machine class. Rows are tried in the order of the table: the first that fits is taken.
    """

    on: type[Event]
    source: S | tuple[S, ...]
    dest: S | None
    guards: tuple[str, ...] = ()
    effects: tuple[str, ...] = ()
    outcome: Outcome = Outcome.DONE

    @property
    def sources(self) -> tuple[S, ...]:
        return self.source if isinstance(self.source, tuple) else (self.source,)


@dataclass(frozen=True)
class Exits(Generic[S]):
    """How an `-ing` state may be left: the events that mean success, failure, too late, and a restart."""

    success: tuple[type[Event], ...]
    failure: tuple[type[Event], ...]
    deadline: tuple[type[Event], ...]
    restart: tuple[type[Event], ...]


class Step(msgspec.Struct, frozen=True):
    """A row, taken. `before` and `after` are state values; equal ones mean that the state was kept."""

    machine: str
    before: str
    event: Event
    after: str
    effects: tuple[Effect, ...]
    outcome: Outcome
    row: int

    @property
    def trigger(self) -> str:
        return self.event.trigger


class Refusal(msgspec.Struct, frozen=True):
    """The recorded answer to a trigger that the table or a guard does not allow.

    `guards` names the guards that said no; it is empty where the table has no row at all.
    """

    machine: str
    state: str
    event: Event
    allowed: tuple[str, ...]
    guards: tuple[str, ...]

    @property
    def trigger(self) -> str:
        return self.event.trigger

    @property
    def why(self) -> str:
        """One sentence for a person: machine, trigger, state, and what said no."""
        said_no = f": {', '.join(self.guards)}" if self.guards else ""
        return f"{self.machine} cannot {self.trigger} in state {self.state}{said_no}"


class Draft(Generic[D]):
    """What an action may write to: the data to be, and the effects to come."""

    def __init__(self, data: D) -> None:
        self.data = data
        self.effects: list[Effect] = []

    def set(self, **changes: Any) -> None:
        """Replace fields of the data, which is a frozen `msgspec.Struct`: it is copied in a tenth of a dataclass's time."""
        self.data = replace(self.data, **changes)  # type: ignore[type-var]

    def emit(self, effect: Effect) -> None:
        self.effects.append(effect)


class _Named(staticmethod):  # type: ignore[type-arg]
    """A guard or an action: a static method of a machine class that its rows name."""


class guard(_Named):  # noqa: N801 - used as a decorator
    """Mark `(data, event) -> bool` as a guard. It reads and decides, no more."""


class action(_Named):  # noqa: N801 - used as a decorator
    """Mark `(draft, event) -> None` as an action: it sets data and emits effects, and cannot fail."""


class _Cursor:
    """The model that the library moves for the length of one `fire()`. One a machine class, never shared in time."""

    def __init__(self) -> None:
        self.state: Any = None
        self.draft: Draft[Any] = Draft(None)
        self.event: Event = Event()
        self.row: int | None = None
        self.denied: list[str] = []

    def trigger(self, name: str, *_: object, **__: object) -> bool:
        """Put in place by the library (`model_override`); declared so that type checkers know it."""
        raise TableError(f"trigger {name!r} was fired before the machine was built")

    def aim(self, state: Enum, draft: Draft[Any], event: Event) -> None:
        self.state, self.draft, self.event = state, draft, event
        self.row, self.denied = None, []

    def judge(self, name: str, decide: Callable[..., bool], _: object) -> bool:
        if decide(self.draft.data, self.event):
            return True
        self.denied.append(name)
        return False

    def act(self, perform: Callable[..., None], _: object) -> None:
        perform(self.draft, self.event)

    def choose(self, row: int, _: object) -> None:
        self.row = row


class _Transition(transitions.Transition):
    """A row, in the library's hands. Its `execute`, less what no row here has: callbacks of states and of the machine.

    The library looks for each of them, and tells its log ten times a trigger that there are none; of the 20 µs of a
    trigger that was 12, and a message takes four.
    """

    def execute(self, event_data: transitions.EventData) -> bool:
        conditions: list[Any] = self.conditions
        before: list[Any] = self.before
        for condition in conditions:
            if not condition.func(event_data):
                return False
        for perform in before:
            perform(event_data)
        if self.dest:
            cursor: Any = event_data.model
            cursor.state = event_data.machine.states[self.dest].value
        return True


class _Trigger(transitions.core.Event):
    """All rows of a trigger, in the library's hands. Its `trigger`, less the queue and the callbacks that no machine here has.

    That is two of the five µs that were left.
    """

    def trigger(self, model: Any, *_: object, **__: object) -> bool:
        rows = self.transitions.get(model.state._name_)
        if rows is None:
            raise transitions.MachineError(f"no row for {self.name} in state {model.state._name_}")
        event_data = transitions.EventData(None, self, self.machine, model, (), {})
        for row in rows:  # noqa: SIM110 - a generator would take a tenth of the time
            if row.execute(event_data):
                return True
        return False


class _Library(transitions.Machine):
    transition_cls = _Transition
    event_cls = _Trigger


class Machine(Generic[S, D]):
    """A machine class states its `states`, `initial` and `table`, and defines the guards and actions named there."""

    kind: ClassVar[str]
    states: ClassVar[type[Enum]]
    initial: ClassVar[Enum]
    table: ClassVar[tuple[Row[Any], ...]]
    exits: ClassVar[Mapping[Any, Exits[Any]]]
    waiting: ClassVar[frozenset[Any]] = frozenset()
    failed: ClassVar[frozenset[Any]] = frozenset()
    final: ClassVar[frozenset[Any]] = frozenset()
    """The states in which it may stay for ever."""
    frequent: ClassVar[bool] = False
    """There is one for each message: of its ordinary steps the log says nothing above `debug`."""

    repeats: ClassVar[bool] = False
    """What keeps its state comes again and again, for as long as it lives: that is as ordinary."""

    outlives_process: ClassVar[bool] = False
    """It is kept, and a boot makes it in the state in which it was left."""

    _cursor: ClassVar[_Cursor]
    _allowed: ClassVar[dict[Enum, tuple[str, ...]]]
    _judges: ClassVar[dict[tuple[Enum, type[Event]], list[dict[str, Callable[..., bool]]]]]
    """The guards of each row that a state has for an event."""
    _alphabet: ClassVar[frozenset[type[Event]]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._cursor = _Cursor()
        cls._build()
        cls._alphabet = frozenset(row.on for row in cls.table)
        cls._allowed = {
            state: tuple(sorted({row.on.trigger for row in cls.table if state in row.sources})) for state in cls.states
        }
        cls._judges = {}
        for number, row in enumerate(cls.table):
            judges = {name: cls._named(number, row, name, guard) for name in row.guards}
            for state in row.sources:
                cls._judges.setdefault((state, row.on), []).append(judges)

    @classmethod
    def _build(cls) -> None:
        """Hand the table to the library; raises TableError for any name that does not exist."""
        _Library(
            model=cls._cursor,
            states=cls.states,
            transitions=[cls._configure(number, row) for number, row in enumerate(cls.table)],
            initial=cls.initial,
            auto_transitions=False,
            send_event=True,
            model_override=True,
        )

    @classmethod
    def _configure(cls, number: int, row: Row[Any]) -> transitions.core.TransitionConfigDict:
        cursor = cls._cursor
        for state in (*row.sources, *([row.dest] if row.dest else [])):
            if not isinstance(state, cls.states):
                raise TableError(f"{cls.__name__} row {number} ({row.on.trigger}): no state {state!r}")
        return {
            "trigger": row.on.trigger,
            "source": list(row.sources),
            "dest": row.dest,
            "conditions": [partial(cursor.judge, name, cls._named(number, row, name, guard)) for name in row.guards],
            "before": [
                *(partial(cursor.act, cls._named(number, row, name, action)) for name in row.effects),
                partial(cursor.choose, number),
            ],
        }

    @classmethod
    def _named(cls, number: int, row: Row[Any], name: str, role: type[_Named]) -> Callable[..., Any]:
        found = next((vars(base)[name] for base in cls.__mro__ if name in vars(base)), None)
        if not isinstance(found, role):
            raise TableError(f"{cls.__name__} row {number} ({row.on.trigger}): no {role.__name__} named {name!r}")
        return found.__func__

    def __init__(self, name: str, data: D) -> None:
        self.name = name
        self.data = data
        self.state: S = self.initial  # type: ignore[assignment]

    @property
    def has_failed(self) -> bool:
        """Whether the present state is one of those that its class calls failed."""
        return self.state in self.failed

    @property
    def allowed(self) -> tuple[str, ...]:
        """The triggers for which the present state has a row."""
        return self.allowed_in(self.state)

    @classmethod
    def allowed_in(cls, state: Enum) -> tuple[str, ...]:
        """The same of any of its states."""
        return cls._allowed[state]

    def refusal(self, event: Event) -> Refusal | None:
        """What `fire` would refuse it with, None where it would take a row. Nothing moves: this is for whoever shows buttons."""
        denied: dict[str, None] = {}
        for judges in self._judges.get((self.state, type(event)), ()):
            says_no = next((name for name, decide in judges.items() if not decide(self.data, event)), None)
            if says_no is None:
                return None
            denied[says_no] = None
        return Refusal(self.name, self.state._value_, event, self.allowed, tuple(denied))

    def fire(self, event: Event) -> Step | Refusal:
        """Take the first row that fits, or refuse. Raises BrokenActionError, unmoved, on a defect of ours."""
        # `_value_` and not `value`, which is a property of some cost, and this is done four times a message.
        before, cursor, draft = self.state, self._cursor, Draft(self.data)
        if type(event) not in self._alphabet:  # another machine's event may have the same name
            return Refusal(self.name, before._value_, event, self.allowed, ())
        cursor.aim(before, draft, event)
        try:
            cursor.trigger(event.trigger)
        except transitions.MachineError as error:
            # Raised by the library where the state has no row for it: nothing was chosen, and nobody said no.
            if event.trigger in self.allowed:
                raise BrokenActionError(self.name, event.trigger, error) from error
        except Exception as error:
            raise BrokenActionError(self.name, event.trigger, error) from error
        if cursor.row is None:
            denied = tuple(dict.fromkeys(cursor.denied))
            return Refusal(self.name, before._value_, event, self.allowed, denied)
        row = self.table[cursor.row]
        self.state, self.data = cursor.state, draft.data
        effects = tuple(draft.effects)
        return Step(self.name, before._value_, event, self.state._value_, effects, row.outcome, cursor.row)


def cells(machine: type[Machine[Any, Any]]) -> Iterator[tuple[Enum, type[Event], list[int]]]:
    """Every (state, event) of a machine class with the numbers of its rows, in the order they are tried."""
    events = dict.fromkeys(row.on for row in machine.table)
    for state in machine.states:
        for event in events:
            yield (
                state,
                event,
                [number for number, row in enumerate(machine.table) if row.on is event and state in row.sources],
            )
