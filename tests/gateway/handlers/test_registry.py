"""The one door to all handlers: how many at once, how long, their circuits, and what a changed config does."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from gateway.clock import Clock
from gateway.config.model import Config
from gateway.dispatcher import Dispatcher
from gateway.errors import HandlerError
from gateway.handlers import registry
from gateway.handlers.registry import OUTAGE_SPARED, Handlers
from gateway.journal import Journal
from gateway.messages.model import Message, Reply
from gateway.runner import Runner
from statemachine.circuit import CircuitData, HandlerReplaced
from tests.gateway.configs import config
from tests.gateway.handlers.desk import MESSAGE, tools

BOT = """\
import asyncio
from gateway.errors import HandlerError
at_once = most = 0
async def answer(message):
    global at_once, most
    at_once += 1
    most = max(most, at_once)
    try:
        if message.text == "fail":
            raise HandlerError("no answer", retryable=True)
        if message.text == "refuse":
            raise HandlerError("not this one")
        await asyncio.sleep(60 if message.text == "hang" else 0.01)
    finally:
        at_once -= 1
    return f"{message.text} {most}"
"""


class Door:
    """The registry with real machines behind it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.took: list[str] = []
        clock = Clock()
        self.dispatcher = Dispatcher(Journal(clock))
        self.runner = Runner(self.dispatcher, clock, Random(1))
        self.dispatcher.connect(self.runner.perform)
        self.turning = asyncio.ensure_future(self.dispatcher.run())
        self.config: Config = self.configured()
        self.handlers = Handlers(
            lambda: self.config, tools(folder), self.dispatcher, {}, lambda name, _: self.took.append(name), clock
        )

    def configured(self, **settings: Any) -> Config:
        keys = "".join(f", {key}: {value}" for key, value in settings.items())
        return config(f'handlers: {{bot: {{type: python, target: "bot:answer"{keys}}}}}\n')

    async def ask(self, text: str) -> str:
        (reply,) = await self.handlers.handle("bot", said(text))
        return reply.text

    def circuit(self) -> str:
        machine = self.dispatcher.find("circuit/bot")
        return "" if machine is None else machine.state.value


def said(text: str, age: float = 0.0) -> Message:
    received_at = Clock().wall_ms() - round(age * 1000)
    return Message(f"telegram:1:{text}", "telegram", "main", "7", "9", "ann", text, received_at)


@pytest.fixture
async def door(tmp_path: Path) -> Any:
    (tmp_path / "bot.py").write_text(BOT)
    door = Door(tmp_path)
    yield door
    await door.handlers.close()
    await door.runner.close()
    door.turning.cancel()


async def test_no_more_are_at_work_than_may_be(door: Door) -> None:
    door.config = door.configured(concurrency=2)
    answers = await asyncio.gather(*(door.ask(str(number)) for number in range(10)))
    assert max(int(answer.split()[1]) for answer in answers) == 2
    assert len(answers) == len(door.took) == 10


async def test_one_that_takes_too_long_is_given_up_and_can_be_tried_again(door: Door) -> None:
    door.config = door.configured(timeout_ms=50)
    with pytest.raises(HandlerError, match=r"took more than 0\.05 s") as caught:
        await door.ask("hang")
    assert caught.value.retryable
    assert (await door.ask("next")).startswith("next")


async def test_after_five_failures_in_a_row_it_is_left_alone_then_tried_once(door: Door) -> None:
    for _ in range(4):
        with pytest.raises(HandlerError, match="no answer"):
            await door.ask("fail")
    await door.ask("fine")
    for _ in range(5):
        assert door.circuit() == "closed"
        with pytest.raises(HandlerError, match="no answer"):
            await door.ask("fail")
        await asyncio.sleep(0)
    assert door.circuit() == "open"
    with pytest.raises(HandlerError, match="failed 5 times in a row") as caught:
        await door.ask("fine")
    assert (caught.value.retryable, caught.value.counts, caught.value.after) == (True, False, CircuitData().rest)
    await half_open(door)
    first, second = await asyncio.gather(door.ask("hello"), door.ask("me too"), return_exceptions=True)
    assert isinstance(first, str)
    assert isinstance(second, HandlerError)
    assert not second.counts
    assert door.circuit() == "closed"


async def test_a_failure_half_open_opens_it_again(door: Door) -> None:
    for _ in range(5):
        with pytest.raises(HandlerError):
            await door.ask("fail")
    await half_open(door)
    with pytest.raises(HandlerError, match="no answer"):
        await door.ask("fail")
    await asyncio.sleep(0)
    assert door.circuit() == "open"


async def half_open(door: Door) -> None:
    """As if it had rested."""
    from statemachine.circuit import RestOver

    await asyncio.sleep(0)
    machine = door.dispatcher.machine("circuit/bot")
    await door.dispatcher.post("circuit/bot", RestOver(machine.data.timer), "test")
    assert door.circuit() == "half_open"


async def test_a_trial_that_is_given_up_leaves_the_next_one_its_turn(door: Door) -> None:
    """Whoever tried is cancelled, or the handler breaks in a way of its own: the circuit stays half open for nobody."""
    await opened(door)
    await half_open(door)
    trial = asyncio.ensure_future(door.ask("hang"))
    await until(lambda: bool(door.dispatcher.machine("circuit/bot").data.trying))
    await asyncio.sleep(0.05)
    trial.cancel()
    await asyncio.wait({trial})
    await until(lambda: not door.dispatcher.machine("circuit/bot").data.trying)
    sound, door.handlers._made["bot"].handler = door.handlers._made["bot"].handler, Defective()
    with pytest.raises(RuntimeError, match="a defect"):
        await door.ask("fine")
    door.handlers._made["bot"].handler = sound
    await until(lambda: not door.dispatcher.machine("circuit/bot").data.trying)
    assert (await door.ask("fine")).startswith("fine")
    await until(lambda: door.circuit() == "closed")


async def test_a_trial_cancelled_while_it_is_announced_leaves_the_next_one_its_turn(door: Door) -> None:
    await opened(door)
    await half_open(door)
    trial = asyncio.ensure_future(door.ask("fine"))
    await asyncio.sleep(0)
    trial.cancel()
    await asyncio.wait({trial})
    assert (await door.ask("fine")).startswith("fine")


async def test_what_is_tried_half_open_is_not_counted_while_the_message_is_young(door: Door) -> None:
    """An outage is nobody's fault who wrote meanwhile; what cannot be handled at all does not wait for ever."""
    for age, counts in ((0.0, False), (OUTAGE_SPARED + 1, True)):
        await opened(door)
        await half_open(door)
        with pytest.raises(HandlerError, match="no answer") as caught:
            await door.handlers.handle("bot", said("fail", age))
        assert (caught.value.retryable, caught.value.counts) == (True, counts)
        door.handlers.apply(door.config)
        await door.dispatcher.post("circuit/bot", HandlerReplaced(), "test")


async def test_a_handler_that_is_made_anew_is_asked_again_at_once(door: Door) -> None:
    await opened(door)
    door.config = door.configured(concurrency=3)
    door.handlers.apply(door.config)
    assert (await door.ask("fine")).startswith("fine")
    assert door.circuit() in ("", "closed")


async def test_the_circuit_of_one_that_is_gone_goes_with_it(door: Door) -> None:
    await opened(door)
    door.config = config("handlers: {}\n")
    door.handlers.apply(door.config)
    await until(lambda: door.circuit() == "closed")
    door.handlers.apply(door.config)
    assert door.circuit() == ""


async def test_waiting_for_room_uses_up_no_attempt(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "ROOM_PATIENCE", 0.05)
    door.config = door.configured(concurrency=1)
    first = asyncio.ensure_future(door.ask("hang"))
    await until(lambda: "bot" in door.handlers._made)
    await asyncio.sleep(0.01)
    with pytest.raises(HandlerError, match="no room") as caught:
        await door.ask("second")
    assert (caught.value.retryable, caught.value.counts) == (True, False)
    assert door.handlers.policy("bot")[1] > registry.ROOM_PATIENCE + 30.0
    first.cancel()
    await asyncio.wait({first})
    assert (await door.ask("third")).startswith("third")


async def test_a_module_whose_import_hangs_holds_up_nothing_else(door: Door) -> None:
    (door.folder / "bot.py").write_text(
        "import sys, time\nwhile not hasattr(sys, 'let_it_go'): time.sleep(0.01)\n" + BOT
    )
    door.config = door.configured()
    try:
        door.handlers.apply(door.config)
        asked = asyncio.ensure_future(door.ask("hello"))
        for _ in range(5):
            await asyncio.sleep(0.01)
        assert not asked.done()
    finally:
        sys.let_it_go = True  # type: ignore[attr-defined]
    try:
        assert (await asked).startswith("hello")
    finally:
        del sys.let_it_go  # type: ignore[attr-defined]


async def test_of_two_changes_at_once_the_last_is_what_is_asked(door: Door) -> None:
    """The module of the first is still being imported when the second comes."""
    (door.folder / "slow.py").write_text("import time\ntime.sleep(0.2)\ndef answer(message): return 'slow'")
    (door.folder / "quick.py").write_text("def answer(message): return 'quick'")
    door.config = config("handlers: {bot: {type: python, target: 'slow:answer'}}\n")
    door.handlers.apply(door.config)
    await until(lambda: bool(door.handlers._making))
    door.config = config("handlers: {bot: {type: python, target: 'quick:answer'}}\n")
    door.handlers.apply(door.config)
    assert await door.ask("x") == "quick"
    await asyncio.sleep(0.3)
    assert await door.ask("x") == "quick"


class Defective:
    """A handler that keeps to nothing."""

    acts_outside = False

    async def handle(self, message: Message) -> tuple[Reply, ...]:
        raise RuntimeError("a defect")

    async def close(self) -> None:
        """Nothing is open."""


async def opened(door: Door) -> None:
    for _ in range(CircuitData().allowed):
        with pytest.raises(HandlerError):
            await door.ask("fail")
    await until(lambda: door.circuit() == "open")


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.005)


async def test_what_is_the_messages_own_fault_opens_nothing(door: Door) -> None:
    for _ in range(10):
        with pytest.raises(HandlerError, match="not this one"):
            await door.ask("refuse")
    assert door.circuit() == ""


async def test_a_changed_handler_is_made_anew_and_the_old_one_ends_what_it_has_begun(door: Door) -> None:
    old = asyncio.ensure_future(door.ask("old"))
    await until(lambda: "bot" in door.handlers._made and door.handlers._made["bot"].at_work > 0)
    (door.folder / "bot.py").write_text("def answer(message): return 'new'")
    door.config = door.configured(concurrency=3)
    door.handlers.apply(door.config)
    assert await door.ask("x") == "new"
    assert await old == "old 1"


async def test_one_that_cannot_be_made_is_told_of_and_its_messages_wait(door: Door) -> None:
    door.config = config('handlers: {bot: {type: python, target: "no_bot_of_that_name:answer"}}\n')
    door.handlers.apply(door.config)
    await until(lambda: "cannot be imported" in door.handlers.broken.get("bot", ""))
    with pytest.raises(HandlerError) as caught:
        await door.ask("x")
    assert (caught.value.retryable, caught.value.counts) == (True, False)
    door.config = door.configured()
    door.handlers.apply(door.config)
    await until(lambda: door.handlers.broken == {})
    assert (await door.ask("x")).startswith("x")


async def test_one_that_is_gone_is_not_asked(door: Door) -> None:
    door.config = config("handlers: {}\n")
    door.handlers.apply(door.config)
    with pytest.raises(HandlerError, match="no handler named 'bot' any more") as caught:
        await door.ask("x")
    assert not caught.value.retryable


async def test_what_it_may_is_of_its_settings(door: Door) -> None:
    door.config = config(
        "handlers: {one: {type: echo}, two: {type: http, url: 'http://x', timeout_ms: 2000, retries: 5}}\n"
    )
    attempts, patience = door.handlers.policy("two")
    assert (attempts, patience > 2.0) == (6, True)
    assert door.handlers.policy("one")[0] == 1
    assert await door.handlers.handle("one", MESSAGE) == (Reply("hello"),)
    door.handlers.apply(door.config)
    assert (door.handlers.acts_outside("one"), door.handlers.acts_outside("two")) == (False, True)
