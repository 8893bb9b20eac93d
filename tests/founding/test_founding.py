"""The race is found in what such programs do, by explore, by simulation and by Spin; no guard alone ends it; our own tables have none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from statemachine.explore import Move, Violation, explore
from statemachine.promises import CHANGE_KEPT, ONE_RECEIVER
from statemachine.spin import check
from statemachine.world import World, Worlds
from tests.debian import find_program
from tests.founding.simulation import Run, simulate
from tests.founding.spin import model
from tests.founding.two_roads import CANCELLING, COALESCING, DESIGNS, SNAPSHOT, UNGUARDED, Design, TwoRoads

WRITE_1 = "config.apply writes revision 1, and arms a restart"
WRITE_2 = "config.apply writes revision 2, and arms a restart"
SEEN = "the watcher sees the write"
RELOAD = "the file is quiet: the watcher reloads"
RESTART = "SIGUSR1 comes: the account is restarted"
WINDOW_ENDS = "some seconds have passed since a restart began"
ENDED = "the receiver has ended; who waited for that starts one"

DOUBLE_STARTS = {
    UNGUARDED: (WRITE_1, SEEN, RELOAD, RESTART, ENDED),
    # While the watcher waits for the old receiver, nothing has been started yet: the count is still the one that was noted.
    SNAPSHOT: (WRITE_1, SEEN, RELOAD, RESTART, ENDED),
    # The restart came first: there is no timer left to cancel, and a restart that has begun is no timer.
    CANCELLING: (WRITE_1, SEEN, RESTART, RELOAD, ENDED),
    # The old receiver takes longer to end than the window is open.
    COALESCING: (WRITE_1, SEEN, RELOAD, WINDOW_ENDS, RESTART, ENDED),
}
# The second write comes while a restart is under way that has read the file already: both its roads are swallowed.
DROPPED = (WRITE_1, RESTART, WRITE_2, SEEN, RELOAD, RESTART, ENDED, WINDOW_ENDS)
SEEDS = range(300)

designs = pytest.mark.parametrize("design", DESIGNS, ids=lambda design: design.name)


def told(design: Design, violation: Violation[Any]) -> tuple[str, ...]:
    """The story's labels; printed with what the world is after each."""
    world = TwoRoads(design)
    print(f"{design.name}: broken: {violation.promise}")
    for move in violation.story:
        print(f"  {move.label}\n      {world.tell(move.after)}")
    return tuple(move.label for move in violation.story)


# Explore


@designs
def test_explore_finds_the_double_start_by_a_shortest_schedule(design: Design) -> None:
    report = explore(TwoRoads(design, writes=1))
    assert report.complete
    (double,) = report.violations
    assert double.promise == ONE_RECEIVER
    assert told(design, double) == DOUBLE_STARTS[design]


@designs
def test_explore_finds_that_coalescing_drops_a_change(design: Design) -> None:
    """Two writes. The other designs do too much, and drop nothing; coalescing does both."""
    report = explore(TwoRoads(design, writes=2))
    dropped = [violation for violation in report.violations if violation.promise == CHANGE_KEPT]
    assert [told(design, violation) for violation in dropped] == ([DROPPED] if design is COALESCING else [])
    assert ONE_RECEIVER in report.promises_broken


# Simulation


def first(design: Design, promise: str, writes: int) -> tuple[int, Run] | None:
    """The first seed whose run breaks the promise."""
    runs = ((seed, simulate(design, seed, writes)) for seed in SEEDS)
    return next(((seed, run) for seed, run in runs if promise in run.broken), None)


@designs
def test_simulation_finds_the_double_start(design: Design) -> None:
    found = first(design, ONE_RECEIVER, writes=2)
    assert found is not None
    seed, run = found
    print(
        f"{design.name}: broken: {ONE_RECEIVER}; simulate({design.name.upper()}, seed={seed}, writes=2)",
        *run.story,
        sep="\n  ",
    )
    assert simulate(design, seed, 2) == run, "a seed is a run"


@designs
def test_simulation_finds_that_coalescing_drops_a_change(design: Design) -> None:
    found = first(design, CHANGE_KEPT, writes=2)
    assert (found is not None) == (design is COALESCING)
    if found is not None:
        seed, run = found
        print(f"broken: {CHANGE_KEPT}; simulate(COALESCING, seed={seed}, writes=2)", *run.story, sep="\n  ")


# Spin


@designs
def test_spin_finds_what_explore_finds(design: Design) -> None:
    """Through the same generator as the project's own tables, and by stories of the same length."""
    find_program("spin", "spin")
    find_program("gcc", "gcc")
    verdicts = check(model(design, writes=2))
    explored = explore(TwoRoads(design, writes=2))
    assert verdicts.promises_broken == explored.promises_broken
    for violation in explored.violations:
        story = verdicts.stories[violation.promise]
        print(f"{design.name}: broken: {violation.promise}", *story, sep="\n  ")
        moves = [line for line in story if line.startswith("-- ") and line != "-- nothing more happens"]
        assert len(moves) == len(violation.story)


# Our own tables


class SameOutside(World):
    """The outside of the founding case and no other: calls that write an account's settings, and restarts that come later."""

    DOES = ("a call writes 0b", "a call writes 0a", "somebody asks for a restart")

    def __init__(self) -> None:
        super().__init__(budget=3)
        self.made: set[str] = set()

    def moves(self, world: Worlds) -> Iterator[Move[Worlds]]:
        for move in super().moves(world):
            if move.owed or move.label in self.DOES:
                self.made.add(move.label)
                yield move


def test_our_own_tables_survive_the_same() -> None:
    """Every order of two writes, their file events, and a restart asked for at any moment (Spin holds the same, and more, elsewhere)."""
    world = SameOutside()
    report = explore(world)
    assert report.complete
    assert report.promises_broken == frozenset()
    assert {*SameOutside.DOES, "the file's event is read", "the restart is complete", "0b is applied"} <= world.made
