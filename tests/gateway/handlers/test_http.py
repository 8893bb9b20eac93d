"""The web hook: what is posted, how it is signed, and what is made of every answer."""

from __future__ import annotations

import asyncio
import gzip
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
        (web.Response(status=202), ()),
        (web.Response(status=200), ()),
        (web.json_response({"text": "one"}, status=201), (Reply("one"),)),
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
        (web.json_response({"txt": "x", "y": 1}), "neither `text` nor `messages`, but txt, y", False, 0.0),
        (web.Response(status=301, headers={"Location": "/new?key=1"}), "not followed; it leads to /new", False, 0.0),
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


async def test_where_a_redirect_leads_is_not_asked_and_told_without_its_query() -> None:
    heard: list[tuple[web.Request, bytes]] = []
    there = web.Response(status=307, headers={"Location": "http://127.0.0.1:1/elsewhere?token=secret-thing"})
    async with serving(answering(there, heard=heard)) as url:
        with pytest.raises(HandlerError, match=r"leads to http://127\.0\.0\.1:1/elsewhere") as caught:
            await ask(url)
    assert len(heard) == 1
    assert "secret-thing" not in str(caught.value)


async def test_an_answer_that_unpacks_to_a_gigabyte_is_not_unpacked() -> None:
    heard: list[tuple[web.Request, bytes]] = []
    packed = gzip.compress(bytes(64 * 1024 * 1024))
    assert len(packed) < LARGEST
    bomb = web.Response(body=packed, headers={"Content-Encoding": "gzip"})
    async with serving(answering(bomb, heard=heard)) as url:
        with pytest.raises(HandlerError, match="packed"):
            await ask(url)
    assert heard[0][0].headers["Accept-Encoding"] == "identity"


async def test_a_cookie_is_not_kept() -> None:
    heard: list[tuple[web.Request, bytes]] = []
    async with serving(answering(web.Response(headers={"Set-Cookie": "who=you"}), heard=heard)) as url:
        # Of an address none would be kept anyway.
        by_name = url.replace("127.0.0.1", "localhost")
        handler = Http("hook", HttpHandler(type="http", url=by_name), tools(Path()))
        for _ in range(2):
            await handler.handle(MESSAGE)
        await handler.close()
    assert "Cookie" not in heard[1][0].headers


async def test_one_that_hangs_up_in_the_middle_can_be_tried_again() -> None:
    async def half(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b'{"text": "he')
        assert request.transport is not None
        request.transport.abort()
        return response

    async with serving(half) as url:
        with pytest.raises(HandlerError, match="no answer") as caught:
            await ask(url)
    assert caught.value.retryable


async def test_as_many_calls_are_open_as_may_be() -> None:
    waiting, enough = 0, asyncio.Event()

    async def together(request: web.Request) -> web.Response:
        nonlocal waiting
        waiting += 1
        if waiting == 150:
            enough.set()
        await enough.wait()
        return web.Response(status=204)

    async with serving(together) as url:
        handler = Http("hook", HttpHandler(type="http", url=url, concurrency=150), tools(Path()))
        async with asyncio.timeout(30):
            await asyncio.gather(*(handler.handle(MESSAGE) for _ in range(150)))
        await handler.close()
    assert waiting == 150


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
