"""Which handler gets a message: the first route that matches, if the sender is allowed at all."""

from __future__ import annotations

import re
from functools import lru_cache

from gateway.channels.base import Message
from gateway.config.model import Account, Config


def is_allowed(account: Account, message: Message) -> bool:
    """Whether `allow_from` names the sender: by id, by @name, or by "*"."""
    allowed = {str(entry) for entry in account.allow_from}
    return not allowed.isdisjoint({"*", message.sender_id, f"@{message.sender_name}"})


def find_handler(config: Config, message: Message) -> str | None:
    """The name of the handler of the first route that matches."""
    for route in config.routes:
        if (
            route.channel in ("*", message.channel)
            and route.account in ("*", message.account)
            and (route.match is None or _compiled(route.match).search(message.text))
        ):
            return route.handler
    return None


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)
