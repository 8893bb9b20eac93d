"""The founding case and its relatives: whatever happens to the config, by whatever road, it is applied once.

Everything here is real: the process, its file, its signals, its WebSocket. The referee is the Bot API server,
which counts receivers, and not what the gateway says of itself.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.fakes.telegram import Bot, FakeTelegram
from tests.real.process import Client, Gateway, RpcError, attempt, config_text, side_by_side, telegram_account

TOKEN = "1001:a-bots-secret-0001"
MAIN = "telegram/main"
STUBBORN = [sys.executable, "-m", "tests.real.stubborn_gateway"]
FAST = "{mode: hybrid, debounce_ms: 50}"

Road = Callable[[Gateway, str], Awaitable[Any]]
"""Brings a whole new text of the config to a gateway."""


def one_account(telegram: FakeTelegram, *, poll_timeout_s: int = 20, **more: Any) -> str:
    """The config of a gateway with the one bot of TOKEN."""
    account = telegram_account("main", TOKEN, telegram.url, poll_timeout_s=poll_timeout_s)
    return config_text(account, **more)


def poll_timeout(seconds: int, account: str = "main") -> str:
    """A patch that needs one account to restart, and nothing else."""
    return json.dumps({"channels": {"telegram": {"accounts": {account: {"poll_timeout_s": seconds}}}}})


def token(of_bot: str) -> str:
    """A patch that gives the account another token."""
    return json.dumps({"channels": {"telegram": {"accounts": {"main": {"token": of_bot}}}}})


def gateway_class(milliseconds: int) -> str:
    """A patch that needs the gateway to restart."""
    return json.dumps({"gateway": {"restart": {"defer_timeout_ms": milliseconds}}})


def revision_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def state_of(status: dict[str, Any], name: str = MAIN) -> dict[str, Any]:
    """An account of a status; an empty mapping when there is none."""
    return next((a for a in status["accounts"] if f"{a['channel']}/{a['account']}" == name), {})


def runs(status: dict[str, Any], generation: int | None = None, name: str = MAIN) -> bool:
    """The gateway is at rest and the account runs, in this generation if one is given."""
    account = state_of(status, name)
    at_rest = status["state"] == "running" and account.get("state") == "running"
    return at_rest and generation in (None, account["generation"])


def applied(status: dict[str, Any], text: str) -> bool:
    return bool(status["state"] == "running" and status["config"]["applied"] == revision_of(text))


async def answers(bot: Bot, text: str = "are you there?") -> None:
    """A message to the bot is answered by the echo."""
    before = len(bot.sent)
    bot.push(text, chat_id=7, user_id=5, username="ann")
    await bot.wait_sent(before + 1, timeout=20)
    assert bot.sent[-1]["text"] == text


def one_receiver(bot: Bot) -> None:
    """The promise: never two receivers of one account, and no 409 of our own making."""
    assert bot.stats.overlaps == 0
    assert bot.stats.conflicts_self == 0
    assert bot.stats.max_in_flight <= 1


def tickets_seen(client: Client) -> set[str]:
    """The ids of all tickets that this client was told of."""
    told = [frame["payload"] for frame in client.events if frame["event"] == "lifecycle"]
    return {ticket["id"] for payload in told for ticket in payload["tickets"]}


async def moves(gateway: Gateway, after: int) -> list[dict[str, Any]]:
    """What the journal has after that entry of machines that came into another state."""
    return [entry for entry in await gateway.journal() if entry["seq"] > after and entry["before"] != entry["after"]]


async def outcome_of(gateway: Gateway, request: str) -> str:
    code, body = await gateway.http("GET", f"/api/v1/requests/{request}")
    assert code == 200, body
    outcome: str = body["outcome"]
    return outcome


async def outcomes_of(gateway: Gateway, requests: Iterable[str]) -> list[str]:
    """The outcomes of requests, none of which may still be open."""
    outcomes = [await outcome_of(gateway, request) for request in sorted(requests)]
    assert "pending" not in outcomes, outcomes
    return outcomes


async def at_rest(gateway: Gateway, client: Client | None = None) -> dict[str, Any]:
    """Wait until nothing is under way; no ticket may be left, and each that was told of has an outcome."""
    status = await gateway.until(lambda s: s["state"] == "running" and not s["tickets"])
    if client is not None:
        await outcomes_of(gateway, tickets_seen(client))
    return status


# Roads


async def by_file(gateway: Gateway, text: str) -> None:
    await gateway.edit(lambda _: text)


async def by_apply(gateway: Gateway, text: str) -> dict[str, Any]:
    client = await gateway.client()
    base = (await client.request("config.get"))["hash"]
    return await client.request("config.apply", {"raw": text, "baseHash": base})


async def by_put(gateway: Gateway, text: str) -> dict[str, Any]:
    _, config = await gateway.http("GET", "/api/v1/config")
    headers = {"If-Match": f'"{config["hash"]}"', "Content-Type": "application/yaml"}
    code, receipt = await gateway.http("PUT", "/api/v1/config", data=text.encode(), headers=headers)
    assert code == 200, receipt
    return dict(receipt)


# The founding case


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


# When a hot reload fails


def stubborn_config(mode: str, *, delay_ms: int = 800) -> str:
    account = json.dumps({"mode": mode, "stop_timeout_ms": 300})
    return config_text(
        channels=f"  stubborn: {{accounts: {{it: {account}}}}}\n",
        restart=f"{{delay_ms: {delay_ms}, cooldown_ms: 0}}",
    )


def stubborn_patch(**changes: Any) -> str:
    return json.dumps({"channels": {"stubborn": {"accounts": {"it": changes}}}})


def most_alive(folder: Path) -> int:
    """How many receivers of the stubborn network could receive at once, at the worst moment."""
    alive = most = 0
    for line in (folder / "receivers").read_text().split():
        alive += 1 if line == "+" else -1
        most = max(most, alive)
    return most


async def test_case_6_a_receiver_that_neither_ends_nor_can_be_cut_off_makes_the_restart_the_safety_net(
    tmp_path: Path,
) -> None:
    """The old receiver does not end in time: no new one is opened, the state says so, and the revision's ticket stands.
    The restart happens, its request is answered, and the account runs when the old receiver has ended. (cases 6, 7, 20)"""
    name = "stubborn/it"
    # The reload gives up after 4.3 s, and its ticket is due only then.
    text = stubborn_config("deaf", delay_ms=6500)
    async with Gateway(tmp_path, text, command=STUBBORN) as gateway:
        client = await gateway.client()
        await gateway.until(lambda s: runs(s, 1, name))
        patching = asyncio.ensure_future(client.patch(stubborn_patch(mode="good")))
        status = await gateway.until(lambda s: state_of(s, name)["state"] == "stop_overdue")
        assert status["state"] == "hot_reloading"
        assert [ticket["reason"] for ticket in status["tickets"]] == ["config change"]
        assert any(reason["reason"] == "channel_failed" for reason in status["degraded"])
        # A start is refused, and says why: the old one may still receive.
        code, body = await gateway.http("POST", "/api/v1/channels/stubborn/it/start")
        assert code == 409
        assert body["error"]["details"]["state"] == "stop_overdue"
        answer = await patching
        receipt = answer["receipt"]
        assert receipt["outcome"] == "restart_pending"
        assert answer["ok"] is False, "its new receiver has received nothing"
        ticket = receipt["restart"]["id"]
        status = await gateway.status()
        assert status["state"] == "restart_pending"
        assert [(found["id"], found["revision"]) for found in status["tickets"]] == [(ticket, receipt["hash"])]
        assert state_of(status, name)["state"] == "stop_overdue"
        await gateway.until(lambda s: s["state"] == "restarting")
        assert state_of(await gateway.status(), name)["generation"] == 1
        (tmp_path / "release").touch()
        status = await gateway.until(lambda s: s["restarts"] == 1 and runs(s, 2, name))
        assert status["config"]["applied"] == receipt["hash"]
        assert await outcome_of(gateway, ticket) == "done"
        await at_rest(gateway)
        assert most_alive(tmp_path) == 1


async def test_case_6_a_receiver_that_does_not_end_is_cut_off_and_nothing_restarts(tmp_path: Path) -> None:
    """The old receiver does not end, but can be cut off: the reload succeeds without a restart."""
    name = "stubborn/it"
    async with Gateway(tmp_path, stubborn_config("fenceable"), command=STUBBORN) as gateway:
        client = await gateway.client()
        await gateway.until(lambda s: runs(s, 1, name))
        answer = await client.patch(stubborn_patch(mode="good"))
        assert answer["ok"] is True
        assert answer["receipt"]["outcome"] == "applied"
        assert ("stopping", "stop_overdue") in gateway.moves(name)
        await asyncio.sleep(1.5)
        status = await at_rest(gateway, client)
        assert runs(status, 2, name)
        assert status["restarts"] == 0
        assert most_alive(tmp_path) == 1
        (tmp_path / "release").touch()


@pytest.mark.parametrize("mode", ["broken", "unopenable"])
async def test_case_20_an_adapter_that_breaks_makes_the_restart_the_safety_net(tmp_path: Path, mode: str) -> None:
    """The new receiver meets something unforeseen when it starts: the revision's ticket stands, the restart happens, and
    its request has an outcome; the account is tried again and again, and a mended config ends that."""
    name = "stubborn/it"
    async with Gateway(tmp_path, stubborn_config("good"), command=STUBBORN) as gateway:
        client = await gateway.client()
        await gateway.until(lambda s: runs(s, 1, name))
        receipt = (await client.patch(stubborn_patch(mode=mode)))["receipt"]
        assert receipt["outcome"] == "restart_pending"
        status = await gateway.status()
        assert status["state"] == "restart_pending"
        assert [ticket["id"] for ticket in status["tickets"]] == [receipt["restart"]["id"]]
        assert "RuntimeError" in state_of(status, name)["error"]
        status = await gateway.until(lambda s: s["restarts"] == 1 and s["state"] == "running")
        assert await outcome_of(gateway, receipt["restart"]["id"]) == "done"
        assert status["config"]["applied"] == receipt["hash"]
        again = await gateway.client()
        answer = await again.patch(stubborn_patch(mode="good"))
        assert answer["receipt"]["outcome"] == "applied"
        assert runs(await at_rest(gateway, client), None, name)
        assert (await gateway.status())["restarts"] == 1
        assert most_alive(tmp_path) == 1


async def test_case_40_a_token_that_telegram_refuses_fails_its_account_alone(tmp_path: Path) -> None:
    """A token that nobody knows is refused before anything ends. One that is told who it is and may not receive: that account
    is `failed`, at once and for good; no ticket, no restart, the other account goes on. The right token brings it back.
    (case 40, case 46)"""
    async with FakeTelegram() as telegram:
        bot, other = telegram.add_bot(TOKEN, "main_bot"), telegram.add_bot("1002:another-secret-02", "other_bot")
        accounts = telegram_account("main", TOKEN, telegram.url)
        accounts += telegram_account("other", other.token, telegram.url, poll_timeout_s=30)
        async with Gateway(tmp_path, config_text(accounts)) as gateway:
            client = await gateway.client()
            await gateway.until(lambda s: runs(s) and runs(s, name="telegram/other"))
            await other.wait_polls(2)
            polls = other.stats.polls
            refused = await attempt(client.patch(token("1003:nobody-knows-this-one")))
            assert isinstance(refused, RpcError)
            assert refused.error["code"] == "INVALID_REQUEST"
            assert "its network refuses it" in refused.error["message"]
            assert gateway.starts(MAIN) == 1
            mute = telegram.add_bot("1001:another-of-the-same-bot", "mute_bot")
            mute.fail_next(401, method="getUpdates", times=1000)
            answer = await client.patch(token(mute.token))
            assert answer["ok"] is False
            assert answer["receipt"]["outcome"] == "applied"
            assert answer["receipt"]["plan"]["accounts"][MAIN]["state"] == "failed"
            status = await gateway.status()
            assert status["tickets"] == []
            assert state_of(status)["state"] == "failed"
            assert "Unauthorized" in state_of(status)["error"]
            assert any(reason["reason"] == "channel_failed" for reason in status["degraded"])
            await asyncio.sleep(3)
            status = await gateway.status()
            assert (status["state"], status["restarts"], state_of(status)["state"]) == ("running", 0, "failed")
            assert gateway.starts(MAIN) == 2
            answer = await client.patch(token(TOKEN))
            assert answer["ok"] is True
            assert other.stats.polls == polls
            await answers(bot)
            one_receiver(bot)


# Bursts and stale writers


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


# Restarts: asked for, joined, cancelled, taken back


async def restart(gateway: Gateway, **params: Any) -> dict[str, Any]:
    code, body = await gateway.http("POST", "/api/v1/restart", json=params)
    assert code == 202, body
    return dict(body)


async def test_case_15_requests_join_and_an_earlier_one_pulls_the_restart_in(tmp_path: Path) -> None:
    """Several requests within a second are one restart; an earlier due time pulls it in, a later one never pushes it out,
    each gets an id and one outcome. Within the cooldown the next one waits, and says so. (case 15, case 20)"""
    text = config_text(restart="{delay_ms: 20000, cooldown_ms: 2500}")
    async with Gateway(tmp_path, text) as gateway:
        await gateway.until(lambda s: s["state"] == "running")
        far = await restart(gateway, delay_ms=20_000, reason="far")
        near = await restart(gateway, delay_ms=500, reason="near")
        late = await restart(gateway, delay_ms=30_000, reason="late")
        assert far["outcome"] == "done"
        assert (near["outcome"], late["outcome"]) == ("coalesced", "coalesced")
        assert late["joined"] == near["id"]
        assert late["due_in_ms"] <= 500
        assert (await gateway.status())["waiting"] == "delay"
        await gateway.until(lambda s: s["restarts"] == 1 and s["state"] == "running")
        assert await outcomes_of(gateway, [far["id"], near["id"], late["id"]]) == ["done"] * 3
        cooling = await restart(gateway, delay_ms=0, reason="too soon")
        assert 500 < cooling["due_in_ms"] <= 2500
        assert 0 < cooling["cooldown_ms"] <= 2500
        assert (await gateway.status())["waiting"] == "cooldown"
        await gateway.until(lambda s: s["restarts"] == 2 and s["state"] == "running")
        assert await outcome_of(gateway, cooling["id"]) == "done"
        assert len(gateway.boots) == 3


async def test_case_20_a_cancelled_restart_does_not_happen(tmp_path: Path) -> None:
    """Cancelling a request ends it and no other; cancelling what is over, or never was, is answered as such."""
    async with Gateway(tmp_path, config_text()) as gateway:
        client = await gateway.client()
        await gateway.until(lambda s: s["state"] == "running")
        asked = await restart(gateway, delay_ms=800)
        code, body = await gateway.http("DELETE", f"/api/v1/restart/{asked['id']}")
        assert (code, body["outcome"], body["state"]) == (200, "cancelled", "running")
        code, body = await gateway.http("DELETE", f"/api/v1/restart/{asked['id']}")
        assert code == 409
        assert body["error"]["details"] | {"allowed": 0, "guards": 0} == {
            "machine": "gateway", "state": "running", "trigger": "restart_cancelled", "allowed": 0, "guards": 0,
        }  # fmt: skip
        code, body = await gateway.http("DELETE", "/api/v1/restart/restart-that-never-was")
        assert (code, body["error"]["code"]) == (404, "not_found")
        with pytest.raises(RpcError) as never:
            await client.request("lifecycle.cancelRestart", {"id": "restart-that-never-was"})
        assert never.value.error["code"] == "INVALID_REQUEST"
        await asyncio.sleep(1.5)
        status = await at_rest(gateway, client)
        assert status["restarts"] == 0
        assert await outcome_of(gateway, asked["id"]) == "cancelled"
        # Of two, the other one still restarts.
        first, second = await restart(gateway, delay_ms=700), await restart(gateway, delay_ms=900)
        await client.request("lifecycle.cancelRestart", {"id": first["id"]})
        await gateway.until(lambda s: s["restarts"] == 1 and s["state"] == "running")
        assert await outcomes_of(gateway, [first["id"]]) == ["cancelled"]
        assert await outcomes_of(gateway, [second["id"]]) == ["done"]


async def test_case_21_taking_an_edit_back_cancels_the_restart_that_it_needed(tmp_path: Path) -> None:
    """An edit that needs a restart is taken back before it comes, by file and by call: no restart, and the ticket says
    why. A restart that a person asked for meanwhile stays."""
    text = config_text(restart="{delay_ms: 1500, cooldown_ms: 0}", reload=FAST)
    async with Gateway(tmp_path, text) as gateway:
        client = await gateway.client()
        await gateway.until(lambda s: s["state"] == "running")
        # By file: another name of the same address.
        moved = text.replace("admin: {port: 0,", "admin: {host: localhost, port: 0,")
        await gateway.edit(lambda _: moved)
        status = await gateway.until(lambda s: s["state"] == "restart_pending")
        assert [ticket["revision"] for ticket in status["tickets"]] == [revision_of(moved)]
        assert status["config"]["drift"] is True
        await gateway.edit(lambda _: text)
        status = await at_rest(gateway, client)
        assert status["config"]["applied"] == status["config"]["on_disk"] == revision_of(text)
        assert status["config"]["drift"] is False
        # By call, and back by file.
        receipt = (await client.patch(gateway_class(200_000)))["receipt"]
        assert (receipt["outcome"], receipt["plan"]["class"]) == ("restart_pending", "gateway")
        assert receipt["restart"]["due_in_ms"] <= 1500
        await gateway.edit(lambda _: text)
        await at_rest(gateway, client)
        # By call, and back by call.
        receipt = (await client.patch(gateway_class(200_000)))["receipt"]
        back = (await client.patch(json.dumps({"gateway": {"restart": {"defer_timeout_ms": None}}})))["receipt"]
        assert back["outcome"] == "noop"
        await asyncio.sleep(2)
        status = await at_rest(gateway, client)
        assert status["restarts"] == 0
        assert set(await outcomes_of(gateway, tickets_seen(client))) == {"superseded"}
        assert len(tickets_seen(client)) >= 3
        # A person's request outlives the edit that was taken back.
        await client.patch(gateway_class(200_000))
        asked = await restart(gateway, delay_ms=1500)
        await client.patch(json.dumps({"gateway": {"restart": {"defer_timeout_ms": None}}}))
        status = await gateway.status()
        assert [ticket["id"] for ticket in status["tickets"]] == [asked["id"]]
        await gateway.until(lambda s: s["restarts"] == 1 and s["state"] == "running")
        assert await outcome_of(gateway, asked["id"]) == "done"


async def test_case_21_a_hot_edit_while_a_restart_is_pending_is_applied_and_the_ticket_stays(tmp_path: Path) -> None:
    """While a ticket is open, a change of an account is applied at once; the ticket is neither lost nor doubled: one
    restart follows. For a ticket of a signal, and for one of a config change that needs a restart."""
    async with FakeTelegram() as telegram:
        bot = telegram.add_bot(TOKEN, "main_bot")
        text = one_account(telegram, restart="{delay_ms: 1500, cooldown_ms: 0}", reload=FAST)
        async with Gateway(tmp_path, text) as gateway:
            client = await gateway.client()
            await gateway.until(runs)
            asked = await restart(gateway, delay_ms=2000)
            answer = await client.patch(poll_timeout(21))
            assert answer["receipt"]["outcome"] == "applied"
            await gateway.edit(lambda now: now.replace("poll_timeout_s: 21", "poll_timeout_s: 22"))
            status = await gateway.until(lambda s: state_of(s)["generation"] == 3 and s["state"] == "restart_pending")
            assert [ticket["id"] for ticket in status["tickets"]] == [asked["id"]]
            await gateway.until(lambda s: s["restarts"] == 1 and runs(s, 4))

            client = await gateway.client()
            pending = (await client.patch(gateway_class(200_000)))["receipt"]
            answer = await client.patch(poll_timeout(23))
            receipt = answer["receipt"]
            assert receipt["outcome"] == "restart_pending"
            assert receipt["restart"]["id"] == pending["restart"]["id"]
            assert receipt["plan"]["accounts"][MAIN]["state"] == "running"
            await bot.wait_polling()
            assert bot.stats.poll_log[-1].timeout_param in (0, 23)
            status = await gateway.status()
            assert status["state"] == "restart_pending"
            assert [ticket["id"] for ticket in status["tickets"]] == [pending["restart"]["id"]]
            await gateway.until(lambda s: s["restarts"] == 2 and runs(s, 6))
            await asyncio.sleep(2)
            status = await at_rest(gateway, client)
            assert status["restarts"] == 2
            assert status["config"]["applied"] == status["config"]["on_disk"] == receipt["hash"]
            one_receiver(bot)


async def test_case_5_a_restart_waits_for_work_and_folds_what_changes_meanwhile(tmp_path: Path) -> None:
    """A reply is half sent when the restart is due: it waits and says so; the restart then brings nothing old back, and
    the reply arrived. A forced one does not wait. (case 5, case 17)"""
    async with FakeTelegram() as telegram:
        bot = telegram.add_bot(TOKEN, "main_bot")
        async with Gateway(tmp_path, one_account(telegram, reload=FAST)) as gateway:
            client = await gateway.client()
            await gateway.until(runs)
            bot.fail_next(method="sendMessage", hang=2.0)
            bot.push("take your time", chat_id=7)
            await gateway.until(lambda s: s["pending"]["messages"] == 1)
            asked = await restart(gateway, delay_ms=0)
            await gateway.until(lambda s: s["waiting"] == "idle")
            assert await outcome_of(gateway, asked["id"]) == "pending"
            await bot.wait_sent(1)
            await gateway.until(lambda s: s["restarts"] == 1 and runs(s))
            assert await outcome_of(gateway, asked["id"]) == "done"
            assert [sent["text"] for sent in bot.sent] == ["take your time"]
            bot.fail_next(method="sendMessage", hang=3.0)
            bot.push("never mind", chat_id=7)
            await gateway.until(lambda s: s["pending"]["messages"] == 1)
            await restart(gateway, delay_ms=0, force=True)
            await gateway.until(lambda s: s["restarts"] == 2)
            await bot.wait_sent(2, timeout=20)
            await at_rest(gateway, client)
            await asyncio.sleep(1)
            assert gateway.starts(MAIN) == 3
            one_receiver(bot)


async def write_on(write: Callable[[str, str], Awaitable[str]], gateway: Gateway) -> str | None:
    """Write one name after the other until a write has no answer; that name, None when all were answered."""
    base, number = revision_of(gateway.config.read_text()), 0
    while (await gateway.status())["restarts"] == 0 or number < 3:
        number += 1
        name = f"name-{number}"
        try:
            base = await write(name, base)
        except (ConnectionError, aiohttp.ClientError):
            return name
    return None


async def test_case_63_no_answer_is_lost_to_a_restart(tmp_path: Path) -> None:
    """Writers write without a pause while the gateway restarts: whatever was written, its writer was told so, and the
    restart was not held up by them. Six gateways with a WebSocket writer and six with an HTTP one. (case 63)"""

    async def scenario(number: int, *, over_ws: bool) -> None:
        folder = tmp_path / str(number)
        folder.mkdir()
        async with Gateway(folder, config_text(restart="{delay_ms: 0, cooldown_ms: 0}")) as gateway:
            await gateway.until(lambda s: s["state"] == "running")
            client = await gateway.client()

            async def by_ws(name: str, base: str) -> str:
                raw = json.dumps({"gateway": {"name": name}})
                while True:
                    answer = await attempt(client.request("config.patch", {"raw": raw, "baseHash": base}))
                    if isinstance(answer, dict):
                        return str(answer["hash"])
                    assert answer.error.get("retryable"), answer.error

            async def by_http(name: str, base: str) -> str:
                headers = {"If-Match": f'"{base}"', "Content-Type": "application/json"}
                body = json.dumps({"gateway": {"name": name}})
                while True:
                    code, answer = await gateway.http("PATCH", "/api/v1/config", data=body, headers=headers)
                    if code == 200:
                        return str(answer["hash"])
                    assert code == 503, answer

            writing = asyncio.ensure_future(write_on(by_ws if over_ws else by_http, gateway))
            await asyncio.sleep(0.2 + number * 0.013)
            gateway.signal(signal.SIGUSR1)
            unanswered = await asyncio.wait_for(writing, 30)
            text = gateway.config.read_text()
            await gateway.until(lambda s: s["restarts"] == 1 and applied(s, text))
            moved = {entry["after"]: entry["at"] for entry in await gateway.journal() if entry["machine"] == "gateway"}
            assert moved["running"] - moved["restarting"] < 4000, "the restart waited for a writer"
            assert unanswered is None or f"name: {unanswered}\n" not in text, "written, and its writer was not told"

    await side_by_side({str(number): scenario(number, over_ws=number < 6) for number in range(12)}, at_once=4)


async def test_reload_mode_off_an_edit_is_drift_and_a_call_asks_for_a_restart(tmp_path: Path) -> None:
    """With `reload.mode: off` an edit of the file changes nothing and is said to differ; who then applies the file as it
    is, by call, gets the restart that it needs."""
    async with FakeTelegram() as telegram:
        bot = telegram.add_bot(TOKEN, "main_bot")
        off = "{mode: 'off', debounce_ms: 50}"
        text = one_account(telegram, reload=off, restart="{delay_ms: 300, cooldown_ms: 0}")
        async with Gateway(tmp_path, text) as gateway:
            client = await gateway.client()
            await gateway.until(lambda s: runs(s, 1))
            edited = text.replace("poll_timeout_s: 20", "poll_timeout_s: 21")
            await gateway.edit(lambda _: edited)
            status = await gateway.until(lambda s: s["config"]["on_disk"] == revision_of(edited))
            await asyncio.sleep(1)
            status = await gateway.status()
            assert (status["state"], status["tickets"], status["config"]["drift"]) == ("running", [], True)
            assert [reason["reason"] for reason in status["degraded"]] == ["drift"]
            assert runs(status, 1)
            answer = await client.request("config.apply", {"raw": edited, "baseHash": revision_of(edited)})
            assert answer["receipt"]["outcome"] == "restart_pending"
            ticket = answer["receipt"]["restart"]["id"]
            status = await gateway.until(lambda s: s["restarts"] == 1 and runs(s, 2))
            assert status["config"]["applied"] == revision_of(edited)
            assert status["config"]["drift"] is False
            assert await outcome_of(gateway, ticket) == "done"
            assert bot.stats.poll_log[-1].timeout_param == 21
            one_receiver(bot)


async def test_case_64_a_restart_that_cannot_be_done_leaves_the_old_run_serving(tmp_path: Path) -> None:
    """The config wants a port that is taken: the restart is answered as failed, the gateway serves on where it was, and
    says that the file is not what runs; taking the edit back mends it."""
    async with FakeTelegram() as telegram:
        bot = telegram.add_bot(TOKEN, "main_bot")
        text = one_account(telegram, restart="{delay_ms: 100, cooldown_ms: 0}")
        async with Gateway(tmp_path, text) as gateway:
            client = await gateway.client()
            await gateway.until(lambda s: runs(s, 1))
            with socket.create_server(("127.0.0.1", 0)) as taken:
                port = taken.getsockname()[1]
                receipt = (await client.patch(json.dumps({"gateway": {"admin": {"port": port}}})))["receipt"]
                assert receipt["outcome"] == "restart_pending"
                await gateway.until(lambda s: s["state"] == "running" and not s["tickets"])
                assert await outcome_of(gateway, receipt["restart"]["id"]) == "failed"
                status = await gateway.status()
                assert (status["restarts"], status["config"]["drift"]) == (0, True)
                assert status["config"]["applied"] == revision_of(text)
                assert runs(status, 1)
                await answers(bot)
            await gateway.edit(lambda _: text)
            await gateway.until(lambda s: s["config"]["drift"] is False)
            assert len(gateway.boots) == 1
            one_receiver(bot)


# Accounts


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
