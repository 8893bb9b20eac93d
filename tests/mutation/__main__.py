"""`python -m tests.mutation`: every mutant, and what kills it. Exit code 1 when one survives without an explanation."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from statemachine import BrokenActionError, Change, Channel, Circuit, Delivery, Incoming, Lease
from statemachine.channel_events import LeaseGained, LeaseLost
from statemachine.explore import Model, explore
from statemachine.lifecycle_events import RestartBy
from statemachine.promises import PROMISES
from statemachine.world import MessageWorld, World
from tests.mutation.by_tests import killers
from tests.mutation.shell import SWAPS
from tests.mutation.swaps import copy_of_the_tree, killer
from tests.mutation.tables import AnyMachine, Mutant, mutants

EXPLAINED: dict[str, str] = {}
"""Mutants that nothing needs to kill, by name, each with the reason why it makes no difference."""
LIMIT = 25_000
"""Worlds that an exploration visits for one mutant: the outside may do one thing, which is some 1,500 where nothing is
wrong, and some 21,000 in the world of messages."""
FENCES = ("generation_is_current", "work_is_current", "timer_is_current", "attempt_is_current")
"""Guards against stale words. Where they are missing an exploration must find it: it goes on to two things of the outside.

Not those of a change: most of its stages are one move there, with nothing in between that could be stale.
"""


OF_NO_WORLD = (Circuit, Lease)
"""Machines of which the worlds of accounts and of messages have nothing: their own tests find what is wrong with them."""


def is_fence(mutant: Mutant) -> bool:
    return mutant.machine not in (Change, *OF_NO_WORLD) and any(
        mutant.name.endswith(f"without {fence}") for fence in FENCES
    )


def promise_broken_by(mutant: Mutant) -> str:
    """What an exploration of one account finds first; "" where nothing is found."""
    if mutant.machine in OF_NO_WORLD:
        return ""
    built = mutant.build()
    for budget, limit in ((1, LIMIT), (2, None)) if is_fence(mutant) else ((1, LIMIT),):
        world = _world(built, budget, _way_of(mutant), shared=_is_of_leases(mutant))
        try:
            found = explore(world, until=PROMISES, limit=limit).violations
        except BrokenActionError as error:
            return f"an action breaks: {error}"
        except (AssertionError, LookupError) as error:
            return f"the world has no place for what it asks: {error!r}"
        if found:
            return found[0].promise
    return ""


def _way_of(mutant: Mutant) -> str:
    """How the process restarts in the world where its row matters."""
    if "(vacated" not in mutant.name:
        return RestartBy.IN_PROCESS.value
    return RestartBy.EXIT.value if " to stopped)" in mutant.name else RestartBy.EXEC.value


def _is_of_leases(mutant: Mutant) -> bool:
    """Its row matters where several hosts share an account."""
    original = mutant.machine.table[mutant.row]
    return "another_host_may_receive" in original.guards or original.on in (LeaseGained, LeaseLost)


def _world(built: AnyMachine, budget: int, restart_by: str, *, shared: bool) -> Model[Any]:
    if issubclass(built, Incoming):
        return MessageWorld(budget, incoming=built)
    if issubclass(built, Delivery):
        return MessageWorld(budget, delivery=built)
    if issubclass(built, Change):
        return World(1, change=built, budget=budget, confirm=True)
    if issubclass(built, Channel):
        return World(1, channel=built, budget=budget, shared=shared)
    return World(1, lifecycle=built, budget=budget, restart_by=restart_by)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the list there, too")
    given = parser.parse_args()
    found = [*_tables(), *_shell()]
    for name, by in found:
        print(
            f"{'killed ' if by else 'ALIVE  '} {name}\n          {'; '.join(by) or EXPLAINED.get(name, 'by nothing')}"
        )
    alive = [name for name, by in found if not by]
    explored = sum(any(line.startswith("explore") for line in by) for _, by in found)
    unexplained = [name for name in alive if name not in EXPLAINED]
    print(
        f"{len(found)} mutants: {len(found) - len(alive)} killed, {explored} of them by exploration too, "
        f"{len(alive) - len(unexplained)} explained, {len(unexplained)} alive"
    )
    if given.json:
        given.json.write_text(json.dumps(dict(found), indent=2), encoding="utf-8")
    return 1 if unexplained else 0


def _tables() -> list[tuple[str, list[str]]]:
    every = list(mutants())
    print(f"{len(every)} mutants of the tables meet the table tests ...", file=sys.stderr)
    tests = killers(every)
    print("... and the explorer ...", file=sys.stderr)
    found = []
    for mutant in every:
        promise, test = promise_broken_by(mutant), tests.get(mutant.name)
        found.append((mutant.name, [*([f"explore: {promise}"] if promise else []), *([test] if test else [])]))
    return found


def _shell() -> list[tuple[str, list[str]]]:
    print(f"... and {len(SWAPS)} of the code around them their tests", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder, copy_of_the_tree(Path(folder)) as tree:
        return [(swap.name, [by] if (by := killer(swap, tree)) else []) for swap in SWAPS]


if __name__ == "__main__":
    sys.exit(main())
