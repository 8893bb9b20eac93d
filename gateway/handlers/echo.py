"""Answers with the text it was sent."""

from __future__ import annotations

from gateway.channels.base import Message
from gateway.config.model import EchoHandler


async def echo(message: Message, settings: EchoHandler) -> str | None:  # noqa: ARG001 - echo has no settings
    return message.text
