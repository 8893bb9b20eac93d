"""Events, and what machines know, as plain data: what a journal holds so that it can be replayed.

The settings of an account are opaque to the tables, which compare them and no more. They hold secrets,
so that a record has a seal in their place: a text that is equal for equal settings and different for others.
Replies are opaque, too, and what people say to each other is in no journal: each has a seal as well.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from statemachine._machine import Event
from statemachine.channel_events import Run
from statemachine.incoming import HandlerAnswered

ABSENT = "absent"
"""The state that is recorded of a machine that does not exist."""
EXISTS = "machine_exists"
"""What said no to an event for it."""
DEFECT = "defect"
"""What said no where a guard or an action broke."""

T = TypeVar("T")
Seal = Callable[[Hashable], str]


def plain(record: Any, seal: Seal) -> dict[str, Any]:
    """An event, or a machine's data, as JSON can hold it."""
    run = getattr(record, "run", None)
    if isinstance(run, Run) and run.settings is not None:
        record = replace(record, run=replace(run, settings=seal(run.settings)))
    if isinstance(record, HandlerAnswered):
        record = replace(record, replies=tuple(seal(each) for each in record.replies))
    data: dict[str, Any] = msgspec.to_builtins(record)
    return data


def restored(kind: type[T], data: Mapping[str, Any]) -> T:
    """What `plain` was made from, with seals for settings. Raises msgspec.ValidationError that names the place."""
    return msgspec.convert(data, kind, dec_hook=lambda _, opaque: opaque)


def event_type(table: tuple[Any, ...], trigger: str) -> type[Event] | None:
    """The event that this trigger is in a table; None when no row has it."""
    return next((row.on for row in table if row.on.trigger == trigger), None)
