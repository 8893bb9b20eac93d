"""Hosts that share an account by a lease, and whose messages a proxy brings: to the host that receives, or to the other."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fakes.telegram import Bot, FakeTelegram
from tests.ports import free_port
from tests.real.nats_server import Line, NatsServer, was_let_go
from tests.real.process import Gateway
from tests.real.test_leases import ANOTHER_HOST, LINGER, TTL
from tests.real.test_webhook import BOT, Crowd, main, text_of


@dataclass
class Hosts:
    """`old` runs and `new` waits; the proxy brings to whoever listens at its target."""

    bot: Bot
    crowd: Crowd
    proxy: Line
    old: Gateway
    new: Gateway
    ports: dict[str, int]

    def bring_to(self, host: str) -> None:
        self.proxy.target = self.ports[host]
        self.proxy.mend()

    async def until(self, host: Gateway, state: str, within: float = 10.0) -> None:
        await host.until(lambda status: main(status)["state"] == state, within)


@asynccontextmanager
async def hosts(folder: Path) -> AsyncIterator[Hosts]:
    async with FakeTelegram() as telegram, NatsServer(folder / "nats") as nats, AsyncExitStack() as stack:
        bot, ports = telegram.add_bot(BOT, "shared_bot"), {"old": free_port(), "new": free_port()}
        proxy = Line(ports["old"])
        await proxy.open()
        stack.push_async_callback(proxy.close)
        gateways = {}
        for name, port in ports.items():
            (folder / name).mkdir()
            text = text_of(telegram, port, "webhook", webhook_url=f"http://127.0.0.1:{proxy.port}", poll_timeout_s=1)
            lease = f"  lease: {{url: {nats.url!r}, ttl_ms: {round(TTL * 1000)}}}\nchannels:\n"
            gateways[name] = Gateway(folder / name, text.replace("channels:\n", lease, 1), command=ANOTHER_HOST)
            stack.push_async_callback(gateways[name].close)
        await was_let_go(nats.url, BOT, telegram.url)
        found = Hosts(bot, Crowd(bot), proxy, gateways["old"], gateways["new"], ports)
        await found.old.start()
        await found.until(found.old, "running")
        await found.new.start()
        await found.until(found.new, "conflict")
        yield found
        assert bot.stats.overlaps == bot.stats.both == bot.stats.conflicts_self == 0


async def test_case_69_one_that_stands_by_takes_nothing_that_is_brought_to_it(tmp_path: Path) -> None:
    async with hosts(tmp_path) as found:
        found.crowd.begin()
        await found.crowd.goes_on()
        found.bring_to("new")
        await asyncio.sleep(1)
        brought = found.bot.webhooks[-1].stats
        tries, taken, answered = brought.tries, len(brought.accepted), len(found.bot.sent)
        await asyncio.sleep(2)
        assert brought.tries > tries
        assert (len(brought.accepted), len(found.bot.sent)) == (taken, answered)
        found.bring_to("old")
        await found.crowd.goes_on()
        await found.crowd.is_answered()


@pytest.mark.parametrize("ends", ["stopped", "killed"])
async def test_case_69_the_next_host_takes_what_is_brought_to_it(tmp_path: Path, ends: str) -> None:
    """Its webhook is at the same address, and is not taken for somebody else's."""
    async with hosts(tmp_path) as found:
        found.crowd.begin()
        await found.crowd.goes_on()
        await found.crowd.is_answered()  # what it had taken and not answered, it would answer when it is back
        if ends == "stopped":
            assert await found.old.stop() == 0
        else:
            found.old.signal(signal.SIGKILL)
        found.bring_to("new")
        found.crowd.begin()
        await found.until(found.new, "running", 5 if ends == "stopped" else TTL + LINGER + 10)
        await found.crowd.goes_on()
        await found.crowd.is_answered()
