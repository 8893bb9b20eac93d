"""What systemd is told, and when: a socket in its place notes every word and the time at which it came."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.cli.exits import EXIT_CONFIG, EXIT_HELD
from gateway.config.model import RestartSettings
from gateway.process.budget import LIMIT, budget_of, limit_of
from gateway.process.supervisor import Supervisor
from tests.debian import find_program
from tests.real.process import ROOT, Gateway, config_text

PATIENCE = 10.0


class Systemd:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.told: list[dict[str, str]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        asyncio.get_running_loop().add_reader(self._socket, self._read)

    def _read(self) -> None:
        self.told.append(dict(line.split("=", 1) for line in self._socket.recv(4096).decode().splitlines()))

    def close(self) -> None:
        if self._socket.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()

    @property
    def words(self) -> list[str]:
        """The words that move a unit, in order."""
        return [name for told in self.told for name in told if name in ("READY", "RELOADING", "STOPPING")]

    async def until(self, *words: str) -> None:
        """Those words were said, and no other, since the last time."""
        async with asyncio.timeout(PATIENCE):
            while len(self.words) < len(words):
                await asyncio.sleep(0.01)
        assert self.words == list(words)

    def forget(self) -> None:
        self.told.clear()


@asynccontextmanager
async def supervised(
    folder: Path, text: str = "", address: str = "", **environ: str
) -> AsyncIterator[tuple[Gateway, Systemd]]:
    systemd = Systemd(address or str(folder / "notify"))
    try:
        async with Gateway(
            folder, text or config_text(), command=None, NOTIFY_SOCKET=systemd.address, **environ
        ) as gateway:
            await systemd.until("READY")
            yield gateway, systemd
    finally:
        systemd.close()


def pid(gateway: Gateway) -> int:
    assert gateway.process is not None
    return gateway.process.pid


async def test_it_is_ready_when_it_is_and_not_before(tmp_path: Path) -> None:
    async with supervised(tmp_path) as (gateway, systemd):
        assert systemd.told[0] == {"STATUS": "starting"}
        assert systemd.told[1] == {"READY": "1", "MAINPID": str(pid(gateway)), "STATUS": "running"}
        systemd.forget()
        gateway.signal(signal.SIGTERM)
        assert await gateway.wait() == 0
        await systemd.until("STOPPING")
        assert [told["STATUS"] for told in systemd.told] == ["stopping", "stopped"]


async def test_an_edit_is_a_reload_that_ends(tmp_path: Path) -> None:
    async with supervised(tmp_path) as (gateway, systemd):
        systemd.forget()
        began = time.monotonic_ns() // 1_000
        gateway.config.write_text(config_text().replace("debounce_ms: 300", "debounce_ms: 200"))
        await systemd.until("RELOADING", "READY")
        assert began <= int(systemd.told[0]["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1_000
        assert [told["STATUS"] for told in systemd.told] == ["hot_reloading", "running"]


@pytest.mark.parametrize("text", ["", "gateway: 7\n"], ids=["nothing has changed", "the file cannot be used"])
async def test_case_67_who_reloads_by_a_signal_is_answered_whatever_comes_of_it(tmp_path: Path, text: str) -> None:
    reload = "{mode: hybrid, debounce_ms: 60000}"
    async with supervised(tmp_path, config_text(reload=reload)) as (gateway, systemd):
        systemd.forget()
        if text:
            gateway.config.write_text(text)
        sent = time.monotonic_ns() // 1_000
        gateway.signal(signal.SIGHUP)
        await systemd.until("RELOADING", "READY")
        assert int(systemd.told[0]["MONOTONIC_USEC"]) >= sent


async def test_a_reload_by_a_signal_is_answered_when_it_is_through(tmp_path: Path) -> None:
    reload = "{mode: hybrid, debounce_ms: 60000}"
    async with supervised(tmp_path, config_text(reload=reload)) as (gateway, systemd):
        systemd.forget()
        gateway.config.write_text(config_text(reload=reload).replace("default: {}", "default: {}, other: {}"))
        gateway.signal(signal.SIGHUP)
        await systemd.until("RELOADING", "RELOADING", "READY")
        assert "other" in {account["account"] for account in (await gateway.status())["accounts"]}


@pytest.mark.parametrize("broken", [False, True], ids=["it restarts", "the restart is refused"])
async def test_a_restart_ends_in_being_ready(tmp_path: Path, broken: bool) -> None:
    text = config_text(restart="{delay_ms: 0, cooldown_ms: 0}", reload="{mode: hybrid, debounce_ms: 60000}")
    async with supervised(tmp_path, text) as (gateway, systemd):
        systemd.forget()
        if broken:
            gateway.config.write_text("gateway: 7\n")
        gateway.signal(signal.SIGUSR1)
        if not broken:
            await systemd.until("RELOADING", "READY")
            return
        # It never left what is ready: nothing is to be said.
        async with asyncio.timeout(PATIENCE):
            while [told["STATUS"] for told in systemd.told] != ["restart_pending", "running"]:
                await asyncio.sleep(0.01)
        assert systemd.words == []


async def test_the_watchdog_is_fed_as_long_as_the_loop_turns(tmp_path: Path) -> None:
    async with supervised(tmp_path, WATCHDOG_USEC="100000") as (gateway, systemd):

        def fed() -> int:
            return sum("WATCHDOG" in told for told in systemd.told)

        before = fed()
        async with asyncio.timeout(PATIENCE):
            while fed() < before + 5:
                await asyncio.sleep(0.01)
        gateway.signal(signal.SIGSTOP)
        await asyncio.sleep(0.1)
        halted = fed()
        await asyncio.sleep(0.5)
        assert fed() == halted
        gateway.signal(signal.SIGCONT)
        async with asyncio.timeout(PATIENCE):
            while fed() == halted:
                await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("environ", "every"),
    [
        ({"WATCHDOG_USEC": "2000000"}, 1.0),
        ({"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": str(os.getpid())}, 1.0),
        ({"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "1"}, 0.0),
        ({"WATCHDOG_USEC": "soon"}, 0.0),
        ({"WATCHDOG_USEC": "-5"}, 0.0),
        ({}, 0.0),
    ],
)
def test_how_often_the_watchdog_is_fed(environ: Mapping[str, str], every: float) -> None:
    assert Supervisor({"NOTIFY_SOCKET": "/nowhere", **environ})._every == every
    assert Supervisor(environ)._every == 0.0, "nobody is there to be told"


async def test_a_socket_without_a_file(tmp_path: Path) -> None:
    async with supervised(tmp_path, address=f"@gateway-test-{os.getpid()}") as (_, systemd):
        assert systemd.words == ["READY"]


async def test_a_supervisor_that_is_gone_stops_nothing(tmp_path: Path) -> None:
    async with supervised(tmp_path) as (gateway, systemd):
        systemd.close()
        (tmp_path / "notify").unlink()
        client = await gateway.client()
        gateway.config.write_text(config_text().replace("default: {}", "default: {}, other: {}"))
        await gateway.until(lambda status: len(status["accounts"]) == 2)
        await client.close()
    assert any(line["event"] == "supervisor_not_told" for line in gateway.log)


# The socket that it hands over


def activated(listener: socket.socket) -> list[str]:
    """A command that starts a gateway as systemd does for a socket unit."""
    begin = (
        f"import os; os.dup2({listener.fileno()}, 3); os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1');"
        f"os.execv({sys.executable!r}, [{sys.executable!r}, '-m', 'gateway'])"
    )
    return [sys.executable, "-c", begin]


async def test_a_listening_socket_is_taken_over_and_kept_by_a_restart(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.set_inheritable(True)
        gateway = Gateway(tmp_path, config_text(restart="{delay_ms: 0, cooldown_ms: 0}"), command=activated(listener))
        gateway.inherit = (listener.fileno(),)
        async with gateway:
            port = listener.getsockname()[1]
            assert gateway.url == f"http://127.0.0.1:{port}"
            gateway.signal(signal.SIGUSR1)
            await gateway.ready(2)
            assert gateway.url == f"http://127.0.0.1:{port}"
            assert (await gateway.status())["state"] == "running"


async def test_a_descriptor_that_is_no_listening_socket_is_refused(tmp_path: Path) -> None:
    with socket.socket() as deaf:
        deaf.set_inheritable(True)
        gateway = Gateway(tmp_path, config_text(), command=activated(deaf))
        gateway.inherit = (deaf.fileno(),)
        await gateway.spawn()
        assert await gateway.wait() == 1
        await gateway.close()
    (line,) = [line for line in gateway.log if line["event"] == "cannot_listen"]
    assert "LISTEN_FDS" in line["why"]


# The unit


UNIT = ROOT / "docs" / "operating" / "gateway.service"
PYTHON, CONFIG, STATE = "/opt/gateway/.venv/bin/python", "/etc/gateway/", "/var/lib/gateway"


def settings() -> dict[str, str]:
    """What the unit sets; of what it sets twice, the last."""
    lines = UNIT.read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


async def test_the_unit_runs_as_it_stands(tmp_path: Path) -> None:
    """But for its folders: started, reloaded, fed, and stopped in its time."""
    unit = settings()
    assert unit["Type"] == "notify-reload"
    line = unit["ExecStart"].replace(PYTHON, sys.executable)
    line = line.replace(CONFIG, f"{tmp_path}/").replace(STATE, f"{tmp_path}/state")
    systemd = Systemd(str(tmp_path / "notify"))
    environ = {"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": str(int(unit["WatchdogSec"]) * 1_000_000)}
    async with Gateway(tmp_path, config_text(), command=line.split(), **environ) as gateway:
        await systemd.until("READY")
        systemd.forget()
        gateway.signal(signal.SIGHUP)
        await systemd.until("RELOADING", "READY")
        assert (tmp_path / "state" / "lock").read_text() == f"{pid(gateway)}\n"
        gateway.signal(signal.SIGTERM)
        assert await gateway.wait(float(unit["TimeoutStopSec"])) == 0
    systemd.close()


def test_the_unit_gives_a_stop_more_time_than_the_gateway_takes() -> None:
    unit, budget = settings(), RestartSettings().drain_timeout_ms / 1_000
    name, _, limit = unit["Environment"].partition("=")
    # systemd says nothing of its limit: what the unit tells the gateway is what it tells systemd.
    assert (name, limit) == (LIMIT, unit["TimeoutStopSec"])
    assert budget_of(budget, limit_of({name: limit})) == budget
    assert settings()["RestartPreventExitStatus"] == f"{EXIT_HELD} {EXIT_CONFIG}"


def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    analyze = find_program("systemd-analyze", "systemd")
    text = UNIT.read_text().replace(PYTHON, sys.executable)
    (tmp_path / UNIT.name).write_text(text)
    shutil.copy(UNIT.with_suffix(".socket"), tmp_path)
    done = subprocess.run(
        [analyze, "verify", *map(str, tmp_path.iterdir())], capture_output=True, text=True, check=False
    )
    # The one word that systemd 252 does not know yet.
    said = [line for line in done.stderr.splitlines() if "notify-reload" not in line]
    assert (done.returncode, said) == (0, [])
    checked = subprocess.run(
        [analyze, "security", "--offline=true", "--threshold=20", str(tmp_path / UNIT.name)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout
