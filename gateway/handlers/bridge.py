"""Sends each message on to a conversation on another account, with who said it.

It cannot go round in circles by itself: networks do not deliver to a bot what it has said. Where two bots of one gateway
are in one group they do hear each other on some networks; so what any account of this gateway has said is not sent on,
which is told by the sender being one of its bots, and nothing is sent to where it came from.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.config.handlers import BridgeHandler
from gateway.errors import HandlerError
from gateway.handlers.base import Tools
from gateway.messages.model import Address, Message, Reply


class Bridge:
    """One direction; two of them make a bridge that is walked both ways."""

    acts_outside = False

    def __init__(self, name: str, settings: BridgeHandler, tools: Tools) -> None:  # noqa: ARG002 - as every handler is made
        self._who = f"the handler {name!r}"
        self._to = Address(settings.to.channel, settings.to.account, str(settings.to.conversation))
        self._format = settings.format

    async def handle(self, message: Message) -> Sequence[Reply]:
        if (message.name, message.conversation) == (self._to.name, self._to.conversation):
            raise HandlerError(f"{self._who} leads to where the message came from: it would go round for ever")
        if message.from_bot:
            return ()
        text = self._format.format(
            sender=message.sender_name or message.sender_id,
            text=message.text or f"[{message.kind}]",
            channel=message.channel,
            account=message.account,
            conversation=message.conversation,
        )
        return (Reply(text, to=self._to),)

    async def close(self) -> None:
        """Nothing is open."""
