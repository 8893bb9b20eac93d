"""The gateway commanded from a chat: at most once, whatever happens in between, and the chat is told what became of it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fakes.telegram import Bot, FakeTelegram
from tests.real.process import Gateway, config_text, telegram_account

TOKEN = "4711:a-token-of-a-bot-that-is-commanded"
ADMIN, SOMEBODY = 7, 8


@dataclass
class House:
    bot: Bot
    gateway: Gateway

    def say(self, text: str, user: int = ADMIN) -> None:
        self.bot.push(text, chat_id=user, user_id=user, username=f"user{user}")

    async def told(self, part: str) -> str:
        """Wait for a message that says this."""
        for _ in range(1000):
            found = next((sent["text"] for sent in self.bot.sent if part in sent["text"]), None)
            if found is not None:
                return str(found)
            await asyncio.sleep(0.02)
        raise AssertionError(f"nobody said {part!r}: {[sent['text'] for sent in self.bot.sent]}")


def text_of(telegram: FakeTelegram, delay_ms: int) -> str:
    account = telegram_account("main", TOKEN, telegram.url, admins=[ADMIN])
    return config_text(account, restart=f"{{delay_ms: {delay_ms}, cooldown_ms: 0}}")


@pytest.fixture
async def telegram() -> AsyncIterator[FakeTelegram]:
    async with FakeTelegram() as telegram:
        yield telegram


async def test_an_admin_asks_for_the_status_and_for_a_restart_and_is_told_when_it_runs_again(
    tmp_path: Path, telegram: FakeTelegram
) -> None:
    bot = telegram.add_bot(TOKEN, "commanded")
    async with Gateway(tmp_path, text_of(telegram, 100)) as gateway:
        house = House(bot, gateway)
        house.say("/gateway status")
        status = await house.told("gateway is running")
        assert "telegram/main is running" in status
        house.say("/gateway restart")
        await house.told("will say here when it runs again")
        await house.told("has restarted, and runs again")
        assert len(gateway.boots) == 2
        house.say("/gateway what?")
        await house.told("Commands: ")
        await asyncio.sleep(0.5)
        assert len(gateway.boots) == 2
        assert len(bot.sent) == 4


async def test_whoever_is_no_admin_commands_nothing(tmp_path: Path, telegram: FakeTelegram) -> None:
    bot = telegram.add_bot(TOKEN, "commanded")
    async with Gateway(tmp_path, text_of(telegram, 0)) as gateway:
        house = House(bot, gateway)
        house.say("/gateway restart", user=SOMEBODY)
        assert await house.told("/gateway") == "/gateway restart", "it is a message like any other, and echoed"
        await asyncio.sleep(0.5)
        assert len(gateway.boots) == 1


async def test_case_35_a_restart_that_is_asked_for_in_a_chat_is_done_at_most_once(
    tmp_path: Path, telegram: FakeTelegram
) -> None:
    """Killed before it could restart, and the network delivers the command again: nothing restarts, and the chat is told."""
    bot = telegram.add_bot(TOKEN, "commanded")
    gateway = Gateway(tmp_path, text_of(telegram, 60_000))
    try:
        await gateway.start()
        house = House(bot, gateway)
        house.say("/gateway restart")
        command = bot.updates[-1]
        await house.told("will say here when it runs again")
        assert gateway.process is not None
        gateway.process.kill()
        await gateway.wait()
        # The worst that can come: how far it was received is lost, and the network has the command still.
        with closing(sqlite3.connect(tmp_path / ".gateway" / "gateway.sqlite3")) as store, store:
            assert store.execute("DELETE FROM offsets").rowcount == 1
        bot.updates = [command]
        await gateway.start()
        await house.told("The restart is failed: the process ended before it was done")
        status = await gateway.status()
        assert status["tickets"] == []
        await asyncio.sleep(0.5)
        assert len(gateway.boots) == 2
        # A marker that outlived its restart does not swallow the next command.
        house.say("/gateway restart")
        await gateway.until(lambda status: bool(status["tickets"]))
        while sum("will say here" in sent["text"] for sent in bot.sent) < 2:
            await asyncio.sleep(0.02)
    finally:
        await gateway.close()
