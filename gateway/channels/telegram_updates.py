"""What an update of the Bot API says, as a message: texts, media, edits, presses of buttons, and whatever else there is.

Source of the shapes: https://core.telegram.org/bots/api#update.
Nothing in an update is believed before it was looked at, and every update becomes a message: one that nothing is known of
is of kind `other`, and empty.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeGuard

from msgspec.structs import replace

from gateway.messages.model import Attachment, Message
from gateway.messages.texts import whole

HIGHEST_ID = 2**63 - 2
"""Ids are of 64 bits, and the offset is one more."""
LATEST_DATE = 2**40

Body = Mapping[str, Any]

# Files

FILES: Mapping[str, str] = {
    "animation": "animation",
    "audio": "audio",
    "document": "document",
    "sticker": "sticker",
    "video": "video",
    "video_note": "video",
    "voice": "voice",
}
"""Fields that hold a file, and what we call it."""


def _attachments(body: Body) -> tuple[Attachment, ...]:
    found = [_file(kind, body[field]) for field, kind in FILES.items() if _is_body(body.get(field))]
    if "animation" in body:
        # For programs older than animations it is there a second time.
        found = [file for file in found if file.kind != "document"]
    return (*_photo(body), *found, *_place(body), *_person_card(body))


def _file(kind: str, file: Body) -> Attachment:
    mime = text_of(file.get("mime_type"))
    if kind == "sticker":
        mime = "video/webm" if file.get("is_video") else "image/webp"
        mime = "application/x-tgsticker" if file.get("is_animated") else mime
    size = file.get("file_size")
    return Attachment(
        kind, text_of(file.get("file_id")), text_of(file.get("file_name")), mime, size if is_id(size) else None
    )


def _photo(body: Body) -> list[Attachment]:
    """The largest of the sizes that the network has made of it."""
    sizes = body.get("photo")
    found = [size for size in sizes if _is_body(size)] if isinstance(sizes, list) else []
    return [replace(_file("photo", max(found, key=_area)), mime="image/jpeg")] if found else []


def _area(size: Body) -> int:
    width, height = size.get("width"), size.get("height")
    return width * height if is_id(width) and is_id(height) else 0


def _place(body: Body) -> list[Attachment]:
    """As a `geo` URI (RFC 5870)."""
    location, venue = _body(body.get("location")), _body(body.get("venue"))
    latitude, longitude = location.get("latitude"), location.get("longitude")
    if not _is_number(latitude) or not _is_number(longitude):
        return []
    return [Attachment("location", f"geo:{latitude},{longitude}", text_of(venue.get("title")))]


def _person_card(body: Body) -> list[Attachment]:
    contact = body.get("contact")
    if not _is_body(contact):
        return []
    return [Attachment("contact", text_of(contact.get("phone_number")), _first_and_last(contact))]


# Who and where


def _with_sender(message: Message, given: Any, chat: Body) -> Message:
    """Whom it is from; what is said by nobody is said by the chat, as posts in a channel are."""
    who = given if _is_body(given) and is_int(given.get("id")) else chat
    number, handle = who.get("id"), text_of(who.get("username"))
    name = handle or _first_and_last(who) or text_of(who.get("title"))
    if name and not handle:
        # Anybody may be called like somebody else's @name, which an allow list trusts.
        name = f"{name} ({number})"
    bot = isinstance(given, dict) and given.get("is_bot") is True
    return replace(message, sender_id=str(number) if is_int(number) else "", sender_name=name, from_bot=bot)


def _first_and_last(who: Body) -> str:
    return f"{text_of(who.get('first_name'))} {text_of(who.get('last_name'))}".strip()


def _placed(message: Message, body: Body) -> Message | None:
    """Where it was said, and by whom; None for what was said nowhere."""
    chat = _body(body.get("chat"))
    if not is_int(chat.get("id")):
        return None
    message = _with_sender(message, body.get("from") or body.get("sender_chat"), chat)
    # In groups without topics every reply has such a number too, and nothing can be sent there.
    topic = body.get("message_thread_id") if body.get("is_topic_message") is True else None
    return replace(message, conversation=str(chat["id"]), thread=_id(topic), network_id=_id(body.get("message_id")))


# The kinds of updates


def _said(message: Message, body: Body) -> Message:
    placed = _placed(message, body)
    if placed is None:
        return message
    text = body.get("text")
    attachments = () if isinstance(text, str) else _attachments(body)
    answered = _body(body.get("reply_to_message"))
    return replace(
        placed,
        kind="text" if isinstance(text, str) else "media" if attachments else "other",
        text=text_of(text) or text_of(body.get("caption")) or text_of(_body(body.get("sticker")).get("emoji")),
        attachments=attachments,
        # What stands in a topic without being a reply is told as one to the topic's beginning.
        reply_to=None if "forum_topic_created" in answered else _id(answered.get("message_id")),
        received_at=_milliseconds(body.get("date"), placed.received_at),
    )


def _edited(message: Message, body: Body) -> Message:
    said = _said(message, body)
    if said is message:
        return message
    return replace(said, kind="edit", received_at=_milliseconds(body.get("edit_date"), message.received_at))


def _pressed(message: Message, body: Body) -> Message:
    """A button under a message: its data is what is said."""
    under, sender = _body(body.get("message")), _body(body.get("from"))
    pressed = replace(
        message, kind="callback", text=text_of(body.get("data")), conversation=_id(sender.get("id")) or ""
    )
    placed = _placed(pressed, under) or pressed
    if not placed.conversation:
        return message  # nobody could be answered
    return replace(_with_sender(placed, sender, _body(under.get("chat"))), reply_to=placed.network_id)


def _reacted(message: Message, body: Body) -> Message:
    placed = _placed(message, body)
    if placed is None:
        return message
    new = body.get("new_reaction")
    emoji = [text_of(_body(one).get("emoji")) for one in new] if isinstance(new, list) else []
    by = body.get("user") or body.get("actor_chat")
    return replace(
        _with_sender(placed, by, _body(body.get("chat"))),
        text="".join(emoji),
        reply_to=placed.network_id,
        received_at=_milliseconds(body.get("date"), placed.received_at),
    )


READERS: Mapping[str, Callable[[Message, Body], Message]] = {
    "message": _said,
    "edited_message": _edited,
    "channel_post": _said,
    "edited_channel_post": _edited,
    "callback_query": _pressed,
    "message_reaction": _reacted,
}
"""The kinds of updates that are asked for: the complete list, which is declared with every poll."""


def message_of(message: Message, update: Body) -> Message:
    """The message that an update is. The one given has its id, its account, and the present time."""
    for kind, read in READERS.items():
        body = update.get(kind)
        if _is_body(body):
            return read(message, body)
    return message


def callback_of(update: Body) -> str:
    """The id of a press of a button, which waits to be told that it has arrived; empty for any other update."""
    return text_of(_body(update.get("callback_query")).get("id"))


# What is believed


def text_of(value: Any) -> str:
    return whole(value) if isinstance(value, str) else ""


def is_int(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= HIGHEST_ID


def is_id(value: Any) -> TypeGuard[int]:
    return is_int(value) and value >= 0


def _id(value: Any) -> str | None:
    return str(value) if is_int(value) else None


def _is_number(value: Any) -> TypeGuard[float]:
    return (
        isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= 360 and math.isfinite(value)
    )


def _milliseconds(date: Any, otherwise: int) -> int:
    return date * 1000 if is_id(date) and date < LATEST_DATE else otherwise


def _is_body(value: Any) -> TypeGuard[Body]:
    return isinstance(value, dict)


def _body(value: Any) -> Body:
    return value if isinstance(value, dict) else {}
