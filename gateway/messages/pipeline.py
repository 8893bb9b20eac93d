"""Receive, route, handle, reply. Ordered within a conversation, concurrent across them, in memory for now."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import structlog

from gateway.channels.base import Message
from gateway.config.model import Config
from gateway.errors import SendError
from gateway.messages.routes import find_handler, is_allowed

log: structlog.stdlib.BoundLogger = structlog.get_logger()

SEND_WAIT = 120.0
"""Seconds that a reply waits for its channel to run."""
SEND_ATTEMPTS = 5
LONGEST_PAUSE = 30.0

Handle = Callable[[Message, Any], Awaitable[str | None]]
"""A handler: the message and the handler's settings in, the reply's text out."""
Send = Callable[[str, str, str, float], Awaitable[None]]
"""(account, conversation, text, seconds to wait for the channel); raises SendError."""


class Pipeline:
    """Takes messages over from receivers. `config` returns what applies now, so a live change is the next message's."""

    def __init__(self, config: Callable[[], Config], handlers: Mapping[str, Handle]) -> None:
        self._config = config
        self._handlers = handlers
        self._send: Send | None = None
        self._newest: dict[tuple[str, str], asyncio.Task[None]] = {}
        self.unmatched = 0

    def connect(self, send: Send) -> None:
        """Say who sends replies."""
        self._send = send

    @property
    def in_flight(self) -> int:
        """How many conversations have a message that is not finished."""
        return len(self._newest)

    async def accept(self, messages: list[Message]) -> None:
        """Take messages over: from here on they are ours."""
        for message in messages:
            key = (f"{message.channel}/{message.account}", message.conversation)
            task = asyncio.get_running_loop().create_task(self._handle_after(self._newest.get(key), key[0], message))
            self._newest[key] = task
            task.add_done_callback(partial(self._forget, key))

    async def drain(self, name: str | None = None) -> None:
        """Wait until nothing of one account, or nothing at all, is in flight."""
        while tasks := [task for (account, _), task in self._newest.items() if name in (None, account)]:
            await asyncio.wait(tasks)

    def _forget(self, key: tuple[str, str], done: asyncio.Task[None]) -> None:
        if self._newest.get(key) is done:
            del self._newest[key]

    async def _handle_after(self, earlier: asyncio.Task[None] | None, name: str, message: Message) -> None:
        if earlier is not None:
            await asyncio.wait({earlier})
        try:
            reply = await self._handle(name, message)
            if reply:
                await self._reply(name, message, reply)
        except Exception:
            log.error("message_failed", account=name, message=message.id, exc_info=True)

    async def _handle(self, name: str, message: Message) -> str | None:
        config = self._config()
        account = config.accounts().get(name)
        if account is None or not is_allowed(account, message):
            why = "the account is gone" if account is None else "the sender is not in allow_from"
            log.info("message_refused", account=name, message=message.id, why=why)
            return None
        handler = find_handler(config, message)
        if handler is None:
            self.unmatched += 1
            log.info("message_unmatched", account=name, message=message.id)
            return None
        settings = config.handlers[handler]
        return await self._handlers[settings.type](message, settings)

    async def _reply(self, name: str, message: Message, text: str) -> None:
        assert self._send is not None, "connect() comes first"
        for attempt in range(SEND_ATTEMPTS):
            try:
                await self._send(name, message.conversation, text, SEND_WAIT)
            except SendError as error:
                if not error.retryable:
                    log.error("reply_dead", account=name, message=message.id, why=str(error))
                    return
                await asyncio.sleep(min(max(error.retry_after, 2.0**attempt / 4), LONGEST_PAUSE))
            else:
                return
        log.error("reply_dead", account=name, message=message.id, why=f"{SEND_ATTEMPTS} attempts failed")
