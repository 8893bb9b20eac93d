"""Faults and a bad network that the Bot API server can be told to have."""

from __future__ import annotations

import asyncio
import json
import time

import aiohttp
import pytest

from .telegram import Bot, FakeTelegram
from .telegram_client import Client, connect, reaches, send_poll


@pytest.mark.parametrize("status", [401, 409, 429, 500, 502])
async def test_scripted_errors_come_once_and_in_order(
    client: Client,
    bot: Bot,
    status: int,
) -> None:
    update_id = bot.push("x")
    bot.fail_next(status=status, retry_after=2)
    assert (await client.call("getMe"))["ok"]
    body = await client.call("getUpdates", offset=update_id + 1)
    assert body["error_code"] == status
    assert body.get("parameters") == ({"retry_after": 2} if status == 429 else None)
    assert await client.poll() == [update_id], "a refused poll confirms nothing"
    assert bot.stats.poll_log[0].outcome == str(status)
    assert bot.stats.conflicts_self == bot.stats.conflicts_foreign == 0


async def test_a_fault_lasts_for_its_times_and_any_method(client: Client, bot: Bot) -> None:
    bot.fail_next(status=500, method=None, times=2)
    answers = [await client.call(name) for name in ("getMe", "sendMessage", "getMe")]
    assert [answer["ok"] for answer in answers] == [False, False, True]
    bot.fail_next(status=500, times=1000)
    bot.clear_faults()
    assert await client.poll() == []


async def test_reset_and_half_answers_deliver_nothing(client: Client, bot: Bot) -> None:
    update_id = bot.push("x")
    bot.fail_next(reset=True)
    with pytest.raises(aiohttp.ClientOSError):
        await client.poll()
    bot.fail_next(half=True)
    with pytest.raises(aiohttp.ClientPayloadError):
        await client.poll()
    bot.fail_next(garbage=True)
    with pytest.raises(json.JSONDecodeError):
        await client.poll()
    assert await client.poll() == [update_id]
    outcomes = [record.outcome for record in bot.stats.poll_log]
    assert outcomes == ["reset", "half", "garbage", "updates"]
    assert (bot.stats.delivered, bot.stats.redelivered) == ([update_id], 0)


async def test_a_half_answer_to_send_message_has_sent_it(client: Client, bot: Bot) -> None:
    for fault, sent in (({"reset": True}, 0), ({"half": True}, 1)):
        bot.fail_next(method="sendMessage", **fault)
        with pytest.raises(aiohttp.ClientError):
            await client.call("sendMessage", chat_id=7, text="hi")
        assert len(bot.sent) == sent


async def test_half_an_answer_is_really_written(telegram: FakeTelegram, bot: Bot) -> None:
    bot.push("hello")
    bot.fail_next(half=True)
    with connect(telegram) as sock:
        sock.setblocking(False)
        send_poll(sock)
        received = b""
        while chunk := await asyncio.get_running_loop().sock_recv(sock, 4096):
            received += chunk
    assert b"200 OK" in received
    assert b'{"ok": true' in received
    assert b"hello" not in received


async def test_a_hanging_poll_stays_in_flight(client: Client, bot: Bot) -> None:
    bot.fail_next(hang=30)
    held = client.start_poll()
    await bot.wait_polling()
    later = client.start_poll()
    assert (await held)["error_code"] == 409
    assert (await later)["ok"]
    bot.fail_next(hang=0.1, status=502)
    began = time.monotonic()
    assert (await client.call("getUpdates"))["error_code"] == 502
    assert time.monotonic() - began >= 0.1


async def test_latency_delays_answers_and_the_poll_stays_in_flight(
    telegram: FakeTelegram,
    client: Client,
    bot: Bot,
) -> None:
    telegram.latency = 0.1
    began = time.monotonic()
    assert (await client.call("getMe"))["ok"]
    assert time.monotonic() - began >= 0.1
    assert await client.poll() == []
    (record,) = bot.stats.poll_log
    assert record.ended_at is not None
    assert record.ended_at - record.arrived_at >= 0.1


async def test_a_black_hole_never_answers(telegram: FakeTelegram, client: Client, bot: Bot) -> None:
    telegram.blackhole = True
    held = client.start_poll()
    await bot.wait_polling()
    telegram.blackhole = False
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(held, 0.1)
    await reaches(lambda: bot.stats.in_flight == 0)
    assert await client.poll() == []
    assert bot.stats.overlaps == 0


async def test_dropped_connections_end_polls_as_reset(
    telegram: FakeTelegram,
    client: Client,
    bot: Bot,
) -> None:
    held = client.start_poll(timeout=30)
    await bot.wait_polling()
    await telegram.drop_connections()
    assert (bot.stats.in_flight, bot.stats.poll_log[0].outcome) == (0, "reset")
    with pytest.raises(aiohttp.ClientOSError):
        await held
    assert await client.poll() == []
    assert bot.stats.overlaps == 0


async def test_waiting_in_vain_says_what_was_missing(bot: Bot) -> None:
    with pytest.raises(TimeoutError, match="main_bot: no 1 messages sent"):
        await bot.wait_sent(1, timeout=0.01)
    with pytest.raises(TimeoutError, match="a poll in flight"):
        await bot.wait_polling(timeout=0.01)


async def test_a_thousand_bots_are_served(telegram: FakeTelegram, client: Client) -> None:
    bots = [telegram.add_bot(f"{2000 + n}:secret", f"bot{n}") for n in range(1000)]
    held = [client.start_poll(token=bot.token, timeout=30) for bot in bots]
    await asyncio.gather(*(bot.wait_polling(timeout=20) for bot in bots))
    ids = [bot.push(bot.username) for bot in bots]
    answers = await asyncio.gather(*held)
    assert [answer["result"][0]["update_id"] for answer in answers] == ids
    texts = [answer["result"][0]["message"]["text"] for answer in answers]
    assert texts == [bot.username for bot in bots]
    assert sum(bot.stats.polls for bot in bots) == 1000
    assert sum(bot.stats.overlaps for bot in bots) == 0
