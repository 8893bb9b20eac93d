"""Where the gateway's own listener finds who takes what a network brings by itself, and what the networks say of that.

A receiver puts its hook up while it takes messages. Between two generations nobody takes any, and the network, which
was not told that a message has arrived, brings it again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol


class Hook(Protocol):
    """One generation of a receiver that messages are brought to."""

    async def take(self, number: int, update: dict[str, Any]) -> None:
        """Return when it is safe, so that the network may be told. Raises UnavailableError: let it be brought again."""


@dataclass(frozen=True)
class WebhookReport:
    """What the network says of the webhook."""

    address: str
    pending: int
    """Messages that it has not brought yet."""
    error: str
    """Why it could not bring one; the last time, be that long ago. Empty where it always could."""
    error_at: int | None
    """Wall-clock milliseconds."""


class Hooks:
    """The hooks by account. They outlive none of its generations; what the network has said does."""

    def __init__(self) -> None:
        self._hooks: dict[str, Hook] = {}
        self._reports: dict[str, WebhookReport] = {}

    def put_up(self, name: str, hook: Hook) -> None:
        """From now on this one takes what comes for the account."""
        self._hooks[name] = hook

    def take_down(self, name: str, hook: Hook) -> None:
        """Nothing more for this one. Its successor's stays."""
        if self._hooks.get(name) is hook:
            del self._hooks[name]

    def find(self, name: str) -> Hook | None:
        return self._hooks.get(name)

    def note(self, name: str, report: WebhookReport | None) -> None:
        """The network was asked; None: there is no webhook of ours any more."""
        if report is None:
            self._reports.pop(name, None)
        else:
            self._reports[name] = report

    def report(self, name: str) -> WebhookReport | None:
        return self._reports.get(name)
