"""What a channel's machine is told and what it asks for: events, effects, and the data that they carry."""

from __future__ import annotations

from collections.abc import Hashable
from enum import Enum

import msgspec

from statemachine._machine import Command, Event, Work


class By(Enum):
    """Who asks."""

    PERSON = "person"
    GATEWAY = "gateway"


class Cause(Enum):
    """Why a receiver ended."""

    CLOSED = "closed"
    """It was told to."""
    LOST = "lost"
    """The network could not be reached, answered with a server's error, or asked to wait."""
    CONFLICT = "conflict"
    """Another receiver took over."""
    REFUSED = "refused"
    """The network does not accept this account: its token is wrong or revoked."""
    STANDBY = "standby"
    """Another host may receive: this one has not its lease, or no longer."""
    SPENT = "spent"
    """As many sessions were started as the network allows within a day: one more may not be begun yet."""
    CRASHED = "crashed"
    """Something unforeseen: a defect in the adapter."""


class ChannelPolicy(msgspec.Struct, frozen=True, cache_hash=True):
    """How patient to be with one account. All times in seconds.

    `intensity` and `period` are the terms of OTP's supervisors: that many failures within that time and it is suppressed.
    """

    backoff_base: float = 1.0
    backoff_cap: float = 30.0
    intensity: int = 10
    period: float = 300.0
    half_open_after: float = 120.0
    conflict_wait: float = 45.0
    start_timeout: float = 30.0
    stop_timeout: float = 5.0
    fence_retry: float = 5.0
    stall_after: float | None = None
    """Within so long a receiver that runs completes its next receive. None: it has none to complete, and is not watched."""


class Run(msgspec.Struct, frozen=True, cache_hash=True):
    """What a receiver runs with. `settings` are the account's own, opaque here: they are compared, never read."""

    revision: str
    settings: Hashable
    enabled: bool = True
    policy: ChannelPolicy = ChannelPolicy()


NOTHING = Run("", None)
"""What an account runs with that was never started."""


# Events


class Start(Event, frozen=True):
    run: Run
    by: By


class Stop(Event, frozen=True):
    """`confirm`: tell the network with one last poll what has been accepted; a reload leaves that to the next generation."""

    by: By
    confirm: bool = False


class Restart(Event, frozen=True):
    run: Run
    by: By


class Adjust(Event, frozen=True):
    """Settings of the account that its receiver does not run with have changed."""

    run: Run


class ReceiverReady(Event, frozen=True):
    """The first receive of this generation is complete."""

    generation: int


class ReceiverEnded(Event, frozen=True):
    """The receiver's task has ended and its connection is closed: the generation is dead."""

    generation: int
    cause: Cause
    why: str
    at: float
    retry_after: float = 0.0


class ReceiverStalled(Event, frozen=True):
    """It should have completed a receive by now, if only an empty one, and has not: its network does not even say no."""

    generation: int


class HostWoke(Event, frozen=True):
    """Nothing of the process has run for `slept` seconds: the host was suspended, or the process was."""

    slept: float


class LeaseGained(Event, frozen=True):
    """Among all hosts it is this one that may receive."""


class LeaseLost(Event, frozen=True):
    """Another host will receive in a moment: what is there of a receiver is cut off at once."""


class StartOverdue(Event, frozen=True):
    token: int


class StopOverdue(Event, frozen=True):
    token: int


class RetryDue(Event, frozen=True):
    token: int


class ConflictOver(Event, frozen=True):
    """It has received for a whole conflict wait, and nobody else has."""

    token: int


class FenceDue(Event, frozen=True):
    token: int


class ReceiverFenced(Event, frozen=True):
    """Transport aborted, generation revoked, session closed: nothing of it can receive or deliver any more."""

    generation: int
    at: float
    cause: Cause = Cause.LOST
    why: str = "it did not end and was cut off"


class FenceFailed(Event, frozen=True):
    generation: int
    why: str


# Effects


class OpenReceiver(Work, frozen=True):
    """Open a receiver. It may post ReceiverReady once; it ends in ReceiverEnded."""

    generation: int
    run: Run


class WatchReceiver(Command, frozen=True):
    """Look at the receiver every so often until it ends. ReceiverStalled is posted once, if it completes no receive `within` seconds."""

    generation: int
    within: float | None


class CloseReceiver(Command, frozen=True):
    """Tell the receiver to end; its ReceiverEnded is the proof that it has."""

    generation: int
    confirm: bool


class FenceReceiver(Work, frozen=True):
    """Cut the receiver off. Ends in ReceiverFenced or FenceFailed."""

    generation: int
