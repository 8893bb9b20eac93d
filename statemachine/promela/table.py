"""From a machine's table to Promela: one inline an event, its rows in their order, the first that fits is taken.

What a guard and an action mean in Promela stands in a vocabulary, once each; what a row is made of stands in the table alone.
So a row that is removed there, or a guard that is dropped, is missing here as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from statemachine._machine import Event, Machine, Row
from statemachine.errors import VocabularyError

NUMBERS = frozenset({"work", "token", "generation"})
"""Fields by which an event says to which work, timer or generation it belongs."""


@dataclass(frozen=True)
class Vocabulary:
    """How the names of one machine's tables are said in Promela. `state` is the variable that holds the machine's state.

    Guards are expressions, actions are statements. What they read of the event begins with `ev_`;
    `ev_current` says that it carries the present number of its work, timer or generation.
    """

    state: str
    guards: Mapping[str, str]
    actions: Mapping[str, str]


def constant(machine: type[Machine[Any, Any]], state: Enum) -> str:
    """The name of a state in Promela."""
    return f"{machine.kind}_{state.name}".upper()


def states(machine: type[Machine[Any, Any]]) -> Iterator[str]:
    for number, state in enumerate(machine.states):
        yield f"#define {constant(machine, state)} {number}"


def events(machine: type[Machine[Any, Any]]) -> list[type[Event]]:
    return list(dict.fromkeys(row.on for row in machine.table))


def inlines(
    machine: type[Machine[Any, Any]], vocabulary: Vocabulary, alphabet: Mapping[str, type[Event]]
) -> Iterator[str]:
    """`<kind>_<trigger>()` for every event of the alphabet; `took` is then the number of the row, or REFUSED."""
    for trigger, event in alphabet.items():
        yield f"inline {machine.kind}_{trigger}() {{"
        yield "  took = REFUSED;"
        for number, row in enumerate(machine.table):
            if row.on is event:
                yield from _row(machine, vocabulary, number, row)
        yield f'  if :: took == REFUSED -> printf("   {machine.kind}: {trigger} is refused\\n") :: else fi'
        yield "}"


def _row(machine: type[Machine[Any, Any]], vocabulary: Vocabulary, number: int, row: Row[Any]) -> Iterator[str]:
    fits = " && ".join(f"({part})" for part in ("took == REFUSED", *_conditions(machine, vocabulary, number, row)))
    becomes = "stays as it is" if row.dest is None else f"is {row.dest.value}"
    yield f"  if :: {fits} ->"
    yield f'    took = {number}; printf("   {machine.kind}: {row.on.trigger} takes row {number}, it {becomes}\\n");'
    for name in row.effects:
        yield f"    /* {name} */ {_said(machine, vocabulary.actions, 'action', number, row, name)};"
    if row.dest is not None:
        yield f"    {vocabulary.state} = {constant(machine, row.dest)}"
    yield "  :: else fi;"


def _conditions(machine: type[Machine[Any, Any]], vocabulary: Vocabulary, number: int, row: Row[Any]) -> list[str]:
    here = " || ".join(f"{vocabulary.state} == {constant(machine, state)}" for state in row.sources)
    return [here, *(_said(machine, vocabulary.guards, "guard", number, row, name) for name in row.guards)]


def _said(
    machine: type[Machine[Any, Any]], words: Mapping[str, str], role: str, number: int, row: Row[Any], name: str
) -> str:
    if name not in words:
        raise VocabularyError(
            f"{machine.__name__} row {number} ({row.on.trigger}): the {role} {name!r} has no translation into Promela; "
            f"say what it means in statemachine/promela/{machine.kind}.py"
        )
    return words[name]


def taken(machine: type[Machine[Any, Any]], vocabulary: Vocabulary, event: type[Event], *, current: bool) -> str:
    """Whether a row would be taken for an event of this kind with the present number, or with an older one.

    What else the event says is free: a guard that reads it holds for one of them.
    """
    found = []
    for number, row in enumerate(machine.table):
        if row.on is event:
            parts = [
                re.sub(r"\bev_current\b", "true" if current else "false", part)
                for part in _conditions(machine, vocabulary, number, row)
            ]
            if "false" not in parts:
                found.append(" && ".join(f"({part})" for part in parts if "ev_" not in part))
    return " || ".join(found) or "false"


def stale_is_taken(machine: type[Machine[Any, Any]], vocabulary: Vocabulary) -> str:
    """Whether anything that carries an older number would move the machine as it is now."""
    numbered = [event for event in events(machine) if NUMBERS & set(event.__struct_fields__)]
    return " || ".join(taken(machine, vocabulary, event, current=False) for event in numbered) or "false"
