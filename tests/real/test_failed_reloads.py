"""What a hot reload that fails comes to: a restart where one can mend it, and one account alone where not."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.telegram import FakeTelegram
from tests.real.bots import (
    MAIN,
    STUBBORN,
    TOKEN,
    answers,
    at_rest,
    one_receiver,
    outcome_of,
    runs,
    state_of,
    token,
)
from tests.real.process import Gateway, RpcError, attempt, config_text, telegram_account


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
