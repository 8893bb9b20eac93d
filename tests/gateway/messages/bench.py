"""Pipeline and outbox as the gateway ties them together, over a real store: with handlers and a network that do as told.

A life is one run of the process: `crash` ends it as SIGKILL does, and another one on the same folder finds what it left.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Coroutine
from pathlib import Path
from random import Random
from typing import Any

from structlog.testing import capture_logs

from gateway.channels.base import Offsets
from gateway.config.model import Config
from gateway.dispatcher import Dispatcher
from gateway.errors import AnswerLostError, SendError
from gateway.journal import Journal
from gateway.messages.model import Address, Message, Order, Outgoing, Reply
from gateway.messages.outbox import Outbox
from gateway.messages.pace import Limits
from gateway.messages.pipeline import Pipeline
from gateway.metrics import Tally
from gateway.runner import Runner
from gateway.store.store import Store
from gateway.traces import UNTRACED, Traces
from statemachine import delivery, incoming
from tests.gateway.configs import config, telegram
from tests.gateway.fakes import FakeHandlers
from tests.virtual import VirtualClock, run_virtual

CONFIG = config(telegram(main="token: x", other="token: y"))
MAIN, OTHER = "telegram/main", "telegram/other"
IDENTITY = "telegram:1001"
Sent = tuple[str, str, str]


def message(
    text: str, conversation: str = "7", account: str = "main", sender: str = "5", name: str | None = None
) -> Message:
    return Message(name or text, "telegram", account, conversation, sender, "ann", text, 0, network_id=f"n:{text}")


class Network:
    """Sends at once, unless `steps` says otherwise: an exception is raised, a number of seconds passes first."""

    def __init__(self) -> None:
        self.up = {MAIN, OTHER}
        self.steps: deque[Exception | float] = deque()
        self.asked: list[tuple[float, Outgoing]] = []
        self.sent: list[Outgoing] = []
        self.allows = Limits()

    def is_up(self, account: str) -> bool:
        return account in self.up

    def limits(self, account: str) -> Limits:
        return self.allows

    async def send(self, account: str, outgoing: Outgoing) -> str:
        assert account in self.up, "nothing is sent while the account does not run"
        assert outgoing.name == account
        self.asked.append((VirtualClock().monotonic(), outgoing))
        step = self.steps.popleft() if self.steps else 0.0
        if isinstance(step, Exception):
            raise step
        if step:
            await asyncio.sleep(step)
        self.sent.append(outgoing)
        return f"n{len(self.sent)}"

    @property
    def times(self) -> list[float]:
        """When it was asked, each time."""
        return [at for at, _ in self.asked]

    @property
    def texts(self) -> list[str]:
        return [outgoing.text for outgoing in self.sent]


class Ordered:
    """Nobody here commands the gateway itself."""

    def answer(self, message: Message) -> tuple[Reply | Order, ...]:
        raise AssertionError(f"no command: {message.text}")

    def carry_out(self, message: Message, order: Order) -> None:
        raise AssertionError(f"no order: {order.verb}")


class Life:
    """One run of the process. Its handler takes as long as a text says, breaks at `break`, and answers with the text."""

    def __init__(
        self, folder: Path, network: Network | None = None, config: Config = CONFIG, traces: Traces = UNTRACED
    ) -> None:
        self.folder = folder
        self.config = config
        self.network = network or Network()
        self.lines: list[dict[str, Any]] = []
        self.received = 0
        self.handled: list[tuple[float, Message]] = []
        self.clock = VirtualClock()
        self.journal = Journal(self.clock)
        self.dispatcher = Dispatcher(self.journal)
        self.runner = Runner(self.dispatcher, self.clock, Random(1))
        self.dispatcher.connect(self.runner.perform)
        self.store = Store(folder, lambda: "full", self.clock)
        self.offsets = Offsets()
        self.outbox = Outbox(self.store, self.network, self.dispatcher, self.clock, traces)
        self.pipeline = Pipeline(
            lambda: self.config, self.store, FakeHandlers(self.handle), self.outbox, Ordered(), self.dispatcher,
            self.offsets, self._count, traces,
        )  # fmt: skip
        self.tally = Tally()
        self.journal.listen(self.tally.note)
        self._register()

    def _count(self, new: int) -> None:
        self.received += new

    def _register(self) -> None:
        runner, pipeline, outbox = self.runner, self.pipeline, self.outbox
        runner.work(incoming.Handle, pipeline.handle, lambda e, why: incoming.HandlerFailed(e.attempt, why))
        runner.command(incoming.CancelHandling, lambda name, _: runner.cancel(name))
        runner.command(incoming.Finish, pipeline.finish)
        runner.work(delivery.Send, outbox.traced_send, lambda e, why: delivery.AnswerLost(e.attempt, why))
        runner.command(delivery.CancelSend, lambda name, _: runner.cancel(name))
        runner.command(delivery.Keep, outbox.keep)
        runner.command(delivery.MakeWay, lambda name, _: outbox.make_way(name))
        runner.command(delivery.LineUp, lambda name, _: outbox.line_up(name))

    def commits_no_more_after(self, commits: int) -> None:
        """As if the process were killed there: what it says later reaches the disk no more."""
        real, left = self.store._database.commit, [commits]

        def commit(*given: Any) -> int:
            if left[0] == 0:
                raise OSError("the process is dead")
            left[0] -= 1
            return real(*given)

        self.store._database.commit = commit  # type: ignore[assignment, method-assign]

    async def handle(self, message: Message) -> str | None:
        text = message.text
        if text.startswith("sleep "):
            await asyncio.sleep(float(text.split()[1]))
        self.handled.append((self.clock.monotonic(), message))
        if text == "break":
            raise RuntimeError("a broken handler")
        return None if text == "silence" else text

    # Its life

    async def begin(self) -> Life:
        """Boot, and take up what an earlier life has left."""
        self.turning = asyncio.ensure_future(self.dispatcher.run())
        beginning = await self.store.open()
        self.offsets.restore(beginning.offsets)
        self.outbox.resume(await self.store.unsent())
        self.resuming = asyncio.ensure_future(self.pipeline.resume(beginning))
        return self

    async def end(self) -> None:
        """Everything that can be done is done, and written down."""
        await self.drain()
        await self.store.committed()
        await self._stop_turning()
        assert await self.store.close(), "something was not written"
        assert asyncio.all_tasks() == {asyncio.current_task()}

    async def crash(self) -> None:
        """As SIGKILL: what is on the disk is on the disk, and nothing else ever will be."""
        self.store._writer._rows.clear()
        await self._stop_turning()
        self.store._writer._rows.clear()
        await self.store.close()

    async def _stop_turning(self) -> None:
        self.turning.cancel()
        self.resuming.cancel()
        await asyncio.wait({self.turning, self.resuming})
        await self.runner.close()
        await self.pipeline.close()
        await self.outbox.close()
        assert self.turning.cancelled(), self.turning.exception()

    async def drain(self) -> None:
        await asyncio.wait({self.resuming})
        while self.pipeline.in_flight:
            await self.pipeline._change()
        await self.pipeline.drain()
        await self.outbox.drain()

    # What is done to it

    async def say(self, *texts: str, conversation: str = "7", account: str = "main", sender: str = "5") -> None:
        messages = [message(text, conversation, account, sender) for text in texts]
        await self.pipeline.accept(IDENTITY, (self.offsets.get(IDENTITY) or 0) + len(texts), messages)

    def go_up(self, account: str = MAIN) -> None:
        self.network.up.add(account)
        self.outbox.wake(account)

    def go_down(self, account: str = MAIN) -> None:
        self.network.up.discard(account)

    # What is asked of it

    @property
    def texts(self) -> list[str]:
        """What was handled, in its order."""
        return [message.text for _, message in self.handled]

    @property
    def sent(self) -> list[Sent]:
        return [(each.name, each.conversation, each.text) for each in self.network.sent]

    async def inbox(self) -> dict[str, tuple[str, str, int]]:
        """State, why and attempts of every message that is kept, by its id."""
        await self.store.committed()
        rows = await self.store._read("SELECT id, state, why, attempts FROM inbox ORDER BY number", ())
        return {row["id"]: (row["state"], row["why"], row["attempts"]) for row in rows}

    async def deliveries(self) -> dict[str, tuple[str, str]]:
        """State and why of every outgoing message that is kept, by its text."""
        await self.store.committed()
        rows = await self.store._read("SELECT * FROM outbox ORDER BY number", ())
        return {kept.outgoing.text: (kept.state, kept.why) for kept in self.store._kept(rows)}


def run(main: Callable[[Life], Coroutine[Any, Any, None]], folder: Path, config: Config = CONFIG) -> Life:
    """One life from its boot to its end."""

    async def whole() -> Life:
        life = await Life(folder, config=config).begin()
        await main(life)
        await life.end()
        return life

    with capture_logs() as lines:
        life = run_virtual(whole())
    life.lines = [dict(line) for line in lines]
    return life


def play(main: Coroutine[Any, Any, None]) -> list[dict[str, Any]]:
    """Several lives; the log lines."""
    with capture_logs() as lines:
        run_virtual(main)
    return [dict(line) for line in lines]


# Sending

HERE = Address("telegram", "main", "7")
ASK = config(telegram(main="token: x").replace("handler: echo}", "handler: echo, after_unknown: ask}"))
LOST = AnswerLostError("the line broke")


def not_now(after: float = 0.0) -> SendError:
    return SendError("not now", retryable=True, retry_after=after)


def no_space(*_: Any) -> int:
    raise sqlite3.OperationalError("database or disk is full")


async def order(life: Life, *texts: str, conversation: str = "7", account: str = "main") -> list[Outgoing]:
    """Somebody wants these said, in this order."""
    found = []
    for text in texts:
        found += await life.outbox.ask(text, Address("telegram", account, conversation), Reply(text))
    return found


def state(life: Life, number: int) -> str:
    machine = life.dispatcher.find(f"delivery/{number}")
    return "gone" if machine is None else str(machine.state.value)


def stall(life: Life) -> sqlite3.Connection:
    """Another program holds the lock of the database, until its connection is closed."""
    other = sqlite3.connect(life.store.path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    return other
