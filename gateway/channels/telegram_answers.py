"""What a Bot API server answered. Whatever that is, it becomes a result or an error of ours, and nothing else.

The address may be a proxy, a local server, or a page that wants a login: no field is believed before it was looked at.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from gateway.channels.telegram_updates import LATEST_DATE, is_id, is_int, text_of
from gateway.config.model import TelegramAccount
from gateway.errors import (
    AccountRefusedError,
    ChannelError,
    ConflictError,
    ConnectionLostError,
    MarksRefusedError,
    WebhookActiveError,
)

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
        return WebhookActiveError(why) if "webhook" in why.lower() else ConflictError(why)
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


@dataclass(frozen=True)
class Webhook:
    """Where the updates of a bot are brought to, as getWebhookInfo says it; the address is empty where they are not."""

    address: str
    pending: int
    error: str
    error_at: int | None
    """Wall-clock milliseconds."""

    def is_at(self, address: str) -> bool:
        """Servers write addresses in their own way."""
        return _plain(self.address) == _plain(address)

    @property
    def shown(self) -> str:
        """Its address for whoever looks: the path of somebody else's often holds a secret."""
        scheme, host, port, path = _plain(self.address)
        if not host:
            return "a place that is no address"
        end = f":{port}" if port != DEFAULT_PORTS.get(scheme) else ""
        return f"{scheme}://{host}{end}{'/...' if path.strip('/') else ''}"

    def foreign(self) -> str:
        """What is to be said where it is somebody else's."""
        if not self.address:
            return "a webhook was set for the bot, and is gone again"
        return (
            f"what comes is brought to a webhook at {self.shown}, which this gateway has not set; "
            "if nobody needs it any more, set delete_webhook: true for the account"
        )


def webhook_address(settings: TelegramAccount, account: str) -> str:
    """Where a webhook of this account of ours is; nowhere, where it has no `webhook_url`."""
    return f"{(settings.webhook_url or '').rstrip('/')}/telegram/{account}"


DEFAULT_PORTS = {"https": 443, "http": 80}


def _plain(address: str) -> tuple[str, str, int | None, str]:
    """Scheme, host, port and the rest. Of what is no address, the text alone."""
    try:
        url = urlsplit(address)
        return url.scheme, url.hostname or "", url.port or DEFAULT_PORTS.get(url.scheme), url.path + url.query
    except ValueError:
        return "", "", None, address


def webhook_of(info: Any) -> Webhook:
    """The webhook out of getWebhookInfo. Raises ConnectionLostError."""
    if not isinstance(info, dict) or not isinstance(info.get("url"), str):
        raise not_the_bot_apis("getWebhookInfo", "no url")
    pending, at = info.get("pending_update_count"), info.get("last_error_date")
    return Webhook(
        text_of(info["url"]),
        pending if is_id(pending) else 0,
        text_of(info.get("last_error_message"))[:LONGEST_WHY],
        at * 1000 if is_id(at) and at < LATEST_DATE else None,
    )
