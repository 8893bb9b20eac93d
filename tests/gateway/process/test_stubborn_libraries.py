"""What the owner of receivers promises whatever a network's library does: it reconnects by itself, or its child does not die."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from structlog.testing import capture_logs

from gateway.channels.base import Intake
from gateway.errors import GenerationRevokedError
from gateway.messages.model import Message, Outgoing
from statemachine.channel_events import By, Restart, Run
from tests.gateway.configs import telegram
from tests.gateway.process.house import House
from tests.virtual import run_virtual

MAIN = "telegram/main"
ONE = telegram(main="token: one-token")
RECONNECTS_IN = 3.0
RESTARTS = 10


def run_of(house: House) -> Run:
    return house._accounts.run_of(MAIN, house._ledger.applied.accounts()[MAIN], house._ledger.applied_id)


class Toy:
    """A receiver that is no more than its library's events; what is not of interest does nothing."""

    def __init__(self, intake: Intake) -> None:
        self.intake = intake

    async def run(self) -> None:
        self.intake.received()
        await asyncio.Event().wait()

    async def send(self, outgoing: Outgoing) -> str:
        return "1"

    async def typing(self, conversation: str) -> None:
        """It shows nothing."""

    async def confirm(self) -> None:
        """There is nothing to confirm."""

    async def close(self) -> None:
        """Overridden."""

    async def fence(self) -> None:
        """Overridden."""


class Reconnecting(Toy):
    """Its library has a timer of its own, which nobody has told of the end: it opens a connection again, and events come."""

    sockets = 0
    closings = 0
    refused = 0

    def __init__(self, intake: Intake) -> None:
        super().__init__(intake)
        assert Reconnecting.closings == 0, "the older one's connection is being closed"
        Reconnecting.sockets += 1

    async def close(self) -> None:
        """The handshake takes a while."""
        Reconnecting.closings += 1
        await asyncio.sleep(0.5)
        Reconnecting.closings -= 1
        Reconnecting.sockets -= 1
        asyncio.get_running_loop().call_later(RECONNECTS_IN, self._reconnect)

    def _reconnect(self) -> None:
        self.reconnected = asyncio.ensure_future(self.hear("to a ghost"))

    async def hear(self, text: str) -> None:
        try:
            await self.intake.accept("toy", 1, [Message(text, "telegram", "main", "c", "1", "somebody", text, 0)])
        except GenerationRevokedError:
            Reconnecting.refused += 1


def test_case_13_what_a_librarys_own_timer_opens_again_delivers_nothing(tmp_path: Path) -> None:
    """One connection is an account's, the present generation's: what an older one hears is refused to its face."""

    async def main() -> None:
        house, receivers = House(tmp_path, ONE), list[Reconnecting]()
        _adapt(house, lambda intake: receivers.append(Reconnecting(intake)) or receivers[-1])  # type: ignore[func-returns-value]
        answered: list[str] = []

        async def answer(message: Message) -> None:
            answered.append(message.text)

        async with house:
            house.answer_with(answer)
            await house.until_account(MAIN, "running")
            for _ in range(RESTARTS):
                await house.post(Restart(run_of(house), By.PERSON), MAIN)
                await house.until_account(MAIN, "starting")
                await house.until_account(MAIN, "running")
                assert Reconnecting.sockets == 1
            await asyncio.sleep(2 * RECONNECTS_IN)
            assert (Reconnecting.refused, answered) == (RESTARTS, [])
            await receivers[-1].hear("hello")
            await house.drain()
            assert answered == ["hello"]
        assert Reconnecting.sockets == 0

    with capture_logs():
        run_virtual(main())


class Child:
    """A process that does not mind SIGTERM."""

    def __init__(self, alive: list[Child]) -> None:
        assert alive == [], "its port and its lock are another's"
        self._alive = alive
        alive.append(self)
        self.signals: list[str] = []
        self._gone = asyncio.Event()

    def terminate(self) -> None:
        self.signals.append("SIGTERM")

    def kill(self) -> None:
        """It is gone a moment later."""
        self.signals.append("SIGKILL")
        asyncio.get_running_loop().call_later(0.2, self._end)

    def _end(self) -> None:
        self._alive.remove(self)
        self._gone.set()

    async def wait(self) -> None:
        await self._gone.wait()


class Owning(Toy):
    """A receiver whose connection is a child process."""

    def __init__(self, intake: Intake, child: Child) -> None:
        super().__init__(intake)
        self.child = child

    async def close(self) -> None:
        self.child.terminate()
        await self.child.wait()

    async def fence(self) -> None:
        self.child.kill()
        await self.child.wait()


def test_case_14_a_child_that_will_not_die_is_killed_and_the_next_begins_when_it_is_gone(tmp_path: Path) -> None:
    """A stop ends where the exit was seen, and until then no start is legal."""

    async def main() -> None:
        house, alive, children = House(tmp_path, ONE), list[Child](), list[Child]()

        def make(intake: Intake) -> Owning:
            children.append(Child(alive))
            return Owning(intake, children[-1])

        _adapt(house, make)
        async with house:
            await house.until_account(MAIN, "running")
            for number in range(RESTARTS):
                asked = house.now()
                await house.post(Restart(run_of(house), By.PERSON), MAIN)
                await house.until_account(MAIN, "stop_overdue")
                assert alive == [children[number]]
                await house.until_account(MAIN, "running")
                assert children[number].signals == ["SIGTERM", "SIGKILL"]
                assert alive == [children[number + 1]]
                assert house.now() - asked > 5.1, "not before its stop deadline, and its death"
        assert alive == []
        assert len(children) == RESTARTS + 1

    with capture_logs():
        run_virtual(main())


def _adapt(house: House, make: Callable[[Intake], Any]) -> None:
    """The account's receivers are these from now on."""
    house.network.adapter.open = lambda name, settings, intake: make(intake)  # type: ignore[method-assign]
