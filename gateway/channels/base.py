"""What an adapter is: how a network is received from and sent to, and what it must promise.

An adapter knows its network and nothing of machines: it raises an error of `gateway.errors`, whose class says what follows.
`tests/gateway/channels/contract.py` holds the promises that every adapter is tested against.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from gateway.config.model import Account
from gateway.errors import GenerationRevokedError
from statemachine.channel import ChannelPolicy


@dataclass(frozen=True)
class Message:
    """One incoming message. `id` is unique within its account; `received_at` is in wall-clock milliseconds."""

    id: str
    channel: str
    account: str
    conversation: str
    sender_id: str
    sender_name: str
    text: str
    received_at: int
    kind: str = "text"


class Offsets:
    """How far each bot identity has been accepted. Kept by identity, not by account name: names change, bots do not."""

    def __init__(self) -> None:
        self._offsets: dict[str, int] = {}

    def get(self, identity: str) -> int | None:
        return self._offsets.get(identity)

    def set(self, identity: str, offset: int) -> None:
        self._offsets[identity] = offset


Deliver = Callable[[list[Message]], Awaitable[None]]


class Intake:
    """What one generation of a receiver delivers through. Once revoked it takes nothing more."""

    def __init__(
        self, offsets: Offsets, deliver: Deliver, ready: Callable[[], None], now_ms: Callable[[], int]
    ) -> None:
        self._offsets = offsets
        self._deliver = deliver
        self._ready = ready
        self._now_ms = now_ms
        self._revoked = False
        self.last_receive: int | None = None
        """Wall-clock milliseconds of the last completed receive, an empty one included."""

    def offset(self, identity: str) -> int | None:
        return self._offsets.get(identity)

    async def accept(self, identity: str, offset: int, messages: list[Message]) -> None:
        """Take messages over, and with them the offset behind them. Raises GenerationRevokedError, taking nothing."""
        self._check()
        await self._deliver(messages)
        self._offsets.set(identity, offset)

    def received(self) -> None:
        """Say that a receive is complete, be it an empty one. The first makes the channel `running`."""
        self._check()
        first, self.last_receive = self.last_receive is None, self._now_ms()
        if first:
            self._ready()

    def revoke(self) -> None:
        self._revoked = True

    def _check(self) -> None:
        if self._revoked:
            raise GenerationRevokedError("this generation has been cut off")


class Receiver(Protocol):
    """One generation's live loop. Its life: `run` once; then `confirm`, perhaps; then `close`, always."""

    async def run(self) -> None:
        """Receive until cancelled. The first completed receive must be a short one."""

    async def send(self, conversation: str, text: str) -> None:
        """Send a reply. Raises SendError."""

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

    async def probe(self, name: str, old: Any, new: Any) -> str:
        """Try new settings while a receiver still runs with the old ones.

        What the network says against them; empty where it says nothing, or cannot be asked.
        """
