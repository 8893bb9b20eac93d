"""The calls about messages, once, for every transport: send one, look at what waits, retry it or let it go."""

from __future__ import annotations

from heapq import merge
from itertools import islice
from typing import Any

from gateway.admin import schemas
from gateway.admin.errors import BadRequestError, NotFoundError, RefusedError
from gateway.admin.services import Services
from gateway.errors import UnavailableError
from gateway.messages.model import Address, Outgoing, Reply
from gateway.messages.outbox import MAX_AGE
from gateway.process.changes import LIFECYCLE
from gateway.store.store import Conversation, Kept
from statemachine import Event, Refusal
from statemachine.delivery import Delivery, DiscardRequested, RetryRequested
from statemachine.lifecycle import is_ending

SHOWN = 200
"""Characters of a text in a list of conversations."""
VERBS: dict[str, type[Event]] = {"retry": RetryRequested, "discard": DiscardRequested}
ALLOWED = {
    state.value: [verb for verb, event in VERBS.items() if event.trigger in Delivery.allowed_in(state)]
    for state in Delivery.states
}
"""What a person may ask of an outgoing message, by its state."""


class MessageCalls:
    """Each method is one call. What it returns is redacted by the transport."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._outbox = services.messages.outbox
        self._store = services.messages.store

    async def send(self, params: schemas.Send, traceparent: str | None = None) -> dict[str, Any]:
        """Take a message over to be sent, perhaps as part of a trace; answered when it is on the disk.

        Raises BadRequestError, NotFoundError, UnavailableError.
        """
        name = f"{params.channel}/{params.account}"
        if name not in self._services.ledger.applied.accounts():
            known = ", ".join(self._services.ledger.applied.accounts()) or "none"
            raise NotFoundError(f"there is no account {name}; known: {known}")
        if is_ending(self._services.dispatcher.machine(LIFECYCLE)):
            raise UnavailableError("the gateway is stopping; nothing was sent")
        if self._services.messages.trouble:
            raise UnavailableError(f"the store takes nothing now ({self._services.messages.trouble}); nothing was sent")
        to = Address(params.channel, params.account, params.to, params.thread)
        reply = Reply(params.text, params.format)
        found = await self._outbox.ask(f"call:{params.idempotency_key}", to, reply, traceparent)
        if not found:
            raise BadRequestError("the text is blank: there is nothing to send")
        kept = [await self._kept(outgoing) for outgoing in found]
        return {"id": kept[0]["id"], "state": kept[0]["state"], "deliveries": kept}

    async def send_frame(self, params: schemas.SendFrame, traceparent: str | None = None) -> dict[str, Any]:
        """The same in the published shape. An account that is the only one of its network need not be named."""
        channel = params.channel or "telegram"
        accounts = [name for name in self._services.ledger.applied.accounts() if name.startswith(f"{channel}/")]
        account = params.account_id or (accounts[0].split("/", 1)[1] if len(accounts) == 1 else "")
        answer = await self.send(
            schemas.Send(
                channel=channel,
                account=account,
                to=params.to,
                text=params.message,
                thread=params.thread_id,
                format="html" if params.parse_mode == "HTML" else "plain",
                idempotency_key=params.idempotency_key,
            ),
            traceparent,
        )
        return {"messageId": str(answer["id"]), "channel": channel, "runId": params.idempotency_key, **answer}

    async def outbox(self, query: schemas.OutboxQuery) -> dict[str, Any]:
        """Outgoing messages: without a state those that are neither sent nor dead."""
        await self.settle()
        kept = await self._store.outbox(query.state, query.limit, query.account)
        return {"deliveries": [delivery_row(each) for each in kept], "counts": await self._counts("outbox")}

    async def inbox(self, query: schemas.InboxQuery) -> dict[str, Any]:
        """Incoming messages, and what became of them."""
        await self.settle()
        rows = await self._store.messages(query.state, query.limit, query.account)
        return {"messages": [incoming_row(row) for row in rows], "counts": await self._counts("inbox")}

    async def conversations(self, query: schemas.ConversationsQuery) -> dict[str, Any]:
        """Where something was said, and what was the last of it."""
        await self.settle()
        found = await self._store.conversations(query.account, query.limit)
        return {"conversations": [conversation_row(each) for each in found]}

    async def conversation(self, query: schemas.ConversationQuery) -> dict[str, Any]:
        """The last that was said by both sides together, each in its own order."""
        await self.settle()
        account, conversation, limit = query.account, query.conversation, query.limit
        messages = await self._store.messages(None, limit + 1, account, conversation)
        deliveries = await self._store.outgoing_of(account, conversation, limit + 1)
        rows = merge(map(delivery_row, deliveries), map(incoming_row, messages), key=_said_at, reverse=True)
        newest = list(islice(rows, limit))
        return {
            "messages": [row for row in newest if "received_at" in row],
            "deliveries": [row for row in newest if "created_at" in row],
            "more": len(messages) + len(deliveries) > limit,
        }

    async def decide(self, number: int, verb: str, by: str) -> dict[str, Any]:
        """Retry or discard. Raises NotFoundError, RefusedError when its state does not allow it."""
        name = await self._outbox.reopen(number)
        if name is None:
            raise NotFoundError(f"there is no delivery {number}; GET /api/v1/outbox has those that are kept")
        expires_at = self._services.clock.monotonic() + MAX_AGE
        event = RetryRequested(by, expires_at) if verb == "retry" else DiscardRequested(by)
        answer = await self._services.dispatcher.post(name, event, by)
        self._outbox.let_go(name)
        if isinstance(answer, Refusal):
            raise RefusedError(answer)
        return {"id": number, "state": answer.after}

    async def _kept(self, outgoing: Outgoing) -> dict[str, Any]:
        kept = await self._store.outgoing(outgoing.number)
        assert kept is not None, "it was committed before"
        return delivery_row(kept)

    async def _counts(self, table: str) -> dict[str, int]:
        counts = await self._store.counts()
        return {key.partition(".")[2]: count for key, count in counts.items() if key.startswith(f"{table}.")}

    async def settle(self) -> None:
        """Return when what was decided before is in the store, to be shown and to outlive us; at once if it cannot be written now."""
        if not self._services.messages.trouble:
            await self._store.committed()


def delivery_row(kept: Kept) -> dict[str, Any]:
    """An outgoing message as clients are shown it."""
    outgoing = kept.outgoing
    return {
        "id": outgoing.number,
        "key": outgoing.key,
        "channel": outgoing.channel,
        "account": outgoing.account,
        "conversation": outgoing.conversation,
        "thread": outgoing.thread,
        "text": outgoing.text,
        "format": outgoing.format,
        "state": kept.state,
        "attempts": kept.attempts,
        "marked": kept.marked,
        "why": kept.why,
        "network_id": kept.network_id,
        "answers": outgoing.answers,
        "created_at": outgoing.created_at,
        "changed_at": kept.changed_at,
        "expires_at": outgoing.expires_at,
        "allowed": ALLOWED[kept.state],
    }


def incoming_row(row: dict[str, Any]) -> dict[str, Any]:
    """An incoming message as clients are shown it."""
    body = row["body"]
    return {
        "number": row["number"],
        "id": row["id"],
        "channel": body["channel"],
        "account": body["account"],
        "conversation": row["conversation"],
        "sender": {"id": body["sender_id"], "name": body["sender_name"]},
        "kind": body.get("kind", "text"),
        "text": body["text"],
        "state": row["state"],
        "why": row["why"],
        "attempts": row["attempts"],
        "received_at": row["received_at"],
        "ended_at": row["ended_at"],
    }


def conversation_row(found: Conversation) -> dict[str, Any]:
    """A conversation as clients are shown it. What came last was said last; of both at once it is the answer."""
    channel, _, account = found.account.partition("/")
    said: list[tuple[int, bool, str, str]] = []
    sender = None
    if found.received:
        message, state = found.received
        said.append((message.received_at, False, message.text, state))
        sender = {"id": message.sender_id, "name": message.sender_name}
    if found.said:
        outgoing, state = found.said
        said.append((outgoing.created_at, True, outgoing.text, state))
    at, ours, text, state = max(said)
    return {
        "channel": channel,
        "account": account,
        "conversation": found.conversation,
        "sender": sender,
        "ours": ours,
        "text": text[:SHOWN],
        "state": state,
        "at": at,
    }


def _said_at(row: dict[str, Any]) -> int:
    at: int = row["received_at"] if "received_at" in row else row["created_at"]
    return at
