"""Connections over which nobody has signed in: so many at the most.

Whoever floods us with them, or holds them and says nothing, keeps nobody else out and takes no descriptor that the gateway
needs: one more, and the oldest is cut off. To sign in takes some milliseconds, and who has is a stranger no more.
"""

from __future__ import annotations

import asyncio

MOST = 256
"""A quarter of the descriptors that a process commonly has."""


class Strangers:
    """In the order in which they came."""

    def __init__(self) -> None:
        self._here: dict[asyncio.Transport, None] = {}

    def come(self, transport: asyncio.Transport) -> None:
        """One more. Cuts off the oldest where there are too many."""
        self._here = {each: None for each in self._here if not each.is_closing()}
        self._here[transport] = None
        if len(self._here) > MOST:
            oldest = next(iter(self._here))
            del self._here[oldest]
            oldest.abort()

    def welcome(self, transport: asyncio.Transport | None) -> None:
        """It is none any more: its client has signed in."""
        if transport is not None:
            self._here.pop(transport, None)
