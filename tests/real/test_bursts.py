"""Changes that come thick, or by writers that have not seen the last one: the last holds, and the same again is nothing."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path
from typing import Any

from tests.fakes.telegram import FakeTelegram
from tests.real.bots import (
    FAST,
    MAIN,
    TOKEN,
    answers,
    applied,
    at_rest,
    moves,
    one_account,
    one_receiver,
    outcomes_of,
    poll_timeout,
    revision_of,
    runs,
    state_of,
)
from tests.real.process import Gateway, RpcError, attempt


async def test_case_54_twenty_patches_in_a_burst_end_with_the_last(tmp_path: Path) -> None:
    """Twenty patches at once, each reading the hash again when it was stale: all are written, one after the other; what
    is applied in the end is what is on disk, and no account was ever received twice. (case 54, case 62)"""
    async with FakeTelegram() as telegram:
        bot = telegram.add_bot(TOKEN, "main_bot")
        async with Gateway(tmp_path, one_account(telegram)) as gateway:
            client = await gateway.client()
            await gateway.until(runs)
            written: list[dict[str, Any]] = []

            async def write(number: int) -> None:
                patch: dict[str, Any] = {
                    "channels": {"telegram": {"accounts": {"main": {"poll_timeout_s": 21 + number}}}}
                }
                patch |= {"gateway": {"admin": {"allowed_origins": [f"http://writer:{number}"]}}}
                patching = {"raw": json.dumps(patch), "replacePaths": ["gateway.admin.allowed_origins"]}
                while True:
                    base = (await client.request("config.get"))["hash"]
                    answer = await attempt(client.request("config.patch", {**patching, "baseHash": base}))
                    if isinstance(answer, dict):
                        written.append(answer["receipt"])
                        return
                    assert "currentHash" in answer.error["details"], answer.error

            await asyncio.gather(*map(write, range(20)))
            assert len({receipt["revision"] for receipt in written}) == 20
            await asyncio.sleep(2.5)
            status = await at_rest(gateway, client)
            text = gateway.config.read_text()
            assert applied(status, text)
            assert status["config"]["on_disk"] == revision_of(text)
            assert status["restarts"] == 0
            assert gateway.starts(MAIN) == state_of(status)["generation"] <= 21
            assert f"poll_timeout_s: {bot.stats.poll_log[-1].timeout_param}}}" in text
            assert set(await outcomes_of(gateway, (receipt["request"] for receipt in written))) == {"done"}
            one_receiver(bot)
            await answers(bot)


async def test_case_54_of_six_writers_with_one_hash_one_wins(tmp_path: Path) -> None:
    """Six writers that saw the same config: one wins, five are told plainly, with the hash of now; nothing is lost."""
    async with FakeTelegram() as telegram:
        bot = telegram.add_bot(TOKEN, "main_bot")
        async with Gateway(tmp_path, one_account(telegram)) as gateway:
            client = await gateway.client()
            await gateway.until(runs)
            base = (await client.request("config.get"))["hash"]
            calls = [
                client.request("config.patch", {"raw": poll_timeout(21 + number), "baseHash": base})
                for number in range(6)
            ]
            results = await asyncio.gather(*calls, return_exceptions=True)
            refused = [result.error for result in results if isinstance(result, RpcError)]
            assert len(refused) == 5
            now = revision_of(gateway.config.read_text())
            for error in refused:
                assert error["code"] == "INVALID_REQUEST"
                assert error["details"]["currentHash"] == now
                assert "nothing was written" in error["message"]
            assert runs(await at_rest(gateway, client), 2)
            one_receiver(bot)


async def test_case_4_a_second_edit_shortly_after_the_first_is_not_dropped(tmp_path: Path) -> None:
    """Write A, then B one second later, also while a restart is on its way: it ends with B."""
    async with FakeTelegram() as telegram:
        bot = telegram.add_bot(TOKEN, "main_bot")
        async with Gateway(tmp_path, one_account(telegram, reload=FAST)) as gateway:
            client = await gateway.client()
            await gateway.until(runs)
            for seconds, restart in ((21, False), (23, True)):
                if restart:
                    gateway.signal(signal.SIGUSR1)
                before = gateway.config.read_text()
                first = before.replace(f"poll_timeout_s: {seconds - 1}", f"poll_timeout_s: {seconds}")
                second = before.replace(f"poll_timeout_s: {seconds - 1}", f"poll_timeout_s: {seconds + 1}")
                assert len({before, first, second}) == 3
                await gateway.edit(lambda _, text=first: text)  # type: ignore[misc]
                await asyncio.sleep(1)
                await gateway.edit(lambda _, text=second: text)  # type: ignore[misc]
                await gateway.until(lambda s, text=second, n=int(restart): applied(s, text) and s["restarts"] == n)  # type: ignore[misc]
            await asyncio.sleep(1)
            status = await at_rest(gateway, client)
            assert status["restarts"] == 1
            assert bot.stats.poll_log[-1].timeout_param == 24
            assert gateway.starts(MAIN) == state_of(status)["generation"]
            one_receiver(bot)


async def test_case_59_the_same_config_again_causes_nothing(tmp_path: Path) -> None:
    """The same bytes saved again, by hand and by call, and a comment changed: neither the gateway nor an account moves, and
    nothing is said to differ afterwards. Who calls gets a change of its own, which ends; who saves the same gets none."""
    async with FakeTelegram() as telegram:
        bot = telegram.add_bot(TOKEN, "main_bot")
        text = one_account(telegram, poll_timeout_s=30, reload=FAST)
        async with Gateway(tmp_path, text) as gateway:
            client = await gateway.client()
            await gateway.until(runs)
            await bot.wait_polls(2)
            seq, polls = (await gateway.journal())[-1]["seq"], bot.stats.polls
            for _ in range(3):
                await gateway.edit(lambda same: same)
                await asyncio.sleep(0.3)
            gateway.config.write_text(text)
            await asyncio.sleep(0.3)
            assert [entry for entry in await moves(gateway, seq) if entry["machine"] != "change/1"] == []
            raw = (await client.request("config.get"))["raw"]
            answer = await client.request("config.apply", {"raw": raw, "baseHash": revision_of(text)})
            assert answer["noop"] is True
            assert gateway.config.read_text() == text
            await client.patch("{}")
            gateway.signal(signal.SIGHUP)
            commented = text.replace("# a comment that", "# another comment, which")
            await gateway.edit(lambda _: commented)
            await gateway.until(lambda s: s["config"]["on_disk"] == revision_of(commented))
            await asyncio.sleep(2.5)
            status = await at_rest(gateway, client)
            assert status["config"]["applied"] == revision_of(commented)
            assert status["config"]["drift"] is False
            assert status["degraded"] == []
            moved = {entry["machine"] for entry in await moves(gateway, seq)}
            # The boot's, of the call with the same bytes, of the empty patch, and of the comment.
            assert moved == {"change/1", "change/2", "change/3", "change/4"}
            assert runs(status, 1)
            assert bot.stats.polls == polls
