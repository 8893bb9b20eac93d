"""A Bot API server with one bot, and a client that speaks to it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from .telegram import Bot, FakeTelegram
from .telegram_client import TOKEN, Client


@pytest.fixture
async def telegram() -> AsyncIterator[FakeTelegram]:
    async with FakeTelegram() as server:
        yield server


@pytest.fixture
def bot(telegram: FakeTelegram) -> Bot:
    return telegram.add_bot(TOKEN, username="main_bot")


@pytest.fixture
async def client(telegram: FakeTelegram) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        yield Client(telegram, session)
