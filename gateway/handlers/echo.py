"""Answers with the text it was sent."""

from __future__ import annotations

from gateway.config.handlers import Handler
from gateway.messages.model import Message, Reply


async def echo(message: Message, settings: Handler) -> tuple[Reply, ...]:  # noqa: ARG001 - echo has no settings
    return (Reply(message.text),) if message.text else ()
