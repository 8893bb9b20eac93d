"""Accounts of a running gateway: started and stopped by a person, and added, changed and removed by the config."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.telegram import FakeTelegram
from tests.real.bots import (
    FAST,
    MAIN,
    TOKEN,
    answers,
    at_rest,
    by_file,
    one_account,
    one_receiver,
    poll_timeout,
    runs,
    state_of,
)
from tests.real.process import Gateway, RpcError, config_text, telegram_account


async def call(gateway: Gateway, verb: str, account: str = MAIN) -> tuple[int, Any]:
    return await gateway.http("POST", f"/api/v1/channels/{account}/{verb}")


async def test_case_70_a_start_of_a_running_account_is_refused(tmp_path: Path) -> None:
    """By HTTP, by WebSocket, and a hundred times at once: refused, with what was refused and what is allowed instead;
    the account does not notice. (case 7: a refused start is never silent)"""
    async with FakeTelegram() as telegram:
        bot = telegram.add_bot(TOKEN, "main_bot")
        async with Gateway(tmp_path, one_account(telegram, poll_timeout_s=30)) as gateway:
            client = await gateway.client()
            await gateway.until(runs)
            await bot.wait_polls(2)
            polls = bot.stats.polls
            code, body = await call(gateway, "start")
            assert code == 409
            details = body["error"]["details"]
            assert (details["machine"], details["state"], details["trigger"]) == (MAIN, "running", "start")
            assert {"stop", "restart"} <= set(details["allowed"])
            assert "start" not in details["allowed"]
            with pytest.raises(RpcError) as refused:
                await client.request("channels.start", {"channel": "telegram", "accountId": "main"})
            assert refused.value.error["code"] == "INVALID_REQUEST"
            assert refused.value.error["details"] == details
            calls = [call(gateway, "start") for _ in range(50)]
            frames = [client.request("channels.start", {"channel": "telegram", "accountId": "main"}) for _ in range(50)]
            results = await asyncio.gather(*calls, *frames, return_exceptions=True)
            assert {result[0] for result in results if isinstance(result, tuple)} == {409}
            assert sum(isinstance(result, RpcError) for result in results) == 50
            refusals = [entry for entry in await gateway.journal() if entry["kind"] == "refusal"]
            assert len(refusals) == 102
            assert runs(await gateway.status(), 1)
            assert bot.stats.polls == polls


async def test_case_70_of_a_hundred_starts_of_a_stopped_account_one_wins(tmp_path: Path) -> None:
    """A hundred starts at once of a stopped account: one start, one acceptance, ninety-nine refusals."""
    async with FakeTelegram() as telegram:
        bot = telegram.add_bot(TOKEN, "main_bot")
        async with Gateway(tmp_path, one_account(telegram)) as gateway:
            client = await gateway.client()
            await gateway.until(runs)
            code, body = await call(gateway, "stop")
            assert (code, body["state"]) == (200, "stopped")
            calls = [call(gateway, "start") for _ in range(50)]
            frames = [client.request("channels.start", {"channel": "telegram", "accountId": "main"}) for _ in range(50)]
            results = await asyncio.gather(*calls, *frames, return_exceptions=True)
            codes = [result[0] for result in results if isinstance(result, tuple)]
            won = codes.count(200) + sum(isinstance(result, dict) for result in results)
            lost = codes.count(409) + sum(isinstance(result, RpcError) for result in results)
            assert (won, lost) == (1, 99)
            assert runs(await gateway.status(), 2)
            assert gateway.starts(MAIN) == 2
            one_receiver(bot)
            await answers(bot)


async def test_case_47_a_persons_stop_survives_reloads_and_restarts(tmp_path: Path) -> None:
    """An account that a person stopped stays stopped through a change of its settings, of others, and a restart of the
    gateway; only a person starts it again, and it then runs with what the config says by now."""
    async with FakeTelegram() as telegram:
        bot, other = telegram.add_bot(TOKEN, "main_bot"), telegram.add_bot("1002:another-secret-02", "other_bot")
        accounts = telegram_account("main", TOKEN, telegram.url) + telegram_account("other", other.token, telegram.url)
        restarts = "{delay_ms: 200, cooldown_ms: 0}"
        async with Gateway(tmp_path, config_text(accounts, restart=restarts, reload=FAST)) as gateway:
            client = await gateway.client()
            await gateway.until(lambda s: runs(s) and runs(s, name="telegram/other"))
            await client.request("channels.stop", {"channel": "telegram", "accountId": "main"})
            polls = bot.stats.polls
            await client.patch(poll_timeout(9))
            await client.patch(poll_timeout(9, "other"))
            await gateway.edit(lambda text: text.replace("poll_timeout_s: 9", "poll_timeout_s: 8"))
            await gateway.until(lambda s: runs(s, 3, "telegram/other"))
            gateway.signal(signal.SIGUSR1)
            status = await gateway.until(lambda s: s["restarts"] == 1 and runs(s, 4, "telegram/other"))
            assert (state_of(status)["state"], state_of(status)["held"]) == ("stopped", True)
            assert bot.stats.polls == polls
            code, body = await call(gateway, "start")
            assert (code, body["state"], body["held"]) == (200, "running", False)
            await answers(bot)
            assert bot.stats.poll_log[-1].timeout_param == 8
            one_receiver(bot)


async def test_case_62_accounts_are_added_removed_disabled_and_enabled_by_edit(tmp_path: Path) -> None:
    """Each edit of the list of accounts does to the named account what it says, and to the other one nothing."""
    async with FakeTelegram() as telegram:
        bot, other = telegram.add_bot(TOKEN, "main_bot"), telegram.add_bot("1002:another-secret-02", "other_bot")
        stays = telegram_account("stays", other.token, telegram.url, poll_timeout_s=40)
        main = telegram_account("main", TOKEN, telegram.url)
        disabled = telegram_account("main", TOKEN, telegram.url, enabled=False)
        async with Gateway(tmp_path, config_text(stays, reload=FAST)) as gateway:
            await gateway.until(lambda s: runs(s, 1, "telegram/stays"))
            await other.wait_polls(2)
            for _ in range(3):  # what was removed can come back, and be told to go again
                await by_file(gateway, config_text(stays + main, reload=FAST))
                await gateway.until(runs)
                await answers(bot)
                await by_file(gateway, config_text(stays, reload=FAST))
                await gateway.until(lambda s: state_of(s) == {} and s["state"] == "running")
            for _ in range(2):
                await by_file(gateway, config_text(stays + main, reload=FAST))
                status = await gateway.until(runs)
                assert ("starting", "backoff") not in gateway.moves(MAIN)
                await answers(bot)
                await by_file(gateway, config_text(stays + disabled, reload=FAST))
                status = await gateway.until(
                    lambda s: state_of(s).get("state") == "stopped" and s["state"] == "running"
                )
                assert state_of(status)["enabled"] is False
                polls = bot.stats.polls
                code, body = await call(gateway, "start")
                assert (code, body["error"]["details"]["guards"]) == (409, ["is_enabled"])
                await by_file(gateway, config_text(stays + main, reload=FAST))
                await gateway.until(runs)
                assert bot.stats.polls > polls
                await by_file(gateway, config_text(stays, reload=FAST))
                await gateway.until(lambda s: state_of(s) == {} and s["state"] == "running")
                polls = bot.stats.polls
                code, body = await call(gateway, "start")
                assert code == 404
            await asyncio.sleep(0.5)
            assert bot.stats.polls == polls
            status = await at_rest(gateway)
            assert status["restarts"] == 0
            assert runs(status, 1, "telegram/stays")
            assert other.stats.polls == 2
            one_receiver(bot)
            one_receiver(other)


async def test_case_62_of_nine_accounts_only_the_edited_one_is_touched(tmp_path: Path) -> None:
    """One of nine is edited, by file and by call: the polls of the other eight are not even interrupted."""
    async with FakeTelegram() as telegram:
        bots = [telegram.add_bot(f"{1100 + number}:a-bots-secret-{number:04}", f"bot{number}") for number in range(9)]
        accounts = "".join(
            telegram_account(f"n{number}", bot.token, telegram.url, poll_timeout_s=40)
            for number, bot in enumerate(bots)
        )
        async with Gateway(tmp_path, config_text(accounts, reload=FAST)) as gateway:
            client = await gateway.client()
            await gateway.until(lambda s: all(runs(s, 1, f"telegram/n{number}") for number in range(9)))
            for bot in bots:
                await bot.wait_polls(2)
            held = [bot.stats.poll_log[-1] for bot in bots]
            answer = await client.patch(poll_timeout(41, "n4"))
            assert list(answer["receipt"]["plan"]["accounts"]) == ["telegram/n4"]
            lines = gateway.config.read_text().splitlines(keepends=True)
            edited = [
                line.replace("poll_timeout_s: 41", "poll_timeout_s: 42") if "n4:" in line else line for line in lines
            ]
            await gateway.edit(lambda _: "".join(edited))
            await gateway.until(lambda s: runs(s, 3, "telegram/n4"))
            assert bots[4].stats.poll_log[-1].timeout_param in (0, 42)
            for number in (0, 1, 2, 3, 5, 6, 7, 8):
                assert bots[number].stats.poll_log[-1] is held[number], "its poll was interrupted"
                assert gateway.starts(f"telegram/n{number}") == 1
            for bot in bots:
                one_receiver(bot)


async def test_case_40_a_foreign_receiver_is_a_conflict_that_heals(tmp_path: Path) -> None:
    """Another program polls the same bot: the account says `conflict`, waits longer than the other's poll can last, and
    one attempt later it runs again, with what came meanwhile. No 409 of our own is added. (case 40, case 41)"""
    async with FakeTelegram() as telegram:
        bot = telegram.add_bot(TOKEN, "main_bot")
        async with Gateway(tmp_path, one_account(telegram, poll_timeout_s=1)) as gateway:
            await gateway.until(runs)
            with bot.foreign_poll(timeout=30):
                status = await gateway.until(lambda s: state_of(s)["state"] == "conflict")
                assert state_of(status)["conflicts"] == 1
                assert "Conflict" in state_of(status)["error"]
                assert status["state"] == "running"
                polls = bot.stats.polls
                await asyncio.sleep(3)
                assert bot.stats.polls == polls, "retried while the other was there"
            bot.push("while you were away", chat_id=7)
            await bot.wait_sent(1, timeout=20)
            status = await gateway.until(lambda s: runs(s, 2))
            assert bot.stats.conflicts_foreign == 1
            assert [gateway.starts(MAIN), status["restarts"]] == [2, 0]
            one_receiver(bot)
