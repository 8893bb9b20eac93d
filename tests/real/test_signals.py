"""Signals and exit codes of the real process: what a supervisor relies on."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import sys
from pathlib import Path

import aiohttp
import pytest

from tests.fakes.telegram import FakeTelegram
from tests.real.bots import STUBBORN, TOKEN, running, stubborn
from tests.real.process import Gateway, RpcError, attempt, config_text, side_by_side, telegram_account

OFFSETS_MS = range(0, 301, 20)


async def first_line(gateway: Gateway) -> None:
    """Wait until the program's first line has run, which blocks the signals: before that no program can hear one."""
    assert gateway.process is not None
    path = Path(f"/proc/{gateway.process.pid}/status")
    wanted = 1 << (signal.SIGUSR1 - 1)
    while True:
        found = re.search(r"^SigBlk:\s*([0-9a-f]+)", path.read_text(), re.MULTILINE)
        if found is not None and int(found[1], 16) & wanted:
            return
        await asyncio.sleep(0.001)


def errors(gateway: Gateway) -> list[str]:
    """What the log has at level error and above, and what is no log line at all."""
    return [str(line) for line in gateway.log if line["event"] == "raw" or line.get("level") in ("error", "critical")]


# Restart and re-read


async def test_sigusr1_restarts_in_place_and_the_port_keeps_answering(tmp_path: Path) -> None:
    """Three restarts under a client that opens a new connection for each request: not one is refused or cut off; the PID
    and the address stay, the boot does not."""
    async with Gateway(tmp_path, config_text(restart="{delay_ms: 0, cooldown_ms: 0}")) as gateway:
        assert gateway.process is not None
        url, pid = gateway.url, gateway.process.pid
        asked = 0
        done = asyncio.Event()

        async def hammer() -> None:
            nonlocal asked
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
                while not done.is_set():
                    async with session.get(url + "/healthz") as response:
                        assert response.status == 200
                        asked += 1

        hammers = [asyncio.ensure_future(hammer()) for _ in range(3)]
        for number in (1, 2, 3):
            gateway.signal(signal.SIGUSR1)
            await gateway.until(lambda s, n=number: s["restarts"] == n and s["state"] == "running")  # type: ignore[misc]
            await asyncio.sleep(0.2)
        done.set()
        await asyncio.gather(*hammers)
        assert asked > 50
        assert gateway.url == url
        assert gateway.process.returncode is None
        ready = [line for line in gateway.log if line["event"] == "page_ready"]
        assert len(ready) == len(gateway.boots) == len(set(gateway.boots)) == 4
        assert Path(f"/proc/{pid}").exists()
        assert errors(gateway) == []


async def test_sighup_reads_the_config_now(tmp_path: Path) -> None:
    """With a debounce of a minute an edit waits; SIGHUP has it applied at once, and is otherwise harmless."""
    text = config_text(reload="{mode: hybrid, debounce_ms: 60000}")
    async with Gateway(tmp_path, text) as gateway:
        await gateway.until(lambda s: s["state"] == "running")
        gateway.signal(signal.SIGHUP)
        await asyncio.sleep(0.5)
        await gateway.edit(lambda now: now.replace("gateway:\n", "gateway:\n  name: renamed\n"))
        await asyncio.sleep(0.5)
        assert (await gateway.status())["name"] == "gateway"
        gateway.signal(signal.SIGHUP)
        status = await gateway.until(lambda s: s["name"] == "renamed")
        assert status["restarts"] == 0
        # A file that cannot be used is said to be so, and changes nothing.
        await gateway.edit(lambda _: "gateway: {nmae: x}\n")
        gateway.signal(signal.SIGHUP)
        status = await gateway.until(lambda s: s["config"]["issues"] != [])
        assert "did you mean 'name'" in status["config"]["issues"][0]["message"]
        assert (status["state"], status["name"]) == ("running", "renamed")


# During the start


async def test_case_24_sigterm_at_any_moment_of_the_start_ends_it_cleanly(tmp_path: Path) -> None:
    """SIGTERM 0 to 300 ms after the program's first line: it ends with 0, and no poll is left over."""

    async def scenario(offset_ms: int, telegram: FakeTelegram) -> None:
        folder = tmp_path / str(offset_ms)
        folder.mkdir()
        bot = telegram.add_bot(f"{2000 + offset_ms}:a-bots-secret", f"bot{offset_ms}")
        gateway = Gateway(folder, config_text(telegram_account("main", bot.token, telegram.url)))
        try:
            await gateway.spawn()
            await first_line(gateway)
            await asyncio.sleep(offset_ms / 1000)
            gateway.signal(signal.SIGTERM)
            assert await gateway.wait() == 0, f"{offset_ms} ms"
            assert errors(gateway) == [], f"{offset_ms} ms"
            assert bot.stats.overlaps == 0
            await asyncio.sleep(0.05)
            assert bot.stats.in_flight == 0
        finally:
            await gateway.close()

    async with FakeTelegram() as telegram:
        await side_by_side({f"{offset} ms": scenario(offset, telegram) for offset in OFFSETS_MS}, at_once=3)


async def test_case_24_sigusr1_at_any_moment_of_the_start_is_served(tmp_path: Path) -> None:
    """SIGUSR1 0 to 300 ms after the program's first line never kills it, and is served once it runs: one restart."""

    async def scenario(offset_ms: int, telegram: FakeTelegram) -> None:
        folder = tmp_path / str(offset_ms)
        folder.mkdir()
        bot = telegram.add_bot(f"{2000 + offset_ms}:a-bots-secret", f"bot{offset_ms}")
        account = telegram_account("main", bot.token, telegram.url)
        gateway = Gateway(folder, config_text(account, restart="{delay_ms: 100, cooldown_ms: 0}"))
        await gateway.spawn()
        try:
            await first_line(gateway)
            await asyncio.sleep(offset_ms / 1000)
            gateway.signal(signal.SIGUSR1)
            await asyncio.wait_for(gateway.ready(2), 20)
            status = await gateway.until(
                lambda s: s["state"] == "running" and {a["state"] for a in s["accounts"]} == {"running"}
            )
            assert (status["restarts"], len(gateway.boots)) == (1, 2), f"{offset_ms} ms"
            assert bot.stats.overlaps == bot.stats.conflicts_self == 0
            assert await gateway.stop() == 0
        finally:
            await gateway.close()

    async with FakeTelegram() as telegram:
        await side_by_side({f"{offset} ms": scenario(offset, telegram) for offset in OFFSETS_MS}, at_once=3)


async def test_case_24_sigterm_overrides_a_restart_that_is_queued(tmp_path: Path) -> None:
    """SIGUSR1, then SIGTERM: it stops, and does not restart first."""
    async with Gateway(tmp_path, config_text()) as gateway:
        await gateway.until(lambda s: s["state"] == "running")
        gateway.signal(signal.SIGUSR1)
        await gateway.until(lambda s: s["state"] == "restart_pending")
        assert await gateway.stop() == 0
        assert len(gateway.boots) == 1
        assert ("restart_pending", "stopping") in gateway.moves("gateway")


# Stopping


async def test_sigint_stops_as_sigterm_does(tmp_path: Path) -> None:
    """Ctrl-C: everything ends, with 0, in a fraction of its budget."""
    async with FakeTelegram() as telegram:
        bot = telegram.add_bot(TOKEN, "main_bot")
        async with Gateway(tmp_path, config_text(telegram_account("main", TOKEN, telegram.url))) as gateway:
            await running(gateway)
            client = await gateway.client()
            gateway.signal(signal.SIGINT)
            assert await gateway.wait() == 0
            await client.socket_closed()
            assert client.socket.close_code == 1001
            assert [frame["payload"] for frame in client.events if frame["event"] == "shutdown"] == [{"reason": "stop"}]
            assert bot.stats.overlaps == 0


@pytest.mark.parametrize("mode", ["deaf", "clinging"])
async def test_case_25_the_second_sigterm_hurries_a_stop_that_hangs(tmp_path: Path, mode: str) -> None:
    """A receiver that never ends, with a minute to do so: the first SIGTERM waits for it, the second ends with 0."""
    async with Gateway(tmp_path, stubborn(mode), command=STUBBORN) as gateway:
        await running(gateway)
        gateway.signal(signal.SIGTERM)
        await asyncio.sleep(1)
        assert gateway.process is not None
        assert gateway.process.returncode is None
        gateway.signal(signal.SIGTERM)
        assert await gateway.wait() == 0


async def test_case_25_the_third_sigterm_ends_it_at_once(tmp_path: Path) -> None:
    """A receiver that never ends, and a call that waits for it: the second SIGTERM still waits a little for the call, the
    third for nothing."""
    async with Gateway(tmp_path, stubborn("deaf"), command=STUBBORN) as gateway:
        await running(gateway)
        waiting = asyncio.ensure_future(gateway.http("POST", "/api/v1/channels/stubborn/it/restart"))
        await gateway.until(lambda s: "stopping" in {account["state"] for account in s["accounts"]})
        for _ in range(3):
            gateway.signal(signal.SIGTERM)
            await asyncio.sleep(0.3)
        assert await gateway.wait() == 0
        stops = [line for line in gateway.log if line.get("trigger") in ("stop_requested", "stop_finished")]
        assert [line["event"] for line in stops] == ["transition", "handled", "transition"]
        assert (stops[-1]["dest"], stops[-1]["trigger"]) == ("stopped", "stop_requested")
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


async def test_case_65_one_sigterm_is_enough_within_the_drain_budget(tmp_path: Path) -> None:
    """A receiver that never ends and cannot be cut off, a client that never answers: the stop takes its budget and no
    more, and the process is gone. (case 25, case 65)"""

    async def scenario(mode: str) -> None:
        folder = tmp_path / mode
        folder.mkdir()
        text = stubborn(mode, stop_timeout_ms=300, drain_timeout_ms=1500)
        async with Gateway(folder, text, command=STUBBORN) as gateway:
            await running(gateway)
            gateway.signal(signal.SIGTERM)
            assert await gateway.wait() == 0, mode
            assert gateway.moves("gateway")[-1] == ("stopping", "stopped")
            (end,) = [line for line in gateway.log if line["event"] == "stopped"]
            assert end["stages"]["receivers"]["share"] <= end["budget"] == 1.5, mode
            assert end["took"] < 10, mode

    await side_by_side({mode: scenario(mode) for mode in ("deaf", "fenceable", "clinging")})


async def test_a_stop_wins_over_what_is_under_way(tmp_path: Path) -> None:
    """SIGTERM in the middle of a hot reload, and of a restart: it ends with 0, and the writer who waits is told that its
    change was written and not applied."""

    async def scenario(busy: str) -> None:
        folder = tmp_path / busy
        folder.mkdir()
        async with Gateway(folder, stubborn("slow"), command=STUBBORN) as gateway:
            await running(gateway)
            client = await gateway.client()
            if busy == "hot_reloading":
                patch = {"channels": {"stubborn": {"accounts": {"it": {"note": "changed"}}}}}
                waiting = asyncio.ensure_future(attempt(client.patch(json.dumps(patch))))
            else:
                waiting = asyncio.ensure_future(attempt(client.request("gateway.restart.request", {"delayMs": 0})))
            await gateway.until(lambda s: s["state"] == busy)
            gateway.signal(signal.SIGTERM)
            assert await gateway.wait() == 0
            answer = await waiting
            if busy == "hot_reloading":
                assert isinstance(answer, RpcError)
                assert answer.error["code"] == "UNAVAILABLE"
                assert "written, and not applied" in answer.error["message"]
            else:
                assert isinstance(answer, dict)
            assert (busy, "stopping") in gateway.moves("gateway")
            assert errors(gateway) == []

    await side_by_side({busy: scenario(busy) for busy in ("hot_reloading", "restarting")})


# Exit codes


async def end_of(gateway: Gateway) -> tuple[int, str]:
    """The exit code of a gateway that is to end by itself, and what it said."""
    try:
        await gateway.spawn()
        code = await gateway.wait()
    finally:
        await gateway.close()
    return code, (gateway.folder / "log").read_text()


async def test_exit_76_a_second_process_names_the_first(tmp_path: Path) -> None:
    """A second gateway with the same state folder ends with 76, names the PID of the first, and touches nothing."""
    second = tmp_path / "second"
    second.mkdir()
    async with FakeTelegram() as telegram:
        bot = telegram.add_bot(TOKEN, "main_bot")
        text = config_text(telegram_account("main", TOKEN, telegram.url))
        async with Gateway(tmp_path, text) as gateway:
            assert gateway.process is not None
            await running(gateway)
            state = str(tmp_path / ".gateway")
            code, said = await end_of(Gateway(second, text, GATEWAY_STATE_DIR=state))
            assert code == 76
            assert f"PID {gateway.process.pid}" in said
            await running(gateway)
            assert bot.stats.overlaps == bot.stats.conflicts_self == 0
        # The lock does not outlive its holder, whatever kind of death that was.
        killed = Gateway(second, text, GATEWAY_STATE_DIR=state)
        await killed.start()
        assert killed.process is not None
        killed.process.kill()
        await killed.close()
        async with Gateway(second, text, GATEWAY_STATE_DIR=state) as gateway:
            await running(gateway)


async def test_exit_78_without_a_config(tmp_path: Path) -> None:
    """No file: 78, and the way to one is named."""
    code, said = await end_of(Gateway(tmp_path, None))
    assert code == 78
    assert "there is no file" in said
    assert "init" in said
    assert "Traceback" not in said


async def test_exit_78_with_an_invalid_config_names_every_fault_with_its_place(tmp_path: Path) -> None:
    """Four faults, four lines, each with path, line and column; nothing else is printed."""
    text = """\
gateway:
  nmae: home
  admin: {port: a-lot}
channels:
  telegram:
    accounts:
      main:
        poll_timeout_s: 99
"""
    code, said = await end_of(Gateway(tmp_path, text))
    assert code == 78
    for fault in (
        r"gateway\.nmae \(line 2, column 3\): unknown key 'nmae'; did you mean 'name'",
        r"gateway\.admin\.port \(line 3, column 11\): Expected int",
        r"channels\.telegram\.accounts\.main\.poll_timeout_s \(line 8, column 9\): .*<= 50",
        r"channels\.telegram\.accounts\.main\.token \(line 7, column 7\): this key is required",
    ):
        assert re.search(fault, said), (fault, said)
    assert "Traceback" not in said
    assert sum("(line " in line for line in said.splitlines()) == 4


async def test_exit_1_when_the_port_is_taken(tmp_path: Path) -> None:
    """The port is taken: 1, the address is named, and no account was ever polled."""
    async with FakeTelegram() as telegram:
        bot = telegram.add_bot(TOKEN, "main_bot")
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            text = config_text(telegram_account("main", TOKEN, telegram.url)).replace("port: 0", f"port: {port}")
            code, said = await end_of(Gateway(tmp_path, text))
        assert code == 1
        assert f"127.0.0.1:{port}" in said
        assert "gateway.admin" in said
        assert "Traceback" not in said
        assert bot.stats.polls == bot.stats.get_me_count == 0


async def test_exit_2_on_wrong_usage(tmp_path: Path) -> None:
    """A flag that does not exist: 2."""
    gateway = Gateway(tmp_path, config_text(), command=[sys.executable, "-m", "gateway", "run", "--no-such-flag"])
    code, _ = await end_of(gateway)
    assert code == 2
