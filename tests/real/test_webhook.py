"""An account by webhook in a real process: switching to and fro while messages come, over restarts and kills."""

from __future__ import annotations

import asyncio
import re
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from gateway.channels.telegram_receiver import AGAIN
from tests.fakes.telegram import Bot, FakeTelegram
from tests.fakes.telegram_webhook import SECRET_HEADER
from tests.ports import free_port
from tests.real.process import TOKEN, Gateway, config_text, telegram_account

BOT = "1001:a-secret-for-the-webhook"
MAIN = "telegram/main"
STRANGER = "https://other.example/a-path-that-is-secret"


def text_of(server: FakeTelegram, port: int, receive: str, **more: object) -> str:
    settings = {"receive": receive, "webhook_url": f"http://127.0.0.1:{port}", "sends_per_second": 0} | more
    settings |= {"sends_per_second_in_a_chat": 0, "poll_timeout_s": 2}
    text = config_text(telegram_account("main", BOT, server.url, **settings), restart="{delay_ms: 0, cooldown_ms: 0}")
    return text.replace("port: 0", f"port: {port}")


def receiving(now: str, then: str, text: str) -> str:
    assert f'receive: "{now}"' in text
    return text.replace(f'receive: "{now}"', f'receive: "{then}"')


def main(status: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in status["accounts"] if each["account"] == "main")
    return found


class Crowd:
    """People who go on talking."""

    def __init__(self, bot: Bot) -> None:
        self.bot = bot
        self.said: list[str] = []
        self._talking: asyncio.Task[None] | None = None

    async def _talk(self) -> None:
        while True:
            self.said.append(f"text {len(self.said)}")
            self.bot.push(self.said[-1], chat_id=1 + len(self.said) % 5)
            await asyncio.sleep(0.01)

    def begin(self) -> None:
        self._talking = asyncio.ensure_future(self._talk())

    async def is_answered(self) -> None:
        """Stop talking, and see that each text was answered: once, or once more where it says so."""
        assert self._talking is not None
        self._talking.cancel()
        await self.bot.wait_empty(20)
        answers: Counter[str] = Counter()

        def answered() -> bool:
            answers.clear()
            answers.update(str(message["text"]) for message in self.bot.sent)
            return {text.removeprefix(AGAIN) for text in answers} == set(self.said)

        async with asyncio.timeout(20):
            while not answered():
                await asyncio.sleep(0.05)
        assert {text: count for text, count in answers.items() if count > 1 and not text.startswith(AGAIN)} == {}

    async def goes_on(self, count: int = 20) -> None:
        """Return when so many more were answered."""
        await self.bot.wait_sent(len(self.bot.sent) + count, 20)


@asynccontextmanager
async def network() -> AsyncIterator[tuple[FakeTelegram, Bot, Crowd]]:
    async with FakeTelegram() as server:
        bot = server.add_bot(BOT, "main_bot")
        yield server, bot, Crowd(bot)
        assert bot.stats.overlaps == bot.stats.both == bot.stats.conflicts_self == 0


async def switch(gateway: Gateway, receive: str) -> dict[str, Any]:
    client = await gateway.client()
    change = f'{{"channels": {{"telegram": {{"accounts": {{"main": {{"receive": "{receive}"}}}}}}}}}}'
    receipt: dict[str, Any] = (await client.patch(change))["receipt"]
    assert receipt["outcome"] == "applied", receipt
    return receipt


async def test_switching_to_and_fro_while_messages_come(tmp_path: Path) -> None:
    async with network() as (server, bot, crowd):
        async with Gateway(tmp_path, text_of(server, free_port(), "polling")) as gateway:
            crowd.begin()
            for turn in range(8):
                await crowd.goes_on()
                receive = "polling" if turn % 2 else "webhook"
                await switch(gateway, receive)
                account = await gateway.account(MAIN)
                assert account["state"] == "running"
                assert (account["webhook"] is not None) == (receive == "webhook") == bool(bot.webhook_url)
            await crowd.is_answered()
            assert (await gateway.account(MAIN))["generation"] == 9
        assert len(bot.webhooks) == 4
        assert all(hook.stats.accepted for hook in bot.webhooks)
        log = (tmp_path / "log").read_text()
        assert BOT.partition(":")[2] not in log
        assert bot.webhooks[0].secret not in log


async def test_over_restarts_the_webhook_stays_and_what_waits_is_taken_by_the_next(tmp_path: Path) -> None:
    async with network() as (server, bot, crowd):
        async with Gateway(tmp_path, text_of(server, free_port(), "webhook")) as gateway:
            crowd.begin()
            for boot in range(2, 6):
                await crowd.goes_on()
                gateway.signal(signal.SIGUSR1)
                await gateway.ready(boot)
            await crowd.goes_on()
            await crowd.is_answered()
        assert len(bot.webhooks) == 1, "it was never taken away, nor set anew"
        assert bot.webhook_url.endswith("/telegram/main")


async def test_over_kills_and_switches_while_it_is_down(tmp_path: Path) -> None:
    async with network() as (server, _, crowd):
        port = free_port()
        for turn in range(6):
            receive = "polling" if turn % 2 else "webhook"
            text = text_of(server, port, receive)
            if receive == "polling":
                text = re.sub(r', "?webhook_url"?: "[^"]*"', "", text)
                assert "webhook_url" not in text
            gateway = Gateway(tmp_path, text)
            try:
                await gateway.start()
                if turn == 0:
                    crowd.begin()
                await crowd.goes_on(10 + 7 * turn)
                if turn < 5:
                    gateway.signal(signal.SIGKILL)
                    await gateway.wait()
                else:
                    await crowd.is_answered()
                    assert await gateway.stop() == 0
            finally:
                await gateway.close()


async def test_kills_in_the_middle_of_switches(tmp_path: Path) -> None:
    async with network() as (server, bot, crowd):
        port = free_port()
        crowd.begin()
        for turn in range(6):
            gateway = Gateway(tmp_path, text_of(server, port, "webhook") if turn == 0 else None)
            try:
                await gateway.start()
                await crowd.goes_on(5)
                now, then = ("webhook", "polling") if turn % 2 == 0 else ("polling", "webhook")
                await gateway.edit(partial(receiving, now, then))
                if turn < 5:
                    # After the debounce of the file, at any moment of the switch.
                    await asyncio.sleep(0.28 + 0.015 * turn)
                    gateway.signal(signal.SIGKILL)
                    await gateway.wait()
                else:
                    await gateway.until(lambda status: main(status)["generation"] == 2)
                    await crowd.is_answered()
                    assert await gateway.stop() == 0
            finally:
                await gateway.close()
        assert bot.stats.polls > 0


async def test_a_foreign_webhook_is_left_alone_until_that_is_asked_for(tmp_path: Path) -> None:
    for receive in ("polling", "webhook"):
        folder = tmp_path / receive
        folder.mkdir()
        async with FakeTelegram() as server:
            bot = server.add_bot(BOT, "main_bot")
            bot.webhook_url = STRANGER
            async with Gateway(folder, text_of(server, free_port(), receive)) as gateway:
                await gateway.until(lambda status: main(status)["state"] == "conflict")
                account = await gateway.account(MAIN)
                assert "https://other.example/..." in account["error"]
                assert "delete_webhook: true" in account["error"]
                assert bot.webhook_url == STRANGER
                await gateway.edit(
                    lambda text: text.replace('{token: "' + BOT, '{delete_webhook: true, token: "' + BOT)
                )
                await gateway.until(lambda status: main(status)["state"] == "running")
                assert bot.webhook_url != STRANGER
                bot.push("hello")
                await bot.wait_sent(1)
            assert "a-path-that-is-secret" not in (folder / "log").read_text()


async def test_stopped_by_a_person_nothing_is_taken_and_nothing_lost(tmp_path: Path) -> None:
    async with network() as (server, bot, _), Gateway(tmp_path, text_of(server, free_port(), "webhook")) as gateway:
        assert (await gateway.http("POST", "/api/v1/channels/telegram/main/stop"))[0] == 200
        bot.push("meanwhile")
        assert bot.webhook is not None
        stats = bot.webhook.stats
        while not stats.statuses.get(503):
            await asyncio.sleep(0.01)
        assert bot.sent == []
        assert (await gateway.http("POST", "/api/v1/channels/telegram/main/start"))[0] == 200
        await bot.wait_sent(1)
        assert set(stats.statuses) == {200, 503}
        headers = {SECRET_HEADER: TOKEN}
        code, _ = await gateway.http("POST", "/telegram/main", token=None, headers=headers, json={"update_id": 1})
        assert code == 401
