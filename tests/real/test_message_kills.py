"""kill -9 at random moments of a stream of messages: none is lost, none is handled twice, and one that is sent twice says so."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest

from gateway.channels.telegram_receiver import AGAIN
from tests.fakes.telegram import Bot, FakeTelegram
from tests.real.process import Gateway, config_text, telegram_account

KILLS = int(os.environ.get("KILLS", "40"))
"""Over all streams; `KILLS=200` for a longer look."""
LANES = 2
"""Gateways side by side, each with its own bot and stream."""
RATE = 50.0
"""Messages a second, of each stream."""
CHATS = 20
SEED = int(os.environ.get("SEED", "0")) or Random().randrange(1_000_000)
SLOW = """\
import asyncio

async def slow(message):
    await asyncio.sleep(0.2)
    return message.text
"""


@dataclass
class Stream:
    """Messages to one bot, numbered, over some chats; and what became of them."""

    bot: Bot
    random: Random
    pushed: dict[str, int] = field(default_factory=dict)
    """Text -> chat."""

    async def flow(self) -> None:
        due = time.monotonic()
        while True:
            chat, text = self.random.randrange(CHATS) + 1, f"message {len(self.pushed)}"
            self.pushed[text] = chat
            self.bot.push(text, chat, user_id=5, username="ann")
            due += 1 / RATE
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    def missing(self) -> set[str]:
        return set(self.pushed) - {sent["text"].removeprefix(AGAIN) for sent in self.bot.sent}

    def judge(self, unknown: set[str]) -> Counter[str]:
        """What was sent twice. `unknown` are those of which the gateway itself says that nobody knows."""
        plain = Counter(sent["text"] for sent in self.bot.sent if not sent["text"].startswith(AGAIN))
        marked = Counter(sent["text"].removeprefix(AGAIN) for sent in self.bot.sent if sent["text"].startswith(AGAIN))
        assert not self.missing() - unknown, f"lost: {sorted(self.missing() - unknown)[:10]}"
        assert max(plain.values(), default=0) <= 1, f"twice: {[text for text, n in plain.items() if n > 1][:10]}"
        assert max(marked.values(), default=0) <= 1, f"twice, marked: {[t for t, n in marked.items() if n > 1][:10]}"
        assert set(plain) | set(marked) <= set(self.pushed)
        self._judge_order()
        return Counter(dict.fromkeys(set(plain) & set(marked), 2))

    def _judge_order(self) -> None:
        """In each chat the first of every text came in the order in which they were said."""
        first: dict[int, dict[int, None]] = {}
        for sent in self.bot.sent:
            text = sent["text"].removeprefix(AGAIN)
            first.setdefault(int(sent["chat_id"]), {}).setdefault(int(text.split()[1]))
        for chat, numbers in first.items():
            assert list(numbers) == sorted(numbers), f"chat {chat}: {list(numbers)[:30]}"


def text_of(telegram: FakeTelegram, token: str, handler: str) -> str:
    account = telegram_account(
        "main", token, telegram.url, sends_per_second=0, sends_per_second_in_a_chat=0, poll_timeout_s=5
    )
    return config_text(account).replace("  echo: {type: echo}", f"  echo: {handler}")


async def settled(gateway: Gateway, stream: Stream) -> set[str]:
    """Wait until all that can come has come; the texts of which the gateway says that nobody knows."""
    deadline = time.monotonic() + 60
    while True:
        _, body = await gateway.http("GET", "/api/v1/outbox?limit=1000")
        waiting = [row for row in body["deliveries"] if row["state"] != "unknown"]
        unknown = {row["text"] for row in body["deliveries"] if row["state"] == "unknown"}
        if not waiting and stream.missing() <= unknown:
            return unknown
        assert time.monotonic() < deadline, f"missing {sorted(stream.missing())[:5]}, waiting {waiting[:3]}"
        await asyncio.sleep(0.1)


async def kill_again_and_again(telegram: FakeTelegram, folder: Path, handler: str, random: Random, kills: int) -> str:
    token = f"{random.randrange(10**6, 10**7)}:a-token-of-a-bot-that-is-killed"
    stream = Stream(telegram.add_bot(token, "killed"), random)
    (folder / "slow.py").write_text(SLOW)
    gateway = Gateway(folder, text_of(telegram, token, handler))
    flowing = asyncio.ensure_future(stream.flow())
    try:
        for _ in range(kills):
            await gateway.start()
            await asyncio.sleep(random.uniform(0.0, 0.8))
            assert gateway.process is not None
            gateway.process.kill()
            await gateway.wait()
        flowing.cancel()
        await gateway.start()
        unknown = await settled(gateway, stream)
        twice = stream.judge(unknown)
        await _judge_shown(gateway, stream, twice)
        return f"{len(stream.pushed)} messages, {len(twice)} sent twice and marked, {len(unknown)} left unknown"
    finally:
        flowing.cancel()
        await gateway.close()


async def _judge_shown(gateway: Gateway, stream: Stream, twice: Counter[str]) -> None:
    """Whatever was sent twice is shown as such, and every message is handled exactly once."""
    _, body = await gateway.http("GET", "/api/v1/outbox?state=sent&limit=1000")
    rows = {row["text"]: row for row in body["deliveries"]}
    for text in twice:
        # Only the newest thousand are listed.
        assert text not in rows or rows[text]["marked"], rows[text]
    _, body = await gateway.http("GET", "/api/v1/messages?limit=1")
    assert body["counts"] == {"handled": len(stream.pushed)}


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    "handler", ["{type: echo}", '{type: python, target: "slow:slow"}'], ids=["at once", "200 ms of work"]
)
async def test_case_33_nothing_is_lost_by_kills_and_nothing_is_handled_twice(tmp_path: Path, handler: str) -> None:
    print(f"SEED={SEED} KILLS={KILLS}")
    async with FakeTelegram() as telegram:
        lanes = []
        for lane in range(LANES):
            (tmp_path / str(lane)).mkdir()
            random = Random(SEED + lane)
            lanes.append(kill_again_and_again(telegram, tmp_path / str(lane), handler, random, KILLS // LANES // 2))
        for told in await asyncio.gather(*lanes):
            print(told)
        assert all(bot.stats.overlaps == 0 for bot in telegram.bots.values())


async def _told(gateway: Gateway, _: Random) -> None:
    """SIGTERM, and another process goes on."""
    assert await gateway.stop() == 0
    await gateway.start()


async def _restarted(gateway: Gateway, _: Random) -> None:
    boots = len(gateway.boots)
    gateway.signal(signal.SIGUSR1)
    await gateway.ready(boots + 1)


async def _reloaded(gateway: Gateway, random: Random) -> None:
    await gateway.edit(lambda text: text.replace('"poll_timeout_s": ', "").replace(
        text[text.index("poll_timeout_s: ") :].split(",", 1)[0].split("}", 1)[0],
        f"poll_timeout_s: {random.randrange(3, 50)}",
    ))  # fmt: skip
    await asyncio.sleep(random.uniform(0.3, 0.8))


@pytest.mark.timeout(240)
async def test_stops_restarts_and_reloads_lose_nothing_and_send_nothing_twice(tmp_path: Path) -> None:
    print(f"SEED={SEED}")
    random = Random(SEED)
    token = "4711:a-token-of-a-bot-that-is-restarted"
    async with FakeTelegram() as telegram:
        stream = Stream(telegram.add_bot(token, "restarted"), random)
        text = text_of(telegram, token, "{type: echo}").replace("delay_ms: 2000", "delay_ms: 100")
        gateway = Gateway(tmp_path, text)
        flowing = asyncio.ensure_future(stream.flow())
        doings: list[Callable[[Gateway, Random], Awaitable[None]]] = [_told, _restarted, _reloaded]
        try:
            await gateway.start()
            for _ in range(15):
                await random.choice(doings)(gateway, random)
                await asyncio.sleep(random.uniform(0.0, 0.4))
            flowing.cancel()
            assert await settled(gateway, stream) == set()
            assert not stream.judge(set())
            assert not any(sent["text"].startswith(AGAIN) for sent in stream.bot.sent)
            assert stream.bot.stats.overlaps == 0
        finally:
            flowing.cancel()
            await gateway.close()
