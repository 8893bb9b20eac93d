"""The web hook: what is posted, how it is signed, and what is made of every answer."""

from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from gateway.config.handlers import HttpHandler
from gateway.errors import HandlerError
from gateway.handlers.http import LARGEST, Http
from gateway.messages.model import Message, Reply
from gateway.redact import Secret
from tests.gateway.handlers.desk import MESSAGE, answering, serving, tools


async def ask(url: str, message: Message = MESSAGE, **settings: Any) -> tuple[Reply, ...]:
    handler = Http("hook", HttpHandler(type="http", url=url, **settings), tools(Path()))
    try:
        return tuple(await handler.handle(message))
    finally:
        await handler.close()


async def test_the_message_is_posted_whole_with_its_key_and_a_signature_that_can_be_checked() -> None:
    heard: list[tuple[web.Request, bytes]] = []
    async with serving(answering(web.json_response({"text": "yes"}), heard=heard)) as url:
        assert await ask(f"{url}/hook", secret=Secret("s3cret")) == (Reply("yes"),)
    request, body = heard[0]
    assert request.path == "/hook"
    assert request.headers["Idempotency-Key"] == MESSAGE.id
    assert json.loads(body) == {
        "id": "telegram:1:5", "channel": "telegram", "account": "main", "conversation": "77", "thread": None,
        "sender": {"id": "9", "name": "ann"}, "kind": "media", "text": "hello",
        "attachments": [{"kind": "photo", "ref": "a-file", "size": 12}], "reply_to": "3",
        "received_at": 1_700_000_000_000, "attempt": 1,
    }  # fmt: skip
    fields = dict(part.split("=") for part in request.headers["X-Gateway-Signature"].split(","))
    expected = hmac.new(b"s3cret", fields["t"].encode() + b"." + body, hashlib.sha256).hexdigest()
    assert fields["v1"] == expected


async def test_without_a_secret_nothing_is_signed() -> None:
    heard: list[tuple[web.Request, bytes]] = []
    async with serving(answering(web.json_response({}), heard=heard)) as url:
        assert await ask(url) == ()
    assert "X-Gateway-Signature" not in heard[0][0].headers


@pytest.mark.parametrize(
    ("answer", "replies"),
    [
        (web.json_response({"text": "one"}), (Reply("one"),)),
        (web.json_response({"text": "*one*", "format": "markdown"}), (Reply("*one*", "markdown"),)),
        (web.json_response({"messages": [{"text": "one"}, "two", {"text": ""}]}), (Reply("one"), Reply("two"))),
        (web.json_response({"text": None}), ()),
        (web.Response(status=204), ()),
    ],
)
async def test_a_good_answer_is_the_reply(answer: web.Response, replies: tuple[Reply, ...]) -> None:
    async with serving(answering(answer)) as url:
        assert await ask(url) == replies


@pytest.mark.parametrize(
    ("answer", "why", "retryable", "after"),
    [
        (web.Response(status=500), "HTTP 500", True, 0.0),
        (web.Response(status=503, headers={"Retry-After": "7"}), "HTTP 503", True, 7.0),
        (web.Response(status=429, headers={"Retry-After": "soon"}), "HTTP 429", True, 0.0),
        (web.Response(status=400), "HTTP 400", False, 0.0),
        (web.Response(status=404), "HTTP 404", False, 0.0),
        (web.Response(status=302, headers={"Location": "http://elsewhere"}), "a redirect is not followed", False, 0.0),
        (web.Response(text="hello"), "no JSON", False, 0.0),
        (web.Response(body=b"\xff\xfe"), "no JSON", False, 0.0),
        (web.json_response([1]), "no object", False, 0.0),
        (web.json_response({"text": 5}), "a reply that is none", False, 0.0),
        (web.json_response({"messages": "x"}), "no list", False, 0.0),
        (web.json_response({"messages": ["x"] * 101}), "100 are the most", False, 0.0),
        (web.json_response({"text": "x", "format": "loud"}), "a reply that is none", False, 0.0),
        (web.Response(body=b"[" * 100_000), "no JSON", False, 0.0),
        (web.Response(body=b" " * (LARGEST + 1)), "more than 1,048,576 bytes", False, 0.0),
    ],
)
async def test_any_other_answer_is_an_error_that_names_the_handler(
    answer: web.Response, why: str, retryable: bool, after: float
) -> None:
    async with serving(answering(answer)) as url:
        with pytest.raises(HandlerError, match="the handler 'hook'") as caught:
            await ask(url)
    assert why in str(caught.value)
    assert (caught.value.retryable, caught.value.after, caught.value.counts) == (retryable, after, True)


async def test_nobody_there_can_be_tried_again() -> None:
    with pytest.raises(HandlerError, match="no answer") as caught:
        await ask("http://127.0.0.1:9")
    assert caught.value.retryable


async def test_a_gigabyte_is_not_read_to_its_end() -> None:
    sent = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            for _ in range(1024):
                await response.write(bytes(1024 * 1024))
                sent += 1
        except ConnectionError:
            pass
        return response

    async with serving(endless) as url:
        with pytest.raises(HandlerError, match="more than"):
            await ask(url)
    assert sent < 64
