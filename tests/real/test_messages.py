"""No message is lost and no reply is sent twice in silence, however the process ends and whatever the network does.

Everything here is real: the process, its store, its end by SIGKILL. The referee is the Bot API server, which says what it
was sent, and the store's file, read by another program.
"""

from __future__ import annotations

import asyncio
import signal
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest

from gateway.channels.telegram_receiver import AGAIN
from tests.fakes.telegram import FakeTelegram
from tests.real.bots import MAIN, TOKEN, one_receiver, runs
from tests.real.conversations import SLOW, Chats, answered, kept, push, sent, states, text_of, twice_in_silence
from tests.real.process import Gateway


async def kill(gateway: Gateway) -> None:
    assert gateway.process is not None
    gateway.process.kill()
    await gateway.process.wait()


def has_restarted(restarts: int, status: dict[str, Any]) -> bool:
    return runs(status) and status["restarts"] == restarts


def is_sending(gateway: Gateway, marked: int, _: object) -> bool:
    """Its only reply is, for the first or the second time."""
    return kept(gateway, "SELECT state, marked FROM outbox") == [("sending", marked)]


# A reply finds its account not running


@pytest.mark.parametrize("meanwhile", ["stopped", "stopped and killed", "restarted"])
async def test_case_28_a_reply_that_cannot_be_sent_waits_until_the_account_runs_and_is_sent_once(
    tmp_path: Path, meanwhile: str
) -> None:
    async with FakeTelegram() as telegram:
        bot = telegram.add_bot(TOKEN, "main_bot")
        async with Gateway(tmp_path, text_of(telegram)) as gateway:
            await gateway.until(runs)
            bot.fail_next(method="sendMessage", status=429, retry_after=1)
            bot.push("hello", chat_id=7)
            await gateway.until(lambda _: states(gateway) == {"hello": "retry_wait"})
            if meanwhile == "restarted":
                gateway.signal(signal.SIGUSR1)
            else:
                code, _ = await gateway.http("POST", "/api/v1/channels/telegram/main/stop")
                assert code == 200
                if meanwhile == "stopped and killed":
                    await kill(gateway)
                    await gateway.start()
                await asyncio.sleep(2.5)
                assert (await gateway.account(MAIN))["state"] == "stopped", "a person has stopped it"
                assert bot.sent == []
                assert (await gateway.status())["pending"]["outbox"] == 1
                code, _ = await gateway.http("POST", "/api/v1/channels/telegram/main/start")
                assert code == 200
            await bot.wait_sent(1, timeout=20)
            await gateway.until(lambda s: runs(s) and s["pending"]["outbox"] == 0)
            if meanwhile == "restarted":
                await gateway.until(lambda s: runs(s) and s["restarts"] == 1)
            await asyncio.sleep(1)
            assert sent(bot) == ["hello"]
            assert states(gateway) == {"hello": "sent"}
            one_receiver(bot)


async def test_case_28_what_the_network_does_not_take_for_a_while_is_sent_once_in_order(tmp_path: Path) -> None:
    async with FakeTelegram() as telegram:
        bot = telegram.add_bot(TOKEN, "main_bot")
        async with Gateway(tmp_path, text_of(telegram)) as gateway:
            await gateway.until(runs)
            bot.fail_next(method="sendMessage", status=502, times=3)
            expected = push(bot, [7], ["first", "second", "third"])
            await answered(bot, expected)
            assert sent(bot) == expected[7]


# What waits, and what comes, while the process ends


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL, signal.SIGUSR1])
async def test_case_29_what_waits_in_memory_when_the_process_ends_is_answered_after_it_in_order(
    tmp_path: Path, end: signal.Signals
) -> None:
    async with FakeTelegram() as telegram:
        bot = telegram.add_bot(TOKEN, "main_bot")
        async with Gateway(tmp_path, text_of(telegram), command=SLOW) as gateway:
            await gateway.until(runs)
            expected = push(bot, range(1, 6), [f"sleep 0.5 {n}" for n in range(8)])
            await bot.wait_sent(5, timeout=20)
            gateway.signal(end)
            # While it drains, and after it: these are taken over, or left with the network.
            for chat, told in push(bot, range(1, 6), ["while it ends", "and after"]).items():
                expected[chat] += told
                await asyncio.sleep(0.05)
            if end is not signal.SIGUSR1:
                assert await gateway.wait() == (0 if end is signal.SIGTERM else -signal.SIGKILL)
                await gateway.start()
            await answered(bot, expected)
            assert twice_in_silence(bot) == []
            if end is not signal.SIGKILL:
                assert len(bot.sent) == sum(map(len, expected.values())), "nothing is sent twice at all"
            await gateway.until(lambda s: runs(s) and s["pending"]["messages"] == 0)
            assert {state for _, state in kept(gateway, "SELECT id, state FROM inbox")} == {"handled"}
            one_receiver(bot)


@pytest.mark.timeout(240)
async def test_case_29_killed_again_and_again_in_a_stream_nothing_is_lost_and_the_order_is_kept(tmp_path: Path) -> None:
    random = Random(29)
    async with FakeTelegram() as telegram:
        telegram.latency = 0.01
        bot = telegram.add_bot(TOKEN, "main_bot")
        async with Gateway(tmp_path, text_of(telegram), command=SLOW) as gateway:
            await gateway.until(runs)
            expected: Chats = {}
            for round_ in range(8):
                for number in range(25):
                    pause = "sleep 0.2 " if number % 3 else ""
                    for chat, told in push(bot, [number % 5 + 1], [f"{pause}{round_}.{number}"]).items():
                        expected.setdefault(chat, []).extend(told)
                    await asyncio.sleep(0.02)
                await asyncio.sleep(random.random() * 0.5)
                await kill(gateway)
                await gateway.start()
            await answered(bot, expected, timeout=60)
            assert twice_in_silence(bot) == []
            again = [text for text in sent(bot) if text.startswith(AGAIN)]
            marked = kept(gateway, "SELECT count(*) FROM outbox WHERE marked = 1")[0][0]
            assert len(again) <= marked, "each that was sent again is marked in the store, too"
            taken_up = [line["count"] for line in gateway.log if line["event"] == "messages_taken_up"]
            assert taken_up, "no kill has met a message that was under way"
            print(f"taken up: {taken_up}, sent again: {len(again)}")
            one_receiver(bot)


# Old replies


async def test_case_30_what_was_sent_is_not_sent_again_however_often_it_is_restarted(tmp_path: Path) -> None:
    async with FakeTelegram() as telegram:
        bot = telegram.add_bot(TOKEN, "main_bot")
        async with Gateway(tmp_path, text_of(telegram)) as gateway:
            await gateway.until(runs)
            expected = push(bot, [1, 2, 3], [f"{n}" for n in range(10)])
            await answered(bot, expected)
            await gateway.until(lambda _: set(states(gateway).values()) == {"sent"})
            for _ in range(3):
                await kill(gateway)
                await gateway.start()
                await gateway.until(runs)
            for restarts in range(1, 3):
                gateway.signal(signal.SIGUSR1)
                await gateway.until(partial(has_restarted, restarts))
            for _ in range(3):
                code, _ = await gateway.http("POST", "/api/v1/channels/telegram/main/restart")
                assert code == 200
            await gateway.until(runs)
            await asyncio.sleep(1)
            assert len(bot.sent) == 30
            one_receiver(bot)


async def test_case_30_a_reply_that_is_too_old_is_not_sent_any_more_and_says_so(tmp_path: Path) -> None:
    """Nobody is flooded after an outage: what was of use then is of none now."""
    async with FakeTelegram() as telegram:
        bot = telegram.add_bot(TOKEN, "main_bot")
        gateway = Gateway(tmp_path, text_of(telegram, route="handler: echo, max_age_s: 3"))
        async with gateway:
            await gateway.until(runs)
            bot.fail_next(method="sendMessage", status=429, retry_after=2, times=1000)
            push(bot, [1, 2], [f"{n}" for n in range(5)])
            await gateway.until(lambda _: len(states(gateway)) == 10)
            await kill(gateway)
            await asyncio.sleep(3.5)
            bot.clear_faults()
            await gateway.start()
            await gateway.until(lambda s: runs(s) and s["pending"]["outbox"] == 0)
            bot.push("new", chat_id=1)
            await bot.wait_sent(1, timeout=20)
            assert sent(bot) == ["new"]
            old = kept(gateway, "SELECT state, why FROM outbox ORDER BY number LIMIT 10")
            assert {state for state, _ in old} == {"dead"}
            assert all(why.startswith("too old") for _, why in old)


# Between the sending and its answer


@pytest.mark.parametrize("policy", ["resend", "ask"])
async def test_case_31_killed_between_the_sending_and_its_answer_it_is_unknown_and_the_policy_says_what_follows(
    tmp_path: Path, policy: str
) -> None:
    async with FakeTelegram() as telegram:
        bot = telegram.add_bot(TOKEN, "main_bot")
        route = f"handler: echo, after_unknown: {policy}"
        async with Gateway(tmp_path, text_of(telegram, route=route)) as gateway:
            await gateway.until(runs)
            bot.fail_next(method="sendMessage", hang=60)
            bot.push("hello", chat_id=7)
            await gateway.until(lambda _: states(gateway) == {"hello": "sending"})
            bot.push("after it", chat_id=7)
            await gateway.until(lambda _: states(gateway).get("after it") == "queued")
            await kill(gateway)
            assert states(gateway)["hello"] == "sending"
            await gateway.start()
            expected = [f"{AGAIN}hello", "after it"] if policy == "resend" else ["after it"]
            await bot.wait_sent(len(expected), timeout=20)
            await asyncio.sleep(1.5)
            assert sent(bot) == expected
            lines = [line for line in gateway.log if line["event"] == "delivery" and line["state"] == "unknown"]
            assert [line["why"] for line in lines] == ["the process ended between the sending and its answer"]
            if policy == "ask":
                assert states(gateway)["hello"] == "unknown"
                assert (await gateway.status())["pending"]["outbox"] == 1, "it is shown until a person decides"
                await kill(gateway)
                await gateway.start()
                await gateway.until(runs)
                await asyncio.sleep(1.5)
                assert (sent(bot), states(gateway)["hello"]) == (expected, "unknown")
            else:
                assert states(gateway)["hello"] == "sent"
                assert kept(gateway, "SELECT marked FROM outbox WHERE number = 1") == [(1,)]


async def test_case_31_it_is_sent_again_once_at_the_most_however_often_the_process_dies(tmp_path: Path) -> None:
    async with FakeTelegram() as telegram:
        bot = telegram.add_bot(TOKEN, "main_bot")
        async with Gateway(tmp_path, text_of(telegram)) as gateway:
            await gateway.until(runs)
            bot.fail_next(method="sendMessage", hang=60, times=2)
            bot.push("hello", chat_id=7)
            for marked in (0, 1):
                await gateway.until(partial(is_sending, gateway, marked))
                # Killed before the network has heard of it, it would leave its fault to the message after it.
                await bot.wait_faults(1 - marked, timeout=20)
                await kill(gateway)
                await gateway.start()
            bot.push("after it", chat_id=7)
            await bot.wait_sent(1, timeout=20)
            await asyncio.sleep(2)
            assert sent(bot) == ["after it"]
            assert states(gateway)["hello"] == "unknown"


async def test_case_31_the_line_breaks_between_the_sending_and_its_answer(tmp_path: Path) -> None:
    """The network has it, and nobody heard so: it comes twice, and the second time it says so."""
    async with FakeTelegram() as telegram:
        bot = telegram.add_bot(TOKEN, "main_bot")
        async with Gateway(tmp_path, text_of(telegram)) as gateway:
            await gateway.until(runs)
            bot.fail_next(method="sendMessage", half=True)
            expected = push(bot, [7], ["hello", "after it"])
            await answered(bot, expected)
            assert sent(bot) == [expected[7][0], f"{AGAIN}{expected[7][0]}", expected[7][1]]


# Old messages


async def test_case_32_killed_before_the_network_was_told_what_was_taken_over_no_message_is_answered_twice(
    tmp_path: Path,
) -> None:
    async with FakeTelegram() as telegram:
        bot = telegram.add_bot(TOKEN, "main_bot")
        async with Gateway(tmp_path, text_of(telegram)) as gateway:
            await gateway.until(runs)
            for number in range(3):
                await bot.wait_polling()
                # The poll after this one would confirm it, and is not looked at.
                bot.fail_next(method="getUpdates", hang=60)
                bot.push(f"hello {number}", chat_id=7)
                await bot.wait_sent(number + 1, timeout=20)
                await gateway.until(lambda _: set(states(gateway).values()) == {"sent"})
                assert [update["message"]["text"] for update in bot.updates] == [f"hello {number}"], "not confirmed"
                await kill(gateway)
                bot.clear_faults()
                await gateway.start()
                await gateway.until(runs)
                await asyncio.sleep(0.5)
                assert bot.updates == [], "the next life has confirmed it"
            assert sent(bot) == ["hello 0", "hello 1", "hello 2"]


async def test_case_32_messages_that_are_sent_again_although_they_were_confirmed_are_known_by_their_ids(
    tmp_path: Path,
) -> None:
    """The second line: the offset is lost, and the network begins from the start again."""
    async with FakeTelegram() as telegram:
        bot = telegram.add_bot(TOKEN, "main_bot")
        async with Gateway(tmp_path, text_of(telegram)) as gateway:
            await gateway.until(runs)
            expected = push(bot, [7], ["first", "second", "third"])
            old = list(bot.updates)
            await answered(bot, expected)
            await gateway.until(lambda _: set(states(gateway).values()) == {"sent"})
            await kill(gateway)
            with closing(sqlite3.connect(tmp_path / ".gateway" / "gateway.sqlite3")) as other:
                other.execute("DELETE FROM offsets")
                other.commit()
            bot.updates[:] = old
            await gateway.start()
            await gateway.until(runs)
            bot.push("new", chat_id=7)
            await bot.wait_sent(4, timeout=20)
            await asyncio.sleep(1)
            assert sent(bot) == [*expected[7], "new"]
            assert len(kept(gateway, "SELECT id FROM inbox")) == 4


async def test_case_32_the_offset_is_the_bots_and_not_the_accounts_whatever_that_is_called(tmp_path: Path) -> None:
    async with FakeTelegram() as telegram:
        bot = telegram.add_bot(TOKEN, "main_bot")
        async with Gateway(tmp_path, text_of(telegram)) as gateway:
            await gateway.until(runs)
            expected = push(bot, [7], ["first", "second"])
            old = list(bot.updates)
            await answered(bot, expected)
            await gateway.edit(lambda text: text.replace("      main:", "      renamed:"))
            await gateway.until(lambda s: runs(s, name="telegram/renamed"))
            bot.updates[:0] = old
            bot.push("new", chat_id=7)
            await bot.wait_sent(3, timeout=20)
            await asyncio.sleep(0.5)
            assert sent(bot) == [*expected[7], "new"]
            one_receiver(bot)


# Messages of the time without a gateway


async def test_case_33_what_was_said_while_the_gateway_was_down_is_answered_in_order(tmp_path: Path) -> None:
    async with FakeTelegram() as telegram:
        bot = telegram.add_bot(TOKEN, "main_bot")
        expected = push(bot, [1, 2, 3], ["before the first boot", "and again"])
        async with Gateway(tmp_path, text_of(telegram)) as gateway:
            await answered(bot, expected)
            for end in (signal.SIGKILL, signal.SIGTERM):
                await gateway.until(lambda _: set(states(gateway).values()) == {"sent"})
                gateway.signal(end)
                await gateway.wait()
                for chat, told in push(bot, [1, 2, 3], [f"after {end.name} {n}" for n in range(40)]).items():
                    expected[chat] += told
                await gateway.start()
                await answered(bot, expected)
            assert len(bot.sent) == sum(map(len, expected.values())) == 246
            one_receiver(bot)


async def test_case_33_an_update_is_confirmed_only_when_it_is_in_the_store(tmp_path: Path) -> None:
    """The store cannot write: nothing is confirmed, it is said, and when it can again all goes on by itself."""
    async with FakeTelegram() as telegram:
        bot = telegram.add_bot(TOKEN, "main_bot")
        async with Gateway(tmp_path, text_of(telegram)) as gateway:
            await gateway.until(runs)
            with closing(sqlite3.connect(tmp_path / ".gateway" / "gateway.sqlite3", isolation_level=None)) as other:
                other.execute("BEGIN EXCLUSIVE")
                expected = push(bot, [7], ["first", "second"])
                await gateway.until(lambda _: any(line["event"] == "store_stalled" for line in gateway.log))
                await asyncio.sleep(1)
                assert [update["message"]["text"] for update in bot.updates] == expected[7]
                assert bot.sent == []
                # Killed now, it is as if they had never come.
                await kill(gateway)
            await gateway.start()
            await answered(bot, expected)
            assert len(bot.sent) == 2
