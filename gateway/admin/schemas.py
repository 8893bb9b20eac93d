"""What clients may send: one model a call, strict about names, for HTTP and WebSocket alike.

Names and shapes of the published methods are those of OpenClaw's gateway protocol, wire version 4
(`protocol.schema.json` of the npm package `@openclaw/gateway-protocol`).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from gateway.admin.errors import BadRequestError

ConfigPath = Annotated[str, Meta(min_length=1, max_length=1024, pattern=r"^[A-Za-z0-9_./\[\]\-*]+$")]
"""As published."""

AccountName = Annotated[str, Meta(min_length=1, description="Its channel and its own name: `telegram/main`.")]

LONGEST_WINDOW_S = 86_400
"""A change can wait for its confirmation that long: a day."""
SHOWN = 40
"""Characters of a name that a client gives itself."""


class Params(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """The base: camelCase outside, unknown keys refused."""


class NoParams(Params, frozen=True, kw_only=True):
    """A call without parameters."""


class ClientInfo(Params, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """Who connects. The published identifiers are not enforced: anyone with the token may."""

    id: Annotated[str, Meta(min_length=1)]
    version: Annotated[str, Meta(min_length=1)]
    platform: Annotated[str, Meta(min_length=1)]
    mode: Annotated[str, Meta(min_length=1)]


class Auth(Params, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """The shared secret, or a session in its place, under either name."""

    token: str | None = None
    password: str | None = None

    @property
    def secret(self) -> str | None:
        return self.token or self.password


class SignIn(Params, frozen=True, kw_only=True):
    """POST /api/v1/sign-in: the code that `gateway open` has printed."""

    code: Annotated[str, Meta(min_length=1, max_length=256)]


class MakeCode(Params, frozen=True, kw_only=True, rename=None):
    """POST /api/v1/sign-in/codes. `same_user`: for a code that other users of this machine may come to see."""

    same_user: bool = False


class Device(Params, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """The device that a client runs on, as the published clients tell it. Nothing hangs on it but whose writes are counted."""

    id: str = ""


class Connect(Params, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """The first frame."""

    min_protocol: Annotated[int, Meta(ge=1)]
    max_protocol: Annotated[int, Meta(ge=1)]
    client: ClientInfo
    role: str = "operator"
    scopes: tuple[str, ...] = ()
    auth: Auth = Auth()
    device: Device | None = None

    @property
    def who(self) -> str:
        """Whom a client says it is, short enough for every line that it appears in."""
        return " ".join((self.client.id[:SHOWN], *([self.device.id[:SHOWN]] if self.device else []))).strip()


class ConfigWrite(Params, frozen=True, kw_only=True):
    """config.set, config.apply and config.patch."""

    raw: Annotated[str, Meta(min_length=1)]
    base_hash: str | None = None
    session_key: str | None = None
    delivery_context: dict[str, Any] | None = None
    note: Annotated[str, Meta(max_length=1000)] = ""
    restart_delay_ms: Annotated[int, Meta(ge=0)] | None = None
    confirm_within_ms: Annotated[int, Meta(ge=1000, le=LONGEST_WINDOW_S * 1000)] | None = None
    plan_id: Annotated[str, Meta(max_length=64)] | None = None
    replace_paths: Annotated[tuple[str, ...], Meta(max_length=256)] = ()

    def query(self) -> WriteQuery:
        """What HTTP has in its query."""
        seconds = None if self.confirm_within_ms is None else self.confirm_within_ms / 1000
        return WriteQuery(
            note=self.note, restart_delay_ms=self.restart_delay_ms, confirm_within_s=seconds, plan_id=self.plan_id
        )


class WriteQuery(Params, frozen=True, kw_only=True, rename=None):
    """The query of PUT and PATCH /api/v1/config, in the snake_case of HTTP."""

    note: Annotated[str, Meta(max_length=1000)] = ""
    restart_delay_ms: Annotated[int, Meta(ge=0)] | None = None
    confirm_within_s: Annotated[float, Meta(ge=1, le=LONGEST_WINDOW_S)] | None = None
    plan_id: Annotated[str, Meta(max_length=64)] | None = None


class Rollback(Params, frozen=True, kw_only=True, rename=None):
    """POST /api/v1/config/rollback. `revision` is a revision, the beginning of one, or the number of a history entry."""

    revision: Annotated[str, Meta(min_length=1, max_length=64)]
    note: Annotated[str, Meta(max_length=1000)] = ""
    confirm_within_s: Annotated[float, Meta(ge=1, le=LONGEST_WINDOW_S)] | None = None


class RollbackFrame(Params, frozen=True, kw_only=True):
    """config.rollback: the same in camelCase."""

    revision: Annotated[str, Meta(min_length=1, max_length=64)]
    note: Annotated[str, Meta(max_length=1000)] = ""
    confirm_within_ms: Annotated[int, Meta(ge=1000, le=LONGEST_WINDOW_S * 1000)] | None = None

    def request(self) -> Rollback:
        seconds = None if self.confirm_within_ms is None else self.confirm_within_ms / 1000
        return Rollback(revision=self.revision, note=self.note, confirm_within_s=seconds)


class Confirm(Params, frozen=True, kw_only=True, rename=None):
    """POST /api/v1/config/confirm. `within_s` is for extending: the time begins anew with it."""

    revision: Annotated[str, Meta(min_length=1, max_length=64)]
    decision: Literal["confirm", "extend", "cancel"] = "confirm"
    within_s: Annotated[float, Meta(ge=1, le=LONGEST_WINDOW_S)] | None = None


class ConfirmFrame(Params, frozen=True, kw_only=True):
    """config.confirm: the same in camelCase."""

    revision: Annotated[str, Meta(min_length=1, max_length=64)]
    decision: Literal["confirm", "extend", "cancel"] = "confirm"
    within_ms: Annotated[int, Meta(ge=1000, le=LONGEST_WINDOW_S * 1000)] | None = None

    def request(self) -> Confirm:
        seconds = None if self.within_ms is None else self.within_ms / 1000
        return Confirm(revision=self.revision, decision=self.decision, within_s=seconds)


class SchemaLookup(Params, frozen=True, kw_only=True):
    """config.schema.lookup. What a path is: see `lookup.look_up`."""

    path: ConfigPath


class SchemaQuery(Params, frozen=True, kw_only=True):
    """The query of GET /api/v1/config/schema: the whole, or one place of it."""

    path: ConfigPath | None = None


class ConfigPlan(Params, frozen=True, kw_only=True):
    """config.plan: a replacement, or with `patch` a merge patch. A base that is given must be the current one.

    With `revision` in the place of `raw` it is the plan of a rollback; what that may be is as in config.rollback.
    """

    raw: Annotated[str, Meta(min_length=1)] | None = None
    revision: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    base_hash: str | None = None
    patch: bool = False
    replace_paths: Annotated[tuple[str, ...], Meta(max_length=256)] = ()


class PlanQuery(Params, frozen=True, kw_only=True, rename=None):
    """The query of POST /api/v1/config/plan. `patch` says that the body is a merge patch, whatever its type."""

    patch: bool = False


class HistoryQuery(Params, frozen=True, kw_only=True, rename=None):
    """The query of GET /api/v1/config/history: entries with numbers below `before`."""

    limit: Annotated[int, Meta(ge=1, le=200)] = 50
    before: Annotated[int, Meta(ge=1)] | None = None


class AgainstQuery(Params, frozen=True, kw_only=True, rename=None):
    """The query of GET /api/v1/config/history/{revision}: another entry or revision to compare with, instead of its base."""

    against: Annotated[str, Meta(min_length=1)] | None = None


class ConfigHistory(Params, frozen=True, kw_only=True):
    """config.history: a page of entries, or with `revision` (a revision's beginning, or an entry's number) one of them."""

    limit: Annotated[int, Meta(ge=1, le=200)] = 50
    before: Annotated[int, Meta(ge=1)] | None = None
    revision: str | int | None = None
    against: str | int | None = None


class ReadyQuery(Params, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """The query of GET /readyz. `all` asks for the accounts too."""

    channels: str | None = None


class ChannelsStatus(Params, frozen=True, kw_only=True):
    """channels.status: `probe` and `timeoutMs` are accepted; the machines know without asking the network."""

    probe: bool = False
    timeout_ms: Annotated[int, Meta(ge=0)] | None = None
    channel: str | None = None


class ChannelCall(Params, frozen=True, kw_only=True):
    """channels.start, channels.stop, channels.restart."""

    channel: Annotated[str, Meta(min_length=1)]
    account_id: str | None = None


class RestartRequest(Params, frozen=True, kw_only=True, rename=None):
    """POST /api/v1/restart. The delay is clamped to 0..60 s."""

    delay_ms: Annotated[int, Meta(ge=0)] | None = None
    reason: Annotated[str, Meta(max_length=500)] = ""
    force: bool = False


class RestartFrame(Params, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """gateway.restart.request: the same in camelCase; what else the published clients send is passed over.

    They say `skipDeferral` for what is `force` here.
    """

    delay_ms: Annotated[int, Meta(ge=0)] | None = None
    restart_delay_ms: Annotated[int, Meta(ge=0)] | None = None
    reason: Annotated[str, Meta(max_length=500)] = ""
    force: bool = False
    skip_deferral: bool = False

    def request(self) -> RestartRequest:
        delay_ms = self.restart_delay_ms if self.delay_ms is None else self.delay_ms
        return RestartRequest(delay_ms=delay_ms, reason=self.reason, force=self.force or self.skip_deferral)


class RestartCancel(Params, frozen=True, kw_only=True):
    """lifecycle.cancelRestart."""

    id: Annotated[str, Meta(min_length=1)]


class RequestGet(Params, frozen=True, kw_only=True):
    """requests.get."""

    id: Annotated[str, Meta(min_length=1)]


class JournalList(Params, frozen=True, kw_only=True):
    """journal.list: after a sequence number, the last before one, or the newest without any."""

    after: Annotated[int, Meta(ge=0)] | None = None
    before: Annotated[int, Meta(ge=1)] | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    machine: str | None = None


class JournalQuery(Params, frozen=True, kw_only=True):
    """The query of GET /api/v1/journal: as journal.list, and `format=jsonl` for the file that `gateway replay` reads."""

    after: Annotated[int, Meta(ge=0)] | None = None
    before: Annotated[int, Meta(ge=1)] | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] | None = None
    machine: str | None = None
    format: Literal["json", "jsonl"] = "json"


class Send(Params, frozen=True, kw_only=True, rename=None):
    """POST /api/v1/send. Asking again with the same key sends nothing new."""

    channel: Annotated[str, Meta(min_length=1)]
    account: Annotated[str, Meta(min_length=1)]
    to: Annotated[str, Meta(min_length=1, max_length=512)]
    text: Annotated[str, Meta(min_length=1, max_length=100_000)]
    idempotency_key: Annotated[str, Meta(min_length=1, max_length=256)]
    format: Literal["plain", "markdown", "html"] = "plain"
    thread: str | None = None


class SendFrame(Params, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """send, in the published shape. What else the published clients may say (media, voice) is passed over."""

    to: Annotated[str, Meta(min_length=1, max_length=512)]
    message: Annotated[str, Meta(min_length=1, max_length=100_000)]
    idempotency_key: Annotated[str, Meta(min_length=1, max_length=256)]
    channel: str | None = None
    account_id: str | None = None
    thread_id: str | None = None
    parse_mode: Literal["HTML"] | None = None


class OutboxQuery(Params, frozen=True, kw_only=True):
    """The query of GET /api/v1/outbox: without a state, those that are neither sent nor dead."""

    state: Literal["queued", "sending", "sent", "retry_wait", "unknown", "dead"] | None = None
    account: AccountName | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


class InboxQuery(Params, frozen=True, kw_only=True):
    """The query of GET /api/v1/messages."""

    state: Literal["received", "handled", "unmatched", "refused", "dead"] | None = None
    account: AccountName | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


class ConversationsQuery(Params, frozen=True, kw_only=True):
    """The query of GET /api/v1/conversations."""

    account: AccountName | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


class ConversationQuery(Params, frozen=True, kw_only=True):
    """The query of GET /api/v1/conversation."""

    account: AccountName
    conversation: Annotated[str, Meta(min_length=1)]
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


class LogsTail(Params, frozen=True, kw_only=True):
    """logs.tail: after a cursor that was given out before, or the newest lines without one."""

    cursor: Annotated[int, Meta(ge=0)] | None = None
    limit: Annotated[int, Meta(ge=1, le=5000)] = 500
    max_bytes: Annotated[int, Meta(ge=1, le=1_000_000)] = 250_000


class ChatSend(Params, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """chat.send. A session is `webchat:<account>:<conversation>`."""

    session_key: Annotated[str, Meta(min_length=1, max_length=512)]
    message: Annotated[str, Meta(max_length=100_000)]
    idempotency_key: Annotated[str, Meta(min_length=1, max_length=256)]


class ChatHistory(Params, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """chat.history."""

    session_key: Annotated[str, Meta(min_length=1, max_length=512)]
    limit: Annotated[int, Meta(ge=1, le=1000)] = 200


P = TypeVar("P", bound=Params)


def parse_params(model: type[P], params: Any, *, strict: bool = True) -> P:
    """Raises BadRequestError that names the path. Not strict: numbers may be texts, as in a query."""
    try:
        return msgspec.convert({} if params is None else params, model, strict=strict)
    except UnicodeError as error:
        # JSON can say half a character, in a name too; and the library cannot even complain of it.
        raise BadRequestError("invalid parameters: a name in them holds half of a character, and is no text") from error
    except msgspec.ValidationError as error:
        message, _, place = str(error).replace("`", "").partition(" - at $")
        path = place.lstrip(".")
        text = f"invalid parameters: {path + ': ' if path else ''}{message}"
        raise BadRequestError(text, {"issues": [{"path": path, "message": message}]}) from error
