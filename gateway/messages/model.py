"""What a message is: one that came in, what a handler makes of it, and one that goes out.

They are frozen records that can be written as JSON: the store keeps them so, and handlers elsewhere are sent them.
"""

from __future__ import annotations

from typing import Any, Literal, TypeVar

import msgspec

T = TypeVar("T", bound=msgspec.Struct)

Format = Literal["plain", "markdown", "html"]
"""How a text is marked up. A network that refuses the marks is sent the plain text."""
AfterUnknown = Literal["resend", "ask"]
"""What follows when nobody knows whether a message was sent: it is sent once more, or a person decides."""


class Attachment(msgspec.Struct, frozen=True, omit_defaults=True):
    """A file that came with a message, by reference: nothing of it is fetched. `ref` is the network's own name for it."""

    kind: str
    """photo, document, audio, voice, video, animation, sticker, location, contact, or what else the network calls it."""
    ref: str = ""
    name: str = ""
    mime: str = ""
    size: int | None = None
    """Bytes, where the network says."""


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """One incoming message. `id` is unique in the world; `received_at` is in wall-clock milliseconds."""

    id: str
    channel: str
    account: str
    conversation: str
    sender_id: str
    sender_name: str
    text: str
    received_at: int
    kind: str = "text"
    """text, media, edit, callback, or other: what the network has and Gateway has no word for."""
    attachments: tuple[Attachment, ...] = ()
    reply_to: str | None = None
    """The network's id of the message that this one answers."""
    thread: str | None = None
    """The network's id of the thread or topic that it stands in."""
    network_id: str | None = None
    """The network's own id of it, for an answer that refers to it."""
    from_bot: bool = False
    """A bot has said it."""
    attempt: int = 1
    """How often it has been given to a handler, this time included."""
    traceparent: str | None = None
    """The trace that it belongs to, as W3C's header of that name says it; a handler is given that of its own call."""

    @property
    def name(self) -> str:
        """The account's name: `telegram/main`."""
        return f"{self.channel}/{self.account}"

    def as_told(self) -> dict[str, Any]:
        """As handlers elsewhere are sent it."""
        return {
            "id": self.id,
            "channel": self.channel,
            "account": self.account,
            "conversation": self.conversation,
            "thread": self.thread,
            "sender": {"id": self.sender_id, "name": self.sender_name},
            "kind": self.kind,
            "text": self.text,
            "attachments": [msgspec.to_builtins(attachment) for attachment in self.attachments],
            "reply_to": self.reply_to,
            "received_at": self.received_at,
            "attempt": self.attempt,
        }


class Address(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A conversation on an account."""

    channel: str
    account: str
    conversation: str
    thread: str | None = None

    @property
    def name(self) -> str:
        return f"{self.channel}/{self.account}"


class Reply(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What a handler answers. It goes to where the message came from unless `to` says otherwise."""

    text: str
    format: Format = "plain"
    quote: bool = False
    """Refer to the message that is answered, as the network shows it."""
    to: Address | None = None


class Order(msgspec.Struct, frozen=True):
    """What the gateway itself shall do for a message, once that is written down as handled."""

    verb: str


class Outgoing(msgspec.Struct, frozen=True, omit_defaults=True):
    """One message to be sent. `number` is its place in the order of all; times are wall-clock milliseconds."""

    number: int
    key: str
    """Whoever asks twice with the same key has one message sent."""
    channel: str
    account: str
    conversation: str
    text: str
    created_at: int
    expires_at: int
    """It is not sent after this."""
    format: Format = "plain"
    quote: str | None = None
    """The network's id of the message that it refers to."""
    thread: str | None = None
    policy: AfterUnknown = "resend"
    answers: int | None = None
    """The number of the message that it answers; None where it answers none."""
    marked: bool = False
    """It may be there already: it is sent once more, and says so."""
    traceparent: str | None = None
    """The trace that it belongs to: that of the message that it answers, or of whoever has asked for it."""

    @property
    def name(self) -> str:
        """The account's name: `telegram/main`."""
        return f"{self.channel}/{self.account}"

    @property
    def lane(self) -> tuple[str, str]:
        """What is sent there is sent in order."""
        return self.name, self.conversation


def without_half_characters(record: T) -> T:
    """A record that can be written: JSON can say half a character, a handler can make one, and no file takes it."""
    try:
        msgspec.json.encode(record)
    except UnicodeEncodeError:
        return msgspec.convert(_whole(msgspec.to_builtins(record)), type(record))
    return record


def _whole(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, dict):
        return {key: _whole(inner) for key, inner in value.items()}
    return [_whole(inner) for inner in value] if isinstance(value, (list, tuple)) else value
