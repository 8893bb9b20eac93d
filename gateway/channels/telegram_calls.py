"""Calls of the Bot API for one bot: a session of its own, errors that never show the token, answers that are not believed."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp

from gateway.channels.telegram_answers import LARGEST, not_the_bot_apis, result_of
from gateway.config.model import TelegramAccount
from gateway.errors import ChannelError, ConnectionLostError
from gateway.redact import MARK

CONNECT_TIMEOUT = 10.0


class BotApi:
    """One bot's line to its Bot API server. Close it in the end."""

    def __init__(self, settings: TelegramAccount) -> None:
        self._token = settings.token
        self._base = f"{settings.api_base.rstrip('/')}/bot{settings.token.reveal()}/"
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(sock_connect=CONNECT_TIMEOUT))

    async def close(self) -> None:
        await self._session.close()
        await off_the_wire()

    async def abort(self) -> None:
        """When this returns nothing can be received any more."""
        if self._session.connector is not None:
            await self._session.connector.close(abort_ssl=True)

    async def call(self, method: str, params: dict[str, Any], patience: float) -> Any:
        """One call of the Bot API. Raises the ChannelError whose class says what follows; never with the token in it."""
        if self._session.closed:
            raise ConnectionLostError(f"{method}: this generation has ended")
        try:
            async with asyncio.timeout(patience), self._request(method, params) as response:
                status, raw = response.status, await _whole(method, response)
        except aiohttp.ClientConnectorError as error:
            # Not the error's text: it may hold the address, and the address holds the token.
            raise ConnectionLostError(f"{method}: {type(error).__name__}") from None
        except TimeoutError as error:
            raise ConnectionLostError(f"{method}: no answer within {patience:g} s", unanswered=True) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise ConnectionLostError(f"{method}: {type(error).__name__}", unanswered=True) from None
        try:
            return result_of(method, status, raw)
        except ChannelError as error:
            # A server may say the address in its reason.
            error.args = (self._without_token(str(error)),)
            raise

    def _request(self, method: str, params: dict[str, Any]) -> Any:
        """What only asks is a GET: aiohttp then asks again by itself where the network had closed an idle connection."""
        # No redirect is followed: the token would go wherever it leads.
        if method.startswith("get"):
            return self._session.get(self._base + method, params=params, allow_redirects=False)
        return self._session.post(self._base + method, json=params, allow_redirects=False)

    def _without_token(self, text: str) -> str:
        token = self._token.reveal()
        for secret in (token, token.partition(":")[2]):
            text = text.replace(secret, MARK) if secret else text
        return text


async def off_the_wire() -> None:
    """Return when what was cancelled or closed before is closed in the kernel, too.

    Two turns of the loop: transports close in the first, sockets in the second.
    """
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def _whole(method: str, response: aiohttp.ClientResponse) -> bytes:
    raw = bytearray()
    async for chunk in response.content.iter_any():
        raw += chunk
        if len(raw) > LARGEST:
            raise not_the_bot_apis(method, f"more than {LARGEST:,} bytes")
    return bytes(raw)
