"""What HTTP answers: one model a body, for the OpenAPI document. `tests/fuzz` holds every answer that it gets to them.

The bodies are made in `api` and `views`; nothing is converted to these, and they are imported when the document is asked for.
Times called `at`, `since` and the like are wall-clock milliseconds, `..._in_ms` is a duration.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET, UnsetType, field

from gateway.admin.body import Body
from gateway.admin.message_answers import (
    Conversation,
    Conversations,
    Deliveries,
    DeliveryDecided,
    IncomingMessages,
    Sent,
    Taken,
    Webhook,
)
from gateway.admin.status_answers import Accounts, Issue, SettledAccount, Status

__all__ = [
    "Accounts", "Conversation", "Conversations", "Deliveries", "DeliveryDecided", "IncomingMessages", "Sent",
    "SettledAccount", "Status", "Taken", "Webhook",
]  # fmt: skip


# Signing in


class SignInCode(Body, frozen=True, kw_only=True):
    """A code that signs in once, for how long it is good, and whether it is for programs of one user alone."""

    code: str
    expires_in_ms: int
    same_user: bool


class Session(Body, frozen=True, kw_only=True):
    """What is sent in place of the token from now on, and for how long it is good."""

    token: str
    expires_in_ms: int


# The details of errors


class Issues(Body, frozen=True, kw_only=True):
    """What is wrong with what was sent, each fault with its path."""

    issues: list[Issue]


class Refusal(Body, frozen=True, kw_only=True):
    """Which machine refused what in which state, the guards that said no, and what it would take."""

    machine: str
    state: str
    trigger: str
    allowed: list[str]
    guards: list[str]


class CurrentHash(Body, frozen=True, kw_only=True):
    """The hash of the config as it is now, and what changed since the one that was given; null where that is not known."""

    current_hash: str = field(name="currentHash")
    changed_paths: list[str] | None = field(name="changedPaths")


class CurrentPlan(Body, frozen=True, kw_only=True):
    """The id of the plan that would be carried out now."""

    current_plan: str = field(name="currentPlan")


# Probes


class Health(Body, frozen=True, kw_only=True):
    """The process lives and its loop turns."""

    ok: Literal[True]


class Stages(Body, frozen=True, kw_only=True):
    """The three stages of being ready."""

    live: bool
    control: bool
    channels: bool


class Readiness(Body, frozen=True, kw_only=True):
    """Whether what was asked for is ready, the stages, and the lifecycle's state."""

    ready: bool
    stages: Stages
    state: str


# Config


class ConfigFile(Body, frozen=True, kw_only=True):
    """The file: validated, as text, its hash; and the hash of what runs. Without its secrets."""

    config: dict[str, Any] | None
    raw: str | None
    hash: str | None
    revision: str | None
    applied: str
    path: str
    issues: list[Issue]


class Hint(Body, frozen=True, kw_only=True):
    """What a form needs of a field. Its tags have the reload class, as `reload:live`; `order` is that among its siblings."""

    label: str
    tags: list[str]
    order: int
    help: str | UnsetType = UNSET
    sensitive: bool | UnsetType = UNSET
    placeholder: str | UnsetType = UNSET


class ConfigSchema(Body, frozen=True, kw_only=True):
    """The config's JSON Schema, and by path the hints; `*` in a path is any entry."""

    schema: dict[str, Any]
    ui_hints: dict[str, Hint] = field(name="uiHints")
    version: str
    generated_at: str = field(name="generatedAt")


class ConfigSchemaChild(Body, frozen=True, kw_only=True):
    """What is one level below a place of the config."""

    key: str
    path: str
    type: str | list[str]
    required: bool
    has_children: bool = field(name="hasChildren")
    reload_kind: Literal["hot", "restart"] = field(name="reloadKind")
    hint: Hint
    hint_path: str = field(name="hintPath")


class ConfigSchemaPlace(Body, frozen=True, kw_only=True):
    """One place of the config: its schema, its hint, and what is below it. The config as a whole, `.`, has no hint."""

    path: str
    schema: dict[str, Any]
    reload_kind: Literal["hot", "restart"] | UnsetType = field(name="reloadKind", default=UNSET)
    hint: Hint | UnsetType = UNSET
    hint_path: str | UnsetType = field(name="hintPath", default=UNSET)
    children: list[ConfigSchemaChild]


class AccountResult(Body, frozen=True, kw_only=True):
    """What a change did to an account."""

    action: str
    state: str
    generation: int
    error: str | UnsetType = UNSET


class Plan(Body, frozen=True, kw_only=True):
    """What the change needs. An account that waits for a restart has its action alone."""

    kind: Literal["none", "live", "channel", "gateway"] = field(name="class")
    accounts: dict[str, AccountResult | str]


class Due(Body, frozen=True, kw_only=True):
    """The restart that is due first."""

    id: str
    due_in_ms: int


class Receipt(Body, frozen=True, kw_only=True):
    """What became of a write. `stage` and `why` say where and why it was rolled back; `confirm_by` is in wall-clock ms."""

    request: str
    revision: str
    hash: str
    changed_paths: list[str]
    plan: Plan
    outcome: Literal["noop", "applied", "restart_pending", "probation", "rolled_back", "rejected"]
    stage: str | None
    why: str
    confirm_by: int | None
    restart: Due | None


class Decided(Body, frozen=True, kw_only=True):
    """What became of a change that had to be confirmed."""

    revision: str
    outcome: Literal["committed", "probation", "rolled_back", "rolling_back"]
    why: str
    confirm_by: int | None


class Change(Body, frozen=True, kw_only=True):
    """One path that differs. Null where there is nothing, `__REDACTED__` where there is a secret."""

    path: str
    kind: Literal["live", "channel", "gateway"] = field(name="class")
    old: Any
    new: Any


class Firing(Body, frozen=True, kw_only=True):
    """One trigger that would be fired at a machine, and why."""

    machine: str
    trigger: str
    why: str


class PlanWarning(Body, frozen=True, kw_only=True):
    """What to look at twice."""

    code: str
    path: str
    message: str


class Preview(Body, frozen=True, kw_only=True):
    """What a write would do. `base` is the hash of the file as it is, `applied` the revision that the plan was made against."""

    plan_id: str
    base: str | None
    applied: str
    revision: str
    kind: Literal["none", "live", "channel", "gateway"] = field(name="class")
    changed_paths: list[str]
    changes: list[Change]
    accounts: dict[str, Literal["start", "stop", "restart", "live"]]
    triggers: list[Firing]
    warnings: list[PlanWarning]
    needs: Literal["nothing", "reload", "restart"]


class HistoryEntry(Body, frozen=True, kw_only=True):
    """A revision that came, and what became of it. `base` was in its place before, null where nothing is known of that."""

    number: int
    revision: str
    base: str | None
    at: int
    requester: str
    road: str
    note: str
    changed_paths: list[str]
    outcome: str
    stage: str
    why: str
    ended_at: int | None


class History(Body, frozen=True, kw_only=True):
    """Entries, newest first."""

    entries: list[HistoryEntry]


class KeptRevision(HistoryEntry, frozen=True, kw_only=True):
    """An entry with its text, that of `against`, and what it changed of that. They are null where a text is not valid now; `issues` says why."""

    raw: str | None
    against: str | None
    against_raw: str | None
    changes: list[Change] | None
    issues: list[Issue]


# Restarts and requests


class Request(Body, frozen=True, kw_only=True):
    """A request and its outcome: `pending`, and in the end exactly one other."""

    id: str
    kind: str
    requester: str
    at: int
    outcome: Literal["pending", "done", "cancelled", "superseded", "refused", "failed"]
    why: str
    ended_at: int | None


class RestartAnswer(Body, frozen=True, kw_only=True):
    """What became of the asking. `joined` is the earlier request that is due first; `cooldown_ms` what is left until any may begin."""

    id: str
    outcome: str
    state: str
    joined: str | None
    due_in_ms: int
    cooldown_ms: int
    request: Request | None


class Cancelled(Body, frozen=True, kw_only=True):
    """The request will not restart anything any more."""

    id: str
    outcome: Literal["cancelled"]
    state: str


# Journal and machines


class Told(Body, frozen=True, kw_only=True):
    """One step or refusal of a machine, and what caused it. `row` is None for a refusal; `guards` said no."""

    seq: int
    at: int
    kind: Literal["step", "refusal"]
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
    guards: list[str]


class Entry(Told, frozen=True, kw_only=True):
    """The same with the event that came."""

    event: dict[str, Any]


class Journal(Body, frozen=True, kw_only=True):
    """Entries, oldest first."""

    entries: list[Entry]


class Row(Body, frozen=True, kw_only=True):
    """One row of a table. Without `dest` the state stays."""

    trigger: str
    sources: list[str]
    dest: str | None
    guards: list[str]
    effects: list[str]
    outcome: str


class Machine(Body, frozen=True, kw_only=True):
    """One table, and the state of each running instance of it by name."""

    name: str
    initial: str
    states: list[str]
    rows: list[Row]
    instances: dict[str, str]


class Machines(Body, frozen=True, kw_only=True):
    """Every table."""

    machines: list[Machine]


class OpenApi(Body, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """An OpenAPI document, version 3.1."""

    openapi: str
    info: dict[str, Any]
    paths: dict[str, Any]
    components: dict[str, Any]


class AsyncApi(Body, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """An AsyncAPI document, version 3.0."""

    asyncapi: str
    info: dict[str, Any]
    channels: dict[str, Any]
    operations: dict[str, Any]
    components: dict[str, Any]
