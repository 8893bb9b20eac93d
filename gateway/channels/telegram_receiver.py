"""Telegram by long polling: a thin client of our own, since the poll, its offset and its 409 are what Gateway is about.

Source of the rules: https://core.telegram.org/bots/api (getUpdates, "Making requests").
An offset confirms every update below it. A second getUpdates ends the first one with 409. The text limit is 4096
characters after entity parsing, counted in UTF-16 code units.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Coroutine
from typing import Any, TypeVar

import structlog

from gateway.channels.base import Intake
from gateway.channels.hooks import Hooks
from gateway.channels.telegram_answers import Webhook, bot_id, updates_of, webhook_address, webhook_of
from gateway.channels.telegram_calls import CONNECT_TIMEOUT, BotApi, off_the_wire
from gateway.channels.telegram_updates import READERS, callback_of, message_of
from gateway.config.model import TelegramAccount
from gateway.errors import (
    AccountRefusedError,
    AnswerLostError,
    ChannelError,
    ConflictError,
    ConnectionLostError,
    MarksRefusedError,
    SendError,
    WebhookActiveError,
)
from gateway.messages.model import Format, Message, Outgoing
from gateway.redact import Secret

log: structlog.stdlib.BoundLogger = structlog.get_logger()

T = TypeVar("T")

AGAIN = "\u21bb "
"""Stands before a text that may be there already."""
TEXT_LIMIT = 4096 - len(AGAIN)
ALLOWED_UPDATES = json.dumps(list(READERS))
"""Said with every poll, and so at every start: the server remembers what was asked for last, by whomever."""
ANSWER_MARGIN = 10.0
"""Seconds beyond the long poll's own time after which its answer is given up."""
SEND_TIMEOUT = 15.0
DRAIN_TIMEOUT = 1.0
"""Seconds that sends in flight get to end before the session closes under them."""
SHORTEST_EMPTY_POLL = 1.0
"""Seconds from one poll that brought nothing new to the next: a server that does not wait, or ignores the offset, is not
asked all the time."""


class TelegramReceiver:
    """One generation of one bot: its session, its poll, and the sends that go through it."""

    def __init__(self, name: str, settings: TelegramAccount, intake: Intake, hooks: Hooks) -> None:
        self._name = name
        self._channel, self._account = name.split("/", 1)
        self._hooks = hooks
        self._settings = settings
        self._address = webhook_address(settings, self._account)
        self._intake = intake
        self._api = BotApi(settings)
        self._bot = self._identity = ""
        self._under_way: set[asyncio.Future[Any]] = set()

    # Receiving

    async def run(self) -> None:
        await self._introduce()
        if self._settings.delete_webhook:
            await self._api.call("deleteWebhook", {}, CONNECT_TIMEOUT)
        try:
            await self._poll_first()
            await self._poll_on()
        except WebhookActiveError as error:
            raise ConflictError(await self._why_no_poll(error)) from error

    async def _introduce(self) -> None:
        self._bot = f"telegram:{bot_id(await self._api.call('getMe', {}, CONNECT_TIMEOUT))}"
        self._identity = f"{self._bot}:{self._settings.token.fingerprint}"

    async def _poll_first(self) -> None:
        """A short one, so that `running` is known at once. A webhook of our own goes; what it has not brought comes by polls."""
        self._hooks.note(self._name, None)
        self._intake.permit()
        try:
            await self._poll(timeout=0)
        except WebhookActiveError:
            if not self._is_ours(await self._webhook()):
                raise
            await self._api.call("deleteWebhook", {}, CONNECT_TIMEOUT)
            await self._poll(timeout=0)

    async def _poll_on(self) -> None:
        while True:
            await self._intake.room()
            least = asyncio.get_running_loop().time() + SHORTEST_EMPTY_POLL
            if not await self._poll(timeout=self._settings.poll_timeout_s):
                await asyncio.sleep(least - asyncio.get_running_loop().time())

    async def _poll(self, timeout: int) -> bool:  # noqa: ASYNC109 - it is Telegram's parameter
        """One poll; whether it brought anything new."""
        offset = self._intake.offset(self._identity)
        params = {"timeout": timeout, "allowed_updates": ALLOWED_UPDATES} | ({"offset": offset} if offset else {})
        updates = updates_of(await self._api.call("getUpdates", params, timeout + ANSWER_MARGIN))
        new = 0
        if updates:
            messages = [self._message(number, update) for number, update in updates]
            # The numbers may have jumped back: after a week of silence they go on from anywhere.
            new = await self._intake.accept(self._identity, updates[-1][0] + 1, messages, updates[0][0])
        self._intake.received()
        if new:
            for _, update in updates:
                self._thank(callback_of(update))
        return new > 0

    # The webhook

    async def _webhook(self) -> Webhook:
        """The one that is set for the bot, by whomever."""
        return webhook_of(await self._api.call("getWebhookInfo", {}, CONNECT_TIMEOUT))

    async def _why_no_poll(self, error: WebhookActiveError) -> str:
        """Where the messages go instead, so that a person knows whom to ask."""
        try:
            return (await self._webhook()).foreign()
        except ChannelError:
            return str(error)

    def _identity_of(self, address: str) -> str:
        """What was brought to an address has an offset of its own; that there is one says that we have set it."""
        return f"{self._bot}:{Secret(address).fingerprint}"

    def _is_ours(self, webhook: Webhook) -> bool:
        known = self._intake.offset(self._identity_of(webhook.address)) is not None
        return known or webhook.is_at(self._address)

    # What an update is

    def _message(self, number: int, update: dict[str, Any]) -> Message:
        blank = Message(
            id=f"{self._bot}:{number}",
            channel=self._channel,
            account=self._account,
            conversation="",
            sender_id="",
            sender_name="",
            text="",
            received_at=self._intake.now_ms(),
            kind="other",
        )
        return message_of(blank, update)

    def _thank(self, callback: str) -> None:
        """Who has pressed a button waits to be told that it has arrived. Nobody waits for the telling."""
        if callback:
            self._begin(self._courtesy("answerCallbackQuery", {"callback_query_id": callback}))

    async def _courtesy(self, method: str, params: dict[str, Any]) -> None:
        with contextlib.suppress(ChannelError):
            await self._api.call(method, params, SEND_TIMEOUT)

    def _begin(self, job: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """In a task of its own, so that ending the generation can wait for what is half said."""
        task = asyncio.get_running_loop().create_task(job)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return task

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
        self._under_way.add(said)
        try:
            return await self._send(outgoing)
        finally:
            self._under_way.discard(said)
            said.set_result(None)

    async def _send(self, outgoing: Outgoing) -> str:
        try:
            sent = await self._say(outgoing)
        except ConnectionLostError as error:
            if error.unanswered:
                raise AnswerLostError(str(error)) from error
            raise SendError(str(error), retryable=True, retry_after=error.retry_after) from error
        except AccountRefusedError as error:
            # That is not about the message: it can go when the account is in order again.
            raise SendError(str(error), retryable=True) from error
        except ChannelError as error:
            raise SendError(str(error), retryable=False) from error
        return str(sent.get("message_id", "")) if isinstance(sent, dict) else ""

    async def _say(self, outgoing: Outgoing) -> Any:
        again = AGAIN if outgoing.marked else ""
        params: dict[str, Any] = {"chat_id": outgoing.conversation}
        if outgoing.thread is not None:
            params["message_thread_id"] = outgoing.thread
        if outgoing.quote is not None and outgoing.quote.isdecimal():
            params["reply_parameters"] = {"message_id": int(outgoing.quote), "allow_sending_without_reply": True}
        if outgoing.format == "plain":
            return await self._api.call("sendMessage", params | {"text": again + outgoing.text}, SEND_TIMEOUT)
        return await self._say_marked(params, again, outgoing.text, outgoing.format)

    async def _say_marked(self, params: dict[str, Any], again: str, text: str, form: Format) -> Any:
        """With its marks; or without them where they are refused, since then nothing was sent yet."""
        # Not at the boot: it is for whoever sends marks.
        from gateway.channels.telegram_markup import telegram_html, without_marks  # noqa: PLC0415

        until = asyncio.get_running_loop().time() + SEND_TIMEOUT
        marked = {"text": again + telegram_html(text, form), "parse_mode": "HTML"}
        try:
            return await self._api.call("sendMessage", params | marked, SEND_TIMEOUT)
        except MarksRefusedError as error:
            log.info("marks_refused", account=f"{self._channel}/{self._account}", why=str(error))
        left = until - asyncio.get_running_loop().time()
        return await self._api.call("sendMessage", params | {"text": again + without_marks(text, form)}, left)

    async def typing(self, conversation: str) -> None:
        await self._courtesy("sendChatAction", {"chat_id": conversation, "action": "typing"})

    # Ending

    async def close(self) -> None:
        if self._under_way:
            await asyncio.wait(set(self._under_way), timeout=DRAIN_TIMEOUT)
        await self._api.close()

    async def fence(self) -> None:
        await self._api.abort()
