"""Answers with the text it was sent."""

from __future__ import annotations

from typing import Any

from gateway.handlers.base import Tools
from gateway.messages.model import Message, Reply


class Echo:
    """It has no settings."""

    acts_outside = False

    def __init__(self, name: str, settings: Any, tools: Tools) -> None:
        """Nothing to prepare."""

    async def handle(self, message: Message) -> tuple[Reply, ...]:
        return (Reply(message.text),) if message.text else ()

    async def close(self) -> None:
        """Nothing is open."""
