"""Spin and explore hold the same promises against the same tables, and say the same of them; where they differ, one of them is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from enum import Enum
from typing import Any

import pytest

from statemachine import Channel, ChannelState, Event, Lifecycle, LifecycleState, Row
from statemachine import channel as channel_events
from statemachine import lifecycle_events as events
from statemachine.errors import SpinError
from statemachine.explore import explore
from statemachine.promela import promela
from statemachine.promela.promises import (
    APPLIED_ONCE,
    CHANGE_KEPT,
    ENDS,
    ONE_OUTCOME,
    ONE_RECEIVER,
    OPEN_TICKETS,
    PROMISES,
    STALE,
    STOP_ARRIVES,
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


def mutant(machine: type[AnyMachine], on: type[Event], source: Enum, dest: Enum | None, mutate: Mutate) -> type[AnyMachine]:
    """The machine class with one row changed, or missing where `mutate` says None."""
    chosen = [row for row in machine.table if row.on is on and source in row.sources and row.dest is dest]
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


def goes_on_pending(row: Row[Any]) -> Row[Any]:
    return replace(row, dest=None, effects=("cancel_ticket",))


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
    "a receiver that has ended does not rest": (
        mutant(Channel, channel_events.ReceiverEnded, C.STOPPING, C.STOPPED, gone), {STOP_ARRIVES, CHANGE_KEPT},
    ),
    "nobody tries again": (mutant(Channel, channel_events.RetryDue, C.BACKOFF, C.STARTING, gone), {ENDS}),
    "an older generation ends the present one": (
        mutant(Channel, channel_events.ReceiverEnded, C.RUNNING, C.FAILED, without_guard("generation_is_current")), {STALE},
    ),
    "a boot never ends": (mutant(Lifecycle, events.Started, L.STARTING, L.RUNNING, gone), {ENDS, ONE_OUTCOME}),
    "what comes while busy is refused": (
        mutant(Lifecycle, events.ConfigRejected, L.RUNNING, None, gone) if False else
        mutant(Lifecycle, events.StopFinished, L.STOPPING, L.STOPPED, gone), {STOP_ARRIVES},
    ),
    "what differs in nothing is applied": (
        mutant(Lifecycle, events.ConfigChanged, L.RUNNING, None, gone), {APPLIED_ONCE},
    ),
    "an older work's end is believed": (
        mutant(Lifecycle, events.PlanApplied, L.HOT_RELOADING, L.RUNNING, without_guard("work_is_current")), {STALE},
    ),
    "a restart forgets whom it served": (
        mutant(Lifecycle, events.Restarted, L.RESTARTING, L.RUNNING, without_effect("finish_restart")), {ONE_OUTCOME},
    ),
    "the last ticket is cancelled and its timer goes on": (
        mutant(Lifecycle, events.RestartCancelled, L.RESTART_PENDING, L.RUNNING, goes_on_pending), {OPEN_TICKETS},
    ),
}  # fmt: skip
