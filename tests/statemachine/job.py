"""A small machine that is right, for tests to spoil."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, ClassVar

from statemachine._machine import Draft, Event, Exits, Machine, Row, action, guard
from statemachine.describe import MachineClass


class JobState(Enum):
    IDLE = "idle"
    """Nothing to do."""
    RUNNING = "running"
    """Looks like work by its name, and is stable."""
    LOADING = "loading"
    """Work."""
    RETRY_WAITING = "retry_waiting"
    """Looks like work by its name, and waits."""


S = JobState


class Begin(Event, frozen=True):
    pass


class Done(Event, frozen=True):
    pass


class Failed(Event, frozen=True):
    pass


class TooLate(Event, frozen=True):
    pass


class Retry(Event, frozen=True):
    pass


class Stop(Event, frozen=True):
    pass


class Job(Machine[JobState, int]):
    kind = "job"
    states = JobState
    initial = S.IDLE
    final = frozenset({S.IDLE})
    waiting = frozenset({S.RETRY_WAITING})
    exits: ClassVar[Mapping[Any, Exits[Any]]] = {S.LOADING: Exits((Done,), (Failed,), (TooLate,), ())}
    table = (
        Row(Begin, S.IDLE, S.LOADING, effects=("count",)),
        Row(Done, S.LOADING, S.RUNNING, ("is_first",)),
        Row(Done, S.LOADING, S.IDLE),
        Row(Failed, S.LOADING, S.RETRY_WAITING),
        Row(TooLate, S.LOADING, S.RETRY_WAITING),
        Row(Retry, S.RETRY_WAITING, S.LOADING),
        Row(Stop, (S.RUNNING, S.LOADING, S.RETRY_WAITING), S.IDLE),
    )

    @guard
    def is_first(data: int, event: Event) -> bool:
        return data == 1

    @action
    def count(draft: Draft[int], event: Event) -> None:
        draft.data += 1


def altered(machine: MachineClass, **changes: Any) -> MachineClass:
    """The machine with some of its class attributes replaced or added: a new class, checked and built as any."""
    return type(machine.__name__, (machine,), {"__module__": machine.__module__, **changes})
