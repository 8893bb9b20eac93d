"""What every table must show: each row by its cases, every cell, and each guard both ways.

A machine's tests derive `TableTests` in a class whose name begins with `Test`, and give it the cases.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any, ClassVar

import msgspec
import pytest
from msgspec.structs import replace

from statemachine import Event, Refusal, Step
from statemachine._machine import cells

from .builders import AnyMachine, Case, at, guarded_by, guards_of, holds, numbered, row_for

Said = list[tuple[Any, Event]]
"""Data and an event, of which a guard is asked."""


class TableTests:
    """One machine's table against what it is said to do."""

    machine: ClassVar[type[AnyMachine]]
    rows: ClassVar[tuple[tuple[Case, ...], ...]]
    """Of each row of the table, in its order, what it does."""
    allowed: ClassVar[Mapping[Any, set[str]]]
    """The triggers that can be taken in each state."""
    events: ClassVar[int]
    """How many kinds of events there are."""
    guards: ClassVar[Mapping[str, tuple[Said, Said]]]
    """Of each guard, when it says yes, and when it says no."""
    guarded_in: ClassVar[Enum]
    """Any state that an event can be fired in, for guards that are tried one by one."""

    def variants(self, state: Enum, case: Case) -> Iterator[tuple[Any, Event]]:
        """What is fired into a cell: the case as it is; where a machine has them, stale, and in whatever else can make a difference."""
        yield case.data, case.event

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        wanted = set(metafunc.fixturenames)
        if "case" in wanted:
            firings = [(number, case, state) for number, case in numbered(self.rows) for state in case.states]
            ids = [f"{number}: {case.name}: {state.value}" for number, case, state in firings]
            metafunc.parametrize(("number", "case", "state"), firings, ids=ids)
        elif "number" in wanted:
            table = self.machine.table
            metafunc.parametrize(
                "number", range(len(table)), ids=[f"{n}: {row.on.trigger}" for n, row in enumerate(table)]
            )
        elif "event" in wanted:
            found = [(state, event) for state, event, _ in cells(self.machine)]
            metafunc.parametrize(
                ("state", "event"), found, ids=[f"{state.value}-{event.trigger}" for state, event in found]
            )
        elif "guard" in wanted:
            metafunc.parametrize("guard", self.guards)

    # Rows

    def test_a_row_does_what_it_says(self, number: int, case: Case, state: Enum) -> None:
        """This row and no other fires; it leads there, asks for that in that order, and changes exactly those data."""
        machine = at(self.machine, state, case.data)
        step = machine.fire(case.event)
        assert isinstance(step, Step), step.why
        assert step.row == number
        assert machine.state is (case.after or state)
        assert (step.before, step.after) == (state.value, machine.state.value)
        assert step.effects == case.effects
        assert machine.data == replace(case.data, **case.changes)
        assert step.outcome is case.outcome

    def test_each_row_has_cases_for_each_of_its_states(self, number: int) -> None:
        cases = self.rows[number] if number < len(self.rows) else ()
        row = self.machine.table[number]
        assert {type(case.event) for case in cases} == {row.on}
        assert {state for case in cases for state in case.states} == set(row.sources)

    def test_there_are_no_cases_of_rows_that_are_not(self) -> None:
        assert len(self.rows) == len(self.machine.table)

    def test_the_events_and_effects_are_values_that_nobody_can_change(self) -> None:
        for _, case in numbered(self.rows):
            for said in (case.event, *case.effects):
                for name in msgspec.structs.asdict(said):
                    with pytest.raises(AttributeError):
                        setattr(said, name, getattr(said, name))

    # Cells: every state with every event

    def test_there_is_a_cell_for_every_state_and_event(self) -> None:
        found = list(cells(self.machine))
        assert len(found) == len(self.allowed) * self.events
        assert {state for state, _, _ in found} == set(self.machine.states) == set(self.allowed)

    def test_a_cell_takes_the_first_row_that_fits_or_refuses(self, state: Enum, event: type[Event]) -> None:
        """Where no row fits nothing moves, and the refusal tells what is allowed and which guards have said no."""
        fired = 0
        allowed = self.allowed[state]
        for data, example in self._examples(state, event):
            machine, number = at(self.machine, state, data), row_for(self.machine, state, data, example)
            foreseen = machine.refusal(example)
            assert (machine.state, machine.data) == (state, data), "a question moves nothing"
            answer = machine.fire(example)
            assert foreseen == (answer if isinstance(answer, Refusal) else None)
            if number is None:
                assert isinstance(answer, Refusal), f"row {answer.row} was taken"
                assert machine.state is state
                assert machine.data is data
                assert answer.state == state.value
                assert answer.allowed == machine.allowed == tuple(sorted(allowed))
                assert bool(answer.guards) == (event.trigger in allowed)
                assert not any(holds(self.machine, name, data, example) for name in answer.guards)
            else:
                assert isinstance(answer, Step), answer.why
                row = self.machine.table[number]
                assert (answer.row, answer.outcome) == (number, row.outcome)
                assert machine.state is (row.dest or state)
                assert (answer.before, answer.after) == (state.value, machine.state.value)
                fired += 1
        assert bool(fired) == (event.trigger in allowed), "an allowed trigger can be taken, another never"

    def _examples(self, state: Enum, event: type[Event]) -> Iterator[tuple[Any, Event]]:
        """Every prepared case of the event, whichever row and state it was made for, in all its variants."""
        for _, case in numbered(self.rows):
            if type(case.event) is event:
                yield from self.variants(state, case)

    # Guards: each both ways

    def test_each_guard_is_tried_both_ways(self) -> None:
        assert set(self.guards) == guards_of(self.machine)
        assert all(yes and no for yes, no in self.guards.values())

    def test_a_guard_says_yes(self, guard: str) -> None:
        for data, event in self.guards[guard][0]:
            assert isinstance(self._asked(guard, data, event).fire(event), Step), event

    def test_a_guard_says_no_and_names_itself(self, guard: str) -> None:
        for data, event in self.guards[guard][1]:
            machine = self._asked(guard, data, event)
            refusal = machine.fire(event)
            assert isinstance(refusal, Refusal), event
            assert refusal.guards == (guard,)
            assert machine.data is data

    def _asked(self, guard: str, data: Any, event: Event) -> AnyMachine:
        return at(guarded_by(self.machine, guard, self.guarded_in, event), self.guarded_in, data)
