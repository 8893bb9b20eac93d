"""A bot of the fake Bot API with a person who writes to it, and what can go wrong with its calls."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

from gateway.channels.telegram import TelegramAdapter
from gateway.errors import (
    AccountRefusedError,
    ChannelError,
    ConflictError,
    ConnectionLostError,
)
from gateway.messages.model import Message
from tests.fakes.telegram import Bot, FakeTelegram
from tests.gateway.configs import config, telegram

TOKEN = "1001:AAF-a-secret-token"
NAME = "telegram/main"


class TelegramNetwork:
    """A person who writes to the bot."""

    name = NAME

    def __init__(self, server: FakeTelegram, bot: Bot) -> None:
        self.server = server
        self.bot = bot
        self.adapter = TelegramAdapter()
        self.configure()

    def configure(self, token: str = TOKEN, **more: Any) -> None:
        keys = {"token": f"'{token}'", "api_base": f"'{self.server.url}'", "poll_timeout_s": 1} | more
        inside = ", ".join(f"{key}: {value}" for key, value in keys.items())
        self.settings: Any = config(telegram(main=inside)).accounts()[NAME]

    @property
    def identity(self) -> str:
        return f"telegram:1001:{self.settings.token.fingerprint}"

    def say(self, text: str) -> None:
        self.bot.push(text, chat_id=7, user_id=5, username="ann")

    def answers(self) -> list[str]:
        return [str(message["text"]) for message in self.bot.sent]

    def receives(self) -> bool:
        self.bot._forget_gone_poll()  # as a real server, which sees its connection close
        return self.bot.stats.in_flight > 0


def update_of(message: Message) -> int:
    """The number of the update that a message was."""
    return int(message.id.rpartition(":")[2])


Fail = Callable[[Bot, str], None]
FAULTS: dict[str, tuple[Fail, type[ChannelError], str]] = {
    "409": (lambda bot, method: bot.fail_next(409, method=method), ConflictError, "Conflict"),
    "401": (lambda bot, method: bot.fail_next(401, method=method), AccountRefusedError, "Unauthorized"),
    "404": (lambda bot, method: bot.fail_next(404, method=method), AccountRefusedError, "Scripted error"),
    "429": (lambda bot, method: bot.fail_next(429, 17, method), ConnectionLostError, "Too Many Requests"),
    "500": (lambda bot, method: bot.fail_next(500, method=method), ConnectionLostError, "Internal Server Error"),
    "502": (lambda bot, method: bot.fail_next(502, method=method), ConnectionLostError, "Bad Gateway"),
    "timeout": (lambda bot, method: bot.fail_next(method=method, hang=60), ConnectionLostError, "no answer within"),
    "reset": (lambda bot, method: bot.fail_next(method=method, reset=True, times=5), ConnectionLostError, "Error"),
    "half an answer": (lambda bot, method: bot.fail_next(method=method, half=True), ConnectionLostError, "Error"),
    "not JSON": (lambda bot, method: bot.fail_next(method=method, garbage=True), ConnectionLostError, "not JSON"),
    "400": (lambda bot, method: bot.fail_next(400, method=method), ChannelError, "Scripted error"),
}


UNANSWERED = {"timeout", "reset", "half an answer", "not JSON"}
"""After these nobody knows whether the network has done what it was asked."""
FINAL = {"400", "409"}
"""What it says of the message, and will say again."""


def no_secret_in(error: BaseException) -> bool:
    """Neither in its text nor in the traceback that a log would show."""
    shown = str(error) + repr(error) + "".join(traceback.format_exception(error))
    return TOKEN not in shown and TOKEN.split(":")[1] not in shown
