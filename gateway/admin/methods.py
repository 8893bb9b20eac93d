"""The WebSocket's methods: name, parameters, scope, call. `hello-ok` lists exactly these."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from gateway.admin import schemas
from gateway.admin.api import Api
from gateway.admin.config_calls import Caller
from gateway.config.edit import merge_patch, parse_patch, replacement

READ, WRITE, ADMIN = "operator.read", "operator.write", "operator.admin"
ALLOWS: Mapping[str, frozenset[str]] = {
    READ: frozenset({READ}),
    WRITE: frozenset({READ, WRITE}),
    ADMIN: frozenset({READ, WRITE, ADMIN}),
}
"""What a scope lets its holder do: the greater holds the lesser, and the published client asks for the greatest alone."""

EVENTS = (
    "connect.challenge",
    "tick",
    "health",
    "shutdown",
    "chat",
    "journal",
    "lifecycle",
    "channel",
    "config",
    "message",
)


@dataclass
class Context:
    """One connection, as its calls see it."""

    api: Api
    app: web.Application
    connection: str = ""
    requester: str = ""
    transport: asyncio.Transport | None = None
    say: Callable[[str, dict[str, Any]], None] = lambda _, __: None

    @property
    def caller(self) -> Caller:
        return Caller(self.requester, "ws")


@dataclass(frozen=True)
class Method:
    """One method. `call` gets parameters of the type `params`."""

    params: type[schemas.Params]
    scope: str
    call: Callable[[Context, Any], Awaitable[Any]]


async def _health(context: Context, _: schemas.NoParams) -> Any:
    return {"ok": True, "ts": context.api.now(), **context.api.views.readiness(channels=False)[1]}


async def _status(context: Context, _: schemas.NoParams) -> Any:
    return context.api.views.status()


async def _config_get(context: Context, _: schemas.NoParams) -> Any:
    return await context.api.config.get()


async def _config_replace(context: Context, params: schemas.ConfigWrite) -> Any:
    return await context.api.config.frame(params, context.caller, patch=False)


async def _config_patch(context: Context, params: schemas.ConfigWrite) -> Any:
    return await context.api.config.frame(params, context.caller, patch=True)


async def _config_rollback(context: Context, params: schemas.RollbackFrame) -> Any:
    return await context.api.config.rollback_frame(params, context.caller)


async def _config_confirm(context: Context, params: schemas.ConfirmFrame) -> Any:
    told = await context.api.config.decide(params.request(), context.caller)
    return {"ok": told["outcome"] != "rolling_back", **told}


async def _config_plan(context: Context, params: schemas.ConfigPlan) -> Any:
    edit = merge_patch(parse_patch(params.raw), params.replace_paths) if params.patch else replacement(params.raw)
    return await context.api.config.plan(edit, params.base_hash)


async def _config_history(context: Context, params: schemas.ConfigHistory) -> Any:
    if params.revision is None:
        return await context.api.history.page(params.limit, params.before)
    against = None if params.against is None else str(params.against)
    return await context.api.history.one(str(params.revision), against)


async def _config_schema(context: Context, _: schemas.NoParams) -> Any:
    return context.api.config.schema()


async def _config_schema_lookup(context: Context, params: schemas.SchemaLookup) -> Any:
    return context.api.config.schema_lookup(params.path)


async def _channels_status(context: Context, params: schemas.ChannelsStatus) -> Any:
    return context.api.views.channels_status(params.channel)


def _account_call(verb: str) -> Callable[[Context, schemas.ChannelCall], Awaitable[Any]]:
    async def call(context: Context, params: schemas.ChannelCall) -> Any:
        return await context.api.account_frame(verb, params.channel, params.account_id)

    return call


async def _restart(context: Context, params: schemas.RestartFrame) -> Any:
    return await context.api.restart_frame(params.request(), context.requester)


async def _preflight(context: Context, _: schemas.NoParams) -> Any:
    return await context.api.preflight()


async def _logs_tail(context: Context, params: schemas.LogsTail) -> Any:
    return context.api.logs_tail(params)


async def _cancel_restart(context: Context, params: schemas.RestartCancel) -> Any:
    return await context.api.cancel_restart(params.id)


async def _request(context: Context, params: schemas.RequestGet) -> Any:
    return context.api.request(params.id)


async def _lifecycle(context: Context, _: schemas.NoParams) -> Any:
    return context.api.views.lifecycle()


async def _journal(context: Context, params: schemas.JournalList) -> Any:
    return await context.api.journal(params)


async def _send(context: Context, params: schemas.SendFrame) -> Any:
    return await context.api.messages.send_frame(params)


async def _machines(context: Context, _: schemas.NoParams) -> Any:
    return {"machines": context.api.views.machines()}


async def _chat_send(context: Context, params: schemas.ChatSend) -> Any:
    return await context.api.chat_send(params)


async def _chat_history(context: Context, params: schemas.ChatHistory) -> Any:
    return await context.api.chat_history(params)


METHODS: dict[str, Method] = {
    "health": Method(schemas.NoParams, READ, _health),
    "status": Method(schemas.NoParams, READ, _status),
    "config.get": Method(schemas.NoParams, READ, _config_get),
    "config.set": Method(schemas.ConfigWrite, ADMIN, _config_replace),
    "config.apply": Method(schemas.ConfigWrite, ADMIN, _config_replace),
    "config.patch": Method(schemas.ConfigWrite, ADMIN, _config_patch),
    "config.rollback": Method(schemas.RollbackFrame, ADMIN, _config_rollback),
    "config.confirm": Method(schemas.ConfirmFrame, ADMIN, _config_confirm),
    "config.plan": Method(schemas.ConfigPlan, ADMIN, _config_plan),
    "config.history": Method(schemas.ConfigHistory, READ, _config_history),
    "config.schema": Method(schemas.NoParams, READ, _config_schema),
    "config.schema.lookup": Method(schemas.SchemaLookup, READ, _config_schema_lookup),
    "channels.status": Method(schemas.ChannelsStatus, READ, _channels_status),
    "channels.start": Method(schemas.ChannelCall, ADMIN, _account_call("start")),
    "channels.stop": Method(schemas.ChannelCall, ADMIN, _account_call("stop")),
    "channels.restart": Method(schemas.ChannelCall, ADMIN, _account_call("restart")),
    "gateway.restart.request": Method(schemas.RestartFrame, ADMIN, _restart),
    "gateway.restart.preflight": Method(schemas.NoParams, READ, _preflight),
    "logs.tail": Method(schemas.LogsTail, READ, _logs_tail),
    "lifecycle.get": Method(schemas.NoParams, READ, _lifecycle),
    "lifecycle.cancelRestart": Method(schemas.RestartCancel, ADMIN, _cancel_restart),
    "requests.get": Method(schemas.RequestGet, READ, _request),
    "journal.list": Method(schemas.JournalList, READ, _journal),
    "machines.list": Method(schemas.NoParams, READ, _machines),
    "send": Method(schemas.SendFrame, WRITE, _send),
    "chat.send": Method(schemas.ChatSend, WRITE, _chat_send),
    "chat.history": Method(schemas.ChatHistory, READ, _chat_history),
}
