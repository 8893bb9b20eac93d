"""What the calls about messages answer, for the OpenAPI document. `answers` has the rest."""

from __future__ import annotations

from typing import Literal

from gateway.admin.body import Body

IncomingState = Literal["received", "handled", "unmatched", "refused", "dead"]
DeliveryState = Literal["queued", "sending", "sent", "retry_wait", "unknown", "dead"]

Verb = Literal["retry", "discard"]


class DeliveryRow(Body, frozen=True, kw_only=True):
    """One outgoing message. Times are wall-clock milliseconds; `marked`: it was sent once more, and says so.

    `allowed` is what a person may ask of it in its state.
    """

    id: int
    key: str
    channel: str
    account: str
    conversation: str
    thread: str | None
    text: str
    format: str
    state: DeliveryState
    attempts: int
    marked: bool
    why: str
    network_id: str
    answers: int | None
    created_at: int
    changed_at: int
    expires_at: int
    allowed: list[Verb]


class Sent(Body, frozen=True, kw_only=True):
    """What will be sent: a long text in parts. Asking again with the same key gives the same."""

    id: int
    state: DeliveryState
    deliveries: list[DeliveryRow]


class Deliveries(Body, frozen=True, kw_only=True):
    """Outgoing messages, newest first, and how many there are in each state."""

    deliveries: list[DeliveryRow]
    counts: dict[str, int]


class IncomingRow(Body, frozen=True, kw_only=True):
    """One incoming message, and what became of it."""

    number: int
    id: str
    channel: str
    account: str
    conversation: str
    sender: dict[str, str]
    kind: str
    text: str
    state: IncomingState
    why: str
    attempts: int
    received_at: int
    ended_at: int | None


class IncomingMessages(Body, frozen=True, kw_only=True):
    """Incoming messages, newest first, and how many there are in each state."""

    messages: list[IncomingRow]
    counts: dict[str, int]


class ConversationRow(Body, frozen=True, kw_only=True):
    """A conversation, and what was said last in it: the beginning of the text, when, and how far that is.

    `ours`: the gateway has said it. `sender` is who wrote last, null where nobody has.
    """

    channel: str
    account: str
    conversation: str
    sender: dict[str, str] | None
    ours: bool
    text: str
    state: IncomingState | DeliveryState
    at: int


class Conversations(Body, frozen=True, kw_only=True):
    """Conversations, that in which something was said last comes first."""

    conversations: list[ConversationRow]


class Conversation(Body, frozen=True, kw_only=True):
    """What was said last in a conversation, by both sides, each newest first; `more`: there is older of it."""

    messages: list[IncomingRow]
    deliveries: list[DeliveryRow]
    more: bool


class DeliveryDecided(Body, frozen=True, kw_only=True):
    """What a person's word has led to."""

    id: int
    state: DeliveryState


class Webhook(Body, frozen=True, kw_only=True):
    """Where a network brings an account's messages, how many it has not brought yet, and why it last could not."""

    address: str
    pending: int
    error: str
    error_at: int | None


class Taken(Body, frozen=True, kw_only=True):
    """What was brought is in the store."""

    ok: bool
