"""Mutants of the tables: each row removed, each guard dropped or negated, each action left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from statemachine import MACHINES, Machine, Row
from statemachine._machine import guard

AnyMachine = type[Machine[Any, Any]]
BUILT = ("table", "_cursor", "_allowed", "_alphabet")
"""What a machine class is made of when Python makes it."""


@dataclass(frozen=True)
class Mutant:
    """A table with one fault. `name` is what it is known by in lists and explanations; `guards` are those that it adds; `row` is the
    number of the one that is not as it was.
    """

    name: str
    row: int
    machine: AnyMachine
    table: tuple[Row[Any], ...]
    guards: Mapping[str, Any] = field(default_factory=dict)

    def build(self) -> AnyMachine:
        """The machine class with this table."""
        names = {"__module__": self.machine.__module__, "table": self.table, **self.guards}
        return type(self.machine.__name__, (self.machine,), names)

    def put_in_place(self) -> None:
        """Let the real class have this table, for whoever has imported it already. There is no way back."""
        built = self.build()
        for part in BUILT:
            setattr(self.machine, part, getattr(built, part))
        for name, added in self.guards.items():
            setattr(self.machine, name, added)


def mutants() -> Iterator[Mutant]:
    """All of them, in the order of the tables."""
    for machine in MACHINES:
        for number, row in enumerate(machine.table):
            before, after = machine.table[:number], machine.table[number + 1 :]
            where = f"{machine.kind} row {number} ({_words(row)})"
            yield Mutant(f"{where}: removed", number, machine, (*before, *after))
            for what, changed, guards in _changes(machine, row):
                yield Mutant(f"{where}: {what}", number, machine, (*before, changed, *after), guards)


def _words(row: Row[Any]) -> str:
    few = len(row.sources) < 4
    sources = ", ".join(source.value for source in row.sources) if few else f"{len(row.sources)} states"
    way = "" if row.dest is None else f" to {row.dest.value}"
    return f"{row.on.trigger} in {sources}{way}"


def _changes(machine: AnyMachine, row: Row[Any]) -> Iterator[tuple[str, Row[Any], Mapping[str, Any]]]:
    for name in row.guards:
        others = tuple(other for other in row.guards if other != name)
        yield f"without {name}", replace(row, guards=others), {}
        opposite = {f"not_{name}": _negated(getattr(machine, name))}
        yield f"{name} negated", replace(row, guards=(*others, *opposite)), opposite
    for name in row.effects:
        yield f"does not {name}", replace(row, effects=tuple(other for other in row.effects if other != name)), {}


def _negated(says: Callable[[Any, Any], bool]) -> Any:
    def opposite(data: Any, event: Any) -> bool:
        return not says(data, event)

    return guard(opposite)
