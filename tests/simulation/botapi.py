"""A Bot API server in process: what it answers, and whose poll it holds open.

Source of the rules: https://core.telegram.org/bots/api. A second getUpdates ends the first with 409; an offset confirms
every update below it; a webhook that is set makes getUpdates answer 409.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.simulation.clock import Due, Time
from tests.simulation.letters import Letters
from tests.simulation.referee import Referee

Answer = Callable[[int, str], None]
"""How a call is answered: status and body."""
FOREIGN_TIMEOUT = 10.0
FOREIGN_PAUSE = 1.0


def ok(result: Any) -> tuple[int, str]:
    return 200, json.dumps({"ok": True, "result": result})


def no(code: int, why: str, **parameters: Any) -> tuple[int, str]:
    body = {"ok": False, "error_code": code, "description": why}
    return code, json.dumps(body | ({"parameters": parameters} if parameters else {}))


@dataclass
class Poll:
    """A getUpdates that the server holds open. `caller` is None where somebody else asks."""

    caller: object | None
    answer: Answer
    offset: int
    due: Due | None = None


@dataclass
class Bot:
    """One bot's state on the server."""

    id: str
    updates: list[tuple[int, int, str]] = field(default_factory=list)
    """Number, chat and text of what was said and is not confirmed."""
    newest: int = 0
    poll: Poll | None = None
    webhook: bool = False
    revoked: bool = False
    sent: int = 0
    foreign_until: float = 0.0


class BotApi:
    """All bots. Calls come through `handle`; what people and strangers do comes through the other methods."""

    def __init__(self, time: Time, referee: Referee, letters: Letters) -> None:
        self._time = time
        self._referee = referee
        self.letters = letters
        self.bots: dict[str, Bot] = {}

    def bot(self, bot_id: str) -> Bot:
        return self.bots.setdefault(bot_id, Bot(bot_id))

    # Calls

    def handle(self, caller: object, token: str, method: str, params: dict[str, Any], answer: Answer) -> None:
        """Answer now, or later: a long poll is held open."""
        bot = self.bot(token.split(":", maxsplit=1)[0])
        if bot.revoked:
            answer(*no(401, "Unauthorized"))
        elif method == "getMe":
            answer(*ok({"id": int(bot.id), "is_bot": True}))
        elif method == "deleteWebhook":
            bot.webhook = False
            answer(*ok(True))
        elif method == "getWebhookInfo":
            answer(*ok({"url": "https://stranger.example/hook" if bot.webhook else ""}))
        elif method == "sendMessage":
            bot.sent += 1
            self.letters.arrives(bot.id, params["text"])
            answer(*ok({"message_id": bot.sent}))
        elif method == "getUpdates" and bot.webhook:
            answer(*no(409, "Conflict: can't use getUpdates method while webhook is active"))
        elif method == "getUpdates":
            self._open(bot, Poll(caller, answer, int(params.get("offset", 0))), float(params.get("timeout", 0)))
        else:
            answer(*no(404, f"Not Found: no method {method}"))

    def hang_up(self, caller: object) -> None:
        """The caller's connection is gone, and with it the poll that it held."""
        for bot in self.bots.values():
            if bot.poll is not None and bot.poll.caller is caller:
                self._take(bot)

    def _open(self, bot: Bot, poll: Poll, timeout: float) -> None:
        self._end_older(bot, poll)
        self.letters.confirmed(bot.id, [number for number, _, _ in bot.updates if number < poll.offset])
        bot.updates = [update for update in bot.updates if update[0] >= poll.offset]
        if bot.updates or timeout <= 0:
            poll.answer(*ok([_update(*update) for update in bot.updates]))
            return
        bot.poll = poll
        poll.due = self._time.after(timeout, lambda: self._take(bot).answer(*ok([])))

    def _end_older(self, bot: Bot, newer: Poll) -> None:
        if bot.poll is None:
            return
        ours = bot.poll.caller is not None and newer.caller is not None
        self._referee.expect(not ours, "no conflict of our own", f"bot {bot.id}: {newer.caller} met {bot.poll.caller}")
        self._referee.counts["409 to us" if bot.poll.caller is not None else "409 to a stranger"] += 1
        self._take(bot).answer(*no(409, "Conflict: terminated by other getUpdates request"))

    def _take(self, bot: Bot) -> Poll:
        poll, bot.poll = bot.poll, None
        assert poll is not None
        if poll.due is not None:
            poll.due.cancel()
        return poll

    # People and strangers

    def say(self, bot_id: str, text: str, chat: int = 7) -> str:
        """What is said in the end: no two texts are the same."""
        bot = self.bot(bot_id)
        bot.newest += 1
        told = self.letters.said(bot.id, bot.newest, chat, text)
        bot.updates.append((bot.newest, chat, told))
        if bot.poll is not None:
            poll = self._take(bot)
            poll.answer(*ok([_update(*update) for update in bot.updates if update[0] >= poll.offset]))
        return told

    def stranger(self, bot_id: str, seconds: float) -> None:
        """Somebody else receives on this bot for a while, and asks again whenever it was ended."""
        bot = self.bot(bot_id)
        bot.foreign_until = self._time.now + seconds
        self._ask_as_stranger(bot)

    def _ask_as_stranger(self, bot: Bot) -> None:
        if self._time.now >= bot.foreign_until or bot.webhook:
            return

        def ask_again(*_: object) -> None:
            self._time.after(FOREIGN_PAUSE, lambda: self._ask_as_stranger(bot))

        self._open(bot, Poll(None, ask_again, 0), min(FOREIGN_TIMEOUT, bot.foreign_until - self._time.now))

    def calm(self) -> None:
        """Nobody disturbs any more."""
        for bot in self.bots.values():
            bot.webhook = bot.revoked = False
            bot.foreign_until = 0.0
            if bot.poll is not None and bot.poll.caller is None:
                self._take(bot)


def _update(number: int, chat: int, text: str) -> dict[str, Any]:
    who = {"id": 7, "username": "somebody"}
    return {"update_id": number, "message": {"text": text, "chat": {"id": chat}, "from": who, "date": 1}}
