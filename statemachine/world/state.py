"""One gateway process in the product, as data: what it knows, what is under way, and what surrounds it."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

from statemachine import lifecycle_events as events
from statemachine._machine import Event
from statemachine.lifecycle_data import LifecycleData, Waiting
from statemachine.lifecycle_events import LifecyclePolicy, Origin
from statemachine.world.account import CURRENT
from statemachine.world.change import NOTHING_STANDS, Open, Standing
from statemachine.world.config import FIRST, Proposal

OPEN, APPLY, RESTART, VACATE, REPLACE, STOP = "open", "apply", "restart", "vacate", "replace", "stop"
"""The kinds of work."""

POLICY = LifecyclePolicy(cooldown=0.0)
SOON, LATER, LATEST = 1.0, 2.0, 3.0
"""When tickets are due: a person's hasty one, a revision's, a person's patient one."""
NOW = 5.0
MUCH_LATER = 500.0
"""Past the budget for waiting."""
OVERDUE = (events.StartOverdue, events.ReloadOverdue, events.RestartOverdue, events.StopOverdue)

Asks = tuple[Event | None, ...]


class Work(msgspec.Struct, frozen=True, cache_hash=True):
    """Work under way: of which kind, whether it has begun, what it applies, and which accounts it waits for."""

    kind: str
    begun: bool = False
    proposal: Proposal | None = None
    touched: tuple[bool, ...] = ()
    hurried: bool = False
    hangs: bool = False
    """It will not come to its end by itself."""


class Process(msgspec.Struct, frozen=True, cache_hash=True):
    """One gateway process and its file."""

    state: Any
    data: LifecycleData
    disk: str
    ledger: str
    """The identity that runs by the shell's own book; the machine's `applied` follows it."""
    timer: type[Event] | None = None
    work: Work | None = None
    checking: bool = False
    reviewing: str | None = None
    unread: bool = False
    """The file has changed, and its event has not been read."""
    posted: Proposal | str | None = None
    """A reading that is on its way to the machine: a proposal, or BAD."""
    origins: tuple[tuple[str, Origin], ...] = ()
    """By which road revisions came that are not settled."""
    before: tuple[str, str] | None = None
    waiting: str | None = None
    astray: bool = False
    """A reload broke off, and accounts may run with what it wanted."""
    asked: frozenset[str] = frozenset()
    """Revisions whose writers wait for an answer."""
    excused: bool = False
    """Somebody has cancelled or refused what the file asks for."""
    busy: bool = False
    """A message in flight does not end."""
    change: Open | None = None
    """The change that must be confirmed."""
    standing: Standing = NOTHING_STANDS
    restoring: str = ""
    """A base of which the lifecycle has not been told yet."""
    ended: bool = False

    @property
    def wanted(self) -> str:
        """What a reading finds: the file, or what is held in its place."""
        return self.standing.wanted(self.disk)


class Change(msgspec.Struct, frozen=True):
    """A move of the process; `asks` are events for the accounts, `cost` is what it takes from the outside's budget."""

    label: str
    after: Process
    owed: bool = True
    cost: int = 0
    broken: tuple[str, ...] = ()
    asks: Asks = ()
    anew: bool = False
    """Another image or process has taken its place, and no account has a receiver yet."""


def blank(data: LifecycleData) -> LifecycleData:
    """Numbers made relative, and what no guard reads made equal."""
    return replace(
        data, work=CURRENT, timer=CURRENT, restarts=0, cooled_at=0.0, waiting=Waiting.NOTHING,
        warned_at=None, deferred_since=None if data.deferred_since is None else NOW,
    )  # fmt: skip


def forget(process: Process) -> Process:
    """What nothing will ask for any more is forgotten, so that equal futures are equal worlds."""
    kind = process.work.kind if process.work is not None else ""
    if kind in (RESTART, VACATE, REPLACE):
        # Who waits for an answer when a restart begins is told so: the connection ends with it.
        process = replace(process, asked=frozenset())
    if kind != APPLY:
        process = replace(process, before=None)
    if process.ended or kind == STOP:
        on_its_way = process.posted.revision if isinstance(process.posted, Proposal) else ""
        data = replace(process.data, known="", applied="", rejected=None, drift=False)
        process = replace(
            process, data=data, ledger=FIRST, unread=False, posted=None, origins=(), waiting=None, astray=False,
            asked=process.asked - {on_its_way}, excused=False, busy=False, change=None, restoring="",
        )  # fmt: skip
    return replace(process, standing=NOTHING_STANDS) if process.ended else process
