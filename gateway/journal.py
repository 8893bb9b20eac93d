"""Every step and every refusal, numbered, with what caused it: the latest in memory, all of them as log lines.

The steps of messages are many, and kept apart, so that they do not push out what happened to accounts and the config.
"""

from __future__ import annotations

import hmac
import secrets
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from heapq import merge
from itertools import islice
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec
import structlog

from gateway.clock import Clock
from gateway.redact import Secret
from statemachine import Machine, Refusal, Step
from statemachine.record import plain

KEPT = 10_000


class Before(NamedTuple):
    """A machine, and what it knew when an event came."""

    machine: Machine[Any, Any]
    data: Any


class Entry(msgspec.Struct, frozen=True):
    """One step or refusal. `at` is in milliseconds of the wall clock; `cause` names what led here, `step:N` or a requester.

    `row` is the number of the row that was taken, None for a refusal; `guards` are those that said no.
    Event and machine are kept as they are, and made into plain data only when somebody asks for it:
    one of these is made for every event.
    """

    seq: int
    at: int
    kind: str
    machine: str
    trigger: str
    before: str
    after: str
    outcome: str
    why: str
    cause: str
    revision: str | None
    generation: int | None
    row: int | None
    guards: tuple[str, ...]
    event: Any
    standing: Before | None

    def as_dict(self) -> dict[str, Any]:
        """What everybody is told of it; `Journal.full` has the event, too."""
        return {name: getattr(self, name) for name in TOLD}


TOLD = tuple(name for name in Entry.__struct_fields__ if name not in ("event", "standing"))


def _is_ordinary(machine: Machine[Any, Any], entry: Entry) -> bool:
    return machine.frequent or (machine.repeats and entry.row is not None and entry.before == entry.after)


class Journal:
    """Append-only; readers page by `seq`, listeners are told of each entry at once."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._entries: deque[Entry] = deque(maxlen=KEPT)
        self._ordinary: deque[Entry] = deque(maxlen=KEPT)
        self._listeners: list[Callable[[Entry], None]] = []
        self._spared: set[Callable[[Entry], None]] = set()
        self._seq = self._before = 0
        self._moved_at: dict[str, int] = {}
        self._key = secrets.token_bytes(32)

    def listen(self, listener: Callable[[Entry], None], *, ordinary: bool = True) -> None:
        """`listener` is called in the dispatcher's turn: it must be quick and must not raise.

        With `ordinary` False it is not told of the steps of messages, of which there are thousands: where they led is
        in the message's own row in the store. Nor of what a machine that repeats itself does without moving. It is told
        of their refusals.
        """
        self._listeners.append(listener)
        if not ordinary:
            self._spared.add(listener)

    def ignore(self, listener: Callable[[Entry], None]) -> None:
        self._listeners.remove(listener)
        self._spared.discard(listener)

    def go_on_from(self, seq: int) -> None:
        """Numbers go on where an earlier life has left off. What this one has recorded already is numbered anew."""
        self._seq += seq
        self._before += seq
        for kept in (self._entries, self._ordinary):
            entries = [msgspec.structs.replace(entry, seq=entry.seq + seq) for entry in kept]
            kept.clear()
            kept.extend(entries)

    def record(self, result: Step | Refusal, cause: str, before: Before | None = None) -> Entry:
        self._seq += 1
        entry = self._entry(result, cause, before)
        if before is not None and _is_ordinary(before.machine, entry):
            self._ordinary.append(entry)
            spared = self._spared if entry.row is not None else frozenset()
        else:
            self._entries.append(entry)
            spared = frozenset()
            if entry.before != entry.after:
                self._moved_at[entry.machine] = entry.at
        for listener in tuple(self._listeners):
            if listener not in spared:
                listener(entry)
        return entry

    def _entry(self, result: Step | Refusal, cause: str, before: Before | None) -> Entry:
        event = result.event
        return Entry(
            seq=self._seq,
            at=self._clock.wall_ms(),
            kind="step" if isinstance(result, Step) else "refusal",
            machine=result.machine,
            trigger=result.trigger,
            before=result.before if isinstance(result, Step) else result.state,
            after=result.after if isinstance(result, Step) else result.state,
            outcome=result.outcome._value_ if isinstance(result, Step) else "refused",
            why=result.why if isinstance(result, Refusal) else getattr(event, "why", ""),
            cause=cause,
            revision=getattr(event, "revision", None) or getattr(event, "applied", None),
            generation=getattr(event, "generation", None),
            row=result.row if isinstance(result, Step) else None,
            guards=result.guards if isinstance(result, Refusal) else (),
            event=event,
            standing=before,
        )

    def moved_at(self, machine: str) -> int | None:
        """When the machine came into its present state, in wall-clock milliseconds."""
        return self._moved_at.get(machine)

    def page(self, after: int = 0, limit: int = 100, machine: str | None = None) -> list[Entry]:
        """Entries with a higher `seq` than `after`, oldest first; at most `limit`."""
        found = (entry for entry in self._all() if entry.seq > after and machine in (None, entry.machine))
        return list(islice(found, limit))

    def _all(self) -> Iterator[Entry]:
        return merge(self._entries, self._ordinary, key=attrgetter("seq"))

    def newest(self, limit: int, before: int | None = None, machine: str | None = None) -> list[Entry]:
        """The last `limit` entries, or the last with a lower number, oldest first; without those of messages' steps."""
        found = (
            entry
            for entry in reversed(self._entries)
            if (before is None or entry.seq < before) and machine in (None, entry.machine)
        )
        return list(islice(found, limit))[::-1]

    @property
    def last(self) -> int:
        """The number of the newest entry."""
        return self._seq

    @property
    def first(self) -> int:
        """The number of the oldest entry in memory, but for those of messages."""
        return self._entries[0].seq if self._entries else self._seq + 1

    def is_whole(self, after: int = 0) -> bool:
        """Whether a page after this number begins where this life began, and has all of it up to now."""
        kept = len(self._entries) + len(self._ordinary)
        return after <= self._before and kept == self._seq - self._before

    def full(self, entry: Entry) -> dict[str, Any]:
        """An entry with its event as plain data."""
        return entry.as_dict() | {"event": plain(entry.event, self.seal)}

    def seal(self, settings: Hashable) -> str:
        """Stands for an account's settings: equal for equal ones, and nobody can try tokens on it without this run's key."""
        content = msgspec.json.encode(settings, enc_hook=Secret.reveal, order="sorted")
        return hmac.digest(self._key, type(settings).__name__.encode() + content, "sha256").hex()


def log_entry(entry: Entry) -> None:
    """A journal listener: one `transition` line a move, `warning` for a refusal, `error` on entering a failed state."""
    log = structlog.get_logger()
    context: dict[str, Any] = {
        "machine": entry.machine,
        "trigger": entry.trigger,
        "seq": entry.seq,
        "cause": entry.cause,
    }
    context |= {key: value for key in ("generation", "why") if (value := getattr(entry, key))}
    if entry.revision:
        context["revision"] = entry.revision[:12]
    if entry.row is not None:
        context["row"] = entry.row
    if entry.kind == "refusal":
        log.warning("refused", state=entry.before, **context)
    elif entry.before == entry.after:
        log.info("handled", state=entry.before, outcome=entry.outcome, **context)
    else:
        report = log.error if entry.after == "failed" else log.info
        report("transition", source=entry.before, dest=entry.after, **context)
