"""A stop has one budget, split over its stages: whatever hangs, the process is gone in time, and its log says what was cut.

Each of these gateways has something that does not end by itself. Its exit code, and the last line of its log, are the referees.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import socket
import sqlite3
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from gateway.process.budget import LIMIT, SHARES, Stage
from tests.fakes.telegram import FakeTelegram
from tests.real.bots import STUBBORN, TOKEN, running, stubborn
from tests.real.process import ROOT, Gateway, config_text, telegram_account

BUDGET = 3.0

ENDLESS = """\
import asyncio, time
from pathlib import Path

async def stubborn(message):
    Path("begun").touch()
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass

def in_thread(message):
    Path("begun").touch()
    time.sleep(3600)

async def blocking(message):
    Path("begun").touch()
    time.sleep(1)
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            time.sleep(3600)
"""


def text_of(*, budget: float = BUDGET, handler: str = "", **more: Any) -> str:
    restart = f"{{delay_ms: 0, cooldown_ms: 0, drain_timeout_ms: {budget * 1000:.0f}}}"
    text = config_text(restart=restart, **more)
    return text.replace("{type: echo}", f"{{type: python, target: 'endless:{handler}'}}") if handler else text


def last_word(gateway: Gateway) -> dict[str, Any]:
    """What the log says of the end as a whole."""
    (line,) = [line for line in gateway.log if line["event"] == "stopped"]
    return line


def how_each_ended(gateway: Gateway) -> dict[str, str]:
    return {stage: found["ended"] for stage, found in last_word(gateway)["stages"].items()}


def all_done(*cut: Stage) -> dict[str, str]:
    stages = [stage for stage in Stage if stage is not Stage.THREADS]
    return {stage.value: "cut" if stage in cut else "done" for stage in stages}


async def stopped_in_time(gateway: Gateway, budget: float = BUDGET) -> None:
    """By one SIGTERM, with 0, and by itself: nothing of it was left to the last resort but threads."""
    gateway.signal(signal.SIGTERM)
    assert await gateway.wait() == 0
    line = last_word(gateway)
    assert (line["budget"], line["code"]) == (budget, 0)
    assert line["took"] <= budget
    assert sum(found["took"] for found in line["stages"].values()) <= line["took"] + 0.01


def cut(gateway: Gateway, stage: Stage) -> dict[str, Any]:
    """The line of a stage that was cut; it says the same as the last line."""
    (line,) = [line for line in gateway.log if line["event"] == "stage_cut" and line["stage"] == stage.value]
    found: dict[str, Any] = last_word(gateway)["stages"][stage.value]
    assert {key: line[key] for key in found} == found
    assert found["took"] >= found["share"] * 0.9
    return found


async def test_a_stop_in_which_nothing_hangs_says_what_each_stage_took(tmp_path: Path) -> None:
    async with FakeTelegram() as telegram:
        telegram.add_bot(TOKEN, "main_bot")
        async with Gateway(tmp_path, config_text(telegram_account("main", TOKEN, telegram.url))) as gateway:
            await running(gateway)
            await stopped_in_time(gateway, 30.0)
            assert how_each_ended(gateway) == all_done()
            assert list(last_word(gateway)["stages"]) == [stage.value for stage in Stage if stage is not Stage.THREADS]
            shares = {stage: found["share"] for stage, found in last_word(gateway)["stages"].items()}
            # What a stage leaves over is the next one's.
            assert shares["receivers"] > 30 * SHARES[Stage.RECEIVERS]
            assert shares["replies"] > shares["receivers"]
            assert gateway.log[-1]["event"] == "stopped"


async def test_case_65_a_receiver_that_does_not_end_is_left(tmp_path: Path) -> None:
    text = stubborn("deaf", drain_timeout_ms=int(BUDGET * 1000))
    async with Gateway(tmp_path, text, command=STUBBORN) as gateway:
        await running(gateway)
        await stopped_in_time(gateway)
        found = cut(gateway, Stage.RECEIVERS)
        assert found["undone"] == "stubborn/it is stopping"
        assert how_each_ended(gateway)["store"] == "done"


async def test_case_65_a_client_that_never_answers_the_close_frame_is_not_waited_for(tmp_path: Path) -> None:
    async with Gateway(tmp_path, text_of()) as gateway:
        await running(gateway)
        async with mute_client(gateway):
            await stopped_in_time(gateway)
            # Its connection is closed whether it answers or not; nothing was cut.
            assert how_each_ended(gateway) == all_done()


@asynccontextmanager
async def mute_client(gateway: Gateway) -> AsyncIterator[None]:
    """Upgraded to a WebSocket, and silent from then on."""
    host, port = gateway.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    key = base64.b64encode(os.urandom(16)).decode()
    writer.write(
        f"GET /ws HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    assert b"101" in await reader.readline()
    await reader.readuntil(b"connect.challenge")
    sign_in = {
        "type": "req", "id": "1", "method": "connect",
        "params": {
            "minProtocol": 4, "maxProtocol": 4, "role": "operator", "scopes": ["operator.read"],
            "client": {"id": "mute", "version": "1", "platform": "linux", "mode": "test"}, "auth": {"token": gateway.token},
        },
    }  # fmt: skip
    frame = json.dumps(sign_in).encode()
    # Masked, as a client must, with a mask that changes nothing.
    writer.write(b"\x81\xfe" + len(frame).to_bytes(2, "big") + bytes(4) + frame)
    await reader.readuntil(b"hello-ok")
    try:
        yield
    finally:
        writer.close()


@pytest.mark.parametrize("handler", ["stubborn", "in_thread"])
async def test_case_65_a_handler_that_runs_for_ever_is_left(tmp_path: Path, handler: str) -> None:
    (tmp_path / "endless.py").write_text(ENDLESS)
    async with Gateway(tmp_path, text_of(handler=handler)) as gateway:
        await begun(gateway)
        await stopped_in_time(gateway)
        assert how_each_ended(gateway)["store"] == "done"
        if handler == "stubborn":
            assert "incoming/1:Handle" in cut(gateway, Stage.WORK)["undone"]
    with closing(sqlite3.connect(tmp_path / ".gateway" / "gateway.sqlite3")) as store:
        assert store.execute("SELECT state FROM inbox").fetchall() == [("received",)], "the next boot takes it up"


async def test_a_loop_that_does_not_turn_any_more_is_ended_all_the_same(tmp_path: Path) -> None:
    """A handler blocks the loop when it is told to end: nothing of ours can be done then, and the process must be gone."""
    (tmp_path / "endless.py").write_text(ENDLESS)
    async with Gateway(tmp_path, text_of(handler="blocking")) as gateway:
        await begun(gateway)
        gateway.signal(signal.SIGTERM)
        assert await gateway.wait() == 0
        assert gateway.log[-1]["event"] == "did_not_end"


async def begun(gateway: Gateway) -> None:
    """Somebody has said something, and its handler is at work."""
    await running(gateway)
    client = await gateway.client()
    await client.request("chat.send", {"sessionKey": "webchat:default:me", "message": "hello", "idempotencyKey": "1"})
    await until(lambda: asyncio.sleep(0.02), (gateway.folder / "begun").exists)


async def until(wait: Callable[[], Awaitable[None]], holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await wait()


async def test_case_65_a_store_that_takes_nothing_is_left(tmp_path: Path) -> None:
    """Another program holds it: what could not be written is said, and the process ends."""
    async with Gateway(tmp_path, text_of()) as gateway:
        await running(gateway)
        with closing(sqlite3.connect(tmp_path / ".gateway" / "gateway.sqlite3", isolation_level=None)) as rival:
            rival.execute("BEGIN IMMEDIATE")
            await stopped_in_time(gateway)
            assert any(line["event"] == "store_not_written" for line in gateway.log) or cut(gateway, Stage.STORE)
            rival.execute("ROLLBACK")


async def test_case_25_a_second_signal_shortens_what_is_left_of_each_stage(tmp_path: Path) -> None:
    async with Gateway(tmp_path, stubborn("deaf", drain_timeout_ms=30_000), command=STUBBORN) as gateway:
        await running(gateway)
        gateway.signal(signal.SIGTERM)
        await asyncio.sleep(0.5)
        gateway.signal(signal.SIGTERM)
        assert await gateway.wait() == 0
        assert last_word(gateway)["took"] < 30 * SHARES[Stage.RECEIVERS], "less than its receivers alone had"
        assert how_each_ended(gateway) == all_done(Stage.RECEIVERS)


async def test_case_25_a_third_signal_leaves_the_stages_and_writes_what_waits(tmp_path: Path) -> None:
    async with Gateway(tmp_path, stubborn("deaf"), command=STUBBORN) as gateway:
        await running(gateway)
        for _ in range(3):
            gateway.signal(signal.SIGTERM)
            await asyncio.sleep(0.3)
        assert await gateway.wait() == 0
        assert how_each_ended(gateway)["receivers"] == "cut"
        assert {"replies", "clients"}.isdisjoint(last_word(gateway)["stages"])
        assert how_each_ended(gateway)["store"] == "done"


async def test_an_end_that_nobody_asked_for_has_its_line_too(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        gateway = Gateway(tmp_path, config_text().replace("port: 0", f"port: {port}"))
        await gateway.spawn()
        assert await gateway.wait() == 1
        await gateway.close()
    line = last_word(gateway)
    assert (line["code"], list(line["stages"])) == (1, ["work", "store"])


# The supervisor's limit


async def test_case_65_the_budget_is_below_the_supervisors_whatever_the_config_says(tmp_path: Path) -> None:
    """A receiver that does not end, a minute to stop, and a supervisor that kills after 3 s: it is said at the boot, in the
    status and by the doctor, and the stop takes less."""
    async with Gateway(tmp_path, stubborn("deaf"), command=STUBBORN, GATEWAY_STOP_TIMEOUT_S="3") as gateway:
        await running(gateway)
        (reason,) = (await gateway.status())["degraded"]
        assert reason["reason"] == "stop_budget"
        assert "may take 60 s (gateway.restart.drain_timeout_ms)" in reason["detail"]
        assert "kills the process after 3 s" in reason["detail"]
        assert "drain_timeout_ms smaller" in reason["remedy"]
        (warned,) = [line for line in gateway.log if line["event"] == "stop_budget_cut"]
        assert (warned["why"], warned["remedy"]) == (reason["detail"], reason["remedy"])
        assert reason["detail"] in await doctor(gateway)
        await stopped_in_time(gateway, 2.0)
        assert how_each_ended(gateway)["receivers"] == "cut"


async def test_the_doctor_looks_at_the_limit_before_there_is_a_gateway(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, text_of(budget=60), GATEWAY_STOP_TIMEOUT_S="10")
    assert "it gets 9 s" in await doctor(gateway)
    gateway = Gateway(tmp_path, None, GATEWAY_STOP_TIMEOUT_S="soon")
    assert f"{LIMIT} is 'soon'" in await doctor(gateway)
    gateway = Gateway(tmp_path, None, GATEWAY_STOP_TIMEOUT_S="70")
    assert f"a stop may take 60 s, and {LIMIT} allows 70 s" in await doctor(gateway)


async def doctor(gateway: Gateway) -> str:
    """What it says, on one line a finding."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", "doctor", "--offline", "--json",
        cwd=gateway.folder, env=os.environ | {"PYTHONPATH": str(ROOT)} | gateway._environ, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, _ = await process.communicate()
    findings = json.loads(output)["findings"]
    return "\n".join(f"{found['severity']}: {found['message']}" for found in findings)


async def test_a_limit_that_says_nothing_is_told_and_left(tmp_path: Path) -> None:
    async with Gateway(tmp_path, text_of(), GATEWAY_STOP_TIMEOUT_S="soon") as gateway:
        await running(gateway)
        assert (await gateway.status())["degraded"] == []
        await stopped_in_time(gateway)
    assert any(line["event"] == "stop_limit_unknown" for line in gateway.log)
