"""What a Bot API server answered. Whatever that is, it becomes a result or an error of ours, and nothing else.

The address may be a proxy, a local server, or a page that wants a login: no field is believed before it was looked at.
"""

from __future__ import annotations

import json
import math
from typing import Any

from gateway.channels.telegram_updates import is_id, is_int, text_of
from gateway.errors import AccountRefusedError, ChannelError, ConflictError, ConnectionLostError, MarksRefusedError

LARGEST = 16 * 1024 * 1024
"""Bytes of one answer: a hundred updates of the longest messages are a third of it."""
LONGEST_WHY = 300
LONGEST_WAIT = 86_400.0
"""Seconds that a server may ask us to wait: it is asked again at least once a day."""


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
    code = code if is_int(code) else status
    why = f"{method}: {text_of(body.get('description'))[:LONGEST_WHY] or 'no reason given'}"
    if code in (401, 404):
        return AccountRefusedError(why)
    if code == 409:
        return ConflictError(why)
    if code == 429:
        return ConnectionLostError(why, retry_after=_seconds(body.get("parameters")))
    if code == 400 and "can't parse entities" in why.lower():
        return MarksRefusedError(why)
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
    if not is_id(given):
        raise not_the_bot_apis("getMe", "no id")
    return given


def updates_of(result: Any) -> list[tuple[int, dict[str, Any]]]:
    """The updates, by id. What has no id cannot be confirmed, and is passed over with the others.

    All that have one are taken, whatever was asked for: after a week of silence the network goes on with any number.
    Raises ConnectionLostError when there is something, and none of it has an id: it would be answered for ever.
    """
    if not isinstance(result, list):
        raise not_the_bot_apis("getUpdates", "no list")
    found = {
        update["update_id"]: update for update in result if isinstance(update, dict) and is_id(update.get("update_id"))
    }
    if result and not found:
        raise not_the_bot_apis("getUpdates", "no update has an id")
    return sorted(found.items())
