"""Runs recorded events through the tables again, and says where they lead elsewhere than they did.

Who calls it: `gateway replay`, with a journal that a gateway exported, and the tests, with the journals of their own runs.
Each machine is built anew where the record says that one began, and each event is fired at it in the order of the record.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from statemachine import MACHINES
from statemachine._machine import Event, Machine, Step
from statemachine.change import Change
from statemachine.change_events import ChangeData
from statemachine.channel import Channel, ChannelData
from statemachine.circuit import Circuit, CircuitData
from statemachine.delivery import Delivery, DeliveryData
from statemachine.errors import BrokenActionError, StateMachineError
from statemachine.incoming import Incoming, IncomingData
from statemachine.lease import Lease, LeaseData
from statemachine.lifecycle import Lifecycle
from statemachine.lifecycle_data import LifecycleData
from statemachine.record import ABSENT, DEFECT, EXISTS, event_type, restored

AnyMachine = Machine[Any, Any]
REFUSED = "refused"
KINDS: Mapping[str, type[AnyMachine]] = {machine.kind: machine for machine in MACHINES}
KNOWS: Mapping[str, type[Any]] = {
    Lifecycle.kind: LifecycleData,
    Channel.kind: ChannelData,
    Change.kind: ChangeData,
    Lease.kind: LeaseData,
    Incoming.kind: IncomingData,
    Delivery.kind: DeliveryData,
    Circuit.kind: CircuitData,
}
"""What a machine of each kind knows beside its state."""


class RecordError(StateMachineError):
    """A record that cannot be replayed, whatever the tables say."""


class Start(msgspec.Struct, frozen=True):
    """Where a machine began: when it was made, or where the record begins."""

    kind: str
    state: str
    data: dict[str, Any]


class Recorded(msgspec.Struct, frozen=True):
    """One step or refusal. `row` is None for a refusal; `start` is there on a machine's first entry."""

    seq: int
    machine: str
    trigger: str
    before: str
    after: str
    outcome: str
    row: int | None
    guards: tuple[str, ...]
    event: dict[str, Any]
    start: Start | None = None


def recorded(data: Any) -> Recorded:
    """Raises RecordError that names the field."""
    try:
        return msgspec.convert(data, Recorded)
    except msgspec.ValidationError as error:
        raise RecordError(f"no entry of a journal: {_said(error)}") from error


@dataclass(frozen=True)
class Difference:
    """The first place where the tables lead elsewhere."""

    seq: int
    machine: str
    trigger: str
    recorded: str
    replayed: str

    def __str__(self) -> str:
        return f"entry {self.seq}, {self.machine} {self.trigger}: recorded: {self.recorded}; replayed: {self.replayed}"


class Verdict(NamedTuple):
    """What became of an event: everything that is compared."""

    before: str
    after: str
    outcome: str
    row: int | None
    guards: tuple[str, ...]

    def __str__(self) -> str:
        if self.row is None:
            return f"refused in {self.before}" + (f" by {', '.join(self.guards)}" if self.guards else "")
        return f"{self.before} to {self.after}, {self.outcome}, by row {self.row}"


class Replay:
    """Takes entries one by one. `rows` says of which kinds of machine the row's number is compared: of one whose table is the recorded one.

    `whole` says that the record begins where the gateway began, so that every machine must begin in its initial state,
    unless it is one that outlives the process.
    """

    def __init__(self, rows: frozenset[str] = frozenset(KINDS), *, whole: bool = True) -> None:
        self.machines: dict[str, AnyMachine] = {}
        self.steps = 0
        self.refusals = 0
        self._reached: dict[str, int] = {}
        """The generations of machines that were removed."""
        self._rows = rows
        self._whole = whole

    def take(self, entry: Recorded) -> Difference | None:
        """Fire one entry's event; what differs, if anything does. Raises RecordError."""
        if entry.row is None:
            self.refusals += 1
        else:
            self.steps += 1
        if entry.before == ABSENT:
            return self._take_absent(entry)
        if entry.start is not None and (fault := self._begin(entry, entry.start)):
            return _difference(entry, "it began", fault)
        machine = self.machines.get(entry.machine)
        if machine is None:
            raise RecordError(f"entry {entry.seq}: {entry.machine} has no start before its first event")
        found = _fire(machine, entry)
        if machine.kind not in self._rows and None not in (found.row, entry.row):
            found = found._replace(row=entry.row)
        return None if found == _verdict(entry) else _difference(entry, _verdict(entry), found)

    def _begin(self, entry: Recorded, start: Start) -> str | None:
        """Build the machine; what is wrong with its beginning, if anything is."""
        kind = KINDS.get(start.kind)
        if kind is None:
            raise RecordError(
                f"entry {entry.seq}: there is no machine of kind {start.kind!r}; known: {', '.join(KINDS)}"
            )
        try:
            machine = kind(entry.machine, restored(KNOWS[start.kind], start.data))
            machine.state = kind.states(start.state)
        except (msgspec.ValidationError, ValueError) as error:
            raise RecordError(f"entry {entry.seq}: {entry.machine} cannot begin: {_said(error)}") from error
        fault = self._why_not(machine)
        self.machines[entry.machine] = machine
        return fault

    def _why_not(self, machine: AnyMachine) -> str | None:
        """A machine that comes back was at rest, and goes on counting where it was: no generation is used twice."""
        older = self.machines.get(machine.name)
        if older is not None:
            if older.state not in older.final:
                return f"it is {older.state.value}, and does not begin anew from there"
            self._reached[machine.name] = _generation(older)
        if self._whole and not machine.outlives_process and machine.state is not machine.initial:
            return f"a {machine.kind} begins in {machine.initial.value}, not in {machine.state.value}"
        had, has = self._reached.get(machine.name, 0), _generation(machine)
        return None if has >= had else f"it had generation {had}, and begins anew with {has}"

    def _take_absent(self, entry: Recorded) -> Difference | None:
        """The machine had been removed, or had never been: only one that is at rest can be gone."""
        older = self.machines.pop(entry.machine, None)
        if older is not None:
            self._reached[entry.machine] = _generation(older)
            if older.state not in older.final:
                why = f"it is {older.state.value}, and is not removed from there"
                return _difference(entry, "it does not exist", why)
        expected = Verdict(ABSENT, ABSENT, REFUSED, None, (EXISTS,))
        return None if _verdict(entry) == expected else _difference(entry, _verdict(entry), expected)


def _fire(machine: AnyMachine, entry: Recorded) -> Verdict:
    """What becomes of the event now. One that is in no row is as good as any other such event: it is refused."""
    kind = event_type(machine.table, entry.trigger)
    try:
        event = restored(kind, entry.event) if kind is not None else Event()
    except msgspec.ValidationError as error:
        raise RecordError(f"entry {entry.seq}: no event {entry.trigger}: {_said(error)}") from error
    before: str = machine.state.value
    try:
        result = machine.fire(event)
    except BrokenActionError:
        return Verdict(before, before, REFUSED, None, (DEFECT,))
    if isinstance(result, Step):
        return Verdict(before, result.after, result.outcome.value, result.row, ())
    return Verdict(before, before, REFUSED, None, result.guards)


def _generation(machine: AnyMachine) -> int:
    return int(getattr(machine.data, "generation", 0))


def _verdict(entry: Recorded) -> Verdict:
    return Verdict(entry.before, entry.after, entry.outcome, entry.row, entry.guards)


def _difference(entry: Recorded, said: Verdict | str, found: Verdict | str) -> Difference:
    return Difference(entry.seq, entry.machine, entry.trigger, str(said), str(found))


def _said(error: Exception) -> str:
    """Where and what, without the library's quoting."""
    message, _, place = str(error).replace("`", "").partition(" - at $")
    return f"{place.lstrip('.')}: {message}" if place.lstrip(".") else message
