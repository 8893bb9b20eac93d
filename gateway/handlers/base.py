"""What a handler is: made of its settings, asked with a message, closed when its settings are gone.

It answers with a text, a reply, several, or nothing. It raises HandlerError, whose `retryable` says whether another try
can help; anything else that it raises is a defect of it, and final for that message.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import msgspec

from gateway.errors import HandlerError
from gateway.messages.model import Message, Reply

MOST_REPLIES = 100
MOST_SHOWN = 200
LONGEST_REPLY = 1_000_000
"""Characters of one reply: what is longer is no message to anybody."""


@dataclass(frozen=True)
class Tools:
    """What the gateway gives a handler to work with. `typing` shows the sender of a message that an answer is on its way;
    `said` has what was said last in a message's conversation, oldest first: role (user or assistant) and text.
    """

    folder: Path
    """Of the config file: what a path or a module is relative to."""
    typing: Callable[[Message], Awaitable[None]]
    said: Callable[[Message, int], Awaitable[list[tuple[str, str]]]]


class Handler(Protocol):
    """One handler of the config."""

    acts_outside: bool
    """It does more than answer: it is given nothing that is not on the disk yet."""

    async def handle(self, message: Message) -> Sequence[Reply]:
        """What it answers. Raises HandlerError."""

    async def close(self) -> None:
        """It is not asked any more."""


Make = Callable[[str, Any, Tools], Handler]
"""Name, settings and tools in, a handler out. Raises HandlerError when one cannot be made of them.

One that has `made_in_thread`, and it is true, is called in a thread: what it does may take a while.
"""


def replies_of(answer: Any, who: str) -> tuple[Reply, ...]:
    """What a handler gave, whatever it is, as replies. Raises HandlerError that says what is wrong with it."""
    if answer is None:
        return ()
    found = list(answer) if isinstance(answer, (list, tuple)) else [answer]
    if len(found) > MOST_REPLIES:
        raise HandlerError(f"{who} gave {len(found):,} replies; {MOST_REPLIES} are the most")
    return tuple(reply for each in found if (reply := _reply_of(each, who)).text)


def _reply_of(each: Any, who: str) -> Reply:
    if isinstance(each, str):
        each = Reply(each)
    elif isinstance(each, dict):
        try:
            each = msgspec.convert(each, Reply)
        except msgspec.ValidationError as error:
            raise HandlerError(f"{who} gave a reply that is none: {error}") from error
    if not isinstance(each, Reply):
        raise HandlerError(f"{who} gave {type(each).__name__}, and not a text, a reply, or a list of them")
    if len(each.text) > LONGEST_REPLY:
        raise HandlerError(f"{who} gave a reply of {len(each.text):,} characters; {LONGEST_REPLY:,} are the most")
    return each


def answer_of(raw: bytes, who: str) -> tuple[Reply, ...]:
    """A JSON answer of a hook or a program: `{"text": ...}` or `{"messages": [...]}`. Raises HandlerError."""
    try:
        body = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise HandlerError(f"{who} gave what is no JSON: {error}") from error
    if not isinstance(body, dict):
        raise HandlerError(f"{who} gave JSON that is no object")
    if "messages" in body:
        if not isinstance(body["messages"], list):
            raise HandlerError(f"{who} gave `messages` that are no list")
        return replies_of(body["messages"], who)
    if body and "text" not in body:
        raise HandlerError(
            f"{who} gave an object with neither `text` nor `messages`, but {', '.join(body)[:MOST_SHOWN]}"
        )
    if body.get("text") is None:
        return ()
    return replies_of({key: body[key] for key in ("text", "format", "quote", "to") if key in body}, who)
