"""`gateway status, channels, restart, journal` against a running gateway, as a person and as a script would use them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from rich.console import Console, RenderableType

from gateway.cli import status_text, tables
from tests.fakes.telegram import FakeTelegram
from tests.real.commands import command
from tests.real.process import ROOT, TOKEN, Gateway, config_text, telegram_account

GOOD, BAD = "1001:a-secret-of-the-operator", "1002:a-secret-that-is-refused"


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Gateway]:
    """With one account that is let in, and one that is not."""
    async with FakeTelegram() as telegram:
        telegram.add_bot(GOOD, "main_bot")
        accounts = telegram_account("main", GOOD, telegram.url) + telegram_account("bad", BAD, telegram.url)
        async with Gateway(folder, config_text(accounts, restart="{delay_ms: 0, cooldown_ms: 0}")) as gateway:
            await gateway.until(lambda status: status["degraded"] != [])
            await gateway.until(lambda status: status["accounts"][0]["state"] == "running")
            yield gateway


async def following(folder: Path, *arguments: str) -> asyncio.subprocess.Process:
    """A command that does not end by itself."""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", *arguments, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        # Whoever runs the tests in the background has it ignored, and a child inherits that.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


async def read_until(process: asyncio.subprocess.Process, word: str) -> list[str]:
    """Its lines up to the one with this word."""
    assert process.stdout is not None
    lines: list[str] = []
    async with asyncio.timeout(10):
        while not lines or word not in lines[-1]:
            lines.append((await process.stdout.readline()).decode())
            assert lines[-1], f"it has ended: {lines}"
    return lines


async def interrupted(process: asyncio.subprocess.Process) -> tuple[int, str]:
    process.send_signal(signal.SIGINT)
    _, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, err.decode()


async def test_the_status_says_what_is_wrong_and_what_mends_it(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        done = await command(tmp_path, "status")
        lines = done.out.splitlines()
        assert done.code == 0
        assert lines[0].startswith("gateway is running for ")
        assert lines[1].startswith(f"config {gateway.config}, revision ")
        assert "degraded: channel_failed: telegram/bad is failed: getMe: Unauthorized" in lines
        assert "  -> mend the account's settings, or start it by hand once the cause is gone" in lines
        (main,) = [line for line in lines if line.startswith("telegram/main ")]
        assert main.split()[:5] == ["telegram/main", "running", "generation", "1", "received"]
        assert (await command(tmp_path, "status", "--json")).json["state"] == "running"


async def test_the_status_of_a_change_that_waits_and_of_a_file_that_does_not_run(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        await command(tmp_path, "patch", "{gateway: {name: home}}", "--confirm-within", "60")
        assert "waits to be confirmed by" in (await command(tmp_path, "status")).out
        await command(tmp_path, "confirm")
        gateway.config.write_text("gateway: 7\n")
        await gateway.until(lambda status: status["config"]["drift"])
        # The file has a token no more.
        out = (await command(tmp_path, "status", GATEWAY_TOKEN=TOKEN)).out
        assert out.startswith("home is running")
        assert "is not what runs" in out


async def test_the_status_is_watched_until_somebody_has_seen_enough(tmp_path: Path) -> None:
    async with running(tmp_path):
        watching = await following(tmp_path, "status", "--watch")
        await read_until(watching, "webchat/default")
        await command(tmp_path, "channels", "stop", "telegram/main")
        told = await read_until(watching, "stopped by a person")
        assert all(line.startswith("telegram/main is ") for line in told), "more than what is different"
        assert told[-1] == "telegram/main is stopped, generation 1  stopped by a person\n"
        assert await interrupted(watching) == (0, "")


async def test_an_account_is_stopped_and_started_and_a_second_start_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path):
        stopped = await command(tmp_path, "channels", "stop", "telegram/main")
        assert (stopped.code, stopped.out) == (0, "telegram/main is stopped, generation 1  stopped by a person\n")
        started = await command(tmp_path, "channels", "start", "telegram/main", "--json")
        assert (started.json["state"], started.json["generation"]) == ("running", 2)
        again = await command(tmp_path, "channels", "start", "telegram/main")
        assert (again.code, again.out) == (1, "")
        assert again.err == (
            "gateway: telegram/main cannot start in state running\n"
            "gateway: what can be done with it now: stop, restart\n"
        )
        refused = await command(tmp_path, "channels", "start", "telegram/main", "--json")
        assert (refused.code, refused.json["error"]["details"]["trigger"]) == (1, "start")


async def test_which_account_is_to_be_said(tmp_path: Path) -> None:
    async with running(tmp_path):
        listed = await command(tmp_path, "channels")
        assert [line.split()[0] for line in listed.out.splitlines()] == [
            "telegram/main",
            "telegram/bad",
            "webchat/default",
        ]
        assert (await command(tmp_path, "channels", "list", "--json")).json["accounts"][0]["account"] == "main"
        unsaid = await command(tmp_path, "channels", "stop")
        assert (unsaid.code, "gateway channels stop CHANNEL/ACCOUNT" in unsaid.err) == (2, True)
        unknown = await command(tmp_path, "channels", "stop", "telegram/nobody")
        assert (unknown.code, "nobody" in unknown.err) == (1, True)


async def test_a_restart_is_asked_for_shown_and_called_off(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        asked = await command(tmp_path, "restart", "--delay", "30", "--reason", "a new version")
        ticket = asked.out.split(":")[0]
        assert asked.out.startswith(f"{ticket}: the gateway restarts in ")
        assert f"{ticket} (http 127.0.0.1, a new version)" in (await command(tmp_path, "status")).out
        joined = (await command(tmp_path, "restart", "--delay", "40", "--json")).json
        assert joined["joined"] == ticket
        off = await command(tmp_path, "restart", "--cancel", ticket)
        assert (off.code, off.out) == (0, f"{ticket} is cancelled\n")
        rest = await command(tmp_path, "restart", "--cancel", "--json")
        assert [each["id"] for each in rest.json["cancelled"]] == [joined["id"]]
        nothing = await command(tmp_path, "restart", "--cancel")
        assert (nothing.code, nothing.err) == (1, "gateway: no restart is pending\n")
        assert gateway.boots[1:] == []
        assert (await command(tmp_path, "restart", "--force")).code == 0
        await gateway.ready(2)


async def test_the_journal_is_shown_and_followed(tmp_path: Path) -> None:
    async with running(tmp_path):
        await command(tmp_path, "channels", "stop", "telegram/main")
        await command(tmp_path, "channels", "start", "telegram/main")
        await command(tmp_path, "channels", "start", "telegram/main")
        lines = (await command(tmp_path, "journal", "--limit", "1")).out.splitlines()
        assert len(lines) == 1
        assert "telegram/main" in lines[0]
        assert "refused in running  (telegram/main cannot start in state running)" in lines[0]
        assert (await command(tmp_path, "journal", "--limit", "0")).out == ""
        own = [
            json.loads(line)
            for line in (await command(tmp_path, "journal", "--machine", "gateway", "--json")).out.splitlines()
        ]
        assert [entry["trigger"] for entry in own] == ["boot", "started"]
        rest = (await command(tmp_path, "journal", "--after", str(own[-1]["seq"]))).out.splitlines()
        assert int(rest[0].split()[0]) == own[-1]["seq"] + 1
        follower = await following(tmp_path, "journal", "--follow", "--limit", "1")
        await read_until(follower, "refused in running")
        await command(tmp_path, "channels", "stop", "telegram/main")
        assert [line.split()[4] for line in await read_until(follower, "receiver_ended")][-1] == "receiver_ended"
        assert await interrupted(follower) == (0, "")


async def test_without_a_gateway_each_says_so(tmp_path: Path) -> None:
    for words in (["status"], ["channels"], ["restart"], ["journal"]):
        done = await command(tmp_path, *words)
        assert (done.code, "no gateway runs with the state folder" in done.err) == (1, True), words


def test_times_are_said_in_their_largest_unit() -> None:
    day = 86_400_000
    said = [status_text.ago(then, 10 * day) for then in (10 * day, 10 * day - 59_000, 10 * day - 60_000, 9 * day, None)]
    assert said == ["0 s", "59 s", "1 min", "1 d", "ever"]
    assert status_text.ago(11 * day, 10 * day) == "0 s", "a clock that was set"


def test_a_webhook_that_could_not_be_reached_is_told_of_with_its_account() -> None:
    row = {"channel": "telegram", "account": "main", "state": "running", "generation": 1, "held": False, "error": None}
    hook = {"address": "https://bot.example.org/telegram/main", "pending": 0, "error": "", "error_at": None}
    row |= {"last_receive_ms": 1_000}
    quiet = status_text.accounts([row | {"webhook": None}], 2_000)
    assert status_text.accounts([row | {"webhook": hook}], 2_000) == quiet
    said = status_text.accounts([row | {"webhook": hook | {"error": "Bad Gateway", "error_at": 1_000}}], 61_000)
    assert said.endswith("received 1 min ago  webhook: Bad Gateway, 1 min ago")


def test_the_lease_of_an_account_that_hosts_share_is_told_of_with_it() -> None:
    """Why it is not held is said once; that the store is away is said of who holds it still, too."""
    row = {"channel": "telegram", "account": "main", "state": "running", "generation": 1, "held": False, "error": None}
    row |= {"last_receive_ms": 1_000, "webhook": None}
    alone = status_text.accounts([row | {"lease": None}], 2_000)
    assert "lease" not in alone
    held = {"state": "held", "term": 3, "why": ""}
    assert status_text.accounts([row | {"lease": held}], 2_000) == f"{alone}  lease held"
    away = "the lease store does not answer: nats://10.0.0.5:4222: no answer within 1.2 s"
    said = status_text.accounts([row | {"lease": held | {"why": away}}], 2_000)
    assert said == f"{alone}  lease held  lease: {away}"
    why = "another gateway has its lease: host-b, PID 12"
    standby = row | {"state": "conflict", "error": why, "lease": {"state": "acquiring", "term": 0, "why": why}}
    assert status_text.accounts([standby], 2_000).endswith(f"lease acquiring  {why}")
    assert status_text.account(standby) == f"telegram/main is conflict, generation 1  {why}"


def test_the_table_has_a_column_of_leases_where_an_account_is_shared() -> None:
    row = {"channel": "telegram", "account": "main", "state": "running", "generation": 1, "held": False, "error": None}
    row |= {"last_receive_ms": 1_000, "since": 500, "webhook": None, "lease": None}
    shared = row | {"account": "ours", "lease": {"state": "held", "term": 3, "why": ""}}
    assert "lease" not in drawn(tables.accounts([row], 2_000))
    for queues in (None, {"telegram/ours": 7}):
        heading, _, alone, ours = drawn(tables.accounts([row, shared], 2_000, queues)).splitlines()
        assert "lease" in heading
        assert ("held" in alone, "held" in ours) == (False, True)
        assert ours.rstrip().endswith("7" if queues else "held")


def drawn(table: RenderableType) -> str:
    console = Console(width=120, color_system=None)
    with console.capture() as shown:
        console.print(table)
    return shown.get()
