"""The fake Bot API, a bot of it, and the lines of that bot."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gateway.channels import telegram_receiver as telegram_module
from gateway.testing.channels import Lines
from tests.fakes.telegram import FakeTelegram
from tests.gateway.channels.telegram_network import TOKEN, TelegramNetwork


@pytest.fixture
async def server() -> AsyncIterator[FakeTelegram]:
    async with FakeTelegram() as server:
        yield server


@pytest.fixture
def network(server: FakeTelegram) -> TelegramNetwork:
    return TelegramNetwork(server, server.add_bot(TOKEN, username="main_bot"))


@pytest.fixture
async def lines(network: TelegramNetwork) -> AsyncIterator[Lines]:
    lines = Lines(network)
    yield lines
    await lines.close()


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telegram_module, "ANSWER_MARGIN", 0.3)
    monkeypatch.setattr(telegram_module, "CONNECT_TIMEOUT", 0.3)
    monkeypatch.setattr(telegram_module, "SEND_TIMEOUT", 0.3)
