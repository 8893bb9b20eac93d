"""The dispatcher as messages see it: one machine a message, told what happened, and taken away at its end."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, Protocol

from statemachine import Event, Machine, Refusal, Step


class Machines(Protocol):
    """Who owns the machines."""

    def add(self, machine: Machine[Any, Any]) -> None:
        """From now on it is told what happens to it."""

    def remove(self, name: str) -> None:
        """Nothing happens to it any more. Raises KeyError."""

    def find(self, name: str) -> Machine[Any, Any] | None:
        """To look at, never to fire."""

    def post(self, machine: str, event: Event, cause: str) -> Awaitable[Step | Refusal]:
        """Something happened; what becomes of it is answered."""

    def tell(self, machine: str, event: Event, cause: str) -> None:
        """Something happened, and nobody waits for what becomes of it."""
