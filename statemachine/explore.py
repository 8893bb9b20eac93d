"""Walks every state that a model can reach, and holds its promises against each.

Safety: each move says which promises it breaks; the search is breadth-first, so the first story that breaks one is a shortest one.
Liveness: moves are of two kinds. What is *owed* (completions, timers, deliveries: the inside) happens in the end if nothing
else does; the rest (edits, calls, faults, a crash: the outside) may happen or not. Under that fairness a run which the outside
leaves alone ends in a bottom strongly connected component of the owed moves, and visits all of it: what is outstanding
in every state of such a component never comes.

Sources: C. Baier, J.-P. Katoen, "Principles of Model Checking", 2008, sections 3.3 and 3.5;
R. Tarjan, "Depth-first search and linear graph algorithms", 1972.
"""

from __future__ import annotations

import gc
from array import array
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Generic, Protocol, TypeVar

import msgspec

W = TypeVar("W", bound=Hashable)

REPORT_EVERY = 50_000
"""States between two words of progress."""


class Move(msgspec.Struct, Generic[W], frozen=True):
    """One thing that can happen next. `broken` names the promises that it breaks."""

    label: str
    after: W
    owed: bool = True
    """It happens in the end, if nothing else does. False: the outside may do it, or not."""
    broken: tuple[str, ...] = ()


class Model(Protocol[W]):
    """What can be explored. A world is hashable, and equal worlds have equal futures."""

    def start(self) -> W:
        """Where everything begins."""

    def moves(self, world: W) -> Iterable[Move[W]]:
        """All that can happen next, in a fixed order."""

    def outstanding(self, world: W) -> Iterable[str]:
        """The promises that are not kept yet in this world; in the end there must be none."""

    def tell(self, world: W) -> str:
        """The world in one line, for a story."""


@dataclass(frozen=True)
class Violation(Generic[W]):
    """A broken promise and a shortest way to it: the moves from the start, with the world after each."""

    promise: str
    story: tuple[Move[W], ...]


@dataclass(frozen=True)
class Report(Generic[W]):
    """What an exploration found: one violation for each promise that can be broken, the shortest."""

    states: int
    edges: int
    violations: tuple[Violation[W], ...]
    complete: bool = True
    """False: it ended early, because a promise was broken or the limit was reached."""

    @property
    def promises_broken(self) -> frozenset[str]:
        return frozenset(violation.promise for violation in self.violations)


def explore(
    model: Model[W],
    *,
    limit: int | None = None,
    until: Collection[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Report[W]:
    """Visit every reachable world. `limit` bounds their number; It ends early when one of the promises in `until` is broken.

    `progress` is told states and edges now and then; they go into no decision.
    """
    walk = _Walk(model)
    with _garbage_collection_paused():
        for visited in walk.visit():
            if progress is not None and visited % REPORT_EVERY == 0:
                progress(len(walk.worlds), walk.edges)
            if not walk.broken.keys().isdisjoint(until) or (limit is not None and visited >= limit):
                break
        complete = walk.visited == len(walk.worlds)
        if complete and walk.broken.keys().isdisjoint(until):
            walk.hold_liveness()
    violations = tuple(Violation(promise, walk.story(*found)) for promise, found in walk.broken.items())
    return Report(len(walk.worlds), walk.edges, violations, complete)


@contextmanager
def _garbage_collection_paused() -> Iterator[None]:
    """A walk keeps nearly all that it makes, in no cycles: to look through it again and again is a fifth of its time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def follow(model: Model[W], labels: Iterable[str]) -> frozenset[str]:
    """Take the moves with these labels, then leave the world alone: the promises that are broken on this way.

    Raises ValueError where a move cannot be made: the way is none of this model.
    """
    world = model.start()
    broken: set[str] = set()
    for label in labels:
        move = next((move for move in model.moves(world) if move.label == label), None)
        if move is None:
            raise ValueError(f"{label!r} cannot happen in: {model.tell(world)}")
        broken |= set(move.broken)
        world = move.after
    return frozenset(broken) | explore(_LeftAlone(model, world)).promises_broken


class _LeftAlone(Generic[W]):
    """A model from one world on, in which the outside does nothing any more."""

    def __init__(self, model: Model[W], world: W) -> None:
        self._model = model
        self._world = world
        self.outstanding = model.outstanding
        self.tell = model.tell

    def start(self) -> W:
        return self._world

    def moves(self, world: W) -> Iterator[Move[W]]:
        return (move for move in self._model.moves(world) if move.owed)


class _Walk(Generic[W]):
    """The graph as far as it is known. Worlds have numbers, in the order in which they were met."""

    def __init__(self, model: Model[W]) -> None:
        self.model = model
        first = model.start()
        self.worlds: list[W] = [first]
        self.numbers: dict[W, int] = {first: 0}
        self.parents = array("l", [-1])
        self.edges = 0
        self.visited = 0
        self.broken: dict[str, tuple[int, Move[W] | None]] = {}
        self.owed = array("l")
        self.heads = array("l", [0])
        """The owed moves from world n lead to `owed[heads[n]:heads[n + 1]]`."""

    def visit(self) -> Iterator[int]:
        """Expand one world after the other, in breadth-first order; says how many have been."""
        moves, numbers, worlds, parents, owed = self.model.moves, self.numbers, self.worlds, self.parents, self.owed
        while self.visited < len(worlds):
            here = self.visited
            for move in moves(worlds[here]):
                self.edges += 1
                for promise in move.broken:
                    self.broken.setdefault(promise, (here, move))
                there = numbers.setdefault(move.after, len(worlds))
                if there == len(worlds):
                    worlds.append(move.after)
                    parents.append(here)
                if move.owed:
                    owed.append(there)
            self.heads.append(len(owed))
            self.visited += 1
            yield self.visited

    def story(self, number: int, last: Move[W] | None) -> tuple[Move[W], ...]:
        """The way to a world, and the move that broke the promise."""
        way = [number]
        while self.parents[way[-1]] >= 0:
            way.append(self.parents[way[-1]])
        way.reverse()
        steps = [self._between(before, after) for before, after in pairwise(way)]
        return (*steps, last) if last is not None else tuple(steps)

    def _between(self, before: int, after: int) -> Move[W]:
        return next(move for move in self.model.moves(self.worlds[before]) if move.after == self.worlds[after])

    def hold_liveness(self) -> None:
        """Name what is outstanding all through a bottom component; the shortest way to it is kept."""
        for component in self._bottom_components():
            waits = set(self.model.outstanding(self.worlds[component[0]]))
            for number in component[1:]:
                waits &= set(self.model.outstanding(self.worlds[number]))
            first = min(component)
            for promise in waits:
                if promise not in self.broken or first < self.broken[promise][0]:
                    self.broken[promise] = (first, None)

    def _bottom_components(self) -> Iterator[list[int]]:
        """The components of the owed moves that no owed move leaves."""
        component_of = array("l", [-1]) * len(self.worlds)
        for number, component in enumerate(components(self.heads, self.owed)):
            for member in component:
                component_of[member] = number
            # A component is named after all that can be reached from it: what leads elsewhere is named already.
            ways = (there for member in component for there in self.owed[self.heads[member] : self.heads[member + 1]])
            if all(component_of[there] == number for there in ways):
                yield component


def components(heads: array[int], edges: array[int]) -> Iterator[list[int]]:
    """Strongly connected components, by Tarjan's algorithm without recursion; each after all that it leads to.

    Node n leads to `edges[heads[n]:heads[n + 1]]`.
    """
    count = len(heads) - 1
    index, low, next_edge = array("l", [0]) * count, array("l", [0]) * count, array("l", heads)
    done = count + 1  # the index of what is in a component already: it lowers nothing
    stack: list[int] = []
    reached = 0
    for root in range(count):
        path = [] if index[root] else [root]
        while path:
            here = path[-1]
            if not index[here]:
                reached += 1
                index[here] = low[here] = reached
                stack.append(here)
            if next_edge[here] < heads[here + 1]:
                there = edges[next_edge[here]]
                next_edge[here] += 1
                if not index[there]:
                    path.append(there)
                else:
                    low[here] = min(low[here], index[there])
                continue
            path.pop()
            if path:
                low[path[-1]] = min(low[path[-1]], low[here])
            if low[here] == index[here]:
                component = _pop_down_to(stack, here)
                for member in component:
                    index[member] = low[member] = done
                yield component


def _pop_down_to(stack: list[int], last: int) -> list[int]:
    component: list[int] = []
    while not component or component[-1] != last:
        component.append(stack.pop())
    return component
