"""What a Bot API server answered. Whatever that is, it becomes a result or an error of ours, and nothing else.

The address may be a proxy, a local server, or a page that wants a login: no field is believed before it was looked at.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, TypeGuard

from gateway.errors import AccountRefusedError, ChannelError, ConflictError, ConnectionLostError

LARGEST = 16 * 1024 * 1024
"""Bytes of one answer: a hundred updates of the longest messages are a third of it."""
LONGEST_WHY = 300
LONGEST_WAIT = 86_400.0
"""Seconds that a server may ask us to wait: it is asked again at least once a day."""
HIGHEST_ID = 2**63 - 2
"""Ids are of 64 bits, and the offset is one more."""


@dataclass(frozen=True)
class TextMessage:
    """A text that a person sent, as the Bot API tells it. `date` is in seconds."""

    chat: int
    sender: int
    sender_name: str
    text: str
    date: int


def result_of(method: str, status: int, raw: bytes) -> Any:
    """The call's result. Raises the ChannelError whose class says what follows."""
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        raise ConnectionLostError(f"{method}: the answer is not JSON (HTTP {status})", unanswered=True) from None
    ok = body.get("ok") if isinstance(body, dict) else None
    if ok is True:
        return body.get("result")
    if ok is not False:
        raise not_the_bot_apis(method, f"HTTP {status}")
    raise _error(method, status, body)


def not_the_bot_apis(method: str, what: str) -> ConnectionLostError:
    return ConnectionLostError(f"{method}: an answer that is not the Bot API's ({what})", unanswered=True)


def _error(method: str, status: int, body: dict[str, Any]) -> ChannelError:
    code = body.get("error_code")
    code = code if _is_int(code) else status
    why = f"{method}: {_text(body.get('description'))[:LONGEST_WHY] or 'no reason given'}"
    if code in (401, 404):
        return AccountRefusedError(why)
    if code == 409:
        return ConflictError(why)
    if code == 429:
        return ConnectionLostError(why, retry_after=_seconds(body.get("parameters")))
    if 400 <= code < 500:
        return ChannelError(why)
    return ConnectionLostError(why)


def _seconds(parameters: Any) -> float:
    given = parameters.get("retry_after") if isinstance(parameters, dict) else None
    try:
        seconds = float(given) if isinstance(given, (int, float, str)) else 1.0
    except (ValueError, OverflowError):  # no number, or none that fits
        seconds = 1.0
    return min(max(seconds, 0.0), LONGEST_WAIT) if math.isfinite(seconds) else 1.0


def bot_id(me: Any) -> int:
    """The bot's id out of getMe. Raises ConnectionLostError."""
    given = me.get("id") if isinstance(me, dict) else None
    if not _is_id(given):
        raise not_the_bot_apis("getMe", "no id")
    return given


def updates_of(result: Any, offset: int) -> list[tuple[int, dict[str, Any]]]:
    """The updates from the offset on, by id. What has no id cannot be confirmed, and is passed over with the others.

    Raises ConnectionLostError when there is something, and none of it is new: to ask again at once would go on for ever.
    """
    if not isinstance(result, list):
        raise not_the_bot_apis("getUpdates", "no list")
    found = [update for update in result if isinstance(update, dict) and _is_id(update.get("update_id"))]
    new = {update["update_id"]: update for update in found if update["update_id"] >= offset}
    if result and not new:
        raise not_the_bot_apis("getUpdates", "no update is new" if found else "no update has an id")
    return sorted(new.items())


def text_message(update: dict[str, Any]) -> TextMessage | None:
    """The text message in an update, if it is one."""
    body = _mapping(update.get("message"))
    chat, sender = _mapping(body.get("chat")).get("id"), _mapping(body.get("from"))
    if not isinstance(body.get("text"), str) or not _is_int(chat):
        return None
    person, date = sender.get("id"), body.get("date")
    return TextMessage(
        chat=chat,
        sender=person if _is_int(person) else chat,
        sender_name=_text(sender.get("username")) or _text(sender.get("first_name")),
        text=_text(body["text"]),
        date=date if _is_id(date) and date < 2**40 else 0,
    )


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    """The text, without half characters: JSON can say them, and nothing that we write to can take them."""
    return value.encode(errors="replace").decode() if isinstance(value, str) else ""


def _is_int(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= HIGHEST_ID


def _is_id(value: Any) -> TypeGuard[int]:
    return _is_int(value) and value >= 0
