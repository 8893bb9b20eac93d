"""Telegram by webhook: it brings each update to the gateway's own listener, and again until it is told that it has arrived.

Source of the rules: https://core.telegram.org/bots/api#setwebhook.
Updates of different chats come side by side, and one that failed comes again after others that were later. So their
numbers say nothing of what came before: the offset that polls go on from stays where the last poll has left it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
from typing import Any

from gateway.channels.base import Intake
from gateway.channels.hooks import Hooks, WebhookReport
from gateway.channels.telegram_calls import CONNECT_TIMEOUT
from gateway.channels.telegram_receiver import ALLOWED_UPDATES, TelegramReceiver
from gateway.channels.telegram_updates import callback_of
from gateway.config.model import TelegramAccount
from gateway.errors import ChannelError, ConflictError, ConnectionLostError, UnavailableError

MOST_AT_ONCE = 10
"""Updates that Telegram may bring side by side, each by a connection of its own."""
HOLD = 1.0
"""Seconds that one may wait at the door, for the start to end or for room; then it shall be brought again."""
AGAIN_AFTER = 1.0
"""Seconds after which to bring it again."""


def hook_secret(name: str, settings: TelegramAccount) -> str:
    """What Telegram sends with each update, so that nobody else can.

    It is made of the token and the account's name: after whatever restart, and between two generations, what is brought
    is known as Telegram's.
    """
    key, said = settings.token.reveal().encode(), f"gateway webhook of {name}".encode()
    return hmac.digest(key, said, "sha256").hex()


class WebhookReceiver(TelegramReceiver):
    """One generation of one bot whose updates are brought."""

    def __init__(self, name: str, settings: TelegramAccount, intake: Intake, hooks: Hooks) -> None:
        super().__init__(name, settings, intake, hooks)
        self._set = asyncio.Event()
        """Telegram has said that it brings them to us."""
        self._over = False
        self._broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Its exception is why this generation cannot go on."""
        self._room: asyncio.Future[None] | None = None
        self._highest = 1
        """Behind all the numbers that were taken."""

    @property
    def takes(self) -> bool:
        """Whether an update that is brought now is taken at once."""
        return self._set.is_set() and not self._over and self._room is not None and self._room.done()

    async def run(self) -> None:
        try:
            await self._introduce()
            self._hooks.put_up(self._name, self)
            await self._set_webhook()
            self._ask_for_room()
            while True:
                await asyncio.wait({self._broken}, timeout=self._settings.poll_timeout_s)
                if self._broken.done():
                    self._broken.result()
                await self._look()
        finally:
            self._end(None)

    async def _set_webhook(self) -> None:
        found = await self._webhook()
        if found.address and not self._is_ours(found) and not self._settings.delete_webhook:
            raise ConflictError(found.foreign())
        # First of all it is written down, so that whatever comes after a crash knows it as our own.
        self._highest = self._intake.offset(self._identity_of(self._address)) or 1
        await self._intake.accept(self._identity_of(self._address), self._highest, [])
        secret = hook_secret(self._name, self._settings)
        params = {"url": self._address, "secret_token": secret, "allowed_updates": ALLOWED_UPDATES}
        try:
            await self._api.call("setWebhook", params | {"max_connections": MOST_AT_ONCE}, CONNECT_TIMEOUT)
        except ChannelError as error:
            if type(error) is ChannelError:
                # It does not like the address; it may have been unable to find it.
                raise ConnectionLostError(f"{error}; look at webhook_url") from error
            raise
        self._set.set()
        await self._look()

    async def _look(self) -> None:
        """Ask whether it is still ours: that is a receive, for no news is good news only where somebody would bring some."""
        found = await self._webhook()
        if not found.is_at(self._address):
            gone = "somebody has removed the webhook, and may be polling"
            raise ConflictError(found.foreign() if found.address else gone)
        self._hooks.note(self._name, WebhookReport(self._address, found.pending, found.error, found.error_at))
        self._intake.received()

    # What is brought

    async def take(self, number: int, update: dict[str, Any]) -> None:
        """Take one update over. Raises UnavailableError where it shall be brought again."""
        said = asyncio.get_running_loop().create_future()
        self._under_way.add(said)
        try:
            await self._wait_at_the_door()
            await self._take(number, update)
        except UnavailableError:
            raise
        except Exception as error:
            # What breaks a receive ends the generation, as with a poll.
            self._end(error)
            raise UnavailableError("it could not be taken over", AGAIN_AFTER) from error
        finally:
            self._under_way.discard(said)
            said.set_result(None)

    async def _wait_at_the_door(self) -> None:
        room = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HOLD):
                await self._set.wait()
                room = self._ask_for_room()
                await asyncio.wait({room})
        if self._over or room is None or not room.done():
            raise UnavailableError(f"{self._name} takes no messages now", AGAIN_AFTER)
        room.result()

    def _ask_for_room(self) -> asyncio.Future[None]:
        """One asks for all that wait."""
        if self._room is None or self._room.done():
            self._room = asyncio.get_running_loop().create_task(self._intake.room())
        return self._room

    async def _take(self, number: int, update: dict[str, Any]) -> None:
        self._highest = max(self._highest, number + 1)
        identity = self._identity_of(self._address)
        new = await self._intake.accept(identity, self._highest, [self._message(number, update)])
        self._intake.received()
        if new:
            self._thank(callback_of(update))

    # Ending

    def _end(self, error: Exception | None) -> None:
        """Nothing is taken from here on."""
        self._over = True
        self._set.set()  # whoever waits for it is told so
        self._hooks.take_down(self._name, self)
        if self._room is not None:
            self._room.cancel()
        if not self._broken.done():
            if error is None:
                self._broken.cancel()
            else:
                self._broken.set_exception(error)
                self._broken.exception()  # or the loop would report it, where nobody waits any more

    async def confirm(self) -> None:
        """Nothing to tell: each update was confirmed by the answer to it. The webhook stays, for the next generation."""

    async def fence(self) -> None:
        self._end(ConnectionLostError("it was cut off"))
        await super().fence()
