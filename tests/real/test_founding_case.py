"""The founding case: whatever happens to the config, by whatever road, it is applied once.

Everything here is real: the process, its file, its signals, its WebSocket. The referee is the Bot API server,
which counts receivers, and not what the gateway says of itself.
"""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

from tests.fakes.telegram import FakeTelegram
from tests.real.bots import (
    MAIN,
    TOKEN,
    answers,
    applied,
    at_rest,
    one_account,
    one_receiver,
    outcome_of,
    outcomes_of,
    poll_timeout,
    revision_of,
    runs,
    tickets_seen,
)
from tests.real.process import Client, Gateway, attempt, config_text, side_by_side, telegram_account


async def test_case_1_a_call_that_changes_one_account_restarts_it_once(tmp_path: Path) -> None:
    """config.apply, config.patch, PUT and PATCH of channels.telegram alone: the watcher sees the write too, and for
    five seconds nothing more happens than one restart of that account. (case 1, case 63)"""

    async def scenario(number: int, call: str, telegram: FakeTelegram) -> None:
        token = f"{2000 + number}:a-bots-secret-{number:04}"
        bot = telegram.add_bot(token, f"bot{number}")
        folder = tmp_path / str(number)
        folder.mkdir()
        text = config_text(telegram_account("main", token, telegram.url, poll_timeout_s=20))
        async with Gateway(folder, text) as gateway:
            client = await gateway.client()
            await gateway.until(lambda s: runs(s, 1))
            config = await client.request("config.get")
            changed = config["raw"].replace('"poll_timeout_s": 20', '"poll_timeout_s": 21')
            changed = changed.replace("poll_timeout_s: 20", "poll_timeout_s: 21")
            assert changed != config["raw"]
            assert token not in changed
            if call == "config.apply":
                answer = await client.request(call, {"raw": changed, "baseHash": config["hash"]})
                receipt = answer["receipt"]
                assert answer["ok"] is True
            elif call == "config.patch":
                receipt = (await client.patch(poll_timeout(21)))["receipt"]
            else:
                headers = {"If-Match": f'"{config["hash"]}"', "Content-Type": "application/json"}
                body = poll_timeout(21) if call == "PATCH" else changed
                if call == "PUT":
                    headers["Content-Type"] = "application/yaml"
                code, receipt = await gateway.http(call, "/api/v1/config", data=body.encode(), headers=headers)
                assert code == 200, receipt
            # The answer is the truth: applied by now, and nothing else announced.
            assert receipt["outcome"] == "applied"
            assert receipt["restart"] is None
            assert receipt["changed_paths"] == ["channels.telegram.accounts.main.poll_timeout_s"]
            assert receipt["plan"]["accounts"][MAIN]["generation"] == 2
            status = await gateway.status()
            assert runs(status, 2)
            assert status["config"]["applied"] == status["config"]["on_disk"] == receipt["hash"]
            await asyncio.sleep(5)
            status = await at_rest(gateway, client)
            assert runs(status, 2)
            assert status["restarts"] == 0
            assert len(gateway.boots) == 1
            assert gateway.starts(MAIN) == 2  # the boot's and the change's
            assert await outcome_of(gateway, receipt["request"]) == "done"
            assert "restart_pending" not in [dest for _, dest in gateway.moves("gateway")]
            assert bot.stats.poll_log[-1].timeout_param == 21
            assert f'token: "{token}"' in gateway.config.read_text()
            one_receiver(bot)
            await answers(bot)

    async with FakeTelegram() as telegram:
        calls = ("config.apply", "config.patch", "PUT", "PATCH")
        await side_by_side({call: scenario(number, call, telegram) for number, call in enumerate(calls)})


async def test_case_1_the_watcher_is_first(tmp_path: Path) -> None:
    """The very bytes that a call is about to write are written by hand, just before or at the same time, with a debounce
    and without one: however the two meet, it is one application."""

    async def by_hand_then_apply(gateway: Gateway, client: Client, text: str, _: str) -> None:
        await gateway.edit(lambda _: text)
        answer = await client.request("config.apply", {"raw": text, "baseHash": revision_of(text)})
        assert answer["receipt"]["outcome"] in ("applied", "noop")

    async def applied_by_hand_then_apply(gateway: Gateway, client: Client, text: str, _: str) -> None:
        await gateway.edit(lambda _: text)
        await gateway.until(lambda s: applied(s, text))
        answer = await client.request("config.apply", {"raw": text, "baseHash": revision_of(text)})
        assert answer["receipt"]["outcome"] == "noop"
        assert answer["noop"] is True

    async def race(gateway: Gateway, client: Client, text: str, base: str) -> None:
        applying = attempt(client.request("config.apply", {"raw": text, "baseHash": base}))
        answer, _ = await asyncio.gather(applying, gateway.edit(lambda _: text))
        # Where by hand was first, the base is not what is on disk any more.
        assert isinstance(answer, dict) or answer.error["details"]["currentHash"] == revision_of(text)

    async def scenario(number: int, debounce: int, meet: Any, telegram: FakeTelegram) -> None:
        token = f"{3000 + number}:a-bots-secret-{number:04}"
        bot = telegram.add_bot(token, f"bot{number}")
        folder = tmp_path / str(number)
        folder.mkdir()
        account = telegram_account("main", token, telegram.url, poll_timeout_s=20)
        text = config_text(account, reload=f"{{mode: hybrid, debounce_ms: {debounce}}}")
        changed = text.replace("poll_timeout_s: 20", "poll_timeout_s: 21")
        async with Gateway(folder, text) as gateway:
            client = await gateway.client()
            await gateway.until(lambda s: runs(s, 1))
            await meet(gateway, client, changed, revision_of(text))
            await gateway.until(lambda s: applied(s, changed) and runs(s, 2))
            await asyncio.sleep(3)
            status = await at_rest(gateway, client)
            assert runs(status, 2)
            assert status["restarts"] == 0
            assert gateway.starts(MAIN) == 2
            assert bot.stats.poll_log[-1].timeout_param == 21
            one_receiver(bot)

    async with FakeTelegram() as telegram:
        meetings = (by_hand_then_apply, applied_by_hand_then_apply, race)
        ways = [(debounce, meet) for debounce in (0, 300) for meet in meetings]
        await side_by_side(
            {f"{way[1].__name__}, {way[0]} ms": scenario(n, *way, telegram) for n, way in enumerate(ways)}
        )


async def test_case_1_a_signal_at_any_time_after_a_patch(tmp_path: Path) -> None:
    """SIGUSR1 0, 50, 100 ... 3000 ms after a patch, in a gateway of its own each: the patch is applied, the gateway
    restarts exactly once, every request ends in one outcome, and never are there two receivers. (cases 1, 2, 3)"""

    async def scenario(number: int, offset_ms: int, telegram: FakeTelegram) -> None:
        token = f"{4000 + number}:a-bots-secret-{number:04}"
        folder = tmp_path / str(offset_ms)
        folder.mkdir()
        text = config_text(
            telegram_account("main", token, telegram.url, poll_timeout_s=20),
            restart="{delay_ms: 600, cooldown_ms: 0}",
        )
        bot = telegram.add_bot(token, f"bot{number}")
        async with Gateway(folder, text) as gateway:
            client = await gateway.client()
            await gateway.until(lambda s: runs(s, 1))
            base = (await client.request("config.get"))["hash"]
            patching = asyncio.ensure_future(
                client.request("config.patch", {"raw": poll_timeout(21), "baseHash": base})
            )
            await asyncio.sleep(offset_ms / 1000)
            gateway.signal(signal.SIGUSR1)
            answer = await patching
            assert answer["ok"] is True
            assert answer["receipt"]["outcome"] == "applied"
            await gateway.until(lambda s: s["restarts"] == 1 and runs(s, 3))
            await asyncio.wait_for(client.socket_closed(), 10)
            assert client.socket.close_code == 1012
            await asyncio.sleep(0.8)  # longer than the delay: a second restart would have come by now
            status = await at_rest(gateway, client)
            assert status["restarts"] == 1
            assert len(gateway.boots) == 2
            assert status["config"]["applied"] == status["config"]["on_disk"] == answer["hash"]
            assert runs(status, 3)
            assert gateway.starts(MAIN) == 3  # boot, patch, restart
            assert [dest for _, dest in gateway.moves("gateway")].count("restarting") == 1
            outcomes = await outcomes_of(gateway, {answer["receipt"]["request"], *tickets_seen(client)})
            # The patch's own request and the signal's ticket; the patch's ticket, where it was seen, was not needed.
            assert outcomes.count("done") == 2, outcomes
            assert set(outcomes) <= {"done", "superseded"}, outcomes
            assert bot.stats.poll_log[-1].timeout_param == 21
            one_receiver(bot)

    async with FakeTelegram() as telegram:
        offsets = range(0, 3001, 50)
        scenarios = {f"{offset} ms": scenario(n, offset, telegram) for n, offset in enumerate(offsets)}
        await side_by_side(scenarios, at_once=10)


async def test_case_1_a_file_edit_a_patch_and_a_signal_within_one_second(tmp_path: Path) -> None:
    """Three roads at once: both changes run afterwards, by one restart of the gateway."""
    async with FakeTelegram() as telegram:
        bot = telegram.add_bot(TOKEN, "main_bot")
        async with Gateway(tmp_path, one_account(telegram)) as gateway:
            client = await gateway.client()
            await gateway.until(runs)
            await gateway.edit(lambda text: text.replace("port: 0,", "port: 0, allowed_origins: [http://edited:1],"))
            await asyncio.sleep(0.2)
            answer = await client.patch(poll_timeout(22))
            await asyncio.sleep(0.3)
            gateway.signal(signal.SIGUSR1)
            await gateway.until(lambda s: s["restarts"] == 1 and runs(s))
            await asyncio.sleep(2.5)
            status = await at_rest(gateway, client)
            assert status["restarts"] == 1
            assert status["config"]["applied"] == status["config"]["on_disk"] == answer["hash"]
            assert gateway.starts(MAIN) == 3
            assert bot.stats.poll_log[-1].timeout_param == 22
            _, config = await gateway.http("GET", "/api/v1/config")
            assert config["config"]["gateway"]["admin"]["allowed_origins"] == ["http://edited:1"]
            one_receiver(bot)
            await answers(bot)


async def test_case_2_two_signals_are_one_restart_and_replies_still_go_out(tmp_path: Path) -> None:
    """A patch, then SIGUSR1 twice, 1.45 s apart: the second joins the first, clients are closed once, and the reply to a
    message afterwards goes through the receiver of today. (case 2, case 3)"""
    async with FakeTelegram() as telegram:
        bot = telegram.add_bot(TOKEN, "main_bot")
        async with Gateway(tmp_path, one_account(telegram)) as gateway:
            client = await gateway.client()
            await gateway.until(runs)
            await client.patch(poll_timeout(21))
            gateway.signal(signal.SIGUSR1)
            await asyncio.sleep(1.45)
            gateway.signal(signal.SIGUSR1)
            await gateway.until(lambda s: s["restarts"] == 1 and runs(s, 3))
            again = await gateway.client()
            await asyncio.sleep(2.5)
            await at_rest(gateway, client)
            assert len(gateway.boots) == 2
            assert client.socket.close_code == 1012
            assert not again.socket.closed
            assert len(tickets_seen(client)) >= 2
            assert gateway.starts(MAIN) == 3
            one_receiver(bot)
            await answers(bot, "after two signals")
