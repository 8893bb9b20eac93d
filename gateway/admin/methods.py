"""The WebSocket's methods: name, parameters, scope, call, answer. `hello-ok` and the AsyncAPI document list exactly these."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from gateway.admin import schemas
from gateway.admin.api import Api
from gateway.admin.config_calls import Caller
from gateway.admin.errors import BadRequestError
from gateway.config.edit import merge_patch, parse_patch, replacement

READ, WRITE, ADMIN = "operator.read", "operator.write", "operator.admin"
ALLOWS: Mapping[str, frozenset[str]] = {
    READ: frozenset({READ}),
    WRITE: frozenset({READ, WRITE}),
    ADMIN: frozenset({READ, WRITE, ADMIN}),
}
"""What a scope lets its holder do: the greater holds the lesser, and the published client asks for the greatest alone."""

EVENTS: Mapping[str, str] = {
    "connect.challenge": "Challenge",
    "tick": "Tick",
    "health": "HealthTold",
    "shutdown": "Shutdown",
    "chat": "ChatTold",
    "journal": "Told",
    "lifecycle": "LifecycleStatus",
    "channel": "Account",
    "config": "ConfigTold",
    "message": "MessageTold",
}
"""What clients are told unasked, each with the model of its payload in `frame_answers`."""


@dataclass
class Context:
    """One connection, as its calls see it."""

    api: Api
    app: web.Application
    connection: str = ""
    requester: str = ""
    transport: asyncio.Transport | None = None
    say: Callable[[str, dict[str, Any]], None] = lambda _, __: None
    traceparent: str | None = None
    """The trace that a call belongs to, where its frame says one."""

    @property
    def caller(self) -> Caller:
        return Caller(self.requester, "ws")


@dataclass(frozen=True)
class Method:
    """One method. `call` gets parameters of the type `params`; `gives` is a model in `frame_answers`, or several with `|`."""

    params: type[schemas.Params]
    scope: str
    call: Callable[[Context, Any], Awaitable[Any]]
    gives: str


async def _health(context: Context, _: schemas.NoParams) -> Any:
    """Whether the process lives and its loop turns, and how far the gateway is ready."""
    return {"ok": True, "ts": context.api.now(), **context.api.views.readiness(channels=False)[1]}


async def _status(context: Context, _: schemas.NoParams) -> Any:
    """Where everything is."""
    return context.api.views.status()


async def _config_get(context: Context, _: schemas.NoParams) -> Any:
    """The config file without its secrets, its hash, and what is wrong with it."""
    return await context.api.config.get()


async def _config_replace(context: Context, params: schemas.ConfigWrite) -> Any:
    """Replace the config by a whole new text, and see it through. `__REDACTED__` keeps the secret that is there."""
    return await context.api.config.frame(params, context.caller, patch=False)


async def _config_patch(context: Context, params: schemas.ConfigWrite) -> Any:
    """Change the config by a merge patch (RFC 7396), and see it through. Comments and order stay."""
    return await context.api.config.frame(params, context.caller, patch=True)


async def _config_rollback(context: Context, params: schemas.RollbackFrame) -> Any:
    """Write an earlier revision of the history into the file again, and see it through."""
    return await context.api.config.rollback_frame(params, context.caller)


async def _config_confirm(context: Context, params: schemas.ConfirmFrame) -> Any:
    """Confirm, extend or cancel a change that must be confirmed."""
    told = await context.api.config.decide(params.request(), context.caller)
    return {"ok": told["outcome"] != "rolling_back", **told}


async def _config_plan(context: Context, params: schemas.ConfigPlan) -> Any:
    """What a replacement, a merge patch or a rollback would do. Nothing is written."""
    if params.revision is not None:
        return await context.api.config.plan_rollback(params.revision, params.base_hash)
    if params.raw is None:
        raise BadRequestError("a plan is made of `raw`, or of a `revision` that is to come back")
    edit = merge_patch(parse_patch(params.raw), params.replace_paths) if params.patch else replacement(params.raw)
    return await context.api.config.plan(edit, params.base_hash)


async def _config_history(context: Context, params: schemas.ConfigHistory) -> Any:
    """Every revision that came, newest first; with a revision, its text without secrets and what it changed."""
    if params.revision is None:
        return await context.api.history.page(params.limit, params.before)
    against = None if params.against is None else str(params.against)
    return await context.api.history.one(str(params.revision), against)


async def _config_schema(context: Context, _: schemas.NoParams) -> Any:
    """The config's JSON Schema, with hints."""
    return context.api.config.schema()


async def _config_schema_lookup(context: Context, params: schemas.SchemaLookup) -> Any:
    """What is said of one place of the config, and what is below it."""
    return context.api.config.schema_lookup(params.path)


async def _channels_status(context: Context, params: schemas.ChannelsStatus) -> Any:
    """Every account, by network."""
    return context.api.views.channels_status(params.channel)


def _account_call(verb: str) -> Callable[[Context, schemas.ChannelCall], Awaitable[Any]]:
    async def call(context: Context, params: schemas.ChannelCall) -> Any:
        return await context.api.account_frame(verb, params.channel, params.account_id)

    call.__doc__ = f"{verb.capitalize()} an account. Answered when it has settled."
    return call


async def _restart(context: Context, params: schemas.RestartFrame) -> Any:
    """Ask for a restart of the gateway. The delay is clamped to 0..60 s."""
    return await context.api.restart_frame(params.request(), context.requester)


async def _preflight(context: Context, _: schemas.NoParams) -> Any:
    """What would keep a restart waiting, or have it refused."""
    return await context.api.preflight()


async def _logs_tail(context: Context, params: schemas.LogsTail) -> Any:
    """The newest log lines, or those after a cursor."""
    return context.api.logs_tail(params)


async def _cancel_restart(context: Context, params: schemas.RestartCancel) -> Any:
    """Cancel one request for a restart."""
    return await context.api.cancel_restart(params.id)


async def _request(context: Context, params: schemas.RequestGet) -> Any:
    """The outcome of any request."""
    return context.api.request(params.id)


async def _lifecycle(context: Context, _: schemas.NoParams) -> Any:
    """Where the lifecycle is, and what it waits for."""
    return context.api.views.lifecycle()


async def _journal(context: Context, params: schemas.JournalList) -> Any:
    """What the machines did and refused, after a sequence number, or the newest."""
    return await context.api.journal(params)


async def _send(context: Context, params: schemas.SendFrame) -> Any:
    """Take a message over to be sent. Answered when it is on the disk."""
    return await context.api.messages.send_frame(params, context.traceparent)


async def _machines(context: Context, _: schemas.NoParams) -> Any:
    """The tables of the machines as data."""
    return {"machines": context.api.views.machines()}


async def _chat_send(context: Context, params: schemas.ChatSend) -> Any:
    """Say something to a web chat account. Answered when it is kept."""
    return await context.api.chat_send(params, context.traceparent)


async def _chat_history(context: Context, params: schemas.ChatHistory) -> Any:
    """What was said in a conversation of the web chat."""
    return await context.api.chat_history(params)


METHODS: dict[str, Method] = {
    "health": Method(schemas.NoParams, READ, _health, "HealthAnswer"),
    "status": Method(schemas.NoParams, READ, _status, "Status"),
    "config.get": Method(schemas.NoParams, READ, _config_get, "ConfigAnswer"),
    "config.set": Method(schemas.ConfigWrite, ADMIN, _config_replace, "WriteAnswer"),
    "config.apply": Method(schemas.ConfigWrite, ADMIN, _config_replace, "WriteAnswer"),
    "config.patch": Method(schemas.ConfigWrite, ADMIN, _config_patch, "WriteAnswer"),
    "config.rollback": Method(schemas.RollbackFrame, ADMIN, _config_rollback, "WriteAnswer"),
    "config.confirm": Method(schemas.ConfirmFrame, ADMIN, _config_confirm, "ConfirmAnswer"),
    "config.plan": Method(schemas.ConfigPlan, ADMIN, _config_plan, "Preview"),
    "config.history": Method(schemas.ConfigHistory, READ, _config_history, "History | KeptRevision"),
    "config.schema": Method(schemas.NoParams, READ, _config_schema, "ConfigSchema"),
    "config.schema.lookup": Method(schemas.SchemaLookup, READ, _config_schema_lookup, "ConfigSchemaPlace"),
    "channels.status": Method(schemas.ChannelsStatus, READ, _channels_status, "ChannelsAnswer"),
    "channels.start": Method(schemas.ChannelCall, ADMIN, _account_call("start"), "AccountAnswer"),
    "channels.stop": Method(schemas.ChannelCall, ADMIN, _account_call("stop"), "AccountAnswer"),
    "channels.restart": Method(schemas.ChannelCall, ADMIN, _account_call("restart"), "AccountAnswer"),
    "gateway.restart.request": Method(schemas.RestartFrame, ADMIN, _restart, "RestartScheduled"),
    "gateway.restart.preflight": Method(schemas.NoParams, READ, _preflight, "Preflight"),
    "logs.tail": Method(schemas.LogsTail, READ, _logs_tail, "LogLines"),
    "lifecycle.get": Method(schemas.NoParams, READ, _lifecycle, "LifecycleStatus"),
    "lifecycle.cancelRestart": Method(schemas.RestartCancel, ADMIN, _cancel_restart, "Cancelled"),
    "requests.get": Method(schemas.RequestGet, READ, _request, "Request"),
    "journal.list": Method(schemas.JournalList, READ, _journal, "Journal"),
    "machines.list": Method(schemas.NoParams, READ, _machines, "Machines"),
    "send": Method(schemas.SendFrame, WRITE, _send, "SendAnswer"),
    "chat.send": Method(schemas.ChatSend, WRITE, _chat_send, "ChatStarted"),
    "chat.history": Method(schemas.ChatHistory, READ, _chat_history, "ChatLines"),
}
