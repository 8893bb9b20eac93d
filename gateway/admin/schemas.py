"""What clients may send: one model a call, strict about names, for HTTP and WebSocket alike.

Names and shapes of the published methods are those of OpenClaw's gateway protocol, wire version 4
(`protocol.schema.json` of the npm package `@openclaw/gateway-protocol`).
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from gateway.admin.errors import BadRequestError


class Params(BaseModel):
    """The base: camelCase outside, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, validate_by_name=True)


class NoParams(Params):
    """A call without parameters."""


class ClientInfo(Params):
    """Who connects. The published identifiers are not enforced: anyone with the token may."""

    model_config = ConfigDict(extra="allow")
    id: Annotated[str, Field(min_length=1)]
    version: Annotated[str, Field(min_length=1)]
    platform: Annotated[str, Field(min_length=1)]
    mode: Annotated[str, Field(min_length=1)]


class Auth(Params):
    """The shared secret, under either name."""

    model_config = ConfigDict(extra="allow")
    token: str | None = None
    password: str | None = None


class Connect(Params):
    """The first frame."""

    model_config = ConfigDict(extra="allow")
    min_protocol: Annotated[int, Field(ge=1)]
    max_protocol: Annotated[int, Field(ge=1)]
    client: ClientInfo
    role: str = "operator"
    scopes: tuple[str, ...] = ()
    auth: Auth = Auth()


class ConfigWrite(Params):
    """config.set, config.apply and config.patch."""

    raw: Annotated[str, Field(min_length=1)]
    base_hash: str | None = None
    session_key: str | None = None
    delivery_context: dict[str, Any] | None = None
    note: Annotated[str, Field(max_length=1000)] = ""
    restart_delay_ms: Annotated[int | None, Field(ge=0)] = None
    replace_paths: Annotated[tuple[str, ...], Field(max_length=256)] = ()


class WriteQuery(Params):
    """The query of PUT and PATCH /api/v1/config, in the snake_case of HTTP."""

    model_config = ConfigDict(alias_generator=None)
    note: Annotated[str, Field(max_length=1000)] = ""
    restart_delay_ms: Annotated[int | None, Field(ge=0)] = None


class ChannelsStatus(Params):
    """channels.status: `probe` and `timeoutMs` are accepted; the machines know without asking the network."""

    probe: bool = False
    timeout_ms: Annotated[int | None, Field(ge=0)] = None
    channel: str | None = None


class ChannelCall(Params):
    """channels.start, channels.stop, channels.restart."""

    channel: Annotated[str, Field(min_length=1)]
    account_id: str | None = None


class RestartRequest(Params):
    """gateway.restart.request and POST /api/v1/restart. The delay is clamped to 0..60 s."""

    model_config = ConfigDict(extra="ignore", alias_generator=None)
    delay_ms: Annotated[
        int | None, Field(ge=0, validation_alias=AliasChoices("delay_ms", "delayMs", "restartDelayMs"))
    ] = None
    reason: Annotated[str, Field(max_length=500)] = ""
    force: bool = False


class RestartCancel(Params):
    """lifecycle.cancelRestart."""

    id: Annotated[str, Field(min_length=1)]


class RequestGet(Params):
    """requests.get."""

    id: Annotated[str, Field(min_length=1)]


class JournalList(Params):
    """journal.list: after a sequence number, or the newest without one."""

    after: Annotated[int | None, Field(ge=0)] = None
    limit: Annotated[int, Field(ge=1, le=1000)] = 100
    machine: str | None = None


class ChatSend(Params):
    """chat.send. A session is `webchat:<account>:<conversation>`."""

    model_config = ConfigDict(extra="ignore")
    session_key: Annotated[str, Field(min_length=1, max_length=512)]
    message: Annotated[str, Field(max_length=100_000)]
    idempotency_key: Annotated[str, Field(min_length=1, max_length=256)]


class ChatHistory(Params):
    """chat.history."""

    model_config = ConfigDict(extra="ignore")
    session_key: Annotated[str, Field(min_length=1, max_length=512)]
    limit: Annotated[int, Field(ge=1, le=1000)] = 200


P = TypeVar("P", bound=Params)


def parse_params(model: type[P], params: Any) -> P:
    """Raises BadRequestError with every fault and its path."""
    try:
        return model.model_validate({} if params is None else params)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False, include_context=False)
        issues = [{"path": ".".join(map(str, detail["loc"])), "message": detail["msg"]} for detail in details]
        listed = "; ".join(f"{issue['path'] or 'params'}: {issue['message']}" for issue in issues)
        raise BadRequestError(f"invalid parameters: {listed}", {"issues": issues}) from error
