"""The fake Bot API in a process of its own, and the bench's end of the pipe to it.

It has a process, not a thread, because its poll log is what everything is measured by: the bench's own work (a client that
opens connections without a pause) would hold the interpreter's lock while a poll arrives, and the log would be late.
The times it tells are comparable: `time.monotonic()` is one clock for all processes of a machine.
A command is a line of JSON on standard input, its answer a line on standard output, one at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from collections import Counter
from typing import Any, Self

from tests.fakes.telegram import Bot, FakeTelegram
from tests.real.process import ROOT

TOKEN = "1001:a-secret-for-the-bench"
CHAT = 7


def token_of(number: int) -> str:
    """Of a bot in a crowd."""
    return f"{number}:a-secret-for-the-bench-{number:07}"


PATIENCE = 10.0
LONG_PATIENCE = 120.0


class Service:
    """One bot behind the server, a crowd where one is asked for, and the commands; each public method is one."""

    def __init__(self, bot: Bot, telegram: FakeTelegram) -> None:
        self._bot = bot
        self._telegram = telegram
        self._crowds: dict[int, list[Bot]] = {}
        self._pushed: list[str] = []
        self._stream: asyncio.Task[None] | None = None

    async def polls(self) -> dict[str, Any]:
        """How many polls have arrived."""
        return {"count": self._bot.stats.polls}

    async def arrival(self, number: int) -> dict[str, Any]:
        """When poll number `number`, counted from 0, arrived; waits for it."""
        await self._bot.wait_polls(number + 1, PATIENCE)
        return {"at": self._bot.stats.poll_log[number].arrived_at}

    async def polling(self) -> dict[str, Any]:
        """Wait until a poll is held."""
        await self._bot.wait_polling(PATIENCE)
        return {}

    # Crowds

    async def crowd(self, first: int, size: int) -> dict[str, Any]:
        """Add so many bots, with numbers from the first on."""
        self._crowds[first] = [
            self._telegram.add_bot(token_of(first + number), "one_of_a_crowd") for number in range(size)
        ]
        return {}

    async def crowd_polling(self, first: int) -> dict[str, Any]:
        """Wait until each of them holds a long poll."""
        for bot in self._crowds[first]:
            while not (bot.stats.in_flight and bot.stats.poll_log[-1].timeout_param):
                await asyncio.sleep(0.01)
        return {}

    async def next_poll(self, first: int, number: int, since: float) -> dict[str, Any]:
        """When the first poll of this one of them arrived that came after that moment; waits for it."""
        bot = self._crowds[first][number]
        while bot.stats.poll_log[-1].arrived_at <= since:
            await bot.wait_polls(bot.stats.polls + 1, PATIENCE)
        return {"at": next(poll.arrived_at for poll in bot.stats.poll_log if poll.arrived_at > since)}

    async def interrupted(self, first: int, number: int) -> dict[str, Any]:
        """How many polls of all the others were broken off, and how often two of one bot met."""
        others = [bot for place, bot in enumerate(self._crowds[first]) if place != number]
        logs = [poll.outcome for bot in others for poll in bot.stats.poll_log]
        return {
            "interrupted": sum(outcome not in ("empty", "in flight") for outcome in logs),
            "overlaps": sum(bot.stats.overlaps for bot in self._crowds[first]),
        }

    # Looking at the one

    async def window(self, since: float) -> dict[str, Any]:
        """The time without a poll from then till now, in ms, and the counts since the bot was added."""
        gap, stats = self._bot.gap_since(since), self._bot.stats
        return {
            "window_ms": (time.monotonic() - since) * 1000,
            "total_ms": gap.total * 1000,
            "longest_ms": gap.longest * 1000,
            "overlaps": stats.overlaps,
            "conflicts": stats.conflicts_self,
        }

    async def burst(self, count: int, chats: int) -> dict[str, Any]:
        """Push so many messages at once over so many chats, and wait for every echo: seconds from the first to the last."""
        self._bot.sent[:] = []
        began = time.monotonic()
        for number in range(count):
            self._bot.push(f"message {number}", number % chats + 1, user_id=5, username="ann")
        await self._bot.wait_sent(count, LONG_PATIENCE)
        return {"seconds": self._bot.sent[-1]["at"] - began}

    async def even(self, rate: float, seconds: float, chats: int) -> dict[str, Any]:
        """An even stream: milliseconds from each message to its echo."""
        self._bot.sent[:] = []
        pushed, due = {}, time.monotonic()
        for number in range(round(rate * seconds)):
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            due += 1 / rate
            pushed[f"even {number}"] = time.monotonic()
            self._bot.push(f"even {number}", number % chats + 1, user_id=5, username="ann")
        await self._bot.wait_sent(len(pushed), LONG_PATIENCE)
        return {"waits_ms": [(sent["at"] - pushed[sent["text"]]) * 1000 for sent in self._bot.sent]}

    async def stream(self, every: float) -> dict[str, Any]:
        """Push a message every so many seconds from now on."""
        self._pushed, self._bot.sent[:] = [], []
        self._stream = asyncio.ensure_future(self._push(every))
        return {}

    async def _push(self, every: float) -> None:
        due = time.monotonic()
        while True:
            self._pushed.append(f"message {len(self._pushed)}")
            self._bot.push(self._pushed[-1], CHAT, user_id=5, username="ann")
            due += every
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def dry(self) -> dict[str, Any]:
        """End the stream, let the last echoes come, and tell what became of the messages."""
        if self._stream is not None:
            self._stream.cancel()
            with contextlib.suppress(TimeoutError):
                await self._bot.wait_sent(len(self._pushed), PATIENCE)
        echoed = Counter(message["text"] for message in self._bot.sent)
        lost = [text for text in self._pushed if text not in echoed]
        return {"pushed": len(self._pushed), "lost": len(lost), "doubled": echoed.total() - len(echoed)}


async def serve() -> None:
    """Answer commands until standard input ends."""
    async with FakeTelegram() as telegram:
        service = Service(telegram.add_bot(TOKEN, username="bench_bot"), telegram)
        answer: dict[str, Any] = {"url": telegram.url}
        while True:
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()
            line = await asyncio.to_thread(sys.stdin.readline)
            if not line:
                return
            name, params = json.loads(line)
            answer = await getattr(service, name)(**params)


class BotApi:
    """`async with BotApi() as api:` the other end of the pipe."""

    url: str

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.bench.bot_api",
            cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        self.url = (await self._answer())["url"]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()

    async def call(self, command: str, **params: Any) -> dict[str, Any]:
        """Send one command; its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([command, params]).encode() + b"\n")
        return await self._answer()

    async def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError("the Bot API process has ended: see above")
        answer: dict[str, Any] = json.loads(line)
        return answer


if __name__ == "__main__":
    asyncio.run(serve())
