"""Hosts that share an account by a lease in a real NATS: one of them receives, whatever becomes of the others and of their lines."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import nats
import pytest
from msgspec.structs import replace

from gateway.channels.telegram import CONFLICT_MARGIN
from gateway.config.lease import LeaseSettings
from gateway.process.lease_store import OutrunError
from gateway.process.leases import CUT_OFF
from gateway.process.nats import NatsStore
from statemachine.lease_record import Record
from tests.fakes.telegram import FakeTelegram
from tests.fakes.telegram_bot import Bot
from tests.real.nats_server import Line, NatsServer, was_let_go
from tests.real.process import PATIENCE, ROOT, Gateway, config_text, telegram_account

TOKEN = "2069:a-bots-secret-0069"
MAIN = "telegram/main"
POLL_TIMEOUT = 1
LINGER = POLL_TIMEOUT + CONFLICT_MARGIN
TTL = 10.0
ANOTHER_HOST = [sys.executable, "-m", "tests.real.another_host"]


class Hosts:
    """`old` runs and `new` waits."""

    def __init__(self, folder: Path, telegram: FakeTelegram, nats: NatsServer, lines: tuple[Line, Line]) -> None:
        self.bot: Bot = telegram.add_bot(TOKEN, "shared_bot")
        self.nats = nats
        self.old_line, self.new_line = lines
        self.old = self._host(folder / "old", telegram, lines[0])
        self.new = self._host(folder / "new", telegram, lines[1])
        self.said: list[str] = []

    def _host(self, folder: Path, telegram: FakeTelegram, line: Line) -> Gateway:
        folder.mkdir()
        account = telegram_account("main", TOKEN, telegram.url, poll_timeout_s=POLL_TIMEOUT)
        lease = f"  lease: {{url: {line.url!r}, ttl_ms: {round(TTL * 1000)}}}\nchannels:\n"
        text = config_text(account, restart="{delay_ms: 0, cooldown_ms: 0}").replace("channels:\n", lease, 1)
        return Gateway(folder, text, command=ANOTHER_HOST)

    async def say(self, count: int = 4) -> None:
        for _ in range(count):
            self.said.append(str(len(self.said)))
            self.bot.push(self.said[-1])
            await asyncio.sleep(0.05)

    async def answered(self, within: float = PATIENCE) -> None:
        async with asyncio.timeout(within):
            while {message["text"] for message in self.bot.sent} != set(self.said):
                await asyncio.sleep(0.05)
        assert len(self.bot.sent) == len(self.said), "each is answered once"

    async def until(self, host: Gateway, state: str, within: float = PATIENCE) -> dict[str, Any]:
        status = await host.until(lambda status: account_of(status)["state"] == state, within)
        return account_of(status)

    def pid(self, host: Gateway) -> int:
        assert host.process is not None
        return host.process.pid

    def never_two(self) -> None:
        stats = self.bot.stats
        assert (stats.overlaps, stats.conflicts_self, stats.max_in_flight) == (0, 0, 1), stats


def account_of(status: dict[str, Any]) -> dict[str, Any]:
    accounts: list[dict[str, Any]] = status["accounts"]
    return next(each for each in accounts if f"{each['channel']}/{each['account']}" == MAIN)


@pytest.fixture
async def hosts(tmp_path: Path) -> AsyncIterator[Hosts]:
    async with FakeTelegram() as telegram, NatsServer(tmp_path / "nats") as nats:
        hosts = Hosts(tmp_path, telegram, nats, (await nats.line(), await nats.line()))
        async with contextlib.AsyncExitStack() as stack:
            await was_let_go(nats.url, TOKEN, telegram.url)
            stack.push_async_callback(hosts.old.close)
            await hosts.old.start()
            await hosts.until(hosts.old, "running")
            await stack.enter_async_context(hosts.new)
            await hosts.until(hosts.new, "conflict")
            yield hosts


async def test_case_69_in_a_rolling_update_the_lease_goes_from_one_to_the_other_and_nobody_waits(hosts: Hosts) -> None:
    """Released by a clean stop it is had at once, without the wait for a poll that is over already."""
    waiting = account_of(await hosts.new.status())
    assert waiting["lease"] == {"state": "acquiring", "term": 0, "why": waiting["error"]}
    assert f"PID {hosts.pid(hosts.old)}" in str(waiting["error"])
    assert account_of(await hosts.old.status())["lease"] == {"state": "held", "term": 1, "why": ""}
    await hosts.say()
    await hosts.answered()
    assert await hosts.old.stop() == 0
    left = time.monotonic()
    await hosts.say()
    await hosts.until(hosts.new, "running")
    assert hosts.bot.gap_since(left - 1).longest < LINGER
    await hosts.answered()
    assert account_of(await hosts.new.status())["lease"]["term"] == 2
    hosts.never_two()
    assert "strategy: Recreate" in (ROOT / "docs" / "operating" / "README.md").read_text()


async def test_case_69_a_host_that_dies_is_followed_after_its_lease_and_the_time_of_a_poll(hosts: Hosts) -> None:
    await hosts.say()
    await hosts.answered()
    hosts.old.signal(signal.SIGKILL)
    died = time.monotonic()
    await hosts.say()
    await hosts.until(hosts.new, "running", TTL + LINGER + 10)
    first = next(poll.arrived_at for poll in hosts.bot.stats.poll_log if poll.arrived_at > died + 0.5)
    assert first - died > TTL - TTL / 3 + LINGER - 1, "what the dead one had asked for may have been under way"
    await hosts.answered()
    hosts.never_two()


async def test_case_69_a_host_that_cannot_renew_stops_before_its_lease_ends(hosts: Hosts) -> None:
    """It is parted from the store and from nobody else: it lives, and its network answers it."""
    await hosts.say()
    await hosts.answered()
    hosts.old_line.cut = True
    cut = time.monotonic()
    await hosts.until(hosts.old, "conflict", TTL + 5)
    assert hosts.bot.stats.poll_log[-1].arrived_at - cut < TTL - CUT_OFF + 0.5
    assert "lease store" in str(account_of(await hosts.old.status())["error"])
    await hosts.until(hosts.new, "running", TTL + LINGER + 10)
    await hosts.say()
    await hosts.answered()
    hosts.old_line.mend()
    await hosts.old.until(lambda status: f"PID {hosts.pid(hosts.new)}" in str(account_of(status)["error"]))
    hosts.never_two()


async def test_case_69_a_host_that_was_halted_polls_no_more_when_it_goes_on(hosts: Hosts) -> None:
    """Its timers are late by as much as it was halted: what comes first is not another poll."""
    hosts.old.signal(signal.SIGSTOP)
    await hosts.until(hosts.new, "running", TTL + LINGER + 10)
    hosts.old.signal(signal.SIGCONT)
    await hosts.until(hosts.old, "conflict")
    await hosts.say()
    await hosts.answered()
    assert hosts.old.starts(MAIN) <= 2, "the one that was cut off, and the one that found the lease gone"
    hosts.never_two()


async def test_case_69_restarts_keep_the_lease(hosts: Hosts) -> None:
    """By exec, which is another image of the process, and in the process."""
    for boots, mode in ((2, "exec"), (3, "in_process")):
        hosts.old.signal(signal.SIGUSR1)
        await hosts.old.ready(boots)
        await hosts.until(hosts.old, "running")
        await hosts.say()
        await hosts.answered()
        assert account_of(await hosts.new.status())["state"] == "conflict"
        if mode == "exec":
            await hosts.old.edit(lambda text: text.replace("{delay_ms: 0,", "{mode: in_process, delay_ms: 0,"))
    hosts.never_two()


async def test_case_69_without_the_store_nobody_receives_and_when_it_is_back_one_does(hosts: Hosts) -> None:
    await hosts.nats.stop()
    await hosts.until(hosts.old, "conflict", TTL + 5)
    await hosts.say()
    await asyncio.sleep(1)
    await hosts.nats.start()
    async with asyncio.timeout(TTL + LINGER + 10):
        while not await running(hosts.old, hosts.new):
            await asyncio.sleep(0.1)
    assert len(await running(hosts.old, hosts.new)) == 1
    await hosts.answered()
    hosts.never_two()


async def test_an_account_that_a_person_stops_is_anybodys(hosts: Hosts) -> None:
    left = time.monotonic()
    assert (await hosts.old.http("POST", f"/api/v1/channels/{MAIN}/stop"))[0] == 200
    await hosts.until(hosts.new, "running")
    assert hosts.bot.gap_since(left - 1).longest < LINGER
    assert (await hosts.old.http("POST", f"/api/v1/channels/{MAIN}/start"))[0] == 200
    assert f"PID {hosts.pid(hosts.new)}" in str((await hosts.until(hosts.old, "conflict"))["error"])
    await hosts.say()
    await hosts.answered()
    hosts.never_two()


async def running(*hosts: Gateway) -> list[Gateway]:
    return [host for host in hosts if account_of(await host.status())["state"] == "running"]


async def test_case_69_a_store_that_lost_everything_makes_no_second_receiver(hosts: Hosts) -> None:
    """Whoever has a lease finds out when it renews it; whoever comes then waits for that, and for the time of a poll."""
    client = await nats.connect(hosts.nats.url)
    await client.jetstream().delete_key_value("gateway-leases")
    await client.close()
    await hosts.until(hosts.old, "conflict", TTL)
    async with asyncio.timeout(2 * TTL + LINGER + 10):
        while not await running(hosts.old, hosts.new):
            await asyncio.sleep(0.1)
    await hosts.say()
    await hosts.answered()
    hosts.never_two()


async def test_of_two_who_write_over_the_same_record_one_is_refused(tmp_path: Path) -> None:
    """A first one, one that is there, and one that somebody has deleted by hand."""
    record = Record("a", "host-a, PID 1", 1, TTL, settled=True)
    async with NatsServer(tmp_path / "nats") as server:
        stores = [NatsStore(LeaseSettings(url=server.url)) for _ in range(2)]
        for deleted in (False, True):
            for _ in range(2):
                found, revision = await stores[0].read("bot")
                answers = [await written(store, replace(record, who=str(store)), revision) for store in stores]
                assert answers == [True, False], found
            if not deleted:
                client = await nats.connect(server.url)
                await (await client.jetstream().key_value("gateway-leases")).delete("bot")
                await client.close()
                assert (await stores[1].read("bot"))[0] is None
        for store in stores:
            await store.close()


async def written(store: NatsStore, record: Record, revision: int) -> bool:
    try:
        await store.write("bot", record, revision)
    except OutrunError:
        return False
    return True
