"""Asks a language model behind a server of OpenAI's protocol (chat completions), with what was said before.

Source of the protocol: https://platform.openai.com/docs/api-reference/chat. What was said before is read from the store,
so it is there after a restart; what the model is shown of it is bounded by messages and by tokens.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Sequence
from typing import Any

import aiohttp
import msgspec

from gateway.config.handlers import OpenaiHandler
from gateway.errors import HandlerError
from gateway.handlers.base import LONGEST_REPLY, Tools
from gateway.handlers.http import LARGEST, TRY_AGAIN, new_session, refuse_detours, retry_after, trace_headers, whole
from gateway.messages.model import Message, Reply
from gateway.redact import Redactor

CHARACTERS_A_TOKEN = 4
"""Roughly, of English: what a token is, only the model's own tokenizer knows."""
TYPING_EVERY = 4.0
"""Seconds: networks show it for about five."""
SILENCE = 60.0
"""Seconds between two pieces of an answer. Before the first one it may think for as long as it may take at all."""
LONGEST_WHY = 300
MOST_STREAMED = 16 * LARGEST
"""Bytes of a streamed answer: each piece comes in a wrapping some twenty times its size."""
BOM = b"\xef\xbb\xbf"
LINE_END = re.compile(rb"\r\n|\n|\r(?!\n|\Z)")
"""Of a CR at the end of what has come nobody knows yet whether an LF follows."""


class Openai:
    """One model."""

    acts_outside = True

    def __init__(self, name: str, settings: OpenaiHandler, tools: Tools) -> None:
        self._who = f"the handler {name!r}"
        self._settings = settings
        self._tools = tools
        self._url = f"{settings.base_url.rstrip('/')}/chat/completions"
        self._redactor = Redactor()
        headers = {}
        if settings.api_key is not None:
            headers["Authorization"] = f"Bearer {settings.api_key.reveal()}"
            self._redactor.learn([settings.api_key.reveal()])
        self._session = new_session(headers)

    async def handle(self, message: Message) -> Sequence[Reply]:
        if not message.text.strip():
            return ()
        body = await self._body(message)
        typing = asyncio.ensure_future(self._type(message))
        try:
            async with self._session.post(
                self._url, json=body, headers=trace_headers(message), allow_redirects=False
            ) as response:
                text = await self._answer(response)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise HandlerError(f"{self._who}: no answer ({type(error).__name__})", retryable=True) from error
        finally:
            typing.cancel()
        return (Reply(text, format="markdown"),)

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
        refuse_detours(response, self._who)
        if response.content_type == "text/event-stream":
            text, why = await self._streamed(response)
        else:
            text, why = self._content(_json(await whole(response, self._who), self._who), "message")
        if not text.strip():
            raise HandlerError(f"{self._who}: an answer with no text ({why or 'no reason given'})")
        return text

    async def _refuse(self, response: aiohttp.ClientResponse) -> None:
        status = response.status
        refuse_detours(response, self._who)
        why = self._why(await whole(response, self._who))
        retryable = status == TRY_AGAIN or status >= 500
        after = retry_after(response.headers.get("Retry-After", "")) if retryable else 0.0
        raise HandlerError(f"{self._who}: HTTP {status}{why}", retryable=retryable, after=after)

    async def _streamed(self, response: aiohttp.ClientResponse) -> tuple[str, str]:
        """The text, and why it ended."""
        text = why = ""
        async for event in events(response, self._who):
            if event == b"[DONE]":
                return text, why
            piece = _json(event, self._who)
            if "error" in piece:
                raise HandlerError(f"{self._who}: {self._why(event).lstrip(': ')}", retryable=True)
            if piece.get("choices"):
                more, ended = self._content(piece, "delta")
                text, why = text + more, ended or why
            if len(text) > LONGEST_REPLY:
                raise HandlerError(f"{self._who} answered with more than {LONGEST_REPLY:,} characters")
        if not why:
            raise HandlerError(f"{self._who}: the answer broke off", retryable=True)
        return text, why

    def _content(self, body: dict[str, Any], part: str) -> tuple[str, str]:
        """A text, or a piece of one, and why it ended, where it did."""
        try:
            choice = body["choices"][0]
            content, why = (choice.get(part) or {}).get("content") or "", choice.get("finish_reason") or ""
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise HandlerError(f"{self._who}: an answer that is not of the protocol") from error
        if not isinstance(content, str):
            raise HandlerError(f"{self._who}: an answer that is no text")
        return content, str(why)[:LONGEST_WHY]

    def _why(self, raw: bytes) -> str:
        """What the server says of an error. Some say the key that they were shown."""
        with contextlib.suppress(msgspec.DecodeError, RecursionError):
            body = msgspec.json.decode(raw)
            error = body.get("error") if isinstance(body, dict) else None
            said = error.get("message") if isinstance(error, dict) else error
            if isinstance(said, str):
                return f": {self._redactor.text(said)[:LONGEST_WHY]}"
        return ""


async def events(response: aiohttp.ClientResponse, who: str) -> AsyncIterator[bytes]:
    """The data of each server-sent event. Source: https://html.spec.whatwg.org/multipage/server-sent-events.html.

    Unlike there, an event that the end of the stream leaves without its empty line counts: servers forget it.
    Raises HandlerError when nothing comes for too long, once something has, and when it is too much.
    """
    data: list[bytes] = []
    async for line in _lines(response, who):
        if line.startswith(b"data:"):
            data.append(line[5:].removeprefix(b" "))
        elif not line and data:
            yield b"\n".join(data)
            data = []
    if data:
        yield b"\n".join(data)


async def _lines(response: aiohttp.ClientResponse, who: str) -> AsyncIterator[bytes]:
    """Lines that end in LF, CR or both, however they are cut on their way, without a byte order mark before the first."""
    rest, size, patience = b"", 0, None
    while True:
        try:
            async with asyncio.timeout(patience):
                chunk = await response.content.readany()
        except TimeoutError as error:
            raise HandlerError(
                f"{who} fell silent for {SILENCE:g} s in the middle of its answer", retryable=True
            ) from error
        if not chunk:
            break
        rest, size, patience = (
            (rest + chunk).removeprefix(BOM) if size < len(BOM) else rest + chunk,
            size + len(chunk),
            SILENCE,
        )
        if size > MOST_STREAMED:
            raise HandlerError(f"{who} answered with more than {MOST_STREAMED:,} bytes")
        *lines, rest = LINE_END.split(rest)
        for line in lines:
            yield line
    yield rest.removesuffix(b"\r")


def _json(raw: bytes, who: str) -> dict[str, Any]:
    try:
        body = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError) as error:
        raise HandlerError(f"{who}: an answer that is no JSON: {error}") from error
    if not isinstance(body, dict):
        raise HandlerError(f"{who}: an answer that is not of the protocol")
    return body
