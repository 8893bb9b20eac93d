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
from functools import partial
from typing import Any, Protocol

import msgspec
import structlog
from structlog.contextvars import bind_contextvars

from gateway.channels.base import Offsets
from gateway.config.model import Config, Route
from gateway.errors import HandlerError
from gateway.messages.machines import Machines
from gateway.messages.model import Message, Order, Outgoing, Reply, without_half_characters
from gateway.messages.routes import TO_THE_GATEWAY, route_of
from gateway.store.store import Beginning, Received, Store
from gateway.traces import UNTRACED, Receiving, Traces, log_keys
from statemachine import Event
from statemachine.incoming import (
    Finish,
    Handle,
    HandlerAnswered,
    HandlerFailed,
    Incoming,
    IncomingData,
    TurnCame,
    is_at_work,
)

log: structlog.stdlib.BoundLogger = structlog.get_logger()

MOST_OPEN = 2_000
"""Messages in memory that are not finished."""
OWN_PATIENCE = 10.0
"""Seconds for the gateway's own answer to a command."""
REPLY_TURNS = 3
"""Turns of the loop from a commit until a reply that waited for it is on its way."""
CHUNK = 500
"""Messages that are read from the store at a time, when a boot takes up what is not finished."""


class Handling(Protocol):
    """Who answers messages."""

    def policy(self, handler: str) -> tuple[int, float]:
        """How often a message may be given to it, and how many seconds it may take."""

    def acts_outside(self, handler: str) -> bool:
        """Whether it does more than answer: it is not given a message that is not on the disk yet."""

    async def handle(self, handler: str, message: Message) -> tuple[Reply, ...]:
        """Raises HandlerError; anything else is a defect of the handler, and final."""


class Outbound(Protocol):
    """Who sends replies."""

    def compose(self, message: Message, number: int, replies: Sequence[Reply], route: Route) -> list[Outgoing]:
        """Replies as messages to be sent, in order."""

    def take_over(self, outgoing: Sequence[Outgoing]) -> None:
        """They are being written down, and shall be sent."""


class Commanded(Protocol):
    """The gateway itself, as somebody in a chat commands it."""

    def answer(self, message: Message) -> tuple[Reply | Order, ...]:
        """What is said to a command, and what is to be done."""

    def carry_out(self, message: Message, order: Order) -> None:
        """The message is being written down as handled: do it when that is done."""


@dataclass
class _Open:
    """A message that is not finished."""

    number: int
    message: Message
    lane: tuple[str, str]
    route: Route | None = None
    """The one that has taken it."""
    kept: asyncio.Future[None] | None = None
    """Done when it is on the disk; None where it was, before anything else."""


class Pipeline:
    """Takes messages over from receivers. `config` returns what applies now, so a live change is the next message's.

    `count` is told how many new ones were taken over.
    """

    def __init__(
        self,
        config: Callable[[], Config],
        store: Store,
        handlers: Handling,
        outbound: Outbound,
        gateway: Commanded,
        machines: Machines,
        offsets: Offsets,
        count: Callable[[int], None],
        traces: Traces = UNTRACED,
    ) -> None:
        self._config = config
        self._store = store
        self._handlers = handlers
        self._outbound = outbound
        self._gateway = gateway
        self._machines = machines
        self._offsets = offsets
        self._open: dict[str, _Open] = {}
        self._lanes: dict[tuple[str, str], deque[str]] = {}
        self._taking_over: set[asyncio.Future[Any]] = set()
        self._changed = asyncio.Event()
        self._taken: dict[str, int] = {}
        """Highest offsets behind what was ever taken over, on the disk or not yet, by bot: whatever token it had, and
        whether it was polled or brought."""
        self._coming = 0
        self._behind = False
        self._left_in_store = 0
        self._count = count
        self._traces = traces

    # What is shown

    @property
    def in_flight(self) -> int:
        """How many messages are not finished, of those that are in memory."""
        return len(self._open) + self._coming

    def at_work(self, account: str | None = None) -> int:
        """How many conversations are being handled now, of one account or of all; those that wait for another try are not."""
        heads = (lane[0] for place, lane in self._lanes.items() if account in (None, place[0]))
        coming = self._coming if account is None else 0
        return coming + sum(is_at_work(machine) for head in heads if (machine := self._machines.find(head)) is not None)

    @property
    def full(self) -> bool:
        """Receivers wait."""
        return self._behind or len(self._open) >= MOST_OPEN

    def traceparent(self, machine: str) -> str | None:
        """The trace of a message that is not finished, by its machine's name."""
        opened = self._open.get(machine)
        return None if opened is None else opened.message.traceparent

    # Taking over

    async def accept(self, identity: str, offset: int, messages: list[Message], first: int | None = None) -> int:
        """Return when they are in the store: from here on they are ours. How many were not known before.

        Being cancelled cancels nothing of it.
        """
        taking = self._traces.receiving(messages)
        received = self._store.receive(identity, offset, list(map(without_half_characters, taking.messages)))
        bot = identity.rpartition(":")[0]
        taken = self._taken.get(bot)
        self._taken[bot] = max(offset, taken or 0)
        if first is not None and taken is not None and first >= taken and not self._behind:
            # None of them can be known: they are begun with while they are written down.
            kept = self._store.next_commit()
            self._take_over(identity, offset, kept)
            kept.add_done_callback(partial(_end, taking, received))
            for each in received:
                self._admit(each, kept)
            self._count(len(received))
            await self._store.next_commit()
            if len(received) == 1:
                # Its reply goes first. Behind many there may be more: those are asked for before the replies to these go out.
                for _ in range(REPLY_TURNS):
                    await asyncio.sleep(0)
            return len(received)
        looking = asyncio.get_running_loop().create_task(self._admit_new_of(received, taking))
        self._coming += len(received)
        self._take_over(identity, offset, looking)
        return await asyncio.shield(looking)

    def _take_over(self, identity: str, offset: int, kept: asyncio.Future[Any]) -> None:
        """What is behind them is asked for only when they are in the store."""

        def taken_over(done: asyncio.Future[Any]) -> None:
            self._taking_over.discard(done)
            if not done.cancelled() and done.exception() is None:
                self._offsets.set(identity, offset)

        self._taking_over.add(kept)
        kept.add_done_callback(taken_over)

    async def _admit_new_of(self, received: Sequence[Received], taking: Receiving) -> int:
        try:
            new = await self._store.new_of(received)
            self._admit_known_new(new)
            self._count(len(new))
            taking.kept(_messages(new))
            return len(new)
        finally:
            self._coming -= len(received)

    def _admit_known_new(self, new: Sequence[Received]) -> None:
        if self._behind:
            # Those before them are still being read: these are read after them.
            self._left_in_store = max([self._left_in_store, *(received.number for received in new)])
        else:
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
        for identity, offset in beginning.offsets.items():
            whose = identity.rpartition(":")[0]
            self._taken[whose] = max(offset, self._taken.get(whose, 0))
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
        return received._replace(attempts=received.attempts + 1)

    def _admit(self, received: Received, kept: asyncio.Future[None] | None = None) -> None:
        name = f"incoming/{received.number}"
        lane = (received.message.name, received.message.conversation)
        self._open[name] = _Open(received.number, received.message, lane, kept=kept)
        self._machines.add(Incoming(name, IncomingData(received.attempts, lives=received.attempts)))
        waiting = self._lanes.get(lane)
        if waiting is None:
            self._lanes[lane] = deque([name])
            self._give_turn(name)
        else:
            waiting.append(name)

    # Handling

    def _give_turn(self, name: str) -> None:
        opened = self._open[name]
        began = self._traces.now()
        verdict, opened.route, why = route_of(self._config(), opened.message)
        self._traces.routed(opened.message, began, verdict.value, opened.route.handler if opened.route else None)
        attempts, patience = self._policy(opened.route)
        self._machines.tell(name, TurnCame(verdict, attempts, patience, why), "its turn")

    def _policy(self, route: Route | None) -> tuple[int, float]:
        """How often its handler may be tried, and how many seconds it may take."""
        if route is None or route is TO_THE_GATEWAY:
            return 1, OWN_PATIENCE
        return self._handlers.policy(route.handler)

    async def handle(self, name: str, effect: Handle) -> Event:
        """The work of the machine: give it to its handler; on another attempt, to whom the routes name by then."""
        opened, message, why = self._open[name], self._open[name].message, ""
        # In this work's own context: all that is logged in it says so.
        bind_contextvars(**log_keys(message.traceparent))
        if effect.lives:
            self._store.taken_up(opened.number, effect.lives)
            await self._store.committed()
        if effect.attempt > 1:
            _, opened.route, why = route_of(self._config(), message)
            message = msgspec.structs.replace(message, attempt=effect.attempt)
        if opened.route is None:
            return HandlerFailed(effect.attempt, f"it is not for any handler any more: {why}")
        if opened.route is TO_THE_GATEWAY:
            return HandlerAnswered(effect.attempt, self._composed(opened, self._gateway.answer(message)))
        if opened.kept is not None and self._handlers.acts_outside(opened.route.handler):
            await asyncio.shield(opened.kept)
        try:
            replies = await self._handlers.handle(opened.route.handler, message)
            # Here, where a reply that cannot be one is the handler's failure and no one else's.
            return HandlerAnswered(effect.attempt, self._composed(opened, replies))
        except HandlerError as error:
            return HandlerFailed(effect.attempt, str(error), error.retryable, error.after, error.counts)

    def _composed(self, opened: _Open, answers: Sequence[Reply | Order]) -> tuple[Outgoing | Order, ...]:
        """Replies as they are sent, and then what the gateway shall do itself."""
        assert opened.route is not None, "it was given to a handler"
        # Whatever else it is shall be a reply: one that cannot be is found where it is composed.
        replies = [answer for answer in answers if not isinstance(answer, Order)]
        orders = [answer for answer in answers if isinstance(answer, Order)]
        return *self._outbound.compose(opened.message, opened.number, replies, opened.route), *orders

    def finish(self, name: str, effect: Finish) -> None:
        """Its end and its replies are one commit; what follows in its conversation need not wait for that."""
        opened = self._open.pop(name)
        machine = self._machines.find(name)
        attempts = machine.data.attempt if machine is not None else 0
        outgoing = [each for each in effect.replies if isinstance(each, Outgoing)]
        self._store.finish(opened.number, effect.outcome, effect.why, attempts, outgoing)
        self._outbound.take_over(outgoing)
        for order in effect.replies:
            if isinstance(order, Order):
                self._gateway.carry_out(opened.message, order)
        self._machines.remove(name)
        if effect.why:
            keys = log_keys(opened.message.traceparent)
            log.warning(
                "message_not_handled", message=opened.message.id, outcome=effect.outcome, why=effect.why, **keys
            )
        lane = self._lanes[opened.lane]
        lane.popleft()
        if lane:
            self._give_turn(lane[0])
        else:
            del self._lanes[opened.lane]
        self._changed.set()

    # Waiting

    async def drain(self, account: str | None = None) -> None:
        """Return when nothing of one account, or nothing at all, is being handled."""
        while self._taking_over or self.at_work(account):
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


def _end(taking: Receiving, received: Sequence[Received], kept: asyncio.Future[None]) -> None:
    if not kept.cancelled():
        taking.kept(_messages(received))


def _messages(received: Sequence[Received]) -> list[Message]:
    return [each.message for each in received]
