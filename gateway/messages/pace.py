"""How fast a network lets us send: so many messages a second on an account, and so many in one conversation.

The generic cell rate algorithm (ITU-T I.371) in its virtual scheduling form: of each stream one number is kept, the time
at which the next message would come if all came evenly, and one may come earlier than that by what the burst allows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Rate:
    """At most `burst` at once, and in the long run one each `interval` seconds; an interval of 0 is no limit."""

    interval: float = 0.0
    burst: int = 1


@dataclass(frozen=True)
class Limits:
    """What a network allows: `text` in UTF-16 code units of one message."""

    text: int = 4096
    account: Rate = Rate()
    conversation: Rate = Rate()


FORGET_AT = 10_000
"""Conversations that are remembered before those that could send anyway are forgotten."""


class Pace:
    """Of one account. Times are monotonic seconds."""

    def __init__(self, limits: Callable[[], Limits]) -> None:
        self._limits = limits
        self._account = 0.0
        self._conversations: dict[str, float] = {}

    def at(self, conversation: str, now: float) -> float:
        """When a message to this conversation may be sent; not after `now` if at once."""
        limits = self._limits()
        here = self._conversations.get(conversation, 0.0)
        return max(_allowed(limits.account, self._account, now), _allowed(limits.conversation, here, now))

    def take(self, conversation: str, now: float) -> None:
        """One is sent."""
        limits = self._limits()
        if limits.account.interval:
            self._account = max(self._account, now) + limits.account.interval
        if limits.conversation.interval:
            here = self._conversations.get(conversation, 0.0)
            self._conversations[conversation] = max(here, now) + limits.conversation.interval
            if len(self._conversations) > FORGET_AT:
                self._conversations = {key: due for key, due in self._conversations.items() if due > now}


def _allowed(rate: Rate, due: float, now: float) -> float:
    return max(now, due - rate.interval * (rate.burst - 1)) if rate.interval else now
