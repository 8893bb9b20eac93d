"""What can happen to an account that several hosts share: scenarios by which a running service takes every row of its lease."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

from gateway.errors import ConnectionLostError
from gateway.process.leases import CUT_OFF
from statemachine.channel_events import By, Run, Start, Stop
from tests.gateway.configs import telegram
from tests.gateway.fake_leases import FakeLeases, FakeLine
from tests.gateway.fakes import NEVER, Script
from tests.gateway.process.house import House

MAIN = "telegram/main"
LEASE = f"lease/{MAIN}"


def shared_by_hosts(**accounts: str) -> str:
    """A config of accounts that hosts share, each in YAML's braces without them."""
    return telegram(**accounts).replace("gateway:\n", "gateway:\n  lease: {url: 'nats://fake'}\n", 1)


SHARED = shared_by_hosts(main="token: one-token")
OTHER_BOT = SHARED.replace("one-token", "two-token")
TTL, LINGER = 15.0, 45.0
"""Seconds: of a lease, and of what may linger after it; the fake network's accounts have those that any has."""


class Shared:
    """A host, the records, and the line between them."""

    def __init__(self, folder: Path, text: str = SHARED) -> None:
        self.leases = FakeLeases()
        self.line: FakeLine = self.leases.line()
        self.house = House(folder, text, leases=self.line)

    @property
    def key(self) -> str:
        """The bot's, as the store has it."""
        claim = self.house._ledger.applied.accounts()[MAIN].claim
        assert claim is not None
        return claim

    async def until(self, state: str, within: float = 600.0) -> None:
        """Of the lease."""
        async with asyncio.timeout(within):
            while self.state() == "absent":
                await asyncio.sleep(0.01)
            await self.house._dispatcher.until(LEASE, lambda machine: machine.state.value == state)

    def state(self) -> str:
        machine = self.house._dispatcher.find(LEASE)
        return "absent" if machine is None else str(machine.state.value)

    async def runs(self, within: float = 600.0) -> None:
        await self.house.until_account(MAIN, "running", within)
        assert self.state() == "held"

    def run_of(self) -> Run:
        house = self.house
        return house._accounts.run_of(MAIN, house._ledger.applied.accounts()[MAIN], house._ledger.applied_id)

    async def start(self) -> None:
        await self.house.post(Start(self.run_of(), By.PERSON), MAIN)

    async def stop(self) -> None:
        await self.house.post(Stop(By.PERSON, confirm=True), MAIN)


async def waits_and_is_stopped_by_people(folder: Path) -> House:
    """The first host ever; then another has it; then both let it go, one after the other, and the store does not answer."""
    shared = Shared(folder)
    async with shared.house as house:
        began = house.now()
        await house.until_account(MAIN, "conflict")
        assert "may still receive" in house.channel(MAIN).data.last_error
        await shared.runs()
        assert house.now() - began > TTL + LINGER
        await shared.stop()
        await shared.until("free")
        await shared.stop()  # again: it is free
        shared.leases.seize(shared.key)
        await shared.start()
        await house.until_account(MAIN, "conflict")
        assert "host-b" in house.channel(MAIN).data.last_error
        await shared.start()  # nobody knows better
        await house.until_account(MAIN, "conflict")
        await asyncio.sleep(3 * TTL - 1)
        shared.leases.seize(shared.key)  # it is renewed, after all
        await asyncio.sleep(TTL - 1)
        assert house.account(MAIN) == "conflict"
        await shared.stop()
        await shared.stop()
        await shared.until("free")
        shared.leases.release(shared.key)
        await shared.start()
        await shared.runs(within=5.0)
        for takes, cut in ((0.001, True), (5.0, False)):
            shared.line.takes, shared.line.cut = takes, cut
            await shared.stop()
            await shared.until("free")
            await asyncio.sleep(20)
            await shared.start()
            await asyncio.sleep(20)
            shared.line.takes, shared.line.cut = 0.001, False
            await shared.runs()
    return house


async def changes_its_bot(folder: Path) -> House:
    """While it has the lease of the one, and while it waits for that of the other."""
    shared = Shared(folder)
    async with shared.house as house:
        await shared.runs()
        one = shared.key
        await house.write(OTHER_BOT)
        assert shared.leases.records[one][0].released
        await house.write(SHARED)
        await shared.runs()
        # A restart in the process: it is wanted once more, and is held.
        await house.ticket("restart", 0)
        await asyncio.sleep(40)
        await shared.runs()
        assert house.lifecycle.data.restarts == 1
        await shared.stop()
        await shared.until("releasing")
        await shared.start()  # before it was let go
        await shared.runs()
    return house


async def loses_it(folder: Path) -> House:
    """The store is away, once for a moment and once for long; then another has it, which a store that lost its disk makes possible."""
    shared = Shared(folder)
    async with shared.house as house:
        await shared.runs()
        shared.line.cut = True
        await asyncio.sleep(7)
        shared.line.cut = False
        await asyncio.sleep(30)
        assert house.channel(MAIN).data.generation == 2, (
            "the first was not to receive yet, and nothing came of the moment"
        )
        for _ in range(2):
            shared.line.cut = True
            await shared.until("fenced")
            shared.line.cut = False
            await shared.runs()
        shared.leases.seize(shared.key)
        await shared.until("lost")
        await house.until_account(MAIN, "conflict")
        shared.leases.release(shared.key)
        await shared.runs()
        # While there is no receiver.
        house.network.live(MAIN)[0].fail(ConnectionLostError("the line broke", retry_after=60.0))
        await house.until_account(MAIN, "backoff")
        shared.line.cut = True
        await shared.until("lost")
        shared.line.cut = False
        await shared.runs()
    return house


async def cannot_be_cut_off(folder: Path) -> House:
    """Its time is over, and it is told so; and what a person has stopped in the middle of that rests, whosever the lease is."""
    shared = Shared(folder)
    hangs = Script(lingers=NEVER, fence_fails=1)
    shared.house.network.script(MAIN, hangs, Script(), replace(hangs), Script(lingers=NEVER))
    async with shared.house as house:
        await shared.runs()
        shared.line.cut = True
        await shared.until("fenced")
        await house.until_account(MAIN, "stop_overdue")
        await shared.until("lost", CUT_OFF + 0.1)
        shared.line.cut = False
        await shared.runs()
        await shared.stop()
        await shared.until("free")
        await shared.start()
        await shared.runs()
        shared.line.cut = True
        await shared.until("fenced")
        await shared.stop()
        await shared.until("lost", CUT_OFF + 0.1)
        await shared.until("free", 10)
        shared.line.cut = False
        # It was told to end already, and has no time for that any more.
        await shared.start()
        await shared.runs()
        shared.line.cut = True
        await asyncio.sleep(TTL - CUT_OFF - 1)
        await shared.stop()
        await shared.until("fenced")
        await shared.until("free")
        shared.line.cut = False
    return house


async def comes_in_the_moment_in_which_it_is_denied(folder: Path) -> House:
    """Somebody tries once more, and hears that it is not ours, when it just was written that it is."""
    shared = Shared(folder)
    async with shared.house as house:
        await shared.runs()
        for turns in range(12):
            await shared.stop()
            await shared.until("free")
            shared.leases.seize(shared.key)
            await shared.start()
            await house.until_account(MAIN, "conflict")

            async def again(turns: int = turns) -> None:
                await shared.start()
                for _ in range(turns):
                    await asyncio.sleep(0)

            shared.line.written = again
            shared.leases.release(shared.key)
            await shared.runs()
    return house


SCENARIOS: tuple[Callable[[Path], Coroutine[Any, Any, House]], ...] = (
    waits_and_is_stopped_by_people,
    changes_its_bot,
    loses_it,
    cannot_be_cut_off,
    comes_in_the_moment_in_which_it_is_denied,
)
