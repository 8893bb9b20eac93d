"""What can happen to a handler: a scenario by which a running service takes every row of a circuit's table."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path

from gateway.errors import HandlerError
from gateway.messages.model import Message, Reply
from tests.gateway.configs import telegram
from tests.gateway.process.house import House

MAIN, OTHER, THIRD = "telegram/main", "telegram/other", "telegram/third"
PLAIN = telegram(main="token: one-token", other="token: other-token", third="token: third-token")
WORKING = PLAIN.replace("echo: {type: echo}", "echo: {type: python, target: 'any:thing', timeout_ms: 600000}")
CIRCUIT = "circuit/echo"


class Moody:
    """Does what it is told to do at the moment, and answers what begins with `held` when it is let go."""

    acts_outside = True

    def __init__(self) -> None:
        self.mood = "fine"
        self.let_go: dict[str, asyncio.Event] = {}

    async def handle(self, message: Message) -> Sequence[Reply]:
        if message.text.startswith("held") and message.attempt == 1:
            await self.hold(message.text)
            if "fails" in message.text:
                raise HandlerError("not now", retryable=True)
        elif self.mood == "down":
            raise HandlerError("not now", retryable=True)
        elif self.mood == "broken":
            raise RuntimeError("a defect")
        elif self.mood == "breaks when let go":
            await self.hold("trial")
            raise RuntimeError("a defect")
        return (Reply(message.text),)

    async def hold(self, name: str) -> None:
        await self.let_go.setdefault(name, asyncio.Event()).wait()

    async def close(self) -> None:
        """Nothing is open."""


async def left_alone_and_tried(folder: Path) -> House:
    async with House(folder, PLAIN) as house:
        handler = Moody()
        house._plugins.handlers["python"] = lambda *_: handler
        await house.write(WORKING)
        for name in (MAIN, OTHER, THIRD):
            await house.until_account(name, "running")
        house.network.push(OTHER, "held, and fails")
        house.network.push(THIRD, "held")
        await opens(house, handler, "fails")
        for held in ("held, and fails", "held"):
            handler.let_go[held].set()
            await asyncio.sleep(0.1)
        await reaches(house, "half_open")
        await reaches(house, "open")  # whoever tried found it down
        handler.mood = "broken"
        await comes_to(
            house, lambda: house._dispatcher.machine(CIRCUIT).state.value == "half_open" and not tries(house)
        )
        await asyncio.sleep(60)
        handler.mood = "fine"
        house.network.push(MAIN, "is it well?")
        await reaches(house, "closed")
        await house.drain()

        # Something that was begun before it opened ends well while another tries.
        house.network.push(THIRD, "held again")
        await opens(house, handler, "fails again")
        handler.mood = "breaks when let go"
        await comes_to(house, lambda: tries(house))
        handler.let_go["held again"].set()
        await reaches(house, "closed")
        handler.let_go["trial"].set()
        await house.drain()

        handler.mood = "down"
        house.network.push(MAIN, "once more")
        await asyncio.sleep(0.1)
        handler.mood = "fine"
        await comes_to(house, lambda: house._dispatcher.machine(CIRCUIT).data.failures == 0)
        await house.write(WORKING.replace("600000", "500000"))
        await asyncio.sleep(1)
    return house


async def opens(house: House, handler: Moody, text: str) -> None:
    handler.mood = "down"
    house.network.push(MAIN, text)
    await reaches(house, "open")


async def reaches(house: House, state: str) -> None:
    def there() -> bool:
        machine = house._dispatcher.find(CIRCUIT)
        return machine is not None and machine.state.value == state

    await comes_to(house, there)


def tries(house: House) -> bool:
    return bool(house._dispatcher.machine(CIRCUIT).data.trying)


async def comes_to(house: House, holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(3_600):
        while not holds():
            await asyncio.sleep(0.01)


SCENARIOS: tuple[Callable[[Path], Coroutine[None, None, House]], ...] = (left_alone_and_tried,)
