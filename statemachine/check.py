"""What can be wrong with a table although it builds, and with the pictures of it.

`python -m statemachine check` and the tests ask; every answer says where it is and what to do.
A misspelt guard, action or state needs no check: the class cannot be made (`TableError`).
Guards are not evaluated: two rows of one event are told apart by the names of their guards alone.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from enum import Enum
from pathlib import Path
from typing import Any

from statemachine._machine import Event, Exits, Row, action, guard
from statemachine.describe import MachineClass, docstrings
from statemachine.diagram import mermaid, stamp

REMEDY = "run `make diagrams`"


def faults(machine: MachineClass) -> list[str]:
    """All that is wrong with one machine class, in words; empty when nothing is."""
    checks = (_ways, _dead_rows, _undeclared_exits, _missing_exits, _unhandled_events, _unused_names, _undocumented)
    return [f"{machine.kind}: {fault}" for check in checks for fault in check(machine)]


def outdated(machines: Iterable[MachineClass], folder: Path) -> list[str]:
    """Pictures in the folder that are missing, not of the present tables, or of no machine."""
    found, expected = [], set()
    for machine in machines:
        text, picture = folder / f"{machine.kind}.mmd", folder / f"{machine.kind}.svg"
        expected |= {text, picture}
        found += [f"{path}: there is none; {REMEDY}" for path in (text, picture) if not path.exists()]
        if text.exists() and (line := _first_difference(text.read_text(encoding="utf-8"), mermaid(machine))):
            found.append(f"{text}: line {line} is not what the table says; {REMEDY}")
        if picture.exists() and stamp(machine) not in picture.read_text(encoding="utf-8"):
            found.append(f"{picture}: it was drawn from another table, or otherwise; {REMEDY}")
    strays = {path for kind in ("*.mmd", "*.svg") for path in folder.glob(kind)} - expected
    return found + [f"{path}: it is of no machine; remove it" for path in sorted(strays)]


def _first_difference(there: str, wanted: str) -> int:
    """The number of the first line that differs, from 1; 0 if none does."""
    if there == wanted:
        return 0
    lines = zip(there.splitlines(), wanted.splitlines(), strict=False)
    same = next((number for number, (old, new) in enumerate(lines) if old != new), None)
    return 1 + (same if same is not None else min(len(there.splitlines()), len(wanted.splitlines())))


# States: can they be reached, and left?


def _ways(machine: MachineClass) -> Iterator[str]:
    onward: dict[Enum, set[Enum]] = {state: set() for state in machine.states}
    for number, row in enumerate(machine.table):
        for source in row.sources:
            if row.dest and row.dest is not source and _taken_by(machine, number, source) is None:
                onward[source].add(row.dest)
    backward = {state: {source for source in machine.states if state in onward[source]} for state in machine.states}
    initial, final = machine.initial, machine.final
    if not final:
        yield "it declares no final state; set `final`"
    for state in _in_order(machine, set(machine.states) - _closure(onward, {initial})):
        yield f"state {state.name} cannot be reached from {initial.name}; add a row that leads to it, or remove it"
    traps = {state for state in machine.states if not onward[state] and state not in final}
    for state in _in_order(machine, traps):
        yield f"state {state.name} is a trap: no row leads out of it; add one, or declare it `final`"
    if final:
        names = " or ".join(state.name for state in _in_order(machine, set(final)))
        for state in _in_order(machine, set(machine.states) - _closure(backward, set(final)) - traps):
            yield f"state {state.name} has no way to {names}; add a row that leads there, at once or by steps"


def _closure(ways: Mapping[Enum, set[Enum]], starts: set[Enum]) -> set[Enum]:
    seen, todo = set(starts), list(starts)
    while todo:
        fresh = ways[todo.pop()] - seen
        seen |= fresh
        todo += fresh
    return seen


def _in_order(machine: MachineClass, some: set[Enum]) -> list[Enum]:
    return [state for state in machine.states if state in some]


# Rows: can each be taken?


def _dead_rows(machine: MachineClass) -> Iterator[str]:
    for number, row in enumerate(machine.table):
        by = {source: _taken_by(machine, number, source) for source in row.sources}
        for other in dict.fromkeys(taker for taker in by.values() if taker is not None):
            states = ", ".join(source.name for source, taker in by.items() if taker == other)
            if row == machine.table[other]:
                yield f"row {number} ({row.on.trigger}) repeats row {other}; remove one of them"
            else:
                yield (
                    f"row {number} ({row.on.trigger}) can never be taken in {states}: row {other} comes first and "
                    f"fits whenever it does; move it above row {other}, give row {other} a guard more, or remove it"
                )


def _taken_by(machine: MachineClass, number: int, source: Enum) -> int | None:
    """The earlier row that fits whenever this one does: the same event and state, and no guard that this one lacks."""
    row = machine.table[number]
    for other, earlier in enumerate(machine.table[:number]):
        if (
            earlier.on.trigger == row.on.trigger
            and source in earlier.sources
            and set(earlier.guards) <= set(row.guards)
        ):
            return other
    return None


# Work: is every way that it can end foreseen?


def _undeclared_exits(machine: MachineClass) -> Iterator[str]:
    """By name, so that a machine which forgot to declare how an `-ing` state ends is found, too."""
    for state in machine.states:
        stable = state.value == "running" or state in machine.waiting
        if str(state.value).endswith("ing") and not stable and state not in _exits(machine):
            yield (
                f"state {state.name} is an -ing state and `exits` does not say how it ends; "
                "declare its Exits, list it in `waiting`, or give it another name"
            )


def _missing_exits(machine: MachineClass) -> Iterator[str]:
    for state, exits in _exits(machine).items():
        for part in fields(exits):
            events: tuple[type[Event], ...] = getattr(exits, part.name)
            # A restart is not every state's business; success, failure and the deadline are.
            if not events and part.name != "restart":
                yield f"the exits of state {state.name} name no {part.name} event; declare one, and a row for it"
            for event in events:
                if not any(row.on is event and state in row.sources for row in machine.table):
                    yield (
                        f"state {state.name} has no row for {event.trigger}, its {part.name}; "
                        "add the row, or correct `exits`"
                    )


def _exits(machine: MachineClass) -> Mapping[Enum, Exits[Any]]:
    return getattr(machine, "exits", {})


# Names: is everything that was written used, and explained?


def _unhandled_events(machine: MachineClass) -> Iterator[str]:
    """The machine's alphabet is every event class of the modules that its table takes events from."""
    handled = {row.on for row in machine.table}
    modules = dict.fromkeys([*(row.on.__module__ for row in machine.table), machine.__module__])
    for module in modules:
        for thing in vars(sys.modules[module]).values():
            is_event = isinstance(thing, type) and issubclass(thing, Event) and thing.__module__ == module
            if is_event and thing is not Event and thing not in handled:
                yield f"event {thing.trigger} ({module}) is handled in no state; add a row, or remove it"


def _unused_names(machine: MachineClass) -> Iterator[str]:
    named = {name for row in machine.table for name in _names(row)}
    for base in machine.__mro__:
        for name, thing in vars(base).items():
            if isinstance(thing, guard | action) and name not in named:
                yield f"{type(thing).__name__} {name} is named by no row; name it in one, or remove it"


def _names(row: Row[Any]) -> tuple[str, ...]:
    return (*row.guards, *row.effects)


def _undocumented(machine: MachineClass) -> Iterator[str]:
    documented = docstrings(machine.states)
    for state in machine.states:
        if not documented.get(state.name):
            yield f"state {state.name} has no docstring; write a sentence under it: what it means to be there"
