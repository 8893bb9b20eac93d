"""What the WebSocket answers and tells beside what HTTP has, for the AsyncAPI document. `answers` has the rest.

Names in camelCase are those of the published protocol.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET, UnsetType, field

from gateway.admin.answers import (
    Cancelled,
    ConfigSchema,
    ConfigSchemaPlace,
    CurrentHash,
    CurrentPlan,
    Decided,
    History,
    Issues,
    Journal,
    KeptRevision,
    Machines,
    Preview,
    Readiness,
    Receipt,
    Refusal,
    Request,
    RestartAnswer,
    Stages,
    Told,
)
from gateway.admin.body import Body
from gateway.admin.message_answers import Sent
from gateway.admin.status_answers import Account, Issue, LifecycleStatus, SettledAccount, Status, Ticket

__all__ = [
    "Account", "Cancelled", "ConfigSchema", "ConfigSchemaPlace", "CurrentHash", "CurrentPlan", "History", "Issues",
    "Journal", "KeptRevision", "LifecycleStatus", "Machines", "Preview", "Readiness", "Refusal", "Request", "Status",
    "Told",
]  # fmt: skip


# Errors


class MissingScope(Body, frozen=True, kw_only=True):
    """The scope that a method needs, and that the connection did not ask for."""

    code: Literal["MISSING_SCOPE"]
    missing_scope: str = field(name="missingScope")
    required_scopes: list[str] = field(name="requiredScopes")


class NotSignedIn(Body, frozen=True, kw_only=True):
    """Why `connect` was refused."""

    code: Literal["PROTOCOL_MISMATCH", "AUTH_TOKEN_MISMATCH", "AUTH_TOKEN_MISSING", "AUTH_RATE_LIMITED"]
    expected_protocol: int | UnsetType = field(name="expectedProtocol", default=UNSET)


Details = Issues | Refusal | CurrentHash | CurrentPlan | MissingScope | NotSignedIn


# Signing in


class Server(Body, frozen=True, kw_only=True):
    """The program's version, the boot and the connection."""

    version: str
    boot_id: str = field(name="bootId")
    conn_id: str = field(name="connId")


class Features(Body, frozen=True, kw_only=True):
    """Every method and every event that there is."""

    methods: list[str]
    events: list[str]


class HealthTold(Body, frozen=True, kw_only=True):
    """The process lives and its loop turns. `ts` is in wall-clock ms."""

    ok: Literal[True]
    ts: int


class StateVersion(Body, frozen=True, kw_only=True):
    """Of what is not kept here: always 0."""

    presence: int
    health: int


class Snapshot(Body, frozen=True, kw_only=True):
    """Where the gateway is as the connection begins."""

    presence: list[dict[str, Any]]
    health: HealthTold
    state_version: StateVersion = field(name="stateVersion")
    uptime_ms: int = field(name="uptimeMs")
    applied_config_hash: str = field(name="appliedConfigHash")
    config_path: str = field(name="configPath")
    state_dir: str = field(name="stateDir")
    auth_mode: Literal["token"] = field(name="authMode")


class Granted(Body, frozen=True, kw_only=True):
    """What the connection may do."""

    role: str
    scopes: list[str]


class Policy(Body, frozen=True, kw_only=True):
    """The limits: bytes of a frame, bytes that may wait for a reader, ms between two `tick`."""

    max_payload: int = field(name="maxPayload")
    max_buffered_bytes: int = field(name="maxBufferedBytes")
    tick_interval_ms: int = field(name="tickIntervalMs")


class HelloOk(Body, frozen=True, kw_only=True):
    """The connection is signed in. `features` has every method and event that there is."""

    type: Literal["hello-ok"]
    protocol: int
    server: Server
    features: Features
    snapshot: Snapshot
    auth: Granted
    policy: Policy


# Answers


class HealthAnswer(HealthTold, frozen=True, kw_only=True):
    """The process lives; the stages of being ready, and the lifecycle's state."""

    stages: Stages
    state: str


class ConfigAnswer(Body, frozen=True, kw_only=True):
    """The file: validated, as text, its hash; and the hash of what runs. Without its secrets."""

    path: str
    exists: bool
    valid: bool
    raw: str | None
    parsed: dict[str, Any] | None
    config: dict[str, Any] | None
    hash: str | None
    issues: list[Issue]
    config_revision_hash: str | None = field(name="configRevisionHash")
    applied_config_hash: str = field(name="appliedConfigHash")


class WriteAnswer(Body, frozen=True, kw_only=True):
    """What became of a write. `ok` means that every account of it is where the change was to bring it."""

    ok: bool
    path: str
    config: dict[str, Any] | None
    hash: str
    changed_paths: list[str] = field(name="changedPaths")
    noop: bool
    receipt: Receipt


class ConfirmAnswer(Decided, frozen=True, kw_only=True):
    """What became of a change that had to be confirmed. `ok`: it is not being rolled back."""

    ok: bool


class AccountState(Body, frozen=True, kw_only=True):
    """One account as the published protocol has it, and its machine."""

    account_id: str = field(name="accountId")
    enabled: bool
    configured: bool
    running: bool
    connected: bool
    reconnect_attempts: int = field(name="reconnectAttempts")
    health_state: str = field(name="healthState")
    last_transport_activity_at: int | None = field(name="lastTransportActivityAt")
    last_error: str | None = field(name="lastError")
    generation: int
    allowed: list[str]


class Configured(Body, frozen=True, kw_only=True):
    """A network that the config names."""

    configured: bool


class ChannelsAnswer(Body, frozen=True, kw_only=True):
    """Every account, by network."""

    ts: int
    channel_order: list[str] = field(name="channelOrder")
    channel_labels: dict[str, str] = field(name="channelLabels")
    channels: dict[str, Configured]
    channel_accounts: dict[str, list[AccountState]] = field(name="channelAccounts")
    channel_default_account_id: dict[str, str] = field(name="channelDefaultAccountId")


class AccountAnswer(SettledAccount, frozen=True, kw_only=True):
    """An account after a call. `started` to a start and a restart, `stopped` to a stop: whether it came to that."""

    account_id: str = field(name="accountId")
    started: bool | UnsetType = UNSET
    stopped: bool | UnsetType = UNSET


class Hindrance(Body, frozen=True, kw_only=True):
    """What keeps a restart waiting, or has it refused."""

    kind: Literal["reply", "config"]
    count: int
    message: str


class ConfigCheck(Body, frozen=True, kw_only=True):
    """Whether the file could be used."""

    valid: bool
    issues: list[Issue]


class Preflight(Body, frozen=True, kw_only=True):
    """What would keep a restart waiting, how long none may begin, and who waits for one already."""

    safe: bool
    counts: dict[str, int]
    blockers: list[Hindrance]
    summary: str
    config: ConfigCheck
    cooldown_ms: int = field(name="cooldownMs")
    tickets: list[Ticket]


class RestartSignal(Body, frozen=True, kw_only=True):
    """The restart as the published protocol has it."""

    ok: Literal[True]
    pid: int
    signal: Literal["SIGUSR1"]
    delay_ms: int = field(name="delayMs")
    reason: str
    mode: Literal["emit"]
    coalesced: bool
    cooldown_ms_applied: int = field(name="cooldownMsApplied")


class RestartScheduled(RestartAnswer, frozen=True, kw_only=True):
    """What became of asking for a restart, and what the preflight had said."""

    ok: Literal[True]
    status: Literal["scheduled", "deferred", "coalesced"]
    preflight: Preflight
    restart: RestartSignal


class LogLines(Body, frozen=True, kw_only=True):
    """Log lines, and the cursor to ask on with. `reset`: the cursor that was given is none of this process."""

    file: Literal["stderr"]
    cursor: int
    size: int
    lines: list[str]
    reset: bool
    truncated: bool
    skipped_bytes: int = field(name="skippedBytes")


class SendAnswer(Sent, frozen=True, kw_only=True):
    """What will be sent: a long text in parts. Asking again with the same key gives the same."""

    message_id: str = field(name="messageId")
    channel: str
    run_id: str = field(name="runId")


class ChatStarted(Body, frozen=True, kw_only=True):
    """It is kept, and will be answered. `chat` events of the answer have the same `runId`."""

    run_id: str = field(name="runId")
    status: Literal["started"]


class ChatLine(Body, frozen=True, kw_only=True):
    """One line of a conversation of the web chat."""

    id: str
    role: Literal["user", "assistant"]
    text: str
    ts: int


class ChatLines(Body, frozen=True, kw_only=True):
    """Lines of a conversation, oldest first."""

    session_key: str = field(name="sessionKey")
    messages: list[ChatLine]


# Events


class Challenge(Body, frozen=True, kw_only=True):
    """The connection is open, and `connect` is waited for."""

    nonce: str
    ts: int


class Tick(Body, frozen=True, kw_only=True):
    """The connection lives."""

    ts: int


class Shutdown(Body, frozen=True, kw_only=True):
    """The gateway ends. It comes again where `restartExpectedMs` is."""

    reason: str
    restart_expected_ms: int | UnsetType = field(name="restartExpectedMs", default=UNSET)


class ChatTold(Body, frozen=True, kw_only=True):
    """A line was said in a conversation of the web chat."""

    run_id: str = field(name="runId")
    session_key: str = field(name="sessionKey")
    seq: int
    state: Literal["final"]
    message: ChatLine


class ConfigTold(Body, frozen=True, kw_only=True):
    """Something became of a revision. With `change` it is that of a change: the machine's name and its state."""

    revision: str
    applied: str
    drift: bool
    change: str | UnsetType = UNSET
    state: str | UnsetType = UNSET


class MessageTold(Body, frozen=True, kw_only=True):
    """A message has moved on: its machine's name and state, and the trace that it belongs to, where it has one."""

    machine: str
    state: str
    traceparent: str | UnsetType = UNSET
