"""What the protocol's definitions leave open and its published clients rely on: scopes, restarts, accounts, the log."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gateway.admin.methods import ADMIN, ALLOWS, METHODS, READ, WRITE
from gateway.errors import AccountRefusedError
from tests.gateway.admin.house import MAIN, TEXT, AdminHouse, run
from tests.gateway.fakes import Script

COOLED = TEXT.replace("gateway:\n", "gateway:\n  restart: {cooldown_ms: 30000}\n")


@pytest.mark.parametrize("scope", [READ, WRITE, ADMIN])
def test_a_scope_holds_the_lesser_ones(tmp_path: Path, scope: str) -> None:
    ladder = [READ, WRITE, ADMIN]
    assert ALLOWS[scope] == set(ladder[: ladder.index(scope) + 1])

    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            socket = await house.sign_in(scopes=[scope, "operator.unheard.of"])
            for name, method in METHODS.items():
                frame = await socket.request(name, {"nothing": "of this name"})
                missing = (frame.get("error", {}).get("details") or {}).get("missingScope")
                assert missing == (None if method.scope in ALLOWS[scope] else method.scope)

    run(main())


def test_starts_and_stops_say_what_the_published_client_reads(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            socket = await house.sign_in()
            call = {"channel": "telegram", "accountId": "main"}
            stopped = await socket.ask("channels.stop", **call)
            assert {name: stopped[name] for name in (*call, "stopped")} == call | {"stopped": True}
            started = await socket.ask("channels.start", **call)
            assert {name: started[name] for name in (*call, "started")} == call | {"started": True}
            house.network.script(MAIN, Script(error=AccountRefusedError("no such bot")))
            restarted = await socket.ask("channels.restart", **call)
            assert (restarted["started"], restarted["state"]) == (False, house.account(MAIN))

    run(main())


# Restarts


def test_nothing_keeps_a_restart_of_an_idle_gateway_waiting(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            socket = await house.sign_in()
            said = await socket.ask("gateway.restart.preflight")
            assert (said["safe"], said["summary"], said["blockers"]) == (True, "safe to restart now", [])
            assert (said["counts"]["totalActive"], said["config"], said["tickets"]) == (
                0,
                {"valid": True, "issues": []},
                [],
            )
            asked = await socket.ask("gateway.restart.request", restartDelayMs=5_000, reason="why not")
            assert (asked["status"], asked["preflight"]) == ("scheduled", said)
            assert asked["restart"]["reason"] == "why not"
            assert asked["restart"]["delayMs"] == asked["due_in_ms"] == 5_000
            assert [one["id"] for one in (await socket.ask("gateway.restart.preflight"))["tickets"]] == [asked["id"]]
            again = await socket.ask("gateway.restart.request", restartDelayMs=6_000)
            assert (again["status"], again["restart"]["coalesced"]) == ("coalesced", True)
            await socket.event("shutdown")

    run(main())


@pytest.mark.parametrize("skip", [False, True])
def test_a_restart_is_deferred_by_work_unless_that_is_skipped(tmp_path: Path, skip: bool) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            socket = await house.sign_in()
            done = asyncio.Event()
            house.answer_with(lambda _: _until(done))
            say = {"sessionKey": "webchat:default:me", "message": "hello", "idempotencyKey": "1"}
            await socket.ask("chat.send", **say)
            await asyncio.sleep(0.1)
            asked = await socket.ask("gateway.restart.request", delayMs=0, skipDeferral=skip)
            assert asked["status"] == ("scheduled" if skip else "deferred")
            before = asked["preflight"]
            assert (before["safe"], before["counts"]["pendingReplies"]) == (False, 1)
            assert [(blocker["kind"], blocker["count"]) for blocker in before["blockers"]] == [("reply", 1)]
            await asyncio.sleep(5)
            assert house.triggers().count("restart_ready") == 0
            assert ("restarted" in house.triggers()) is skip
            done.set()

    run(main())


async def _until(done: asyncio.Event) -> None:
    await done.wait()


def test_a_file_that_cannot_be_used_is_named_before_a_restart_is_refused_for_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            socket = await house.sign_in()
            house.save("gateway: {nmae: x}\n")
            said = await socket.ask("gateway.restart.preflight")
            assert not said["safe"]
            assert "nmae" in said["summary"]
            assert (said["config"]["valid"], said["config"]["issues"][0]["line"]) == (False, 1)
            house.save(TEXT)

    run(main())


def test_the_cooldown_is_told(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path, COOLED) as house:
            socket = await house.sign_in()
            assert (await socket.ask("gateway.restart.preflight"))["cooldownMs"] == 0
            await socket.ask("gateway.restart.request", delayMs=0)
            await socket.closed()
            socket = await house.sign_in()
            left = (await socket.ask("gateway.restart.preflight"))["cooldownMs"]
            assert 25_000 < left <= 30_000
            asked = await socket.ask("gateway.restart.request", delayMs=0)
            assert asked["restart"]["cooldownMsApplied"] == pytest.approx(asked["due_in_ms"], abs=100)
            await socket.ask("lifecycle.cancelRestart", id=asked["id"])

    run(main())


# Log


def test_the_log_is_told_from_a_cursor_on(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            socket = await house.sign_in(scopes=[READ])
            for number in range(3):
                house._tail.add(f"line {number}")
            said: dict[str, Any] = await socket.ask("logs.tail", limit=2)
            assert (said["lines"], said["truncated"], said["skippedBytes"]) == (["line 1", "line 2"], True, 7)
            house._tail.add("line 3")
            said = await socket.ask("logs.tail", cursor=said["cursor"])
            assert (said["lines"], said["truncated"], said["reset"]) == (["line 3"], False, False)
            assert (await socket.ask("logs.tail", cursor=10**6))["reset"]
            assert not (await socket.request("logs.tail", {"limit": 5001}))["ok"]

    run(main())
