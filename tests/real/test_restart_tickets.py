"""Restarts that are asked for, joined, cancelled and taken back, and what happens while one waits."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.fakes.telegram import FakeTelegram
from tests.real.bots import (
    FAST,
    MAIN,
    TOKEN,
    answers,
    applied,
    at_rest,
    gateway_class,
    one_account,
    one_receiver,
    outcome_of,
    outcomes_of,
    poll_timeout,
    revision_of,
    runs,
    state_of,
    tickets_seen,
)
from tests.real.process import Gateway, RpcError, attempt, config_text, side_by_side


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


def written_while_it_restarted(journal: list[dict[str, Any]]) -> int:
    """How many changes were written between the gateway's `restarting` and its next `starting`. Who is connected has
    the server's short grace for one or two; where a restart waited for its writers they had as many as they liked."""
    order = sorted(journal, key=lambda entry: entry["seq"])
    moves = [(entry["machine"], entry["after"]) for entry in order]
    began = moves.index(("gateway", "restarting"))
    between = moves[began : moves.index(("gateway", "starting"), began)]
    return sum(machine.startswith("change/") and after == "writing" for machine, after in between)


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
            assert written_while_it_restarted(await gateway.journal()) < 10, "the restart waited for a writer"
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
