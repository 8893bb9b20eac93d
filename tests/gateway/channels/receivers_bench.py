"""Receivers over a fake network on a virtual clock, with everything that they said and delivered."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from gateway.channels.base import Lease, Offsets
from gateway.channels.receivers import Receivers
from gateway.channels.sessions import Sessions
from gateway.messages.model import Message, Outgoing
from statemachine import Event
from statemachine.channel_events import (
    CloseReceiver,
    FenceReceiver,
    OpenReceiver,
    ReceiverEnded,
    ReceiverReady,
    Run,
    WatchReceiver,
)
from tests.gateway.configs import config, telegram
from tests.gateway.fakes import FakeNetwork, FakeReceiver
from tests.virtual import VirtualClock, run_virtual

NAME = "telegram/main"
SETTINGS = config(telegram(main="token: a-token")).accounts()[NAME]
HELLO = Outgoing(1, "a key", "telegram", "main", "conversation", "hello", 0, 0)


class Bench:
    """Receivers over a fake network, with everything that they said and delivered."""

    def __init__(self, sessions: Sessions | None = None, lease: Lease | None = None) -> None:
        self.network = FakeNetwork()
        self.said: list[Event] = []
        self.delivered: list[Message] = []
        self.offsets = Offsets()
        self.drained: list[str] = []
        self.drain_takes = 0.0
        self.space = asyncio.Event()
        self.space.set()
        self.ups = 0
        self._upped = asyncio.Event()
        self.receivers = Receivers(
            {"telegram": self.network.adapter},
            {NAME: SETTINGS}.get,
            self.offsets,
            self._post,
            VirtualClock(),
            sessions=sessions,
            lease=lease,
        )
        self.receivers.connect(self, self._drain, self._up)

    async def accept(self, identity: str, offset: int, messages: list[Message], first: int | None) -> int:
        self.delivered += messages
        return len(messages)

    async def room(self) -> None:
        await self.space.wait()

    def _up(self, name: str) -> None:
        assert name == NAME
        assert self.receivers.is_up(name), "whoever is told may send at once"
        self.ups += 1
        self._upped.set()

    async def _drain(self, name: str) -> None:
        await asyncio.sleep(self.drain_takes)
        self.drained.append(name)

    def _post(self, name: str, event: Event) -> None:
        assert name == NAME
        self.said.append(event)

    def open(self, generation: int = 1) -> asyncio.Task[Event]:
        return asyncio.ensure_future(self.receivers.open(NAME, OpenReceiver(generation, Run("a", SETTINGS))))

    async def opened(self, generation: int = 1) -> tuple[asyncio.Task[Event], FakeReceiver]:
        """One that has completed its first receive."""
        task = self.open(generation)
        await asyncio.sleep(1)
        assert self.said[-1] == ReceiverReady(generation)
        return task, self.network.receivers[-1]

    def close(self, generation: int = 1, *, confirm: bool = False) -> None:
        self.receivers.close(NAME, CloseReceiver(generation, confirm))

    def watch(self, generation: int = 1, within: float | None = 40.0) -> None:
        self.receivers.watch(NAME, WatchReceiver(generation, within))

    async def fence(self, generation: int = 1) -> Event:
        return await self.receivers.fence(NAME, FenceReceiver(generation))

    async def send(self) -> str:
        return await self.receivers.send(NAME, HELLO)

    async def reply(self, within: float = 10.0) -> None:
        """Send as soon as somebody says that the account is up, as the outbox does."""
        async with asyncio.timeout(within):
            while not self.receivers.is_up(NAME):
                self._upped.clear()
                await self._upped.wait()
            await self.send()


def run(main: Coroutine[Any, Any, None]) -> None:
    run_virtual(main)


async def ended(task: asyncio.Task[Event]) -> ReceiverEnded:
    event = await asyncio.wait_for(task, 100)
    assert isinstance(event, ReceiverEnded)
    return event
