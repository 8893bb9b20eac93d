"""The checks: silent about the real tables, and each wrong table is found and named.

Every test spoils one thing: of `Job`, a small machine that is right, or of a real one.
"""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from typing import Any

import pytest

from statemachine import MACHINES, Channel, Lifecycle, TableError
from statemachine._machine import Event, Machine, Row, action, guard
from statemachine.channel import ChannelState
from statemachine.channel_events import FenceDue, ReceiverEnded, RetryDue
from statemachine.check import faults
from statemachine.describe import MachineClass
from statemachine.lifecycle import LifecycleState
from statemachine.lifecycle_events import PlanFailed, RestartOverdue, Started

from .job import Begin, Done, Failed, Job, JobState, Retry, Stop, TooLate, altered

S = JobState


def never(data: Any, event: Event) -> bool:
    return False


def without(machine: MachineClass, event: type[Event], state: Enum) -> MachineClass:
    """The machine without its rows for this event in this state; rows from several states keep the others."""
    rows = [
        replace(row, source=tuple(source for source in row.sources if row.on is not event or source is not state))
        for row in machine.table
    ]
    return altered(machine, table=tuple(row for row in rows if row.sources))


@pytest.mark.parametrize("machine", [*MACHINES, Job], ids=lambda machine: machine.kind)
def test_a_sound_machine_has_no_faults(machine):
    assert faults(machine) == []


# What the class itself refuses to be built from


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (Row(Stop, S.IDLE, None, ("is_frist",)), r"^Job row 7 \(stop\): no guard named 'is_frist'$"),
        (Row(Stop, S.IDLE, None, effects=("cuont",)), r"^Job row 7 \(stop\): no action named 'cuont'$"),
        (Row(Stop, S.IDLE, None, ("count",)), r"^Job row 7 \(stop\): no guard named 'count'$"),
        (Row(Stop, S.IDLE, ChannelState.STOPPED), r"^Job row 7 \(stop\): no state <ChannelState.STOPPED: 'stopped'>$"),
        (Row(Stop, ChannelState.STOPPED, S.IDLE), r"^Job row 7 \(stop\): no state <ChannelState.STOPPED: 'stopped'>$"),
    ],
    ids=["misspelt guard", "misspelt action", "action as a guard", "unknown destination", "unknown source"],
)
def test_the_class_cannot_be_made(row, message):
    with pytest.raises(TableError, match=message):
        altered(Job, table=(*Job.table, row))


# States


def test_unreachable_state():
    machine: Any = Channel
    for state in (ChannelState.STARTING, ChannelState.RUNNING, ChannelState.STOPPING, ChannelState.STOP_OVERDUE):
        machine = without(machine, ReceiverEnded, state)
    found = faults(machine)
    for name in ("CONFLICT", "FAILED"):
        fault = f"state {name} cannot be reached from STOPPED; add a row that leads to it, or remove it"
        assert f"channel: {fault}" in found
    assert not any("state BACKOFF cannot" in fault for fault in found), "it is reached from `stop_overdue` still"


def test_trap():
    table = (*Job.table[:5], Row(Retry, S.RETRY_WAITING, None), Row(Stop, (S.RUNNING, S.LOADING), S.IDLE))
    assert faults(altered(Job, table=table)) == [
        "job: state RETRY_WAITING is a trap: no row leads out of it; add one, or declare it `final`"
    ]


def test_no_way_to_the_final_state():
    table = (
        Row(Begin, S.IDLE, S.LOADING, ("is_first",), ("count",)),
        Row(Done, S.LOADING, S.RUNNING),
        *Job.table[3:6],
        Row(Stop, S.RUNNING, S.RETRY_WAITING),
    )
    assert faults(altered(Job, table=table)) == [
        f"job: state {name} has no way to IDLE; add a row that leads there, at once or by steps"
        for name in ("RUNNING", "LOADING", "RETRY_WAITING")
    ]


def test_a_dead_row_is_no_way():
    """`running` is named as a destination, but by a row that is never taken."""
    table = (Job.table[0], *Job.table[2:3], Row(Done, S.LOADING, S.RUNNING, ("is_first",)), *Job.table[3:])
    found = faults(altered(Job, table=table))
    assert "job: state RUNNING cannot be reached from IDLE; add a row that leads to it, or remove it" in found


def test_no_final_state_declared():
    assert faults(altered(Job, final=None)) == ["job: it declares no final state; set `final`"]


# Rows


def test_shadowed_row():
    found = faults(altered(Job, table=(*Job.table, Row(Stop, (S.LOADING, S.IDLE), None, ("is_first",)))))
    assert found == [
        "job: row 7 (stop) can never be taken in LOADING: row 6 comes first and fits whenever it does; "
        "move it above row 6, give row 6 a guard more, or remove it"
    ]


def test_a_guard_less_shadows_and_a_guard_more_does_not():
    both, other = ("is_first", "is_second"), ("is_second",)
    more = {"is_second": guard(never)}
    rows = (Row(Begin, S.RUNNING, S.IDLE, both), Row(Begin, S.RUNNING, S.IDLE, other), Row(Begin, S.RUNNING, S.LOADING))
    assert faults(altered(Job, table=(*Job.table, *rows), **more)) == []
    (found,) = faults(altered(Job, table=(*Job.table, rows[1], rows[0]), **more))
    assert found.startswith("job: row 8 (begin) can never be taken in RUNNING: row 7 comes first")


def test_repeated_row():
    found = faults(altered(Lifecycle, table=(*Lifecycle.table, Lifecycle.table[0])))
    assert found == [f"lifecycle: row {len(Lifecycle.table)} (boot) repeats row 0; remove one of them"]


# Work


@pytest.mark.parametrize(
    ("machine", "event", "state", "message"),
    [
        (Lifecycle, Started, LifecycleState.STARTING, "lifecycle: state STARTING has no row for started, its success"),
        (
            Lifecycle,
            PlanFailed,
            LifecycleState.HOT_RELOADING,
            "lifecycle: state HOT_RELOADING has no row for plan_failed, its failure",
        ),
        (
            Lifecycle,
            RestartOverdue,
            LifecycleState.RESTARTING,
            "lifecycle: state RESTARTING has no row for restart_overdue, its deadline",
        ),
        (
            Channel,
            FenceDue,
            ChannelState.STOP_OVERDUE,
            "channel: state STOP_OVERDUE has no row for fence_due, its deadline",
        ),
    ],
    ids=["success", "failure", "deadline", "deadline of a state that is not called -ing"],
)
def test_missing_exit_row(machine, event, state, message):
    assert f"{message}; add the row, or correct `exits`" in faults(without(machine, event, state))


@pytest.mark.parametrize("part", ["success", "failure", "deadline"])
def test_exits_that_name_nothing(part):
    exits = replace(Job.exits[S.LOADING], **{part: ()})
    assert faults(altered(Job, exits={S.LOADING: exits})) == [
        f"job: the exits of state LOADING name no {part} event; declare one, and a row for it"
    ]


def test_restart_is_looked_for_where_it_is_declared():
    exits = replace(Job.exits[S.LOADING], restart=(Begin,))
    assert faults(altered(Job, exits={S.LOADING: exits})) == [
        "job: state LOADING has no row for begin, its restart; add the row, or correct `exits`"
    ]


@pytest.mark.parametrize("state", [LifecycleState.STARTING, LifecycleState.STOPPING])
def test_undeclared_exits(state):
    exits = {declared: exits for declared, exits in Lifecycle.exits.items() if declared is not state}
    assert faults(altered(Lifecycle, exits=exits)) == [
        f"lifecycle: state {state.name} is an -ing state and `exits` does not say how it ends; "
        "declare its Exits, list it in `waiting`, or give it another name"
    ]


def test_a_waiting_state_needs_its_declaration():
    found = faults(altered(Job, waiting=frozenset()))
    assert [fault.partition(" and ")[0] for fault in found] == ["job: state RETRY_WAITING is an -ing state"]


# Names


def test_event_handled_nowhere():
    machine = without(Channel, RetryDue, ChannelState.BACKOFF)
    machine = without(machine, RetryDue, ChannelState.CONFLICT)
    machine = without(machine, RetryDue, ChannelState.SUPPRESSED)
    assert (
        "channel: event retry_due (statemachine.channel_events) is handled in no state; add a row, or remove it"
        in faults(machine)
    )


@pytest.mark.parametrize("role", [guard, action])
def test_unused_name(role):
    machine = altered(Job, spare=role(never))
    assert faults(machine) == [f"job: {role.__name__} spare is named by no row; name it in one, or remove it"]


def test_state_without_docstring():
    class Bare(Enum):
        IDLE = "idle"
        """Told."""
        BUSY = "busy"

    class Small(Machine[Bare, None]):
        kind = "small"
        states = Bare
        initial, final = Bare.IDLE, frozenset({Bare.IDLE})
        table = (
            *(Row(event, Bare.IDLE, Bare.BUSY) for event in (Begin, Done, Failed, TooLate, Retry)),
            Row(Stop, Bare.BUSY, Bare.IDLE),
        )

    assert faults(Small) == ["small: state BUSY has no docstring; write a sentence under it: what it means to be there"]
