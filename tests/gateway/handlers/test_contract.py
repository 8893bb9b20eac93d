"""Every built-in handler keeps what is asked of any."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from gateway.config.handlers import (
    BridgeHandler,
    BridgeTarget,
    CommandHandler,
    EchoHandler,
    HttpHandler,
    OpenaiHandler,
    PythonHandler,
)
from gateway.handlers.base import Make
from gateway.handlers.bridge import Bridge
from gateway.handlers.command import Command
from gateway.handlers.echo import Echo
from gateway.handlers.http import Http
from gateway.handlers.openai import Openai
from gateway.handlers.python import Python
from gateway.testing.handlers import HandlerContract
from tests.gateway.handlers.desk import serving


class TestEcho(HandlerContract):
    @pytest.fixture
    def maker(self) -> Make:
        return Echo

    @pytest.fixture
    def settings(self) -> EchoHandler:
        return EchoHandler(type="echo")


class TestHttp(HandlerContract):
    @pytest.fixture
    def maker(self) -> Make:
        return Http

    @pytest.fixture
    async def settings(self) -> AsyncIterator[HttpHandler]:
        async def echo(request: web.Request) -> web.Response:
            return web.json_response({"text": (await request.json())["text"]})

        async with serving(echo) as url:
            yield HttpHandler(type="http", url=url)


class TestOpenai(HandlerContract):
    @pytest.fixture
    def maker(self) -> Make:
        return Openai

    @pytest.fixture
    async def settings(self) -> AsyncIterator[OpenaiHandler]:
        async def echo(request: web.Request) -> web.Response:
            asked = (await request.json())["messages"][-1]["content"]
            return web.json_response({"choices": [{"message": {"content": asked}}]})

        async with serving(echo) as url:
            yield OpenaiHandler(type="openai", base_url=url, model="small")


PROGRAM = "import json, sys; print(json.dumps({'text': json.load(sys.stdin)['text']}))"


class TestCommand(HandlerContract):
    @pytest.fixture
    def maker(self) -> Make:
        return Command

    @pytest.fixture
    def settings(self) -> CommandHandler:
        return CommandHandler(type="command", argv=(sys.executable, "-S", "-c", PROGRAM), max_output=1_000_000)


class OfPython(HandlerContract):
    source = ""

    @pytest.fixture
    def maker(self) -> Make:
        return Python

    @pytest.fixture
    def settings(self, tmp_path: Path) -> PythonHandler:
        (tmp_path / "bot.py").write_text(self.source)
        return PythonHandler(type="python", target="bot:answer")


class TestPython(OfPython):
    source = "def answer(message): return message.text"


class TestAsyncPython(OfPython):
    source = "import asyncio\nasync def answer(message):\n    await asyncio.sleep(0.001)\n    return message.text"


class TestBridge(HandlerContract):
    @pytest.fixture
    def maker(self) -> Make:
        return Bridge

    @pytest.fixture
    def settings(self) -> Any:
        return BridgeHandler(type="bridge", to=BridgeTarget(channel="telegram", account="other", conversation="5"))
