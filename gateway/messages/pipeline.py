"""From a receiver to the handler: into the store, then by its route, in order within a conversation, concurrent across them.

A message is taken over when it is in the store, and only then may its network be told so. From there on its machine
(`incoming/N`) says what happens to it; this module gives it its turn, runs its handler, and writes down its end.

What is not finished is in memory up to a limit. At the limit receivers are asked to wait before they receive more, and
`full` says so: the rest waits where it is, on the network or in the store.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec
import structlog

from gateway.channels.base import Offsets
from gateway.config.model import Config
from gateway.errors import HandlerError
from gateway.messages.machines import Machines
from gateway.messages.model import Message, Outgoing, Reply, without_half_characters
from gateway.messages.routes import route_of
from gateway.store.store import Beginning, Received, Store
from statemachine import Event
from statemachine.incoming import (
    Finish,
    Handle,
    HandlerAnswered,
    HandlerFailed,
    Incoming,
    IncomingData,
    TurnCame,
    Verdict,
)

log: structlog.stdlib.BoundLogger = structlog.get_logger()

MOST_OPEN = 2_000
"""Messages in memory that are not finished."""
CHUNK = 500
"""Messages that are read from the store at a time, when a boot takes up what is not finished."""


class Handling(Protocol):
    """Who answers messages."""

    def policy(self, handler: str) -> tuple[int, float]:
        """How often a message may be given to it, and how many seconds it may take."""

    async def handle(self, handler: str, message: Message) -> tuple[Reply, ...]:
        """Raises HandlerError; anything else is a defect of the handler, and final."""


class Outbound(Protocol):
    """Who sends replies."""

    def compose(self, message: Message, number: int, replies: Sequence[Reply]) -> list[Outgoing]:
        """Replies as messages to be sent, in order."""

    def take_over(self, outgoing: Sequence[Outgoing]) -> None:
        """They are being written down, and shall be sent."""


@dataclass
class _Open:
    """A message that is not finished."""

    number: int
    message: Message
    lane: tuple[str, str]


class Pipeline:
    """Takes messages over from receivers. `config` returns what applies now, so a live change is the next message's."""

    def __init__(
        self,
        config: Callable[[], Config],
        store: Store,
        handlers: Handling,
        outbound: Outbound,
        machines: Machines,
        offsets: Offsets,
    ) -> None:
        self._config = config
        self._store = store
        self._handlers = handlers
        self._outbound = outbound
        self._machines = machines
        self._offsets = offsets
        self._open: dict[str, _Open] = {}
        self._lanes: dict[tuple[str, str], deque[str]] = {}
        self._taking_over: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._coming = 0
        self._behind = False
        self._left_in_store = 0
        self.outcomes: dict[str, int] = {}
        """How many messages ended in each state since the boot."""
        self.received = 0

    # What is shown

    @property
    def in_flight(self) -> int:
        """How many messages are not finished, of those that are in memory."""
        return len(self._open) + self._coming

    @property
    def full(self) -> bool:
        """Receivers wait."""
        return self._behind or len(self._open) >= MOST_OPEN

    # Taking over

    async def accept(self, identity: str, offset: int, messages: list[Message]) -> None:
        """Return when they are in the store: from here on they are ours. Being cancelled cancels nothing of it."""
        whole = [without_half_characters(message) for message in messages]
        task = asyncio.get_running_loop().create_task(self._take_over(identity, offset, whole))
        self._taking_over.add(task)
        self._coming += len(messages)

        def taken_over(done: asyncio.Task[None]) -> None:
            self._taking_over.discard(done)
            self._coming -= len(messages)

        task.add_done_callback(taken_over)
        await asyncio.shield(task)

    async def _take_over(self, identity: str, offset: int, messages: list[Message]) -> None:
        new = await self._store.receive(identity, offset, messages)
        self._offsets.set(identity, offset)
        self.received += len(new)
        if self._behind:
            # Those before them are still being read: these are read after them.
            self._left_in_store = max([self._left_in_store, *(received.number for received in new)])
            return
        for received in new:
            self._admit(received)

    async def room(self) -> None:
        """Return when more may be received."""
        if self.full:
            log.warning("pipeline_full", open=len(self._open), why="receivers wait until messages are handled")
            while self.full:
                await self._change()
            log.info("pipeline_has_room", open=len(self._open))

    async def resume(self, beginning: Beginning) -> None:
        """Take up what no life before has finished, in order, as far as there is room."""
        after, left, taken_up = 0, beginning.last_received, 0
        self._behind = True
        try:
            # What comes meanwhile is left in the store, so that it is read after what was there before.
            while after < (until := max(left, self._left_in_store)):
                while len(self._open) > MOST_OPEN - CHUNK:
                    await self._change()
                chunk = await self._store.unfinished(after, until, CHUNK)
                for received in chunk:
                    self._admit(self._counted(received) if received.number <= left else received)
                taken_up += len(chunk)
                after = chunk[-1].number if len(chunk) == CHUNK else until
        finally:
            if taken_up:
                log.info("messages_taken_up", count=taken_up, why="the process ended before they were handled")
            self._behind = False
            self._changed.set()

    def _counted(self, received: Received) -> Received:
        """The first of a conversation may have been in the middle of being handled: that counts as an attempt."""
        if (received.message.name, received.message.conversation) in self._lanes:
            return received
        self._store.taken_up(received.number, received.attempts + 1)
        return received._replace(attempts=received.attempts + 1)

    def _admit(self, received: Received) -> None:
        name = f"incoming/{received.number}"
        lane = (received.message.name, received.message.conversation)
        self._open[name] = _Open(received.number, received.message, lane)
        self._machines.add(Incoming(name, IncomingData(attempt=received.attempts)))
        waiting = self._lanes.get(lane)
        if waiting is None:
            self._lanes[lane] = deque([name])
            self._give_turn(name)
        else:
            waiting.append(name)

    # Handling

    def _give_turn(self, name: str) -> None:
        message = self._open[name].message
        verdict, handler, why = route_of(self._config(), message)
        attempts, patience = self._handlers.policy(handler) if verdict is Verdict.MATCHED else (1, 1.0)
        self._machines.tell(name, TurnCame(verdict, attempts, patience, why), "its turn")

    async def handle(self, name: str, effect: Handle) -> Event:
        """The work of the machine: give it to whom the routes name now."""
        opened = self._open[name]
        message = opened.message
        verdict, handler, why = route_of(self._config(), message)
        if verdict is not Verdict.MATCHED:
            return HandlerFailed(effect.attempt, f"it is not for any handler any more: {why}")
        if effect.attempt > 1:
            message = msgspec.structs.replace(message, attempt=effect.attempt)
        try:
            replies = await self._handlers.handle(handler, message)
            # Here, where a reply that cannot be one is the handler's failure and no one else's.
            return HandlerAnswered(effect.attempt, tuple(self._outbound.compose(message, opened.number, replies)))
        except HandlerError as error:
            return HandlerFailed(effect.attempt, str(error), error.retryable, error.after, error.counts)

    def finish(self, name: str, effect: Finish) -> None:
        """Its end and its replies are one commit; what follows in its conversation need not wait for that."""
        opened = self._open.pop(name)
        machine = self._machines.find(name)
        attempts = machine.data.attempt if machine is not None else 0
        self._store.finish(opened.number, effect.outcome, effect.why, attempts, effect.replies)
        self._outbound.take_over(effect.replies)
        self._machines.remove(name)
        self.outcomes[effect.outcome] = self.outcomes.get(effect.outcome, 0) + 1
        if effect.why:
            log.warning("message_not_handled", message=opened.message.id, outcome=effect.outcome, why=effect.why)
        lane = self._lanes[opened.lane]
        lane.popleft()
        if lane:
            self._give_turn(lane[0])
        else:
            del self._lanes[opened.lane]
        self._changed.set()

    # Waiting

    async def drain(self, account: str | None = None) -> None:
        """Return when nothing of one account, or nothing at all, is being handled or waits for that."""
        while self._taking_over or any(account in (None, lane[0]) for lane in self._lanes):
            if self._taking_over:
                await asyncio.wait(self._taking_over)
            else:
                await self._change()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    async def close(self) -> None:
        """Nothing is taken over any more; what is under way is in the store, or is still the network's."""
        for task in tuple(self._taking_over):
            task.cancel()
        if self._taking_over:
            await asyncio.wait(self._taking_over)
