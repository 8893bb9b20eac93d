"""The owner of live receivers: opens, closes and fences them, one an account, and proves them dead.

A generation counts as dead when its task has ended and its connection is closed. Only then is `receiver_ended` said,
and only that, or a fence, lets the channel's machine open the next one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog

from gateway.channels.base import Adapter, Consumer, Intake, Lease, Offsets, Receiver, Unshared
from gateway.channels.liveness import Watch
from gateway.channels.sessions import Sessions
from gateway.clock import Clock
from gateway.config.model import Account
from gateway.errors import (
    AccountRefusedError,
    ChannelError,
    ClaimedError,
    ConflictError,
    ConnectionLostError,
    LeaseLostError,
    SendError,
    SessionsSpentError,
)
from gateway.messages.model import Outgoing
from gateway.messages.pace import Limits
from statemachine import Event
from statemachine.channel_events import (
    Cause,
    CloseReceiver,
    FenceReceiver,
    OpenReceiver,
    ReceiverEnded,
    ReceiverFenced,
    ReceiverReady,
    ReceiverStalled,
    WatchReceiver,
)

log: structlog.stdlib.BoundLogger = structlog.get_logger()

CAUSES: Mapping[type[ChannelError], Cause] = {
    ConnectionLostError: Cause.LOST,
    ConflictError: Cause.CONFLICT,
    AccountRefusedError: Cause.REFUSED,
    LeaseLostError: Cause.STANDBY,
    SessionsSpentError: Cause.SPENT,
}
UNKNOWN = Limits()
CONFIRM_TIMEOUT = 1.0
FENCE_TIMEOUT = 2.0
DRAIN_TIMEOUT = 3.0
"""Together they stay below an account's usual stop deadline, which would cut the goodbye short."""


@dataclass
class _Live:
    """One live receiver and what it takes to end it."""

    generation: int
    receiver: Receiver
    intake: Intake
    task: asyncio.Task[None]
    fenced: asyncio.Event = field(default_factory=asyncio.Event)
    confirm: bool = False
    watch: Watch | None = None


class Receivers:
    """At most one live receiver an account: a second is refused here too, whatever the tables say."""

    def __init__(
        self,
        adapters: Mapping[str, Adapter],
        settings: Callable[[str], Account | None],
        offsets: Offsets,
        post: Callable[[str, Event], object],
        clock: Clock,
        claim: Callable[[str, Any], None] = lambda *_: None,
        lease: Lease | None = None,
        sessions: Sessions | None = None,
    ) -> None:
        """`claim` raises ClaimedError where another process of this machine receives on an account; `lease` knows of other hosts.

        Without `sessions` those that networks count are in memory alone.
        """
        self._sessions = sessions or Sessions(clock)
        self._claim = claim
        self._lease = lease or Unshared()
        self._adapters = adapters
        self._settings = settings
        self._offsets = offsets
        self._post = post
        self._clock = clock
        self._live: dict[str, _Live] = {}
        self._told_to_end: dict[str, CloseReceiver] = {}
        self._newest: dict[str, int] = {}
        """By account, the generation that was opened last: those before it are dead, whatever is still done for them."""
        self._up: set[str] = set()
        """Accounts from their generation's first receive until it is told to end."""

    def connect(self, consumer: Consumer, drain: Callable[[str], Awaitable[None]], up: Callable[[str], None]) -> None:
        """Say who takes messages over, who knows what is still to be sent, and who is told that an account runs."""
        self._consumer = consumer
        self._drain = drain
        self._tell_up = up

    # Work and commands of the channel machine

    async def open(self, name: str, effect: OpenReceiver) -> Event:
        """Run a receiver to its end, and say why it ended once its connection is closed."""
        if name in self._live:
            raise RuntimeError(f"{name} has a live receiver of generation {self._live[name].generation}")
        if self._was_told_to_end(name, effect.generation):
            return ReceiverEnded(effect.generation, Cause.CLOSED, "", self._clock.monotonic())
        try:
            self._claim(name, effect.run.settings)
        except ClaimedError as error:
            return ReceiverEnded(effect.generation, Cause.CONFLICT, str(error), self._clock.monotonic())
        self._newest[name] = effect.generation
        barred = await self._lease.admit(name, effect.run)
        # Time has passed: it may have been told to end meanwhile, or been cut off before it began, and have a successor.
        late = self._was_told_to_end(name, effect.generation) or self._newest[name] != effect.generation
        if barred or late:
            cause = Cause.STANDBY if barred else Cause.CLOSED
            return ReceiverEnded(effect.generation, cause, barred, self._clock.monotonic())
        live = self._live[name] = self._begin(name, effect)
        cause, why, retry_after = Cause.CRASHED, "", 0.0
        try:
            cause, why, retry_after = await self._watch(name, live)
        finally:
            await self._end(name, live)
        return ReceiverEnded(effect.generation, cause, why, self._clock.monotonic(), retry_after)

    def close(self, name: str, effect: CloseReceiver) -> None:
        """Tell a receiver to end; one that was told before its work began never begins. Told again, it may owe a goodbye."""
        told_before = self._was_told_to_end(name, effect.generation)
        self._told_to_end[name] = effect
        live = self._live.get(name)
        if live is None or live.generation != effect.generation:
            return
        live.confirm = live.confirm or effect.confirm
        self._look_away(live)
        self._up.discard(name)
        if not told_before:
            live.task.cancel()

    def watch(self, name: str, effect: WatchReceiver) -> None:
        """Say so, once, when it completes no receive in time. It is watched until it ends, or is told to."""
        live = self._live.get(name)
        if effect.within is None or live is None or live.generation != effect.generation:
            return
        live.watch = Watch(live.intake, effect.within, lambda: self._post(name, ReceiverStalled(effect.generation)))

    def _look_away(self, live: _Live) -> None:
        if live.watch is not None:
            live.watch.stop()

    def _was_told_to_end(self, name: str, generation: int) -> bool:
        told = self._told_to_end.get(name)
        return told is not None and told.generation == generation

    async def fence(self, name: str, effect: FenceReceiver) -> Event:
        """Cut a receiver off that does not end: its intake takes no more, its transport is aborted."""
        live = self._live.get(name)
        if live is not None and live.generation == effect.generation:
            live.intake.revoke()
            await live.receiver.fence()
            live.fenced.set()
            if self._live.get(name) is live:
                self._up.discard(name)
                del self._live[name]
        return ReceiverFenced(effect.generation, self._clock.monotonic())

    # Sending and looking

    def is_up(self, account: str) -> bool:
        """Whether its present generation has completed a receive, and was not told to end."""
        return account in self._up

    def limits(self, account: str) -> Limits:
        """What its network allows; of one that is not there, what any does."""
        settings = self._settings(account)
        return UNKNOWN if settings is None else self._adapters[account.split("/", 1)[0]].limits(settings)

    async def send(self, account: str, outgoing: Outgoing) -> str:
        """Send through the present generation; the network's id. Raises SendError or AnswerLostError."""
        if not self.is_up(account):
            raise SendError(f"{account} does not run", retryable=True)
        return await self._live[account].receiver.send(outgoing)

    async def typing(self, account: str, conversation: str) -> None:
        """Show that an answer is on its way."""
        if self.is_up(account):
            await self._live[account].receiver.typing(conversation)

    def last_receive(self, name: str) -> int | None:
        """Wall-clock milliseconds of this generation's last completed receive."""
        live = self._live.get(name)
        return live.intake.last_receive if live else None

    # One receiver's life

    def _begin(self, name: str, effect: OpenReceiver) -> _Live:
        channel = name.split("/", 1)[0]

        def ready() -> None:
            self._post(name, ReceiverReady(effect.generation))
            if not self._was_told_to_end(name, effect.generation):
                self._go_up(name)

        intake = Intake(
            self._offsets, self._consumer, ready, self._clock.wall_ms, self._sessions, lambda: self._lease.permit(name)
        )
        receiver = self._adapters[channel].open(name, effect.run.settings, intake)
        task = asyncio.get_running_loop().create_task(receiver.run(), name=f"{name}:receiver:{effect.generation}")
        # What one ends in that nobody waits for any more is nobody's: unless somebody looks, the loop reports it as missed.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return _Live(effect.generation, receiver, intake, task)

    async def _watch(self, name: str, live: _Live) -> tuple[Cause, str, float]:
        """Wait for the end, by itself, by being told, or by a fence; (cause, why, seconds that the network asked to wait)."""
        fenced = asyncio.ensure_future(live.fenced.wait())
        try:
            await asyncio.wait({live.task, fenced}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            fenced.cancel()
        if not live.task.done():
            return Cause.CLOSED, "fenced", 0.0
        if live.task.cancelled():
            return Cause.CLOSED, "", 0.0
        error = live.task.exception()
        if error is None:
            return Cause.CLOSED, "the receiver returned by itself", 0.0
        for kind, cause in CAUSES.items():
            if isinstance(error, kind):
                return cause, str(error), getattr(error, "retry_after", 0.0)
        log.error("receiver_crashed", machine=name, generation=live.generation, exc_info=error)
        return Cause.CRASHED, f"{type(error).__name__}: {error}", 0.0

    async def _end(self, name: str, live: _Live) -> None:
        """Close the connection: after this the generation is dead."""
        self._take_down(name, live)
        self._look_away(live)
        live.task.cancel()
        # Not beside a poll that does not end: the network would answer one of the two with a conflict.
        if live.confirm and live.task.done() and not live.fenced.is_set():
            await self._say_goodbye(name, live)
        live.intake.revoke()
        self._sessions.flush()
        try:
            await live.receiver.close()
        except Exception:
            log.error("close_failed", machine=name, generation=live.generation, exc_info=True)
            await live.receiver.fence()
        if self._live.get(name) is live:
            del self._live[name]

    async def _say_goodbye(self, name: str, live: _Live) -> None:
        """On a clean stop: replies first, while the connection still is, then the last poll that confirms."""
        if live.intake.last_receive is not None:
            self._go_up(name)  # or the replies would wait for a successor
        try:
            async with asyncio.timeout(DRAIN_TIMEOUT):
                await self._drain(name)
            if not live.fenced.is_set():
                async with asyncio.timeout(CONFIRM_TIMEOUT):
                    await live.receiver.confirm()
        except (TimeoutError, ChannelError) as error:
            # Unconfirmed messages are sent again by the network: that is the safe side.
            log.warning("not_confirmed", machine=name, generation=live.generation, why=str(error) or "it took too long")
        finally:
            self._take_down(name, live)

    def _take_down(self, name: str, live: _Live) -> None:
        """Nothing is sent through it any more. One that was cut off may have a successor, which is up already."""
        if self._live.get(name) is live:
            self._up.discard(name)

    def _go_up(self, name: str) -> None:
        self._up.add(name)
        self._tell_up(name)

    async def aclose(self) -> None:
        """At the very end of the process: nothing may outlive it."""
        for live in tuple(self._live.values()):
            live.task.cancel()
            with contextlib.suppress(Exception):
                await live.receiver.close()
