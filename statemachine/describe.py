"""What a machine class says of itself, in words: for the diagrams, the checks and whoever shows a table as data.

Everything here is read from the built class and from the source of its states. Nothing is written down a second time.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import sys
import textwrap
from enum import Enum
from functools import cache
from itertools import pairwise
from typing import Any

from statemachine._machine import Machine, Row

MachineClass = type[Machine[Any, Any]]


class Kind(Enum):
    """What it means to be in a state. The strings under the members are the legend of the pictures."""

    STABLE = "stable"
    """nothing is under way"""
    WORKING = "working"
    """work of ours is under way"""
    WAITING = "waiting"
    """a timer or somebody else leads on"""
    FAILED = "failed"
    """something went wrong"""
    FINAL = "final"
    """at rest; the beginning, too"""


def kind_of(machine: MachineClass, state: Enum) -> Kind:
    """The class attributes decide, and the gravest one wins: a state that failed and has exits is shown as failed."""
    if state in machine.final:
        return Kind.FINAL
    if state in machine.failed:
        return Kind.FAILED
    if state in machine.waiting:
        return Kind.WAITING
    return Kind.WORKING if state in getattr(machine, "exits", {}) else Kind.STABLE


@cache
def docstrings(states: type[Enum]) -> dict[str, str]:
    """The string under each member, by member name. Python throws them away, so they are read from the source."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(states)))
    except (OSError, TypeError):  # made in an interactive session, or from a list of names
        return {}
    definition = tree.body[0]
    body = definition.body if isinstance(definition, ast.ClassDef) else []
    return {
        line.targets[0].id: inspect.cleandoc(below.value.value)
        for line, below in pairwise(body)
        if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name)
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) and isinstance(below.value.value, str)
    }


def group_name(machine: MachineClass, sources: tuple[Enum, ...]) -> str:
    """What the machine's module calls this set of states (`ALIVE`), else the names of its members."""
    module = vars(sys.modules[machine.__module__])
    for name, value in module.items():
        if isinstance(value, tuple) and len(value) > 1 and set(value) == set(sources):
            return name
    return ", ".join(state.name for state in sources)


def row_words(row: Row[Any]) -> str:
    """A row without its states: `trigger [guard & guard] / effect, effect`."""
    guards = f" [{' & '.join(row.guards)}]" if row.guards else ""
    effects = f" / {', '.join(row.effects)}" if row.effects else ""
    return row.on.trigger + guards + effects


def row_facts(row: Row[Any]) -> dict[str, Any]:
    """A row as plain data, states by their names."""
    return {
        "trigger": row.on.trigger,
        "sources": [state.name for state in row.sources],
        "dest": row.dest.name if row.dest else None,
        "guards": list(row.guards),
        "effects": list(row.effects),
        "outcome": row.outcome.value,
    }


def facts(machine: MachineClass) -> dict[str, Any]:
    """A whole machine as plain data: what a picture shows, and what its digest is taken of."""
    documented = docstrings(machine.states)
    return {
        "kind": machine.kind,
        "initial": machine.initial.name,
        "states": [
            {
                "name": state.name,
                "value": state.value,
                "kind": kind_of(machine, state).value,
                "doc": documented.get(state.name, ""),
            }
            for state in machine.states
        ],
        "rows": [row_facts(row) for row in machine.table],
    }


def digest(machine: MachineClass) -> str:
    """SHA-256 of the table: states, kinds, docstrings and rows. It changes whenever a picture should."""
    text = json.dumps(facts(machine), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
