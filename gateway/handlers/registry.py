"""The handlers that the config names, made and let go as it changes, and the one door to all of them."""

from __future__ import annotations

from collections.abc import Callable

from gateway.config.model import Config
from gateway.errors import HandlerError
from gateway.handlers.echo import echo
from gateway.messages.model import Message, Reply

PATIENCE = 60.0


class Handlers:
    """`config` returns what applies now."""

    def __init__(self, config: Callable[[], Config]) -> None:
        self._config = config

    def policy(self, handler: str) -> tuple[int, float]:
        """How often a message may be given to a handler, and how many seconds it may take."""
        return 1, PATIENCE

    def acts_outside(self, handler: str) -> bool:
        """Whether it does more than answer."""
        settings = self._config().handlers.get(handler)
        return settings is None or settings.type != "echo"

    async def handle(self, handler: str, message: Message) -> tuple[Reply, ...]:
        """What it answers. Raises HandlerError."""
        settings = self._config().handlers.get(handler)
        if settings is None:
            raise HandlerError(f"there is no handler named {handler!r} any more")
        return await echo(message, settings)
