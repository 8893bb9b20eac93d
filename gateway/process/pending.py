"""What the shell knows of a change while its machine lives: who wants it, what it is, and who waits for which word."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from gateway.config.edit import Edit
from gateway.config.file import Revision
from gateway.config.ledger import Proposal
from statemachine.lifecycle_events import ConfigChanged


@dataclass(frozen=True)
class Write:
    """One call that wants to change the file. `base` is the hash its writer saw; None is allowed where there is no file.

    `delay` and `confirm` are in seconds: until the restart, if one is needed (None is the config's own), and until the
    change is rolled back unless somebody confirms it (None: nobody need). `plan` is the id of the plan that its writer saw.
    """

    edit: Edit
    base: str | None
    requester: str
    note: str = ""
    delay: float | None = None
    confirm: float | None = None
    plan: str | None = None
    road: str = "call"
    insists: bool = False
    """Whatever the file holds now is to be replaced: a person's rollback says so."""


class Decision(Enum):
    """What a person says of a change that must be confirmed."""

    CONFIRM = "confirm"
    EXTEND = "extend"
    CANCEL = "cancel"


@dataclass(frozen=True)
class Settled:
    """The lifecycle's word on a revision, which is another one than asked for when that was superseded."""

    revision: str
    outcome: str
    why: str
    accounts: dict[str, Any]
    """What happened to each account that the plan touched."""


@dataclass(frozen=True)
class Report:
    """What became of a change so far. `stage` and `why` say where and why it did not come to its end."""

    outcome: str
    stage: str = ""
    why: str = ""


def _future() -> asyncio.Future[Any]:
    return asyncio.get_running_loop().create_future()


@dataclass(eq=False)
class Pending:
    """One change, and what is known of it beside its machine."""

    requester: str
    road: str
    note: str = ""
    confirm: float | None = None
    until: int | None = None
    """The wall-clock deadline (ms) of one whose time ran already when the gateway booted."""
    writes: bool = False
    """The file is to be written for it."""
    request: str = ""
    """The id of the call that wants it; empty where nobody called."""
    name: str = ""
    """Of its machine; given when that is made."""
    prepare: Callable[[Pending], Awaitable[None]] | None = None
    """Reads, checks and plans it: sets `proposal`, `base`, `event`, and the texts where it is to be written."""
    proposal: Proposal | None = None
    revision: Revision | None = None
    """What it brings, where nobody proposed it."""
    base: str = ""
    base_raw: bytes = b""
    """What was wanted before it, and its bytes where it is to be written."""
    accepted: Revision | None = None
    """What was valid last before it was read."""
    event: ConfigChanged | None = None
    old: bytes | None = None
    new: bytes = b""
    base_hash: str | None = None
    number: int = 0
    """Of its entry in the history; 0 where it has none."""
    ran: tuple[str, ...] = ()
    """Accounts that ran when it was proposed."""
    restored: bool = False
    """What ran before was asked for again."""
    error: Exception | None = None
    """Why it was refused, as its submitter is told."""
    last: Report | None = None
    submitted: asyncio.Future[None] = field(default_factory=_future)
    """Done when it is handed to the lifecycle, or raises why it never will be."""
    settled: asyncio.Future[Settled] = field(default_factory=_future)
    """The lifecycle's word on it, or on the newer one that holds it."""
    refused: asyncio.Future[str] = field(default_factory=_future)
    """Why the lifecycle would not have it."""
    reported: asyncio.Future[Report] = field(default_factory=_future)
    """The first word of what became of it after the lifecycle had it."""
    ended: asyncio.Future[Report] = field(default_factory=_future)
    """The last word of it."""
