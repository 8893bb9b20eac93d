"""What can happen to messages: scenarios by which a running service takes every row of their two tables."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from gateway.errors import AnswerLostError, ConnectionLostError, HandlerError, SendError
from gateway.messages.model import Message
from statemachine.delivery import BEFORE_RESEND, Delivery, DiscardRequested, RetryRequested
from statemachine.incoming import LONGEST_WAIT, MOST_TAKEN_UP
from statemachine.lifecycle import LifecycleState
from tests.gateway.configs import telegram
from tests.gateway.fakes import NEVER, FakeNetwork, Script
from tests.gateway.process.house import House

MAIN, OTHER = "telegram/main", "telegram/other"
ONE = telegram(main="token: one-token", other="token: other-token, allow_from: [2]")
ASKS = ONE.replace("handler: echo}", "handler: echo, after_unknown: ask}")
LOST = AnswerLostError("the line broke")
NOT_NOW = SendError("not now", retryable=True, retry_after=300.0)


async def runs(house: House) -> None:
    for name in (MAIN, OTHER):
        await house.until_account(name, "running")


async def says(house: House, *texts: str, name: str = MAIN) -> None:
    for text in texts:
        house.network.push(name, text)
        await asyncio.sleep(0.1)


def outcomes(house: House) -> dict[str, int]:
    return dict(house._tally.incoming)


def states(house: House) -> dict[str, str]:
    """Of the messages that are not sent."""
    outbox = house._messages.outbox
    return {outbox._open[name].text: m.state.value for name, m in house._dispatcher.machines(Delivery).items()}


# Incoming


async def heard_and_not_heard(folder: Path) -> House:
    """Answered, of no route, of somebody who may not speak; and handlers that fail, hang, and recover."""

    async def answer(message: Message) -> str:
        if message.text == "breaks":
            raise RuntimeError("a defect")
        if message.text == "hangs" or (message.text == "hangs once" and message.attempt == 1):
            await asyncio.sleep(1_000)
        if message.text == "fails once" and message.attempt == 1:
            raise HandlerError("not now", retryable=True)
        return message.text

    async with House(folder, ONE.replace('channel: "*"', 'match: "^[^?]"')) as house:
        await runs(house)
        house.answer_with(answer, attempts=2, patience=10.0)
        await says(house, "let me in", name=OTHER)
        await says(house, "?", "hello", "breaks", "fails once", "hangs once", "hangs", "after")
        await house.drain()
        assert outcomes(house) == {"refused": 1, "unmatched": 1, "handled": 4, "dead": 2}
        assert [text for _, _, text in house.network.sent] == ["hello", "fails once", "hangs once", "after"]
    return house


async def begun(folder: Path, network: FakeNetwork, answer: Callable[[Message], Coroutine[Any, Any, str]]) -> House:
    """A life that is going to be killed."""
    house = House(folder, ONE, network=network)
    await house.begin()
    house.answer_with(answer)
    await house.until(LifecycleState.RUNNING)
    await runs(house)
    return house


async def ends_the_process_each_time(folder: Path) -> House:
    network = FakeNetwork()

    async def hangs(message: Message) -> str:
        await asyncio.sleep(1_000 if message.text == "poison" else 0)
        return message.text

    for life in range(MOST_TAKEN_UP + 1):
        house = await begun(folder, network, hangs)
        if life == 0:
            await says(house, "poison", "after")
        await asyncio.sleep(LONGEST_WAIT)
        assert outcomes(house) == {}
        await house.kill()
    async with House(folder, ONE, network=network) as house:
        await runs(house)
        await house.drain()
        assert outcomes(house) == {"dead": 1, "handled": 1}
        assert [text for _, _, text in network.sent] == ["after"]
    return house


async def killed_from_outside_each_time(folder: Path) -> House:
    """More often than any message may end the process: the first life that has the time handles it."""
    network = FakeNetwork()
    for life in range(MOST_TAKEN_UP + 5):
        house = await begun(folder, network, takes_a_while)
        if life == 0:
            await says(house, "hello")
        await house.kill()
    async with House(folder, ONE, network=network) as house:
        house.answer_with(takes_a_while)
        await runs(house)
        await asyncio.sleep(LONGEST_WAIT)
        assert outcomes(house) == {"handled": 1}
        assert [text for _, _, text in network.sent] == ["hello"]
    return house


async def takes_a_while(message: Message) -> str:
    await asyncio.sleep(3)
    return message.text


# Outgoing


async def sent_in_the_end_or_dead(folder: Path) -> House:
    """The network does not take it now, or not at all, or does not say; and nobody decides but the policy."""
    async with House(folder, ONE) as house:
        await runs(house)
        house.network.sends.extend([NOT_NOW, 0.0, SendError("too long", retryable=False), LOST, 0.0, 100.0, 0.0])
        await says(house, "not now", "too long", "lost", "silence", "after")
        await asyncio.sleep(400)
        assert [text for _, _, text in house.network.sent] == ["not now", "lost", "silence", "after"]
        assert house._tally.outgoing["dead"] == 1
    return house


async def a_person_decides(folder: Path) -> House:
    """What may be there, what the network refused, and what waits."""
    async with House(folder, ASKS) as house:
        await runs(house)
        house.network.sends.extend([LOST, 100.0, NOT_NOW])
        await says(house, "lost", "silence")
        await asyncio.sleep(60)
        await says(house, "not now", "waits")
        assert states(house) == {"lost": "unknown", "silence": "unknown", "not now": "retry_wait", "waits": "queued"}
        await house.post(DiscardRequested("test"), "delivery/4")
        await house.post(DiscardRequested("test"), "delivery/2")
        for name in ("delivery/1", "delivery/3"):
            await house.post(RetryRequested("test", house.now() + 60), name)
        await house.drain()
        assert sorted(text for _, _, text in house.network.sent) == ["lost", "not now"]
    return house


async def too_old(folder: Path) -> House:
    """One while its account is down, and one that may be there, when it would be sent once more."""
    text = ONE.replace("handler: echo}", "handler: echo, max_age_s: 5}")
    async with House(folder, text) as house:
        await runs(house)
        house.network.sends.extend([1_000.0])
        house.network.script(MAIN, Script(ready_after=20.0))

        async def slow(message: Message) -> str:
            await asyncio.sleep(1)
            return message.text

        house.answer_with(slow)
        await says(house, "while it is down")
        house.network.live(MAIN)[0].fail(ConnectionLostError("no network"))
        await house.until_account(MAIN, "running")
        await asyncio.sleep(10)
        assert house._tally.outgoing == {"dead": 1}
        await says(house, "no answer in time")
        await asyncio.sleep(60)
        assert house._tally.outgoing == {"dead": 2, "unknown": 1}
        assert house.network.sent == []
    return house


async def killed_with(folder: Path, text: str, network: FakeNetwork, *says_: str, seconds: float) -> None:
    house = House(folder, text, network=network)
    await house.begin()
    await house.until(LifecycleState.RUNNING)
    await runs(house)
    await says(house, *says_)
    await asyncio.sleep(seconds)
    await house._messages.store.committed()
    await house.kill()


async def left_over(folder: Path) -> House:
    """The process dies with one that waits to be tried again, and what waits behind it."""
    network = FakeNetwork()
    network.sends.append(NOT_NOW)
    await killed_with(folder, ONE, network, "not now", "behind it", seconds=1)
    async with House(folder, ONE, network=network) as house:
        await runs(house)
        await house.drain()
        assert [text for _, _, text in network.sent] == ["not now", "behind it"]
    return house


async def dies_while_it_sends(folder: Path) -> House:
    """And dies again while it waits to send it once more."""
    network = FakeNetwork()
    network.sends.append(20.0)
    await killed_with(folder, ONE, network, "hello", "behind it", seconds=1)
    network.script(MAIN, Script(ready_after=NEVER))
    house = House(folder, ONE, network=network)
    await house.begin()
    await asyncio.sleep(BEFORE_RESEND / 2)
    assert states(house) == {"hello": "unknown", "behind it": "queued"}
    await house.kill()
    async with House(folder, ONE, network=network) as house:
        await runs(house)
        await asyncio.sleep(10)
        assert [text for _, _, text in network.sent] == ["hello", "behind it"]
    return house


async def dies_while_it_sends_then_marks_it_unknown(folder: Path) -> House:
    network = FakeNetwork()
    network.sends.append(20.0)
    await killed_with(folder, ONE, network, "hello", seconds=1)
    async with House(folder, ONE, network=network) as house:
        await runs(house)
        await asyncio.sleep(10)
        assert [text for _, _, text in network.sent] == ["hello"]
        assert house._tally.outgoing == {"unknown": 1, "sent": 1}
    return house


async def dies_and_a_person_shall_decide(folder: Path) -> House:
    """One that was unknown already, and one that was being sent."""
    network = FakeNetwork()
    network.sends.extend([LOST, 20.0])
    await killed_with(folder, ASKS, network, "unknown", "hello", "behind it", seconds=1)
    async with House(folder, ASKS, network=network) as house:
        await runs(house)
        await house.drain()
        assert states(house) == {"unknown": "unknown", "hello": "unknown"}
        assert [text for _, _, text in network.sent] == ["behind it"]
    return house


SCENARIOS: tuple[Callable[[Path], Coroutine[Any, Any, House]], ...] = (
    heard_and_not_heard, ends_the_process_each_time, killed_from_outside_each_time, sent_in_the_end_or_dead,
    a_person_decides, too_old, left_over,
    dies_while_it_sends, dies_while_it_sends_then_marks_it_unknown, dies_and_a_person_shall_decide,
)  # fmt: skip
