"""Mutants of the tables: each row removed, each guard dropped or negated, each action left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from statemachine import MACHINES, Machine, Row
from statemachine._machine import guard

AnyMachine = type[Machine[Any, Any]]
BUILT = ("table", "_cursor", "_allowed", "_alphabet")
"""What a machine class is made of when Python makes it."""


@dataclass(frozen=True)
class Mutant:
    """A table with one fault. `name` is what it is known by in lists and explanations."""

    name: str
    machine: AnyMachine
    table: tuple[Row[Any], ...]

    def build(self) -> AnyMachine:
        """The machine class with this table."""
        return type(
            self.machine.__name__, (self.machine,), {"__module__": self.machine.__module__, "table": self.table}
        )

    def put_in_place(self) -> None:
        """Let the real class have this table, for whoever has imported it already. There is no way back."""
        built = self.build()
        for part in BUILT:
            setattr(self.machine, part, getattr(built, part))


def mutants() -> Iterator[Mutant]:
    """All of them, in the order of the tables."""
    for machine in MACHINES:
        for number, row in enumerate(machine.table):
            for what, changed in _changes(machine, row):
                name = f"{machine.kind} row {number} ({_words(row)}): {what}"
                yield Mutant(name, machine, (*machine.table[:number], *changed, *machine.table[number + 1 :]))


def _words(row: Row[Any]) -> str:
    kept = row.dest is None
    sources = (
        ", ".join(source.value for source in row.sources) if len(row.sources) < 4 else f"{len(row.sources)} states"
    )
    return f"{row.on.trigger} in {sources}" + ("" if kept else f" to {row.dest.value}")


def _changes(machine: AnyMachine, row: Row[Any]) -> Iterator[tuple[str, tuple[Row[Any], ...]]]:
    yield "removed", ()
    for name in row.guards:
        others = tuple(other for other in row.guards if other != name)
        yield f"without {name}", (replace(row, guards=others),)
        yield f"{name} negated", (replace(row, guards=(*others, _negated(machine, name))),)
    for name in row.effects:
        yield f"does not {name}", (replace(row, effects=tuple(other for other in row.effects if other != name)),)


def _negated(machine: AnyMachine, name: str) -> str:
    """The name of a guard that says the opposite. It is put on the class: tests that ask a guard by its name find it."""
    opposite = f"not_{name}"
    if not hasattr(machine, opposite):
        says: Callable[[Any, Any], bool] = getattr(machine, name)
        setattr(machine, opposite, guard(lambda data, event: not says(data, event)))  # type: ignore[misc]
    return opposite
