"""Asks a language model behind a server of OpenAI's protocol (chat completions), with what was said before.

Source of the protocol: https://platform.openai.com/docs/api-reference/chat. What was said before is read from the store,
so it is there after a restart; what the model is shown of it is bounded by messages and by tokens.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import aiohttp
import msgspec

from gateway.config.handlers import OpenaiHandler
from gateway.errors import HandlerError
from gateway.handlers.base import LONGEST_REPLY, Tools
from gateway.handlers.http import LARGEST, TRY_AGAIN, retry_after, whole
from gateway.messages.model import Message, Reply

CHARACTERS_A_TOKEN = 4
"""Roughly, of English: what a token is, only the model's own tokenizer knows."""
TYPING_EVERY = 4.0
"""Seconds: networks show it for about five."""
LONGEST_WHY = 300


class Openai:
    """One model."""

    acts_outside = True

    def __init__(self, name: str, settings: OpenaiHandler, tools: Tools) -> None:
        self._who = f"the handler {name!r}"
        self._settings = settings
        self._tools = tools
        self._url = f"{settings.base_url.rstrip('/')}/chat/completions"
        key = settings.api_key
        headers = {} if key is None else {"Authorization": f"Bearer {key.reveal()}"}
        self._session = aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=None))

    async def handle(self, message: Message) -> Sequence[Reply]:
        if not message.text.strip():
            return ()
        body = await self._body(message)
        typing = asyncio.ensure_future(self._type(message))
        try:
            async with self._session.post(self._url, json=body, allow_redirects=False) as response:
                text = await self._answer(response)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise HandlerError(f"{self._who}: no answer ({type(error).__name__})", retryable=True) from error
        finally:
            typing.cancel()
        return (Reply(text, format="markdown"),) if text.strip() else ()

    async def close(self) -> None:
        await self._session.close()

    # What is asked

    async def _body(self, message: Message) -> dict[str, Any]:
        said = [("user", message.text)]
        if self._settings.history:
            said = [*await self._tools.said(message, self._settings.history), *said]
        shown = [{"role": role, "content": text} for role, text in self._recent(said)]
        system = [{"role": "system", "content": self._settings.system}] if self._settings.system else []
        body: dict[str, Any] = {"model": self._settings.model, "messages": [*system, *shown]}
        if self._settings.max_tokens:
            body["max_tokens"] = self._settings.max_tokens
        return body | {"stream": True} if self._settings.stream else body

    def _recent(self, said: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """The newest of it that fit, and in any case the last: that is the question."""
        left = self._settings.history_tokens * CHARACTERS_A_TOKEN
        kept = [said[-1]]
        for role, text in reversed(said[:-1]):
            left -= len(text)
            if left < 0:
                break
            kept.append((role, text))
        return kept[::-1]

    async def _type(self, message: Message) -> None:
        """Show that an answer is on its way, for as long as it is."""
        while True:
            with contextlib.suppress(Exception):  # a courtesy
                await self._tools.typing(message)
            await asyncio.sleep(TYPING_EVERY)

    # What is answered

    async def _answer(self, response: aiohttp.ClientResponse) -> str:
        if response.status != 200:
            await self._refuse(response)
        if response.content_type == "text/event-stream":
            return await self._streamed(response)
        return self._content(_json(await whole(response, self._who), self._who), "message")

    async def _refuse(self, response: aiohttp.ClientResponse) -> None:
        status = response.status
        why = _why(await whole(response, self._who))
        retryable = status == TRY_AGAIN or status >= 500
        after = retry_after(response.headers.get("Retry-After", "")) if retryable else 0.0
        raise HandlerError(f"{self._who}: HTTP {status}{why}", retryable=retryable, after=after)

    async def _streamed(self, response: aiohttp.ClientResponse) -> str:
        text = ""
        async for event in events(response, self._who):
            if event == b"[DONE]":
                return text
            piece = _json(event, self._who)
            if "error" in piece:
                raise HandlerError(f"{self._who}: {_why(event).lstrip(': ')}", retryable=True)
            text += self._content(piece, "delta") if piece.get("choices") else ""
            if len(text) > LONGEST_REPLY:
                raise HandlerError(f"{self._who} answered with more than {LONGEST_REPLY:,} characters")
        raise HandlerError(f"{self._who}: the answer broke off", retryable=True)

    def _content(self, body: dict[str, Any], part: str) -> str:
        try:
            content = body["choices"][0][part].get("content") or ""
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise HandlerError(f"{self._who}: an answer that is not of the protocol") from error
        if not isinstance(content, str):
            raise HandlerError(f"{self._who}: an answer that is no text")
        return content


async def events(response: aiohttp.ClientResponse, who: str) -> AsyncIterator[bytes]:
    """The data of each server-sent event. Source: https://html.spec.whatwg.org/multipage/server-sent-events.html."""
    rest, data, size = b"", [], 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > 16 * LARGEST:
            raise HandlerError(f"{who} answered with more than {16 * LARGEST:,} bytes")
        *lines, rest = (rest + chunk).split(b"\n")
        for line in (line.rstrip(b"\r") for line in lines):
            if line.startswith(b"data:"):
                data.append(line[5:].removeprefix(b" "))
            elif not line and data:
                yield b"\n".join(data)
                data = []


def _json(raw: bytes, who: str) -> dict[str, Any]:
    try:
        body = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError) as error:
        raise HandlerError(f"{who}: an answer that is no JSON: {error}") from error
    if not isinstance(body, dict):
        raise HandlerError(f"{who}: an answer that is not of the protocol")
    return body


def _why(raw: bytes) -> str:
    """What the server says of an error."""
    with contextlib.suppress(msgspec.DecodeError, RecursionError):
        body = msgspec.json.decode(raw)
        error = body.get("error") if isinstance(body, dict) else None
        said = error.get("message") if isinstance(error, dict) else error
        if isinstance(said, str):
            return f": {said[:LONGEST_WHY]}"
    return ""
