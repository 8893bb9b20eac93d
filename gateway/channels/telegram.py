"""Telegram by long polling: a thin client of our own, since the poll, its offset and its 409 are what Gateway is about.

Source of the rules: https://core.telegram.org/bots/api (getUpdates, "Making requests").
An offset confirms every update below it. A second getUpdates ends the first one with 409. The text limit is 4096
characters after entity parsing, counted in UTF-16 code units.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from functools import lru_cache
from typing import Any, ClassVar

import structlog

from gateway.channels.base import Intake
from gateway.channels.telegram_answers import bot_id, text_message, updates_of
from gateway.channels.telegram_calls import CONNECT_TIMEOUT, BotApi, off_the_wire
from gateway.config.model import Account, TelegramAccount
from gateway.errors import AccountRefusedError, AnswerLostError, ChannelError, ConnectionLostError, SendError
from gateway.messages.model import Message, Outgoing
from gateway.messages.pace import Limits, Rate
from statemachine.channel import ChannelPolicy

log: structlog.stdlib.BoundLogger = structlog.get_logger()

TEXT_LIMIT = 4096
AGAIN = "\u21bb "
"""Stands before a text that may be there already."""
ALLOWED_UPDATES = json.dumps(["message"])
PROBE_TIMEOUT = 5.0
"""Seconds for the question whether a new token is good: a change of the config waits for it."""
ANSWER_MARGIN = 10.0
"""Seconds beyond the long poll's own time after which its answer is given up."""
SEND_TIMEOUT = 15.0
DRAIN_TIMEOUT = 1.0
"""Seconds that sends in flight get to end before the session closes under them."""
CONFLICT_MARGIN = 5.0
CHAT_BURST = 5
"""Messages to one chat that may follow each other at once."""
SHORTEST_EMPTY_POLL = 1.0
"""Seconds from one empty poll to the next: a server that does not wait, whatever it is asked, is not asked all the time."""


class TelegramAdapter:
    """Makes receivers for Telegram accounts."""

    account_model: ClassVar[type[Account]] = TelegramAccount

    def open(self, name: str, settings: TelegramAccount, intake: Intake) -> TelegramReceiver:
        return TelegramReceiver(name, settings, intake)

    def policy(self, settings: TelegramAccount) -> ChannelPolicy:
        """After a conflict wait for as long as the other's poll can last: a sooner retry would sustain it."""
        return ChannelPolicy(
            conflict_wait=settings.poll_timeout_s + CONFLICT_MARGIN, stop_timeout=settings.stop_timeout_ms / 1000
        )

    def limits(self, settings: TelegramAccount) -> Limits:
        """What Telegram asks bots to keep to: https://core.telegram.org/bots/faq, "My bot is hitting limits"."""
        return _limits(settings.sends_per_second, settings.sends_per_second_in_a_chat)

    async def probe(self, name: str, old: TelegramAccount, new: TelegramAccount) -> str:
        """A new token is asked who it is. That it cannot be asked now is no reason to refuse it."""
        if (old.token, old.api_base) == (new.token, new.api_base):
            return ""
        api = BotApi(new)
        try:
            await api.call("getMe", {}, PROBE_TIMEOUT)
        except AccountRefusedError as error:
            return str(error)
        except ChannelError as error:
            log.info("account_not_tried", account=name, why=str(error))
        finally:
            await api.close()
        return ""


class TelegramReceiver:
    """One generation of one bot: its session, its poll, and the sends that go through it."""

    def __init__(self, name: str, settings: TelegramAccount, intake: Intake) -> None:
        self._channel, self._account = name.split("/", 1)
        self._settings = settings
        self._intake = intake
        self._api = BotApi(settings)
        self._bot = self._identity = ""
        self._sends: set[asyncio.Future[None]] = set()

    # Receiving

    async def run(self) -> None:
        self._bot = f"telegram:{bot_id(await self._api.call('getMe', {}, CONNECT_TIMEOUT))}"
        self._identity = f"{self._bot}:{self._settings.token.fingerprint}"
        if self._settings.delete_webhook:
            await self._api.call("deleteWebhook", {}, CONNECT_TIMEOUT)
        # The first poll is short, so that `running` is known at once; the long ones follow it.
        await self._poll(timeout=0)
        while True:
            await self._intake.room()
            least = asyncio.get_running_loop().time() + SHORTEST_EMPTY_POLL
            if not await self._poll(timeout=self._settings.poll_timeout_s):
                await asyncio.sleep(least - asyncio.get_running_loop().time())

    async def _poll(self, timeout: int) -> bool:  # noqa: ASYNC109 - it is Telegram's parameter
        """One poll; whether it brought anything."""
        offset = self._intake.offset(self._identity)
        params = {"timeout": timeout, "allowed_updates": ALLOWED_UPDATES} | ({"offset": offset} if offset else {})
        answer = await self._api.call("getUpdates", params, timeout + ANSWER_MARGIN)
        updates = updates_of(answer, offset or 0)
        if updates:
            messages = [message for number, update in updates if (message := self._message(number, update))]
            await self._intake.accept(self._identity, updates[-1][0] + 1, messages, updates[0][0])
        self._intake.received()
        return bool(updates)

    def _message(self, number: int, update: dict[str, Any]) -> Message | None:
        """An update that is no text message is passed over; its offset is confirmed with the others."""
        message = text_message(update)
        if message is None:
            return None
        return Message(
            id=f"{self._bot}:{number}",
            channel=self._channel,
            account=self._account,
            conversation=str(message.chat),
            sender_id=str(message.sender),
            sender_name=message.sender_name,
            text=message.text,
            received_at=message.date * 1000,
        )

    async def confirm(self) -> None:
        """One last short poll with the offset: without it the network would send the last batch again."""
        offset = self._intake.offset(self._identity)
        if offset:
            # It may go at once, by a connection that a reply has left open: not beside the poll that was cancelled.
            await off_the_wire()
            await self._api.call("getUpdates", {"offset": offset, "limit": 1, "timeout": 0}, CONNECT_TIMEOUT)

    # Sending

    async def send(self, outgoing: Outgoing) -> str:
        # Ending the generation waits for what is half said.
        said = asyncio.get_running_loop().create_future()
        self._sends.add(said)
        try:
            return await self._send(outgoing)
        finally:
            self._sends.discard(said)
            said.set_result(None)

    async def _send(self, outgoing: Outgoing) -> str:
        text = AGAIN + outgoing.text if outgoing.marked else outgoing.text
        try:
            sent = await self._api.call("sendMessage", {"chat_id": outgoing.conversation, "text": text}, SEND_TIMEOUT)
        except ConnectionLostError as error:
            if error.unanswered:
                raise AnswerLostError(str(error)) from error
            raise SendError(str(error), retryable=True, retry_after=error.retry_after) from error
        except ChannelError as error:
            raise SendError(str(error), retryable=False) from error
        return str(sent.get("message_id", "")) if isinstance(sent, dict) else ""

    async def typing(self, conversation: str) -> None:
        with contextlib.suppress(ChannelError):
            await self._api.call("sendChatAction", {"chat_id": conversation, "action": "typing"}, SEND_TIMEOUT)

    # Ending

    async def close(self) -> None:
        if self._sends:
            await asyncio.wait(set(self._sends), timeout=DRAIN_TIMEOUT)
        await self._api.close()

    async def fence(self) -> None:
        await self._api.abort()


@lru_cache(maxsize=64)
def _limits(account: float, chat: float) -> Limits:
    """Asked for by every message. Messages a second; 0 is no limit."""
    return Limits(
        TEXT_LIMIT,
        Rate(1 / account, max(1, round(account))) if account else Rate(),
        Rate(1 / chat, CHAT_BURST) if chat else Rate(),
    )
