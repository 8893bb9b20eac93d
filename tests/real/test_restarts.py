"""What a restart leaves as it was: the replies that were produced, the answers that were asked for, and no timer of before.

It holds for every way of restarting.
"""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.telegram import FakeTelegram
from tests.real.bots import TOKEN, one_receiver, runs
from tests.real.conversations import SLOW, answered, first_told, kept, push, twice_in_silence
from tests.real.process import Client, Gateway, config_text, telegram_account

MODES = ("exec", "in_process")


def text_of(telegram: FakeTelegram, mode: str, delay_ms: int = 0, **account: Any) -> str:
    keys = {"poll_timeout_s": 5, "sends_per_second": 0, "sends_per_second_in_a_chat": 0} | account
    restart = f"{{mode: {mode}, delay_ms: {delay_ms}, cooldown_ms: 0}}"
    return config_text(telegram_account("main", TOKEN, telegram.url, **keys), restart=restart)


@pytest.mark.parametrize("mode", MODES)
async def test_case_26_a_forced_restart_drops_no_reply_that_was_produced(tmp_path: Path, mode: str) -> None:
    """Twelve replies wait for the network's pace and one message is still being handled when a restart is forced: it does
    not wait for the work, and every reply arrives all the same, once."""
    async with FakeTelegram() as telegram:
        bot = telegram.add_bot(TOKEN, "main_bot")
        text = text_of(telegram, mode, sends_per_second=4)
        async with Gateway(tmp_path, text, command=SLOW) as gateway:
            await gateway.until(runs)
            bot.push("sleep 4 work", chat_id=99)
            expected = push(bot, range(1, 5), ("one", "two", "three"))
            while len(kept(gateway, "SELECT number FROM outbox")) < 12:
                await asyncio.sleep(0.02)
            produced = len(bot.sent)
            code, asked = await gateway.http("POST", "/api/v1/restart", json={"delay_ms": 0, "force": True})
            assert code == 202, asked
            await gateway.ready(2)
            assert produced < 12, "nothing would have been left to drop"
            assert 99 not in first_told(bot), "it waited for the work"
            await answered(bot, {**expected, 99: ["sleep 4 work"]})
            await gateway.until(lambda s: runs(s) and not s["pending"]["outbox"])
            assert twice_in_silence(bot) == []
            assert (await gateway.status())["restarts"] == 1
            one_receiver(bot)


@pytest.mark.parametrize("mode", MODES)
async def test_case_3_a_timer_that_was_armed_before_a_restart_is_dead_after_it(tmp_path: Path, mode: str) -> None:
    """config.apply, SIGUSR1, config.apply and SIGUSR1 within a second, while somebody waits for an answer: one restart, web
    clients are closed once, and the answer arrives."""
    async with FakeTelegram() as telegram:
        bot = telegram.add_bot(TOKEN, "main_bot")
        text = text_of(telegram, mode, delay_ms=1_000)
        async with Gateway(tmp_path, text, command=SLOW) as gateway:
            await gateway.until(runs)
            client = await gateway.client()
            bot.push("sleep 2.5 the answer", chat_id=7)
            await gateway.until(lambda s: s["pending"]["messages"] == 1)
            receipts = []
            for seconds in (200, 201):
                receipts.append(
                    await apply(
                        client, text.replace("cooldown_ms: 0", f"cooldown_ms: 0, defer_timeout_ms: {seconds}000")
                    )
                )
                await asyncio.sleep(0.2)
                gateway.signal(signal.SIGUSR1)
                await asyncio.sleep(0.2)
            assert [receipt["outcome"] for receipt in receipts] == ["restart_pending", "restart_pending"]
            await client.socket_closed()
            assert client.socket.close_code == 1012
            await gateway.ready(2)
            again = await gateway.client()
            # Longer than every timer that was armed before: none of them is left.
            await asyncio.sleep(2.5)
            assert not again.socket.closed
            status = await gateway.until(runs)
            assert (status["tickets"], len(gateway.boots)) == ([], 2)
            await answered(bot, {7: ["sleep 2.5 the answer"]})
            assert [message["text"] for message in bot.sent] == ["sleep 2.5 the answer"]
            for receipt in receipts:
                _, request = await gateway.http("GET", f"/api/v1/requests/{receipt['restart']['id']}")
                assert request["outcome"] == "done"
            one_receiver(bot)


async def apply(client: Client, text: str) -> dict[str, Any]:
    """config.apply of a whole text; its receipt."""
    config = await client.request("config.get")
    answer = await client.request("config.apply", {"raw": text, "baseHash": config["hash"]})
    receipt: dict[str, Any] = answer["receipt"]
    return receipt
