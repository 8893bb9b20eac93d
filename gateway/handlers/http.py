"""Posts each message to a web hook, signed, and answers what it is answered."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping, Sequence

import aiohttp
import msgspec

from gateway.config.handlers import HttpHandler
from gateway.errors import HandlerError
from gateway.handlers.base import Tools, answer_of
from gateway.messages.model import Message, Reply

LARGEST = 1024 * 1024
"""Bytes of an answer."""
TRY_AGAIN = 429
LONGEST_ADDRESS = 200
LONGEST_WAIT = 3_600.0
"""Seconds that a server may ask us to wait."""


class Http:
    """One web hook."""

    acts_outside = True

    def __init__(self, name: str, settings: HttpHandler, tools: Tools) -> None:  # noqa: ARG002 - as every handler is made
        self._who = f"the handler {name!r}"
        self._settings = settings
        self._session = new_session()

    async def handle(self, message: Message) -> Sequence[Reply]:
        body = msgspec.json.encode(message.as_told())
        headers = {"Content-Type": "application/json", "Idempotency-Key": message.id}
        if self._settings.secret is not None:
            headers["X-Gateway-Signature"] = signature(self._settings.secret.reveal(), body, int(time.time()))
        headers |= trace_headers(message)
        try:
            async with self._session.post(
                self._settings.url, data=body, headers=headers, allow_redirects=False
            ) as response:
                return await self._answer(response)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise HandlerError(f"{self._who}: no answer ({type(error).__name__})", retryable=True) from error

    async def _answer(self, response: aiohttp.ClientResponse) -> Sequence[Reply]:
        status = response.status
        if status == TRY_AGAIN or status >= 500:
            after = retry_after(response.headers.get("Retry-After", ""))
            raise HandlerError(f"{self._who}: HTTP {status}", retryable=True, after=after)
        refuse_detours(response, self._who)
        if not 200 <= status < 300:
            raise HandlerError(f"{self._who}: HTTP {status}")
        raw = await whole(response, self._who)
        # 204, or the 202 of one that will call us: nothing is said.
        return answer_of(raw, self._who) if raw.strip() else ()

    async def close(self) -> None:
        await self._session.close()


def new_session(headers: Mapping[str, str] | None = None) -> aiohttp.ClientSession:
    """For calls whose time and number are limited by whoever makes them. Nothing is kept of one for the next but its line."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None),
        # A packed answer may be a thousand times as large as what is read of it.
        headers={"Accept-Encoding": "identity", **(headers or {})},
        auto_decompress=False,
    )


def trace_headers(message: Message) -> dict[str, str]:
    """So that what is done for a message elsewhere is of its trace: https://www.w3.org/TR/trace-context/."""
    return {} if message.traceparent is None else {"traceparent": message.traceparent}


def refuse_detours(response: aiohttp.ClientResponse, who: str) -> None:
    """Raises HandlerError for a redirect, which leads to somebody who was not meant, and for what is packed."""
    if 300 <= response.status < 400:
        # Without its query, which may hold a secret.
        to = response.headers.get("Location", "").partition("?")[0][:LONGEST_ADDRESS]
        raise HandlerError(
            f"{who}: HTTP {response.status}: a redirect is not followed; it leads to {to or 'nowhere'}: put that into the config"
        )
    packing = response.headers.get("Content-Encoding", "identity")
    if packing != "identity":
        raise HandlerError(f"{who}: the answer is packed ({packing[:LONGEST_ADDRESS]}), which was not asked for")


def signature(secret: str, body: bytes, now: int) -> str:
    """The value of X-Gateway-Signature. `now` is in seconds of the wall clock: an old one need not be believed."""
    digest = hmac.new(secret.encode(), f"{now}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={now},v1={digest}"


def retry_after(text: str) -> float:
    """Seconds of a Retry-After header; 0 for a date, or what is nothing."""
    return min(float(text), LONGEST_WAIT) if text.isascii() and text.isdigit() else 0.0


async def whole(response: aiohttp.ClientResponse, who: str) -> bytes:
    """The body, unless it is too large. Raises HandlerError."""
    raw = bytearray()
    async for chunk in response.content.iter_any():
        raw += chunk
        if len(raw) > LARGEST:
            response.close()
            raise HandlerError(f"{who} answered with more than {LARGEST:,} bytes")
    return bytes(raw)
