"""The WebSocket's methods: name, parameters, scope, call. `hello-ok` lists exactly these."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from gateway.admin import schemas
from gateway.admin.api import Api
from gateway.config.edit import merge_patch, parse_patch, replacement

READ, WRITE, ADMIN = "operator.read", "operator.write", "operator.admin"

EVENTS = ("connect.challenge", "tick", "health", "shutdown", "chat", "journal", "lifecycle", "channel", "config")


@dataclass
class Context:
    """One connection, as its calls see it."""

    api: Api
    app: web.Application
    connection: str = ""
    requester: str = ""
    transport: asyncio.Transport | None = None
    say: Callable[[str, dict[str, Any]], None] = lambda _, __: None


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
    return await context.api.config_get()


async def _config_replace(context: Context, params: schemas.ConfigWrite) -> Any:
    return await context.api.config_frame(params, context.requester, patch=False)


async def _config_patch(context: Context, params: schemas.ConfigWrite) -> Any:
    return await context.api.config_frame(params, context.requester, patch=True)


async def _config_plan(context: Context, params: schemas.ConfigPlan) -> Any:
    edit = merge_patch(parse_patch(params.raw), params.replace_paths) if params.patch else replacement(params.raw)
    return await context.api.config_plan(edit, params.base_hash)


async def _config_history(context: Context, params: schemas.ConfigHistory) -> Any:
    if params.revision is None:
        return await context.api.history.page(params.limit, params.before)
    against = None if params.against is None else str(params.against)
    return await context.api.history.one(str(params.revision), against)


async def _config_schema(context: Context, _: schemas.NoParams) -> Any:
    return context.api.config_schema()


async def _channels_status(context: Context, params: schemas.ChannelsStatus) -> Any:
    return context.api.views.channels_status(params.channel)


def _account_call(verb: str) -> Callable[[Context, schemas.ChannelCall], Awaitable[Any]]:
    async def call(context: Context, params: schemas.ChannelCall) -> Any:
        return await context.api.account_call(verb, params.channel, params.account_id)

    return call


async def _restart(context: Context, params: schemas.RestartFrame) -> Any:
    return {"ok": True, **await context.api.restart(params.request(), context.requester)}


async def _cancel_restart(context: Context, params: schemas.RestartCancel) -> Any:
    return await context.api.cancel_restart(params.id)


async def _request(context: Context, params: schemas.RequestGet) -> Any:
    return context.api.request(params.id)


async def _lifecycle(context: Context, _: schemas.NoParams) -> Any:
    return context.api.views.lifecycle()


async def _journal(context: Context, params: schemas.JournalList) -> Any:
    return context.api.journal(params)


async def _machines(context: Context, _: schemas.NoParams) -> Any:
    return {"machines": context.api.views.machines()}


async def _chat_send(context: Context, params: schemas.ChatSend) -> Any:
    return context.api.chat_send(params)


async def _chat_history(context: Context, params: schemas.ChatHistory) -> Any:
    return context.api.chat_history(params)


METHODS: dict[str, Method] = {
    "health": Method(schemas.NoParams, READ, _health),
    "status": Method(schemas.NoParams, READ, _status),
    "config.get": Method(schemas.NoParams, READ, _config_get),
    "config.set": Method(schemas.ConfigWrite, ADMIN, _config_replace),
    "config.apply": Method(schemas.ConfigWrite, ADMIN, _config_replace),
    "config.patch": Method(schemas.ConfigWrite, ADMIN, _config_patch),
    "config.plan": Method(schemas.ConfigPlan, ADMIN, _config_plan),
    "config.history": Method(schemas.ConfigHistory, READ, _config_history),
    "config.schema": Method(schemas.NoParams, READ, _config_schema),
    "channels.status": Method(schemas.ChannelsStatus, READ, _channels_status),
    "channels.start": Method(schemas.ChannelCall, ADMIN, _account_call("start")),
    "channels.stop": Method(schemas.ChannelCall, ADMIN, _account_call("stop")),
    "channels.restart": Method(schemas.ChannelCall, ADMIN, _account_call("restart")),
    "gateway.restart.request": Method(schemas.RestartFrame, ADMIN, _restart),
    "lifecycle.get": Method(schemas.NoParams, READ, _lifecycle),
    "lifecycle.cancelRestart": Method(schemas.RestartCancel, ADMIN, _cancel_restart),
    "requests.get": Method(schemas.RequestGet, READ, _request),
    "journal.list": Method(schemas.JournalList, READ, _journal),
    "machines.list": Method(schemas.NoParams, READ, _machines),
    "chat.send": Method(schemas.ChatSend, WRITE, _chat_send),
    "chat.history": Method(schemas.ChatHistory, READ, _chat_history),
}
