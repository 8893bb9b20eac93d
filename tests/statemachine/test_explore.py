"""The explorer on graphs small enough to know the answer."""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterable, Iterator

import pytest

from statemachine.explore import Move, components, explore, follow
from statemachine.story import as_test, story

Ways = dict[int, list[tuple[int, bool, str]]]


class Graph:
    """Worlds are numbers; `ways` has (to, owed, broken promise or "") of each; `waits` what is outstanding where."""

    def __init__(self, ways: Ways, waits: dict[int, tuple[str, ...]] | None = None) -> None:
        self.ways = ways
        self.waits = waits or {}

    def start(self) -> int:
        return 0

    def moves(self, world: int) -> Iterator[Move[int]]:
        for there, owed, broken in self.ways.get(world, ()):
            yield Move(f"{world} to {there}", there, owed, (broken,) if broken else ())

    def outstanding(self, world: int) -> Iterable[str]:
        return self.waits.get(world, ())

    def tell(self, world: int) -> str:
        return f"world {world}"


def owed(*there: int) -> list[tuple[int, bool, str]]:
    return [(number, True, "") for number in there]


def free(*there: int) -> list[tuple[int, bool, str]]:
    return [(number, False, "") for number in there]


def test_every_world_is_visited_once_and_every_move_counted() -> None:
    report = explore(Graph({0: owed(1, 2), 1: owed(3), 2: owed(3), 3: owed(0)}))
    assert (report.states, report.edges, report.complete, report.violations) == (4, 5, True, ())


def test_the_story_of_a_broken_promise_is_a_shortest_one() -> None:
    long_way: Ways = {0: owed(1, 5), 1: owed(2), 2: owed(3), 3: [(4, True, "p")], 5: owed(6), 6: [(7, True, "p")]}
    (violation,) = explore(Graph(long_way)).violations
    assert [move.label for move in violation.story] == ["0 to 5", "5 to 6", "6 to 7"]


@pytest.mark.parametrize(
    ("ways", "waits", "broken"),
    [
        pytest.param({0: owed(1)}, {1: ("p",)}, {"p"}, id="an end that owes something"),
        pytest.param({0: owed(1), 1: owed(2)}, {1: ("p",)}, set(), id="on the way it may be owed"),
        pytest.param(
            {0: owed(1), 1: owed(2), 2: owed(1)}, {1: ("p",), 2: ("p",)}, {"p"}, id="a circle that never gives it"
        ),
        pytest.param(
            {0: owed(1), 1: owed(2), 2: owed(1)}, {1: ("p",)}, set(), id="a circle that gives it now and then"
        ),
        pytest.param({0: owed(1), 1: owed(0, 2)}, {0: ("p",), 1: ("p",)}, set(), id="a circle that fairness leaves"),
        pytest.param({0: free(1)}, {0: ("p",)}, {"p"}, id="the outside need not help"),
        pytest.param({0: [*owed(1), *free(2)], 2: []}, {2: ("p",)}, {"p"}, id="what the outside leads to counts"),
        pytest.param({0: owed(1, 2)}, {1: ("p",), 2: ("q",)}, {"p", "q"}, id="each way ends somewhere"),
        pytest.param({0: owed(0)}, {0: ("p",)}, {"p"}, id="a world that leads to itself"),
    ],
)
def test_what_is_outstanding_all_through_a_bottom_component_never_comes(
    ways: Ways, waits: dict[int, tuple[str, ...]], broken: set[str]
) -> None:
    assert explore(Graph(ways, waits)).promises_broken == broken


def test_a_limit_ends_it_and_it_says_so() -> None:
    report = explore(Graph({number: owed(number + 1) for number in range(100)}), limit=10)
    assert (report.states, report.complete) == (11, False)


def test_it_ends_at_the_first_broken_promise_where_that_is_asked_for() -> None:
    ways: Ways = {0: [(1, True, "p")], 1: [(2, True, "q")]}
    assert explore(Graph(ways), until={"p"}).promises_broken == {"p"}
    assert explore(Graph(ways)).promises_broken == {"p", "q"}


def test_a_way_is_followed_and_left_alone_at_its_end() -> None:
    graph = Graph({0: free(1, 3), 1: [(2, True, "p")], 3: owed(4)}, {4: ("q",)})
    assert follow(graph, ["0 to 1"]) == {"p"}
    assert follow(graph, ["0 to 3"]) == {"q"}
    with pytest.raises(ValueError, match="'0 to 2' cannot happen in: world 0"):
        follow(graph, ["0 to 2"])


@pytest.mark.parametrize("seed", range(50))
def test_components_are_those_that_a_slow_way_finds(seed: int) -> None:
    chance = random.Random(seed)
    count = chance.randint(1, 12)
    ways = [[other for other in range(count) if chance.random() < 0.15] for _ in range(count)]
    heads, edges = array("l", [0]), array("l")
    for there in ways:
        edges.extend(there)
        heads.append(len(edges))
    reach = [_reach(ways, node) for node in range(count)]
    expected = {frozenset(b for b in range(count) if b in reach[a] and a in reach[b]) for a in range(count)}
    found = [frozenset(component) for component in components(heads, edges)]
    assert set(found) == expected, f"seed {seed}"
    for number, component in enumerate(found):
        later = frozenset().union(*found[number + 1 :])
        assert not any(reach[node] & later for node in component), f"seed {seed}: named before what it leads to"


def _reach(ways: list[list[int]], node: int) -> set[int]:
    seen, todo = {node}, [node]
    while todo:
        fresh = set(ways[todo.pop()]) - seen
        seen |= fresh
        todo += fresh
    return seen


def test_a_story_tells_moves_and_worlds() -> None:
    graph = Graph({0: free(1)}, {1: ("p",)})
    (violation,) = explore(graph).violations
    told = story(graph, violation)
    assert told.splitlines()[0] == "BROKEN: p"
    assert "  1. 0 to 1\n     world 1" in told
    assert told.endswith("nothing leads to it, however long one waits")


def test_a_test_file_is_a_test_that_fails_while_the_promise_is_broken() -> None:
    (violation,) = explore(Graph({0: [(1, True, 'a "p" promise')]})).violations
    names: dict[str, object] = {}
    exec(as_test(violation, "World(1)", "a command"), names)
    assert names["WAY"] == ("0 to 1",)
    assert callable(names["test_a_p_promise"])
