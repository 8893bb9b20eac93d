"""The language model, behind a local server of its protocol: what it is shown, and what is made of every answer."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from gateway.config.handlers import OpenaiHandler
from gateway.errors import HandlerError
from gateway.handlers import openai
from gateway.handlers.openai import Openai
from gateway.messages.model import Reply
from gateway.redact import Secret
from tests.gateway.handlers.desk import MESSAGE, answering, serving, tools

SAID = [("user", "my name is Ann"), ("assistant", "hello Ann"), ("user", "what is yours?"), ("assistant", "Bot")]


def whole(text: Any) -> web.Response:
    return web.json_response({"choices": [{"message": {"role": "assistant", "content": text}}]})


def streamed(*pieces: str, end: str = "data: [DONE]\n\n") -> web.Response:
    chunks = [{"choices": [{"delta": {"content": piece}}]} for piece in pieces]
    lines = ["data: " + json.dumps(chunk) + "\r\n\r\n" for chunk in chunks]
    head = ": a comment\n\n" + "data: " + json.dumps({"choices": [{"delta": {"role": "assistant"}}]}) + "\n\n"
    return web.Response(text=head + "".join(lines) + end, content_type="text/event-stream")


async def ask(url: str, said: list[tuple[str, str]] | None = None, **settings: Any) -> tuple[Reply, ...]:
    given = OpenaiHandler(type="openai", base_url=f"{url}/v1/", model="small", **settings)
    handler = Openai("model", given, tools(Path(), said))
    try:
        return tuple(await handler.handle(MESSAGE))
    finally:
        await handler.close()


async def shown(answer: web.Response, said: list[tuple[str, str]], **settings: Any) -> dict[str, Any]:
    """What the model is asked."""
    heard: list[tuple[web.Request, bytes]] = []
    async with serving(answering(answer, heard=heard)) as url:
        await ask(url, said, **settings)
    request, body = heard[0]
    assert request.path == "/v1/chat/completions"
    found: dict[str, Any] = json.loads(body)
    return found | {"authorization": request.headers.get("Authorization")}


async def test_it_is_shown_the_system_prompt_what_was_said_and_the_question() -> None:
    asked = await shown(whole("yes"), SAID, system="be kind", stream=False, api_key=Secret("key-1"), max_tokens=50)
    assert asked == {
        "model": "small", "max_tokens": 50, "authorization": "Bearer key-1",
        "messages": [
            {"role": "system", "content": "be kind"},
            *({"role": role, "content": text} for role, text in SAID),
            {"role": "user", "content": "hello"},
        ],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "count"),
    [({"history": 2}, 3), ({"history": 0}, 1), ({"history_tokens": 0}, 1), ({"history_tokens": 5}, 3)],
)
async def test_memory_is_bounded_by_messages_and_by_tokens(settings: dict[str, int], count: int) -> None:
    asked = await shown(whole("yes"), SAID, stream=False, **settings)
    assert len(asked["messages"]) == count
    assert asked["messages"][-1] == {"role": "user", "content": "hello"}


@pytest.mark.parametrize("answer", [whole("a **word**"), streamed("a ", "**wo", "rd**")], ids=["whole", "streamed"])
async def test_its_answer_is_the_reply(answer: web.Response) -> None:
    async with serving(answering(answer)) as url:
        assert await ask(url) == (Reply("a **word**", "markdown"),)


@pytest.mark.parametrize(
    "raw",
    [
        b'data: {"choices": [{"delta": {"content": "\xc3\xa9"}}]}\n\ndata: [DONE]',
        b'\xef\xbb\xbfdata:{"choices":[{"delta":{"content":"\xc3\xa9"}}]}\r\rdata:[DONE]\r\r',
        b'event: x\nid: 1\ndata: {"choices":\ndata: [{"delta": {"content": "\xc3\xa9"}}]}\n\n: ping\n\ndata: [DONE]\n\n',
        b'data: {"choices": [{"delta": {"content": "\xc3\xa9"}, "finish_reason": null}]}\n\n'
        b'data: {"choices": [{"delta": {}, "finish_reason": "stop"}]}\n\ndata: {"choices": [], "usage": {}}\n\n',
        b'data: {"choices": [{"delta": {"content": "\xc3\xa9"}, "finish_reason": "length"}]}\n\n',
        b'data: {"choices": [{"delta": {"role": "assistant", "content": null}}]}\n\n'
        b'data: {"choices": [{"delta": null}]}\n\ndata: {"choices": [{"delta": {"content": "\xc3\xa9"}}]}\n\ndata: [DONE]\n\n',
    ],
    ids=["no end of line", "old line ends", "every field", "no [DONE]", "cut off by its length", "null"],
)
@pytest.mark.parametrize("size", [1, 7, 100_000])
async def test_a_stream_is_read_however_it_is_cut_and_ended(raw: bytes, size: int) -> None:
    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        for at in range(0, len(raw), size):
            await response.write(raw[at : at + size])
        return response

    async with serving(stream) as url:
        assert await ask(url) == (Reply("é", "markdown"),)


async def test_a_stream_that_falls_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai, "SILENCE", 0.1)

    async def silent(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await asyncio.sleep(0.3)  # before it begins it may think
        await response.write(b'data: {"choices": [{"delta": {"content": "a"}}]}\n\n')
        await asyncio.sleep(60)
        return response

    async with serving(silent) as url:
        with pytest.raises(HandlerError, match="fell silent") as caught:
            await ask(url)
    assert caught.value.retryable


async def test_no_key_is_in_what_the_server_says_of_it() -> None:
    said = {"error": {"message": "Incorrect API key provided: key-1234567890."}}
    async with serving(answering(web.json_response(said, status=401))) as url:
        with pytest.raises(HandlerError, match="Incorrect API key provided: __REDACTED__") as caught:
            await ask(url, api_key=Secret("key-1234567890"))
    assert not caught.value.retryable


@pytest.mark.parametrize(
    ("answer", "why", "retryable"),
    [
        (web.json_response({"error": {"message": "no such model"}}, status=404), "HTTP 404: no such model", False),
        (web.json_response({"error": "slow down"}, status=429), "HTTP 429: slow down", True),
        (web.Response(status=500, text="<html>"), "HTTP 500", True),
        (web.Response(text="hello"), "no JSON", False),
        (web.json_response({"choices": []}), "not of the protocol", False),
        (web.json_response([1]), "not of the protocol", False),
        (whole(5), "no text", False),
        (whole(None), "no text (no reason given)", False),
        (
            web.json_response({"choices": [{"message": {"content": ""}, "finish_reason": "content_filter"}]}),
            "no text (content_filter)",
            False,
        ),
        (
            streamed("", end='data: {"choices": [{"delta": {}, "finish_reason": "length"}]}\n\n'),
            "no text (length)",
            False,
        ),
        (web.Response(status=302, headers={"Location": "http://elsewhere"}), "a redirect is not followed", False),
        (web.Response(body=b"", headers={"Content-Encoding": "gzip"}), "packed", False),
        (streamed("a", end=""), "broke off", True),
        (streamed("a", end='data: {"error": {"message": "overloaded"}}\n\n'), "overloaded", True),
        (streamed("a", end="data: {\n\n"), "no JSON", False),
        (streamed(*["x" * 100_000] * 11), "more than 1,000,000 characters", False),
    ],
)
async def test_any_other_answer_is_an_error(answer: web.Response, why: str, retryable: bool) -> None:
    async with serving(answering(answer)) as url:
        with pytest.raises(HandlerError, match="the handler 'model'") as caught:
            await ask(url)
    assert why in str(caught.value)
    assert caught.value.retryable is retryable


async def test_the_sender_sees_that_an_answer_is_on_its_way() -> None:
    typed: list[str] = []

    async def slow(request: web.Request) -> web.Response:
        await asyncio.sleep(0.2)
        return whole("yes")

    async with serving(slow) as url:
        settings = OpenaiHandler(type="openai", base_url=url, model="small", stream=False)
        handler = Openai("model", settings, tools(Path(), typed=typed))
        await handler.handle(MESSAGE)
        await handler.close()
    assert typed == ["77"]
