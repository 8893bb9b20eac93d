"""What the calls about the present state answer, for the OpenAPI document. `answers` has the rest."""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, UnsetType

from gateway.admin.body import Body
from gateway.admin.message_answers import Webhook


class Issue(Body, frozen=True, kw_only=True):
    """One fault: where, and what is wrong. A place in a text that is not known is left out."""

    path: str
    message: str
    line: int | UnsetType = UNSET
    column: int | UnsetType = UNSET


class Ticket(Body, frozen=True, kw_only=True):
    """One open request for a restart."""

    id: str
    requester: str
    reason: str
    revision: str | None
    due_in_ms: int


class Reason(Body, frozen=True, kw_only=True):
    """Why not all is well, and what helps."""

    reason: str
    detail: str
    remedy: str


class Lease(Body, frozen=True, kw_only=True):
    """Where several hosts share an account: whether this one has its lease, under which number, or why not."""

    state: str
    term: int
    why: str


class Account(Body, frozen=True, kw_only=True):
    """One account and where its machine is."""

    channel: str
    account: str
    enabled: bool
    state: str
    since: int | None
    generation: int
    last_receive_ms: int | None
    held: bool
    attempts: int
    conflicts: int
    conflict_since: int | None
    error: str | None
    webhook: Webhook | None
    lease: Lease | None
    allowed: list[str]
    refused: dict[str, list[str]]


class SettledAccount(Account, frozen=True, kw_only=True):
    """An account after a call, and what became of the call."""

    outcome: str


class Accounts(Body, frozen=True, kw_only=True):
    """Every account."""

    accounts: list[Account]


class Window(Body, frozen=True, kw_only=True):
    """The change that waits to be confirmed, until when, and what is put back if it is not. None: it does not run yet."""

    revision: str
    base: str
    confirm_by: int | None


class SetAside(Body, frozen=True, kw_only=True):
    """What was rolled back while the file still held it, and what is wanted in its place."""

    revision: str
    base: str
    why: str


class ConfigStatus(Body, frozen=True, kw_only=True):
    """The revisions on disk, accepted, applied and last known to be good; how the file is watched, and why it is not ours to write."""

    path: str
    on_disk: str
    accepted: str
    applied: str
    last_good: str | None
    drift: bool
    window: Window | None
    set_aside: SetAside | None
    watching: str
    writable: bool
    owner: str | None
    issues: list[Issue]


class Pending(Body, frozen=True, kw_only=True):
    """Messages under way, whether receivers wait for them, replies that are not sent, and messages that no route matched."""

    messages: int
    full: bool
    outbox: int
    unmatched: int


class Blocker(Body, frozen=True, kw_only=True):
    """What kept the event loop: its line, for how many seconds, and when it was over (wall clock, ms)."""

    place: str
    seconds: float
    at: int


class Process(Body, frozen=True, kw_only=True):
    """The process itself: how many asyncio tasks it has tells of leaks; `blocked` has the `longest` and the `last`."""

    pid: int
    tasks: int
    blocked: dict[str, Blocker | None]


class HandlerStatus(Body, frozen=True, kw_only=True):
    """One handler. While its circuit is not closed its messages wait."""

    handler: str
    type: str
    circuit: Literal["closed", "open", "half_open"]


class HowToRestart(Body, frozen=True, kw_only=True):
    """What the config says of the mode, what that comes to here, and why."""

    mode: Literal["auto", "exec", "in_process", "exit"]
    by: Literal["exec", "in_process", "exit"]
    why: str


class LifecycleStatus(Body, frozen=True, kw_only=True):
    """Where the lifecycle is, what it waits for, and why not all is well."""

    state: str
    since: int | None
    waiting: str
    tickets: list[Ticket]
    degraded: list[Reason]
    allowed: list[str]


class Status(LifecycleStatus, frozen=True, kw_only=True):
    """Where everything is."""

    boot: str
    boot_at: int
    now: int
    name: str
    config: ConfigStatus
    restarts: int
    restart: HowToRestart
    accounts: list[Account]
    pending: Pending
    handlers: list[HandlerStatus]
    process: Process
