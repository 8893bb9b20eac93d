"""Spin and explore hold the same promises against the same tables, and say the same of them; where they differ, one of them is wrong."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from enum import Enum
from typing import Any

import pytest

from statemachine import Channel, ChannelState, Event, Lifecycle, LifecycleState, Row, channel_events
from statemachine import lifecycle_events as events
from statemachine.errors import SpinError
from statemachine.explore import explore
from statemachine.lifecycle_events import RestartBy
from statemachine.promela import promela
from statemachine.promises import (
    APPLIED_ONCE,
    CHANGE_KEPT,
    ENDS,
    LEFT_EMPTY,
    OF_CHANGES,
    OF_HOSTS,
    OF_MESSAGES,
    ONE_OUTCOME,
    ONE_RECEIVER,
    ONE_WORK,
    OPEN_TICKETS,
    PROMISES,
    STALE,
    STAYS_STOPPED,
    STOP_ARRIVES,
    WAKES,
)
from statemachine.spin import check
from statemachine.world import World
from tests.debian import find_program
from tests.statemachine.builders import AnyMachine

C, L = ChannelState, LifecycleState
Mutate = Callable[[Row[Any]], Row[Any] | None]


@pytest.fixture(autouse=True)
def _programs() -> None:
    find_program("spin", "spin")
    find_program("gcc", "gcc")


def mutant(
    machine: type[AnyMachine], on: type[Event], source: Enum, dest: Enum | None, mutate: Mutate, guard: str = ""
) -> type[AnyMachine]:
    """The machine class with one row changed, or missing where `mutate` says None; `guard` is one that tells it from its like."""
    chosen = [row for row in machine.table if row.on is on and source in row.sources and row.dest is dest]
    chosen = [row for row in chosen if not guard or guard in row.guards]
    # Of several the plain one, which comes after those that are told from it by a guard more.
    chosen = chosen[-1:] if on is channel_events.ReceiverReady and not guard else chosen
    assert len(chosen) == 1
    table = [mutate(row) if row is chosen[0] else row for row in machine.table]
    rows = tuple(row for row in table if row is not None)
    return type("Mutant", (machine,), {"__module__": machine.__module__, "table": rows})


def gone(_: Row[Any]) -> None:
    """The row is missing."""


def without_guard(name: str) -> Mutate:
    return lambda row: replace(row, guards=tuple(guard for guard in row.guards if guard != name))


def without_effect(name: str) -> Mutate:
    return lambda row: replace(row, effects=tuple(effect for effect in row.effects if effect != name))


def opens_at_once(row: Row[Any]) -> Row[Any]:
    return replace(row, dest=C.STARTING, effects=("adopt_run", "open_receiver", "arm_start_deadline"))


def restarts_at_once(row: Row[Any]) -> Row[Any]:
    return replace(row, dest=L.RESTARTING, effects=("commit", "begin_restart", "arm_restart_deadline"))


MUTANTS = {
    "a restart opens a receiver beside the old": (
        mutant(Channel, channel_events.Restart, C.RUNNING, C.STOPPING, opens_at_once), {ONE_RECEIVER},
    ),
    "nothing comes of a start that takes too long": (
        mutant(Channel, channel_events.StartOverdue, C.STARTING, C.STOPPING, gone), {ENDS},
    ),
    "no receiver is ever ready": (
        mutant(Channel, channel_events.ReceiverReady, C.STARTING, C.RUNNING, gone), {ENDS, ONE_OUTCOME},
    ),
    "nobody looks at a receiver that runs": (
        mutant(Channel, channel_events.ReceiverReady, C.STARTING, C.RUNNING, without_effect("watch_receiver")), {ENDS},
    ),
    "a stall moves nothing": (mutant(Channel, channel_events.ReceiverStalled, C.RUNNING, C.STOPPING, gone), {ENDS}),
    "a sleep is slept through": (mutant(Channel, channel_events.HostWoke, C.RUNNING, C.STOPPING, gone), {WAKES}),
    "a receiver that has ended does not rest": (
        mutant(Channel, channel_events.ReceiverEnded, C.STOPPING, C.STOPPED, gone), {STOP_ARRIVES, CHANGE_KEPT, STAYS_STOPPED},
    ),
    "no account is started at boot": (
        mutant(Channel, channel_events.Start, C.STOPPED, C.STARTING, gone), {CHANGE_KEPT},
    ),
    "nobody tries again": (mutant(Channel, channel_events.RetryDue, C.BACKOFF, C.STARTING, gone), {ENDS}),
    "an older generation ends the present one": (
        mutant(Channel, channel_events.ReceiverEnded, C.RUNNING, C.BACKOFF, without_guard("generation_is_current")), {STALE},
    ),
    "a boot never ends": (mutant(Lifecycle, events.Started, L.STARTING, L.RUNNING, gone), {ENDS, ONE_OUTCOME}),
    "a stop that takes too long is waited for": (
        mutant(Lifecycle, events.StopOverdue, L.STOPPING, L.STOPPED, gone), {STOP_ARRIVES},
    ),
    "what needs a restart asks for none": (
        mutant(Lifecycle, events.ConfigChanged, L.RUNNING, L.RESTART_PENDING, gone), {CHANGE_KEPT},
    ),
    "what differs in nothing is applied": (
        mutant(Lifecycle, events.ConfigChanged, L.RUNNING, None, gone, "nothing_differs"), {APPLIED_ONCE},
    ),
    "an older work's end is believed": (
        mutant(Lifecycle, events.PlanApplied, L.HOT_RELOADING, L.RUNNING, without_guard("work_is_current")), {STALE},
    ),
    "a stop answers nobody": (
        mutant(Lifecycle, events.StopRequested, L.RUNNING, L.STOPPING, without_effect("refuse_all")), {ONE_OUTCOME},
    ),
    "a restart follows a reload, and nobody asked for it": (
        mutant(Lifecycle, events.PlanApplied, L.HOT_RELOADING, L.RUNNING, restarts_at_once), {OPEN_TICKETS, APPLIED_ONCE},
    ),
}  # fmt: skip
"""A mutant of a table each, and the promises that it breaks."""


def leaves_at_once(row: Row[Any]) -> Row[Any]:
    return replace(row, effects=(*row.effects, "replace_process"))


REPLACED: dict[str, tuple[type[AnyMachine], RestartBy, set[str]]] = {
    "the image is replaced while receivers live": (
        mutant(Lifecycle, events.RestartReady, L.RESTART_PENDING, L.RESTARTING, leaves_at_once),
        RestartBy.EXEC, {LEFT_EMPTY, ONE_WORK},
    ),
    "the next image does not know whom it serves": (
        mutant(Lifecycle, events.Boot, L.STOPPED, L.STARTING, without_effect("take_over")),
        RestartBy.EXEC, {ONE_OUTCOME},
    ),
    "the next image does not answer": (
        mutant(Lifecycle, events.Started, L.STARTING, L.RUNNING, without_effect("adopt")),
        RestartBy.EXEC, {ONE_OUTCOME},
    ),
    "a vacated process stays empty": (
        mutant(Lifecycle, events.Vacated, L.RESTARTING, None, gone), RestartBy.EXEC, {ENDS, ONE_OUTCOME},
    ),
}  # fmt: skip
"""The same for restarts that replace the process, and how it is replaced."""


@pytest.mark.parametrize("name", MUTANTS)
def test_spin_and_explore_call_the_same_promises_broken(name: str) -> None:
    machine, expected = MUTANTS[name]
    assert by_spin(machine) == expected
    assert by_explore(machine) == expected


@pytest.mark.parametrize("name", REPLACED)
def test_they_say_the_same_where_the_process_is_replaced(name: str) -> None:
    machine, by, expected = REPLACED[name]
    assert by_spin(machine, by) == expected
    assert by_explore(machine, by) == expected


def test_every_promise_is_broken_by_some_mutant() -> None:
    broken = [promises for _, promises in MUTANTS.values()] + [promises for *_, promises in REPLACED.values()]
    assert set().union(*broken) == PROMISES - OF_CHANGES - OF_HOSTS - OF_MESSAGES


def by_spin(machine: type[AnyMachine], by: RestartBy = RestartBy.IN_PROCESS) -> frozenset[str]:
    classes = {f"{machine.kind}_class": machine}
    return check(promela(**classes, budget=1, restart_by=by), stories=False).promises_broken  # type: ignore[arg-type]


def by_explore(machine: type[AnyMachine], by: RestartBy = RestartBy.IN_PROCESS) -> frozenset[str]:
    world = World(**{machine.kind: machine}, budget=1, restart_by=by.value)  # type: ignore[arg-type]
    return explore(world).promises_broken


def test_the_real_tables_hold_and_no_run_is_endless() -> None:
    verdicts = check(promela(budget=2), cycles=True)
    print(f"{verdicts.states} states, {verdicts.transitions} transitions")
    assert verdicts.stories == {}
    assert not verdicts.endless
    assert verdicts.states > 100_000, "a model in which little can happen proves little"


def test_the_real_tables_hold_in_reload_mode_off() -> None:
    assert check(promela(budget=1, reload=False)).stories == {}
    assert explore(World(budget=1, reload=False)).promises_broken == frozenset()


@pytest.mark.parametrize("by", [RestartBy.EXEC, RestartBy.EXIT])
def test_the_real_tables_hold_where_the_process_is_replaced(by: RestartBy) -> None:
    verdicts = check(promela(budget=2, restart_by=by), cycles=True)
    assert verdicts.stories == {}
    assert not verdicts.endless
    assert verdicts.states > 100_000


def test_two_accounts() -> None:
    verdicts = check(promela(accounts=2, budget=1))
    assert verdicts.stories == {}


def test_a_run_without_an_end_is_found() -> None:
    """A revision that is reviewed again and again is planned against what runs every time: explore calls that what never ends."""
    mutated = mutant(
        Lifecycle, events.ConfigChanged, L.RUNNING, None, without_guard("plan_is_stale"), guard="plan_is_stale"
    )
    assert check(promela(lifecycle_class=mutated, budget=1), cycles=True).endless
    assert ENDS in explore(World(lifecycle=mutated, budget=1)).promises_broken


def test_a_broken_promise_is_told_as_a_story() -> None:
    machine, _ = MUTANTS["a restart opens a receiver beside the old"]
    story = check(promela(channel_class=machine, budget=1)).stories[ONE_RECEIVER]
    print(*story, sep="\n")
    assert story[0].endswith("lifecycle: boot takes row 0, it is starting")
    assert story[-1] == f"!! broken: {ONE_RECEIVER}"
    assert any("channel: restart takes row" in line for line in story)


def test_what_is_no_model_is_said_to_be_none() -> None:
    with pytest.raises(SpinError, match="spin does not accept the model"):
        check("active proctype world() { nonsense }")


NEVER_TAKEN = {
    "lifecycle row 7 (config_changed)": "a plan becomes stale by two edits and a fault: budget 3",
    "lifecycle row 11 (config_changed)": "drift: reload mode `off`",
    "lifecycle row 34 (work_in_flight)": "it only says that a restart waits, which the model has no ear for",
    "lifecycle row 37 (vacated)": "another way to restart: by exit",
    "lifecycle row 38 (vacated)": "another way to restart: by exec",
    "lifecycle row 41 (restart_failed)": "two requests and a fault: budget 3",
    "lifecycle row 48 (stop_requested)": "in the model a process that has failed is gone at once",
    **{f"channel row {row} (receiver_ended)": "another host has it: in the model there is one" for row in (11, 12)},
    **{f"channel row {row} (lease_gained)": "in the model there is one host" for row in (31, 32)},
    **{f"channel row {row} (lease_lost)": "in the model there is one host" for row in (33, 34, 35)},
    "channel row 36 (adjust)": "settings that no receiver runs with make no difference in the model",
}


def test_every_row_is_taken_somewhere() -> None:
    """A row that is never taken is not proven to do no harm. Each is called broken where it is taken, and Spin counts."""
    rows = re.compile(r'took = (\d+); printf\("   (\w+): (\w+) takes row \d+')
    names: list[str] = []

    def tell(found: re.Match[str]) -> str:
        name = f"{found[2]} row {found[1]} ({found[3]})"
        names.append(name)
        return f'c_code {{ reach({len(names) - 1}, "broken: {name}"); }}; {found[0]}'

    counted = rows.sub(tell, promela(budget=2))
    reach = "static void reach(int n, char *name) { if (!row_taken[n]) { row_taken[n] = 1; uerror(name); } }"
    declared = f"c_decl {{ extern void (*uerror)(char *); static unsigned char row_taken[{len(names)}]; {reach} }}\n"
    taken = check(declared + counted, stories=False).promises_broken
    assert set(names) - taken == set(NEVER_TAKEN)
