"""The calls of the control plane, once, for every transport: parameters in, JSON data out, errors of ours raised."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from typing import Any

from gateway.admin import schemas
from gateway.admin.config_calls import ConfigCalls
from gateway.admin.errors import BadRequestError, NotFoundError, RefusedError
from gateway.admin.history import HistoryViews
from gateway.admin.message_calls import MessageCalls
from gateway.admin.preflight import cooldown_ms, preflight, scheduled
from gateway.admin.services import Services
from gateway.admin.views import Views
from gateway.channels.webchat import LINES_KEPT, run_of
from gateway.errors import StoreError, UnavailableError
from gateway.journal import KEPT
from gateway.process.changes import LIFECYCLE
from gateway.requests import new_id
from statemachine import Refusal, Step
from statemachine.channel import is_running, is_settled
from statemachine.lifecycle import is_leaving
from statemachine.lifecycle_events import RestartCancelled, RestartRequested, Ticket

SETTLE_PATIENCE = 45.0
KEPT_WITHIN = 10.0
"""Seconds for the store to have what was said."""
MAX_DELAY_MS = 60_000


class Api:
    """Each method is one call. What it returns is redacted by the transport."""

    def __init__(self, services: Services, views: Views) -> None:
        self._services = services
        self.config = ConfigCalls(services)
        self.messages = MessageCalls(services)
        self.views = views
        self.history = HistoryViews(services)

    def now(self) -> int:
        return self._services.clock.wall_ms()

    # Accounts

    async def account_call(self, verb: str, channel: str, account: str | None) -> dict[str, Any]:
        """start, stop or restart an account, and wait until it has settled. Raises RefusedError, NotFoundError."""
        name = self._name(channel, account)
        if is_leaving(self._services.dispatcher.machine(LIFECYCLE)):
            raise UnavailableError("the gateway is stopping or restarting; nothing was done")
        ledger = self._services.ledger
        event = self._services.accounts.asked(verb, name, ledger.applied.accounts()[name], ledger.applied_id)
        answer = await self._services.dispatcher.post(name, event, f"call {verb}")
        if isinstance(answer, Refusal):
            raise RefusedError(answer)
        try:
            async with asyncio.timeout(SETTLE_PATIENCE):
                await self._services.dispatcher.until(name, is_settled)
        except TimeoutError as error:
            raise UnavailableError(f"{name} has not settled yet; see its state") from error
        with suppress(TimeoutError, StoreError):
            async with asyncio.timeout(KEPT_WITHIN):
                # Or a crash after the answer would undo what a person has decided.
                await self.messages.settle()
        if self._services.dispatcher.find(name) is None:
            raise NotFoundError(f"{name} was taken out of the config meanwhile")
        return self.views.account(name) | {"outcome": answer.outcome.value}

    async def account_frame(self, verb: str, channel: str, account: str | None) -> dict[str, Any]:
        """channels.start, channels.stop and channels.restart in the published shape, and what we know beside it."""
        answer = await self.account_call(verb, channel, account)
        runs = is_running(self._services.dispatcher.machine(f"{answer['channel']}/{answer['account']}"))
        done = {"stopped": not runs} if verb == "stop" else {"started": runs}
        return answer | {"accountId": answer["account"]} | done

    def _name(self, channel: str, account: str | None) -> str:
        accounts = self._services.ledger.applied.accounts()
        if account is not None and f"{channel}/{account}" in accounts:
            return f"{channel}/{account}"
        of_channel = [name for name in accounts if name.startswith(f"{channel}/")]
        if account is None and len(of_channel) == 1:
            return of_channel[0]
        known = ", ".join(of_channel or accounts) or "none"
        raise NotFoundError(f"there is no account {channel}/{account or '(name one)'}; known: {known}")

    # Restart and requests

    async def restart(self, params: schemas.RestartRequest, requester: str) -> dict[str, Any]:
        """Ask for a restart. The answer says what became of the asking; the request's id leads to the rest."""
        services = self._services
        delay_ms = params.delay_ms
        if delay_ms is None:
            delay_ms = services.ledger.applied.gateway.restart.delay_ms
        due = services.clock.monotonic() + min(delay_ms, MAX_DELAY_MS) / 1000
        reason = params.reason or "asked for"
        ticket = Ticket(new_id("restart"), requester, reason, None, due, params.force)
        answer = await services.dispatcher.post(LIFECYCLE, RestartRequested(ticket), requester)
        if isinstance(answer, Refusal):
            raise RefusedError(answer)
        return self._ticket_answer(ticket, answer)

    async def restart_frame(self, params: schemas.RestartRequest, requester: str) -> dict[str, Any]:
        """gateway.restart.request in the published shape. The preflight comes first: afterwards it is too late to ask."""
        before = await preflight(self._services, self.views)
        return scheduled(before, await self.restart(params, requester), params)

    async def preflight(self) -> dict[str, Any]:
        """gateway.restart.preflight."""
        return await preflight(self._services, self.views)

    def _ticket_answer(self, ticket: Ticket, step: Step) -> dict[str, Any]:
        pending = self._services.changes.pending_restart()
        known = self._services.requests.get(ticket.id)
        return {
            "id": ticket.id,
            "outcome": step.outcome.value,
            "state": step.after,
            "joined": pending["id"] if pending and pending["id"] != ticket.id else None,
            "due_in_ms": pending["due_in_ms"] if pending else 0,
            "cooldown_ms": cooldown_ms(self._services),
            "request": known.as_dict() if known else None,
        }

    async def cancel_restart(self, ticket_id: str) -> dict[str, Any]:
        """Cancel one request. Raises RefusedError when it is not open any more, NotFoundError when it never was."""
        if self._services.requests.get(ticket_id) is None:
            raise NotFoundError(f"there is no request {ticket_id}")
        answer = await self._services.dispatcher.post(LIFECYCLE, RestartCancelled(ticket_id), "cancel")
        if isinstance(answer, Refusal):
            raise RefusedError(answer)
        return {"id": ticket_id, "outcome": "cancelled", "state": answer.after}

    def request(self, request_id: str) -> dict[str, Any]:
        """The outcome of any request. Raises NotFoundError."""
        request = self._services.requests.get(request_id)
        if request is None:
            raise NotFoundError(f"there is no request {request_id}")
        return request.as_dict()

    # Journal and machines

    async def journal(self, params: schemas.JournalList) -> dict[str, Any]:
        """A page of it. What is too old for the memory, or of an earlier life, is in the store."""
        journal, found = self._services.journal, []
        if params.before is not None and params.after is not None:
            raise BadRequestError("give `after` or `before`, and not both: a page has one end that is known")
        if params.before is not None or (params.after is None and params.machine is None):
            return {"entries": await self._last(params.limit, params.before, params.machine)}
        after = params.after or 0
        if after + 1 < journal.first:
            store = self._services.messages.store
            page = await store.journal_page(after, params.limit, params.machine)
            found = [entry for entry in page if entry["seq"] < journal.first]
            after = journal.first - 1 if len(page) < params.limit or len(found) < len(page) else found[-1]["seq"]
        entries = journal.page(after, params.limit - len(found), params.machine) if len(found) < params.limit else []
        return {"entries": [*found, *(journal.full(entry) for entry in entries)]}

    async def _last(self, limit: int, before: int | None, machine: str | None) -> list[dict[str, Any]]:
        """The last of it, or the last before a number; soon after a start that is mostly of an earlier life."""
        journal, page = self._services.journal, list[dict[str, Any]]()
        found, first = journal.newest(limit, before, machine), journal.first
        if len(found) < limit:
            store, until = self._services.messages.store, first if before is None else min(first, before)
            page = await store.journal_before(until, limit - len(found), machine)
        return [*page, *map(journal.full, found)]

    def journal_file(self, query: schemas.JournalQuery) -> Iterator[dict[str, Any]]:
        """The header and the entries of an export, as they are at this moment."""
        # Imported when asked for: what it says of the tables is not on the way to the first poll.
        from gateway.export import exported, header  # noqa: PLC0415

        journal, after = self._services.journal, query.after or 0
        entries = journal.page(after, KEPT if query.limit is None else query.limit, query.machine)
        first = header(journal, entries, self._services.boot().id, query.machine, after)
        return chain((first,), exported(journal, entries))

    # Log

    def logs_tail(self, params: schemas.LogsTail) -> dict[str, Any]:
        """logs.tail in the published shape; there is no file, and a cursor is of this process."""
        tail = self._services.tail.read(params.cursor, params.limit, params.max_bytes)
        return {
            "file": "stderr",
            "cursor": tail.cursor,
            "size": tail.cursor,
            "lines": tail.lines,
            "reset": tail.reset,
            "truncated": tail.skipped > 0,
            "skippedBytes": tail.skipped,
        }

    # Web chat

    async def chat_send(self, params: schemas.ChatSend, traceparent: str | None = None) -> dict[str, Any]:
        """Say something to a web chat account; answered when it is kept. Raises UnavailableError while it is not running."""
        name, conversation = await self._session(params.session_key)
        if not is_running(self._services.dispatcher.machine(name)):
            raise UnavailableError(f"{name} is not running; nothing was sent")
        line = self._services.hub.say(name, conversation, params.message, params.idempotency_key, traceparent)
        try:
            async with asyncio.timeout(KEPT_WITHIN):
                await self._services.hub.kept(line)
        except TimeoutError as error:
            raise UnavailableError("it is not kept yet; ask again with the same key") from error
        return {"runId": line.run, "status": "started"}

    async def chat_history(self, params: schemas.ChatHistory) -> dict[str, Any]:
        name, conversation = await self._session(params.session_key)
        lines = self._services.hub.history(name, conversation)[-params.limit :]
        messages = [{"id": line.id, "role": line.role, "text": line.text, "ts": line.ts} for line in lines]
        return {"sessionKey": params.session_key, "messages": messages}

    async def _session(self, key: str) -> tuple[str, str]:
        """Its account and its conversation; what was said there in an earlier life is read when it is first asked for."""
        channel, _, rest = key.partition(":")
        account, _, conversation = rest.partition(":")
        name = f"{channel}/{account}"
        if channel != "webchat" or not conversation or self._services.dispatcher.find(name) is None:
            raise BadRequestError(
                f"no session {key!r}: it is webchat:<account>:<conversation> of an account that exists"
            )
        hub, store = self._services.hub, self._services.messages.store
        if not hub.knows(name, conversation):
            said = await store.conversation(name, conversation, LINES_KEPT, unsent=False)
            if not hub.knows(name, conversation):
                hub.restore(name, conversation, ((role, text, ts, run_of(key)) for role, text, ts, key in said))
        return name, conversation
