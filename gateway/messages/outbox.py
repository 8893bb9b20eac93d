"""From a reply to its network: in order within a conversation, at the network's pace, and never twice unless it says so.

Each outgoing message has a machine (`delivery/N`) that says what happens to it. This module gives each its turn: it is
the first of its conversation, its account runs, and the pace allows it. And it does what the machine asks for: that a
message is being sent is on the disk before the network hears of it, and what came of it right after.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec
import structlog
from structlog.contextvars import bind_contextvars

from gateway.clock import Clock
from gateway.config.model import Route
from gateway.errors import AnswerLostError, SendError
from gateway.messages.machines import Machines
from gateway.messages.model import Address, AfterUnknown, Format, Message, Outgoing, Reply, without_half_characters
from gateway.messages.pace import Limits, Pace
from gateway.messages.split import split
from gateway.store.store import Kept, Store
from gateway.traces import UNTRACED, Traces, log_keys
from statemachine import Event
from statemachine.delivery import (
    AnswerLost,
    Delivery,
    DeliveryData,
    DeliveryDue,
    DeliveryFailed,
    DeliverySent,
    Keep,
    Resumed,
    Send,
    delivery_from,
    has_ended,
)

log: structlog.stdlib.BoundLogger = structlog.get_logger()

STORE_PATIENCE = 10.0
"""Seconds in which it must be on the disk that a message is being sent: with the sending itself less than its machine waits."""
MAX_AGE = 86_400.0
"""Seconds after which a reply is of no use any more, where its route says nothing else."""


class Network(Protocol):
    """Whoever has the accounts' receivers, through which messages are sent."""

    def is_up(self, account: str) -> bool:
        """Whether its present generation runs, and was not told to end."""

    def limits(self, account: str) -> Limits:
        """What its network allows."""

    async def send(self, account: str, outgoing: Outgoing) -> str:
        """Send through the present generation; the network's id. Raises SendError or AnswerLostError."""


@dataclass
class _Account:
    """What waits on one account."""

    pace: Pace
    lanes: dict[str, OrderedDict[str, None]] = field(default_factory=dict)
    """Conversation -> the machines of its messages, in order. What follows waits for what is before it."""
    ready: set[str] = field(default_factory=set)
    """Machines that are queued, and wait for nothing of their own."""
    later: asyncio.TimerHandle | None = None


class Outbox:
    """Owns what is to be sent."""

    def __init__(
        self, store: Store, network: Network, machines: Machines, clock: Clock, traces: Traces = UNTRACED
    ) -> None:
        self._store = store
        self._network = network
        self._machines = machines
        self._clock = clock
        self._traces = traces
        self._accounts: dict[str, _Account] = {}
        self._open: dict[str, Outgoing] = {}
        self._under_way: set[str] = set()
        """Machines from their turn until what came of it is written down."""
        self._taking_orders: set[asyncio.Task[list[Outgoing]]] = set()
        self._changed = asyncio.Event()

    @property
    def depth(self) -> int:
        """How many messages are neither sent nor dead."""
        return len(self._open)

    @property
    def under_way(self) -> int:
        """How many messages the network is being told now, or about to be."""
        return len(self._under_way)

    def traceparent(self, machine: str) -> str | None:
        """The trace of a message that is not sent yet, by its machine's name."""
        outgoing = self._open.get(machine)
        return None if outgoing is None else outgoing.traceparent

    # What comes in

    def compose(self, message: Message, number: int, replies: Sequence[Reply], route: Route) -> list[Outgoing]:
        """Replies as messages to be sent: each in parts that its network takes, to where it says or where the message came from."""
        here = Address(message.channel, message.account, message.conversation, message.thread)
        found: list[Outgoing] = []
        for reply in replies:
            to = reply.to or here
            quote = message.network_id if reply.quote and reply.to is None else None
            for part in split(reply.text, reply.format, self._network.limits(to.name).text):
                key = f"{message.id}#{len(found) + 1}"
                outgoing = self._outgoing(
                    key, to, part, reply.format, quote, route.after_unknown, route.max_age_s, number, message.traceparent,
                )  # fmt: skip
                found.append(outgoing)
                quote = None
        return found

    def _outgoing(
        self,
        key: str,
        to: Address,
        text: str,
        form: Format,
        quote: str | None,
        policy: AfterUnknown,
        max_age: float,
        answers: int | None,
        traceparent: str | None,
    ) -> Outgoing:
        now = self._clock.wall_ms()
        outgoing = Outgoing(
            number=self._store.next_number(), key=key, channel=to.channel, account=to.account,
            conversation=to.conversation, thread=to.thread, text=text, format=form, quote=quote, policy=policy,
            created_at=now, expires_at=now + round(max_age * 1000), answers=answers,
            traceparent=traceparent,
        )  # fmt: skip
        return without_half_characters(outgoing)

    async def ask(self, key: str, to: Address, reply: Reply, traceparent: str | None = None) -> list[Outgoing]:
        """Somebody wants something said, perhaps as part of a trace. With a key that was used before nothing new is.
        Returns when it is on the disk.

        Being cancelled cancels nothing of it.
        """
        task = asyncio.get_running_loop().create_task(self._take_order(key, to, reply, traceparent))
        self._taking_orders.add(task)
        task.add_done_callback(self._taking_orders.discard)
        return await asyncio.shield(task)

    async def _take_order(self, key: str, to: Address, reply: Reply, given: str | None) -> list[Outgoing]:
        traceparent, ordered = self._traces.ordering(to.name, given)
        parts = split(reply.text, reply.format, self._network.limits(to.name).text)
        found = [
            self._outgoing(f"{key}#{place}", to, part, reply.format, None, "resend", MAX_AGE, None, traceparent)
            for place, part in enumerate(parts, 1)
        ]
        for outgoing in found:
            self._store.queue(outgoing)
        await self._store.committed()
        kept = [kept for outgoing in found if (kept := await self._store.by_key(outgoing.key)) is not None]
        numbers = {outgoing.number for outgoing in found}
        new = [each.outgoing for each in kept if each.outgoing.number in numbers]
        if new:
            ordered()
        self.take_over(new)
        return [each.outgoing for each in kept]

    def take_over(self, outgoing: Iterable[Outgoing]) -> None:
        """They are written down, or are being, and shall be sent."""
        for each in outgoing:
            name = self._open_one(Delivery(f"delivery/{each.number}", self._data(each)), each)
            account = self._account(each.name)
            account.ready.add(name)
            if not self._advance(account, each.conversation):
                # It waits like one that a boot has found: not for ever.
                self._machines.tell(name, Resumed(), "queued")

    def resume(self, kept: Iterable[Kept]) -> None:
        """What an earlier life has left: each goes on from where it was."""
        for each in kept:
            data = self._data(each.outgoing, each.attempts, each.marked, each.why)
            machine = delivery_from(each.state, data, f"delivery/{each.outgoing.number}")
            self._machines.tell(self._open_one(machine, each.outgoing), Resumed(), "boot")

    def _open_one(self, machine: Delivery, outgoing: Outgoing) -> str:
        self._open[machine.name] = outgoing
        self._machines.add(machine)
        self._lane(outgoing)[machine.name] = None
        return machine.name

    def _data(self, outgoing: Outgoing, attempts: int = 0, marked: bool = False, why: str = "") -> DeliveryData:
        left = (outgoing.expires_at - self._clock.wall_ms()) / 1000
        return DeliveryData(
            resend=outgoing.policy == "resend", expires_at=self._clock.monotonic() + left, attempt=attempts,
            marked=marked, why=why,
        )  # fmt: skip

    # Whose turn it is

    def wake(self, name: str) -> None:
        """An account runs: what waits for that has its turn."""
        account = self._account(name)
        for conversation in tuple(account.lanes):
            self._advance(account, conversation)

    def line_up(self, name: str) -> None:
        """It is ready to be sent. What had made way stands at the end again."""
        if name in self._under_way:
            return  # its turn came while it was on its way here
        outgoing = self._open[name]
        account = self._account(outgoing.name)
        self._lane(outgoing).setdefault(name, None)
        account.ready.add(name)
        self._advance(account, outgoing.conversation)

    def make_way(self, name: str) -> None:
        """It is at its end, or a person must decide: what follows does not wait for it."""
        outgoing, machine = self._open[name], self._machines.find(name)
        account = self._account(outgoing.name)
        account.ready.discard(name)
        lane = account.lanes.get(outgoing.conversation)
        if lane is not None:
            lane.pop(name, None)
            if not lane:
                del account.lanes[outgoing.conversation]
        if machine is not None and has_ended(machine):
            self._machines.remove(name)
            del self._open[name]
        self._advance(account, outgoing.conversation)
        self._changed.set()

    def _advance(self, account: _Account, conversation: str) -> bool:
        """Give the first of a conversation its turn, if it is ready and may go; whether it was given."""
        lane = account.lanes.get(conversation)
        first = next(iter(lane)) if lane else None
        if first is None or first not in account.ready:
            return False
        outgoing = self._open[first]
        if not self._network.is_up(outgoing.name):
            return False
        now = self._clock.monotonic()
        at = account.pace.at(conversation, now)
        if at > now:
            self._later(account, outgoing.name, at - now)
            return False
        account.pace.take(conversation, now)
        account.ready.discard(first)
        self._under_way.add(first)
        self._machines.tell(first, DeliveryDue(now), "its turn")
        return True

    def _later(self, account: _Account, name: str, wait: float) -> None:
        """The network's pace: all that waits on the account is looked at again when the first of it may go."""
        loop = asyncio.get_running_loop()
        if account.later is not None and not account.later.cancelled() and account.later.when() <= loop.time() + wait:
            return
        if account.later is not None:
            account.later.cancel()
        account.later = loop.call_later(wait, self._pace_allows, account, name)

    def _pace_allows(self, account: _Account, name: str) -> None:
        account.later = None
        self.wake(name)

    def _account(self, name: str) -> _Account:
        account = self._accounts.get(name)
        if account is None:
            account = self._accounts[name] = _Account(Pace(lambda: self._network.limits(name)))
        return account

    def _lane(self, outgoing: Outgoing) -> OrderedDict[str, None]:
        return self._account(outgoing.name).lanes.setdefault(outgoing.conversation, OrderedDict())

    # What the machine asks for

    async def traced_send(self, name: str, effect: Send) -> Event:
        """`send`, as a part of its message's trace."""
        outgoing = self._open[name]
        bind_contextvars(**log_keys(outgoing.traceparent))
        with self._traces.sending(outgoing, effect.attempt) as came:
            event = await self.send(name, effect)
            came(event)
        return event

    async def send(self, name: str, effect: Send) -> Event:
        """First on the disk, then to the network: after a crash nobody need guess whether it may be there."""
        outgoing = self._open[name]
        self._store.mark(outgoing.number, "sending", effect.attempt, marked=effect.marked)
        try:
            async with asyncio.timeout(STORE_PATIENCE):
                await self._store.committed()
        except TimeoutError:
            # The network has heard nothing of it: it waits, and nobody need wonder whether it may be there.
            why = f"the store takes nothing now: {self._store.trouble or 'it is slow'}"
            return DeliveryFailed(effect.attempt, why, self._clock.monotonic(), retryable=True)
        if effect.marked:
            outgoing = msgspec.structs.replace(outgoing, marked=True)
        try:
            return DeliverySent(effect.attempt, await self._network.send(outgoing.name, outgoing))
        except SendError as error:
            now = self._clock.monotonic()
            return DeliveryFailed(effect.attempt, str(error), now, error.retryable, error.retry_after)
        except AnswerLostError as error:
            return AnswerLost(effect.attempt, str(error))

    def keep(self, name: str, effect: Keep) -> None:
        """Written down with the next commit; nobody waits for it."""
        number = self._open[name].number
        self._store.mark(number, effect.state, effect.attempt, effect.why, effect.network_id, effect.marked)
        self._under_way.discard(name)
        self._changed.set()
        if effect.why:
            keys = {"account": self._open[name].name} | log_keys(self._open[name].traceparent)
            log.warning("delivery", machine=name, state=effect.state, why=effect.why, **keys)

    # What a person asks for

    async def reopen(self, number: int) -> str | None:
        """The machine of a message, made again where it had come to its end; None for one that is not kept."""
        name = f"delivery/{number}"
        if name in self._open:
            return name
        # What has just come to its end may not be written down yet.
        await self._store.committed()
        kept = await self._store.outgoing(number)
        if kept is None:
            return None
        machine = delivery_from(kept.state, self._data(kept.outgoing, kept.attempts, kept.marked, kept.why), name)
        if name not in self._open:
            self._open[name] = kept.outgoing
            self._machines.add(machine)
        return name

    def let_go(self, name: str) -> None:
        """Nothing followed from what a person asked: one that is at its end is forgotten again."""
        machine = self._machines.find(name)
        if machine is not None and has_ended(machine) and name in self._open:
            self._machines.remove(name)
            del self._open[name]

    # Waiting

    async def drain(self, account: str | None = None) -> None:
        """Return when all that can be sent now was sent, on one account or on all."""
        while self._is_busy(account):
            self._changed.clear()
            await self._changed.wait()

    def _is_busy(self, name: str | None) -> bool:
        for key, account in self._accounts.items():
            if name not in (None, key):
                continue
            for lane in account.lanes.values():
                first = next(iter(lane))
                if first in self._under_way or (first in account.ready and self._network.is_up(key)):
                    return True
        return False

    async def close(self) -> None:
        """Nothing is sent any more; what somebody has ordered is in the store, or was never promised."""
        for task in self._taking_orders:
            task.cancel()
        if self._taking_orders:
            await asyncio.wait(set(self._taking_orders))
        for account in self._accounts.values():
            if account.later is not None:
                account.later.cancel()
