"""What people say to one bot, what they are told, and what the gateway has kept of it."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
from collections.abc import Iterable
from contextlib import closing
from typing import Any

from gateway.channels.telegram_receiver import AGAIN
from tests.fakes.telegram import Bot, FakeTelegram
from tests.real.bots import TOKEN
from tests.real.process import Gateway, config_text, telegram_account

SLOW = [sys.executable, "-m", "tests.real.slow_gateway"]
Chats = dict[int, list[str]]


def text_of(telegram: FakeTelegram, *, route: str = "handler: echo", **account: Any) -> str:
    """A config with the one bot, which may send as fast as it likes, and one route."""
    keys = {"poll_timeout_s": 5, "sends_per_second": 0, "sends_per_second_in_a_chat": 0} | account
    text = config_text(telegram_account("main", TOKEN, telegram.url, **keys))
    return text.replace('{channel: "*", handler: echo}', f"{{{route}}}")


def kept(gateway: Gateway, sql: str) -> list[Any]:
    """What another program reads in the store."""
    with closing(sqlite3.connect(gateway.folder / ".gateway" / "gateway.sqlite3")) as other:
        return other.execute(sql).fetchall()


def states(gateway: Gateway, table: str = "outbox") -> dict[str, str]:
    """By its text."""
    found = kept(gateway, f"SELECT body, state FROM {table} ORDER BY number")
    return {json.loads(body)["text"]: state for body, state in found}


def sent(bot: Bot) -> list[str]:
    return [str(message["text"]) for message in bot.sent]


def first_told(bot: Bot) -> Chats:
    """What each chat was told, in the order in which it was told it first; whether again or not."""
    found: Chats = {}
    for message in bot.sent:
        told, text = found.setdefault(message["chat_id"], []), str(message["text"]).removeprefix(AGAIN)
        if text not in told:
            told.append(text)
    return found


def twice_in_silence(bot: Bot) -> list[str]:
    """Texts that were sent more than once without saying so. Every text of a test is another one."""
    texts = sent(bot)
    return sorted({text for text in texts if not text.startswith(AGAIN) and texts.count(text) > 1})


def push(bot: Bot, chats: Iterable[int], texts: Iterable[str]) -> Chats:
    """Everybody says all of it, by turns; what each chat must be told, in order."""
    expected: Chats = {chat: [] for chat in chats}
    for text in texts:
        for chat, told in expected.items():
            told.append(f"{text} in {chat}")
            bot.push(told[-1], chat_id=chat)
    return expected


async def answered(bot: Bot, expected: Chats, timeout: float = 30.0) -> None:
    async with asyncio.timeout(timeout):
        while first_told(bot) != expected:
            await asyncio.sleep(0.05)
