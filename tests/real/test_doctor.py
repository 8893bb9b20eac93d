"""`gateway doctor`: each thing that can be wrong is made wrong once, and found, with what mends it."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import socket
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from nats import connect

from gateway.cli.doctor import machine, networks
from gateway.cli.doctor.command import CODES, examine
from gateway.cli.doctor.finding import Finding, Severity
from gateway.config.lease import LeaseSettings
from gateway.process.nats import NatsStore
from gateway.store.database import Database
from gateway.store.store import FILE
from statemachine.lease_record import Record
from tests.fakes.telegram import FakeTelegram
from tests.ports import free_port
from tests.real.commands import command
from tests.real.nats_server import NatsServer
from tests.real.process import Gateway, config_text, telegram_account

SECRET = "1001:a-secret-of-the-doctor"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.yaml"
    path.write_text(config_text())
    path.chmod(0o600)
    return path


def found(config: Path, check: str, *, offline: bool = True) -> list[Finding]:
    """What is said of one thing, the worst first, without what is as it should be."""
    findings = [each for each in examine(config, config.parent / ".gateway", offline=offline) if each.check == check]
    assert findings, f"nothing is said of {check}"
    return sorted(
        (each for each in findings if each.severity > Severity.OK), key=lambda each: each.severity, reverse=True
    )


def assert_only(config: Path, check: str, severity: Severity, *words: str, offline: bool = True) -> Finding:
    """The one thing that is wrong."""
    (finding,) = found(config, check, offline=offline)
    assert finding.severity is severity, finding
    for word in words:
        assert word in f"{finding.message} {finding.remedy}", finding
    return finding


# As it is given


async def test_a_gateway_that_is_well_has_nothing_to_be_mended(tmp_path: Path) -> None:
    async with FakeTelegram() as telegram:
        telegram.add_bot(SECRET, "main_bot")
        async with Gateway(tmp_path, config_text(telegram_account("main", SECRET, telegram.url))) as gateway:
            gateway.config.chmod(0o600)
            done = await command(tmp_path, "doctor")
            assert (done.code, done.err) == (0, "")
            assert "telegram/main is let in as @main_bot" in done.out
            assert f"{gateway.url} is running\n" in done.out
            assert done.out.endswith("nothing is to be mended\n")


async def test_the_findings_as_json_and_the_worst_as_the_exit_code(tmp_path: Path, config: Path) -> None:
    well = await command(tmp_path, "doctor", "--offline", "--json")
    assert (well.code, well.json["worst"]) == (0, "note")
    config.chmod(0o644)
    worse = await command(tmp_path, "doctor", "--offline", "--json")
    assert (worse.code, worse.json["worst"]) == (2, "warning")
    assert {"check", "severity", "message", "remedy"} == set(worse.json["findings"][0])
    config.unlink()
    worst = await command(tmp_path, "doctor", "--offline")
    assert worst.code == 1
    assert worst.out.startswith("error    config   there is no file gateway.yaml\n")
    assert "-> `python -m gateway init` writes one" in worst.out
    assert worst.out.endswith("1 error(s), 0 warning(s)\n")


def test_every_severity_has_a_code() -> None:
    assert CODES == {Severity.OK: 0, Severity.NOTE: 0, Severity.WARNING: 2, Severity.ERROR: 1}


# The config


def test_each_fault_of_the_config_is_named_with_its_line(config: Path) -> None:
    config.write_text("gateway: {admin: {prot: 1}}\nroutes: 7\n")
    faults = found(config, "config")
    assert [each.severity for each in faults] == [Severity.ERROR, Severity.ERROR]
    assert "line 1" in faults[0].message
    assert "gateway schema" in faults[0].remedy


def test_a_secret_that_others_can_read(config: Path) -> None:
    config.chmod(0o640)
    assert_only(config, "config", Severity.WARNING, "0640", f"chmod 600 {config}")


def test_a_secret_that_is_elsewhere_may_be_read_in_the_file(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_TEST_TOKEN", "a-token-that-is-elsewhere")
    config.write_text(
        "gateway: {admin: {port: 0, token: '${GATEWAY_TEST_TOKEN}'}}\nchannels: {webchat: {accounts: {a: {}}}}\n"
    )
    config.chmod(0o644)
    assert_only(config, "config", Severity.WARNING, "no route")


def test_a_config_that_receives_nothing(config: Path) -> None:
    config.write_text("channels: {webchat: {accounts: {default: {enabled: false}}}}\n")
    assert_only(config, "config", Severity.WARNING, "no account is enabled")


def test_a_config_that_is_somebody_elses(config: Path) -> None:
    config.chmod(0o400)
    assert_only(config, "config", Severity.NOTE, "0400", "never written")


# The machine


def test_a_state_folder_that_others_can_look_into(config: Path) -> None:
    folder = config.parent / ".gateway"
    folder.mkdir()
    folder.chmod(0o755)
    assert_only(config, "state", Severity.WARNING, f"chmod 700 {folder}")


def test_a_state_folder_that_is_none(config: Path) -> None:
    (config.parent / ".gateway").write_text("")
    assert_only(config, "state", Severity.ERROR, "is no folder", "--state-dir")


@pytest.mark.parametrize("there", [True, False], ids=["it is there", "it is to be made"])
def test_a_state_folder_that_may_not_be_written(config: Path, there: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if there:
        (config.parent / ".gateway").mkdir(mode=0o700)
    monkeypatch.setattr(os, "access", lambda *_, **__: False)  # the tests may be root, who may do everything
    assert "--state-dir" in found(config, "state")[0].remedy


def test_a_state_folder_on_another_machine(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (config.parent / ".gateway").mkdir(mode=0o700)
    monkeypatch.setattr(machine, "REMOTE", {machine._file_system(config.parent)})
    assert_only(config, "state", Severity.WARNING, "cannot be relied on")


@pytest.mark.parametrize(("free", "severity"), [(100, Severity.WARNING), (10, Severity.ERROR)])
def test_a_disk_that_is_nearly_full(
    config: Path, free: int, severity: Severity, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.statvfs(config.parent)
    fields = list(real)
    fields[4] = free * machine.MEGABYTE // real.f_frsize
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result(fields))
    assert_only(
        config,
        "disk",
        severity,
        f"{free - 1} MB" if fields[4] * real.f_frsize < free << 20 else f"{free} MB",
        "make room",
    )


def test_a_disk_that_has_no_inode_left(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fields = list(os.statvfs(config.parent))
    fields[5], fields[7] = 1_000, 0
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result(fields))
    assert_only(config, "disk", Severity.ERROR, "inode")


def test_too_few_files_that_may_be_open(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 64))
    assert_only(config, "files", Severity.WARNING, "64 files", "ulimit -n")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY,) * 2)
    assert found(config, "files") == []


def test_edits_that_nobody_tells_of(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise OSError(24, "inotify instance limit reached")

    monkeypatch.setattr("watchdog.observers.Observer.start", refuse)
    assert_only(config, "watch", Severity.WARNING, "limit reached", "polling", "max_user_instances")


# The store


@pytest.fixture
def store(config: Path) -> Iterator[sqlite3.Connection]:
    (config.parent / ".gateway").mkdir(mode=0o700)
    database = Database(config.parent / ".gateway" / FILE)
    database.open()
    yield database.connection
    database.close()


def test_a_store_that_is_whole(config: Path, store: sqlite3.Connection) -> None:
    assert found(config, "store") == []


def test_a_store_that_is_damaged(config: Path) -> None:
    (config.parent / ".gateway").mkdir(mode=0o700)
    (config.parent / ".gateway" / FILE).write_bytes(b"no database " * 1_000)
    assert_only(config, "store", Severity.ERROR, "restore a backup")


@pytest.mark.usefixtures("store")
def test_a_store_with_a_page_that_is_broken(config: Path, store: sqlite3.Connection) -> None:
    store.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    path = config.parent / ".gateway" / FILE
    whole = bytearray(path.read_bytes())
    whole[4096 * 3 : 4096 * 3 + 64] = b"\xff" * 64
    path.write_bytes(whole)
    assert_only(config, "store", Severity.ERROR, "restore a backup")


@pytest.mark.parametrize(
    ("version", "severity", "word"), [(99, Severity.ERROR, "a newer one"), (0, Severity.NOTE, "brings up to")]
)
def test_a_store_of_another_version(
    config: Path, store: sqlite3.Connection, version: int, severity: Severity, word: str
) -> None:
    store.execute(f"PRAGMA user_version = {version}")
    assert_only(config, "store", severity, word)


def test_messages_that_wait_for_a_person(config: Path, store: sqlite3.Connection) -> None:
    for number, state in enumerate(("unknown", "unknown", "dead", "sent")):
        store.execute(
            "INSERT INTO outbox (key, account, conversation, body, state, created_at, changed_at) VALUES (?, '', '', x'', ?, 0, 0)",
            (str(number), state),
        )
    unknown, dead = found(config, "store")
    assert (unknown.severity, unknown.message[0]) == (Severity.WARNING, "2")
    assert "outbox --state unknown" in unknown.remedy
    assert (dead.severity, dead.message[0]) == (Severity.NOTE, "1")


# The gateway that runs, and the port that one will want


async def test_what_a_running_gateway_calls_degraded_is_told_with_its_remedy(tmp_path: Path) -> None:
    async with FakeTelegram() as telegram:
        text = config_text(telegram_account("main", SECRET, telegram.url))  # which the network does not know
        async with Gateway(tmp_path, text) as gateway:
            await gateway.until(lambda status: status["degraded"] != [])
            said = (await command(tmp_path, "doctor", "--json")).json["findings"]
    here = [each for each in said if each["check"] == "gateway"]
    assert [each["severity"] for each in here] == ["ok", "warning"]
    assert here[0]["message"].endswith("is running, and degraded")
    assert "channel_failed: telegram/main is failed" in here[1]["message"]
    assert "start it by hand" in here[1]["remedy"]
    refused = next(each for each in said if each["check"] == "network")
    assert (refused["severity"], "BotFather" in refused["remedy"]) == ("error", True)


async def test_a_gateway_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.cli.client.TIMEOUT", 0.5)
    async with Gateway(tmp_path, config_text()) as gateway:
        gateway.config.chmod(0o600)
        gateway.signal(signal.SIGSTOP)
        try:
            finding = await asyncio.to_thread(
                assert_only, gateway.config, "gateway", Severity.ERROR, "cannot be reached", "log"
            )
        finally:
            gateway.signal(signal.SIGCONT)
    assert gateway.url in finding.message


def test_a_port_that_another_program_has(config: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        config.write_text(config_text().replace("port: 0", f"port: {port}"))
        assert_only(config, "port", Severity.ERROR, f"127.0.0.1:{port}", "another program", "gateway.admin.port")


def test_an_address_that_is_not_of_this_machine(config: Path) -> None:
    config.write_text(config_text().replace("port: 0", "port: 0, host: 192.0.2.1"))
    assert_only(config, "port", Severity.ERROR, "192.0.2.1", "gateway.admin.host")


# What the hosts that share accounts agree by


async def look_at_leases(config: Path, **settings: Any) -> list[Finding]:
    """All that is said of them, what is as it should be, too."""
    lease = f"  lease: {json.dumps(settings)}\nchannels:\n"
    config.write_text(config_text().replace("channels:\n", lease, 1))
    looked = await asyncio.to_thread(lambda: list(examine(config, config.parent / ".gateway", offline=False)))
    assert "a-token-of-nats" not in repr(looked)
    return [each for each in looked if each.check == "lease"]


async def look_at_lease(config: Path, **settings: Any) -> tuple[Severity, str, str]:
    (finding,) = await look_at_leases(config, **settings)
    return finding.severity, finding.message, finding.remedy


async def test_a_store_of_leases_that_lets_us_in_is_looked_at_and_nothing_is_made_there(config: Path) -> None:
    async with NatsServer(config.parent / "nats") as nats:
        for _ in range(2):
            severity, message, remedy = await look_at_lease(config, url=nats.url)
            assert (severity, remedy) == (Severity.OK, "")
            assert f"{nats.url} lets us in; the bucket gateway-leases does not exist yet" in message
        store = NatsStore(LeaseSettings(url=nats.url))
        record = Record("a", "a host, PID 1", 1, 15.0, settled=True)
        await store.write("telegram.1", record, 0)
        severity, message, _ = await look_at_lease(config, url=nats.url)
        assert (severity, message) == (Severity.OK, f"{nats.url} has 1 lease(s) in gateway-leases")
        assert await store.read("telegram.1") == (record, 1), "what is held is left as it was"
        await store.close()


async def test_a_store_of_leases_that_does_not_answer(config: Path) -> None:
    url = f"nats://127.0.0.1:{free_port()}"
    severity, message, remedy = await look_at_lease(config, url=url)
    assert (severity, f"{url}: [Errno 111]" in message) == (Severity.ERROR, True)
    assert "gateway.lease.url" in remedy
    done = await command(config.parent, "doctor", "--json")
    assert (done.code, done.json["worst"]) == (1, "error")
    assert [each["severity"] for each in done.json["findings"] if each["check"] == "lease"] == ["error"]
    assert found(config, "config") == []
    assert [each for each in examine(config, config.parent / ".gateway", offline=True) if each.check == "lease"] == []


async def test_a_line_to_the_store_of_leases_that_carries_nothing(config: Path) -> None:
    async with NatsServer(config.parent / "nats") as nats:
        line = await nats.line()
        line.cut = True
        severity, message, remedy = await look_at_lease(config, url=line.url)
    assert severity is Severity.ERROR
    assert line.url in message
    assert "gateway.lease.url" in remedy


async def test_a_store_of_leases_that_refuses_us(config: Path) -> None:
    async with NatsServer(config.parent / "nats", "--auth", "a-token-of-nats") as nats:
        for more in ({}, {"token": "another-token-of-nats"}):
            severity, message, remedy = await look_at_lease(config, url=nats.url, **more)
            assert (severity, "Authorization Violation" in message) == (Severity.ERROR, True)
            assert "gateway.lease.token" in remedy
        assert (await look_at_lease(config, url=nats.url, token="a-token-of-nats"))[0] is Severity.OK


async def test_a_nats_without_jetstream_has_no_leases(config: Path) -> None:
    async with NatsServer(config.parent / "nats", jetstream=False) as nats:
        severity, message, remedy = await look_at_lease(config, url=nats.url)
    assert (severity, "JetStream" in message) == (Severity.ERROR, True)
    assert "nats-server -js" in remedy


async def test_a_bucket_that_forgets_leases_or_is_on_one_of_several_servers(config: Path) -> None:
    async with NatsServer(config.parent / "nats") as nats:
        client = await connect(nats.url)
        await client.jetstream().create_key_value(bucket="of-others", ttl=60)
        await client.close()
        forgets, well = await look_at_leases(config, url=nats.url, bucket="of-others")
        assert (forgets.severity, well.severity) == (Severity.WARNING, Severity.OK)
        assert "forgets a lease after 60 s" in forgets.message
        assert "KV_of-others --max-age=0" in forgets.remedy
        forgets, alone, well = await look_at_leases(config, url=f"{nats.url},{nats.url}", bucket="of-others")
        assert (alone.severity, "--replicas=3" in alone.remedy) == (Severity.WARNING, True)


async def test_where_no_host_shares_anything_nothing_is_said_of_leases(config: Path) -> None:
    assert await look_at_leases(config) == []


# The networks


async def look(config: Path, api_base: str, check: str, **more: Any) -> list[Finding]:
    config.write_text(config_text(telegram_account("main", SECRET, api_base, **more)))
    said = await asyncio.to_thread(found, config, check, offline=False)
    assert SECRET.partition(":")[2] not in repr(said)
    return said


async def test_a_network_that_cannot_be_reached(config: Path) -> None:
    (finding,) = await look(config, "http://127.0.0.1:1", "network")
    assert (finding.severity, finding.remedy) == (Severity.ERROR, networks.UNREACHED)


async def test_a_webhook_that_takes_the_messages(config: Path) -> None:
    async with FakeTelegram() as telegram:
        telegram.add_bot(SECRET, "main_bot").webhook_url = "https://other.example/a-path-that-is-secret"
        (finding,) = await look(config, telegram.url, "network")
        assert "https://other.example/..." in finding.message
        assert "a-path" not in finding.message
        assert "delete_webhook: true" in finding.remedy
        assert await look(config, telegram.url, "network", delete_webhook=True) == []


@pytest.mark.parametrize("receive", ["webhook", "polling"])
async def test_our_own_webhook_and_whether_it_is_reached(config: Path, receive: str) -> None:
    more = {"receive": receive, "webhook_url": "https://bot.example.org:443/below/"}
    async with FakeTelegram() as telegram:
        bot = telegram.add_bot(SECRET, "main_bot")
        assert await look(config, telegram.url, "network", **more) == []
        bot.webhook_url = "https://bot.example.org/below/telegram/main"
        assert await look(config, telegram.url, "network", **more) == []
        assert bot.webhook is not None
        bot.webhook.error, bot.webhook.error_at = "Connection refused", int(time.time()) - 60
        bot.push("waiting")
        (finding,) = await look(config, telegram.url, "network", **more)
        assert finding.severity is Severity.WARNING
        assert "Connection refused; 1 waits" in finding.message
        assert "certificate" in finding.remedy
        bot.webhook.error_at -= 3_600
        assert await look(config, telegram.url, "network", **more) == []


@pytest.mark.parametrize(("askew", "way"), [(3_600, "ahead of"), (-3_600, "behind")])
async def test_a_clock_that_is_wrong(config: Path, askew: int, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = SimpleNamespace(time=lambda: time.time() + askew, monotonic=time.monotonic)
    monkeypatch.setattr(networks, "time", ours)
    async with FakeTelegram() as telegram:
        telegram.add_bot(SECRET, "main_bot")
        (finding,) = await look(config, telegram.url, "clock")
    assert way in finding.message
    assert finding.severity is Severity.WARNING


async def test_offline_no_network_is_asked(tmp_path: Path) -> None:
    async with FakeTelegram() as telegram:
        bot = telegram.add_bot(SECRET, "main_bot")
        (tmp_path / "gateway.yaml").write_text(config_text(telegram_account("main", SECRET, telegram.url)))
        said = (await command(tmp_path, "doctor", "--offline", "--json")).out
        assert not any(each["check"] == "network" for each in json.loads(said)["findings"])
        assert bot.stats.polls == 0
