"""What an adapter is: how a network is received from and sent to, and what it must promise.

An adapter knows its network and nothing of machines: it raises an error of `gateway.errors`, whose class says what follows.
`gateway/testing/channels.py` holds the promises that every adapter is tested against.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol

from gateway.channels.sessions import Sessions
from gateway.clock import Clock
from gateway.config.model import Account
from gateway.errors import GenerationRevokedError
from gateway.messages.model import Message, Outgoing
from gateway.messages.pace import Limits
from statemachine.channel_events import ChannelPolicy, Run


class Offsets:
    """How far each bot identity has been accepted. Kept by identity, not by account name: names change, bots do not."""

    def __init__(self) -> None:
        self._offsets: dict[str, int] = {}

    def restore(self, offsets: Mapping[str, int]) -> None:
        """What an earlier life has accepted."""
        self._offsets.update(offsets)

    def get(self, identity: str) -> int | None:
        return self._offsets.get(identity)

    def set(self, identity: str, offset: int) -> None:
        self._offsets[identity] = offset


class Consumer(Protocol):
    """Who takes messages over."""

    async def accept(self, identity: str, offset: int, messages: list[Message], first: int | None) -> int:
        """Return when they, and the offset behind them, are safe: how many of them were not known before.

        `first` is the lowest of their network's numbers, where those rise as a rule; None where nobody can say.
        Being cancelled cancels nothing of it.
        """

    async def room(self) -> None:
        """Return when more may be received."""


class Lease(Protocol):
    """Among several hosts, which of them may receive on an account."""

    async def admit(self, account: str, run: Run) -> str:
        """Say that a receiver is about to be opened, and that the one before it is dead. Why it may not be; "" where it may."""

    def permit(self, account: str) -> None:
        """Ask before each receive. Raises LeaseLostError."""


class Unshared:
    """There is one host only."""

    async def admit(self, account: str, run: Run) -> str:  # noqa: ARG002
        return ""

    def permit(self, account: str) -> None:
        """It may always."""


class Intake:
    """What one generation of a receiver delivers through. Once revoked it takes nothing more."""

    def __init__(
        self,
        offsets: Offsets,
        consumer: Consumer,
        ready: Callable[[], None],
        now_ms: Callable[[], int],
        sessions: Sessions | None = None,
        permit: Callable[[], None] = lambda: None,
    ) -> None:
        """Without `sessions` those that it keeps end with it. `permit` raises LeaseLostError where another host may receive from
        now on.
        """
        self._permit = permit
        self._sessions = sessions or Sessions(Clock())
        self._offsets = offsets
        self._consumer = consumer
        self._ready = ready
        self._now_ms = now_ms
        self._revoked = False
        self.last_receive: int | None = None
        """Wall-clock milliseconds of the last completed receive, an empty one included."""
        self.receives = 0
        """How many are complete."""
        self._holding_up = 0

    def offset(self, identity: str) -> int | None:
        return self._offsets.get(identity)

    async def accept(self, identity: str, offset: int, messages: list[Message], first: int | None = None) -> int:
        """Take messages over, and with them the offset behind them; how many were not known before.

        Raises GenerationRevokedError or LeaseLostError, taking nothing.
        """
        self._check()
        self._holding_up += 1
        try:
            return await self._consumer.accept(identity, offset, messages, first)
        finally:
            self._holding_up -= 1

    async def room(self) -> None:
        """Ask before each receive but the first: it returns when what it brings can be taken.

        Raises LeaseLostError: then nothing more may be received.
        """
        self._holding_up += 1
        try:
            await self._consumer.room()
        finally:
            self._holding_up -= 1
        self.permit()

    def permit(self) -> None:
        """Ask before the first receive, too, where something may have taken time before it. Raises LeaseLostError."""
        self._permit()

    @property
    def held_up(self) -> bool:
        """Whether the receiver waits for the gateway, and not for its network."""
        return self._holding_up > 0

    def received(self) -> None:
        """Say that a receive is complete, be it an empty one. The first makes the channel `running`.

        What comes after it is owed within the policy's `stall_after`, where that is given.
        """
        self._check()
        self.last_receive = self._now_ms()
        self.receives += 1
        if self.receives == 1:
            self._ready()

    # For a network that counts how often a session is started

    def session(self, identity: str) -> str | None:
        """The session to take up again, as it was last kept, in this life or an earlier one."""
        return self._sessions.get(identity)

    def keep_session(self, identity: str, session: str | None) -> None:
        """What the next generation takes up, in words of your own; None: nothing. Cheap: call it with whatever moves it on.

        It may be some seconds old after a crash, so keep what comes after the messages only when `accept` has returned.
        Raises GenerationRevokedError, keeping nothing.
        """
        self._check()
        self._sessions.keep(identity, session)

    async def begin_session(self, identity: str, limit: int) -> None:
        """Count the start of a session, of which the network allows `limit` within a day; then, and only then, ask it for one.

        What is taken up again is no start, and is not counted. When this returns the count is on the disk.
        Raises SessionsSpentError where one more would be too many: let it end the receiver. Or GenerationRevokedError.
        """
        self._check()
        self._holding_up += 1
        try:
            await self._sessions.begin(identity, limit)
        finally:
            self._holding_up -= 1
        self._check()

    def now_ms(self) -> int:
        """Wall-clock milliseconds, for what comes without a time."""
        return self._now_ms()

    def revoke(self) -> None:
        self._revoked = True

    def _check(self) -> None:
        if self._revoked:
            raise GenerationRevokedError("this generation has been cut off")
        # What nobody takes over here is brought to the host that receives now.
        self._permit()


class Receiver(Protocol):
    """One generation's live loop. Its life: `run` once; then `confirm`, perhaps; then `close`, always."""

    async def run(self) -> None:
        """Receive until cancelled. The first completed receive must be a short one."""

    async def send(self, outgoing: Outgoing) -> str:
        """Send a message; the network's id of it. One that is `marked` says that it may be there already.

        Raises SendError when the network has it not, AnswerLostError when nobody knows.
        """

    async def typing(self, conversation: str) -> None:
        """Show that an answer is on its way, where the network can. Fails silently: it is a courtesy."""

    async def confirm(self) -> None:
        """After the last receive of a clean stop: tell the network what has been accepted."""

    async def close(self) -> None:
        """Close the connection. When this returns nothing can be received any more."""

    async def fence(self) -> None:
        """Abort the transport at once: when this returns nothing can be received. Raises when it cannot be done."""


class Adapter(Protocol):
    """One network."""

    account_model: ClassVar[type[Account]]

    def open(self, name: str, settings: Any, intake: Intake) -> Receiver:
        """A receiver that is not running yet. `name` is `channel/account`."""

    def policy(self, settings: Any) -> ChannelPolicy:
        """How patient to be with this account."""

    def limits(self, settings: Any) -> Limits:
        """How long a message may be, and how fast they may follow each other."""

    async def probe(self, name: str, old: Any, new: Any) -> str:
        """Try new settings while a receiver still runs with the old ones.

        What the network says against them; empty where it says nothing, or cannot be asked.
        """
