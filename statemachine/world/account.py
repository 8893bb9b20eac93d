"""One account in the product: the real channel machine, its timer, its receiver, and the network that may fail it.

What is abstracted: time is gone (a timer that is armed may ring), numbers are relative (the current generation and timer
are 1, every older one is 0), and what no guard reads is blanked, so that equal futures are equal worlds.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from statemachine._machine import Effect, Event, Machine, Refusal, Step
from statemachine.channel import ChannelData, comes_to_rest, is_broken, is_running, is_settled, is_stopped
from statemachine.channel_events import (
    By,
    Cause,
    ChannelPolicy,
    CloseReceiver,
    ConflictOver,
    FenceDue,
    FenceFailed,
    FenceReceiver,
    HostWoke,
    LeaseGained,
    LeaseLost,
    OpenReceiver,
    ReceiverEnded,
    ReceiverFenced,
    ReceiverReady,
    ReceiverStalled,
    Restart,
    RetryDue,
    Run,
    Start,
    StartOverdue,
    Stop,
    StopOverdue,
    WatchReceiver,
)
from statemachine.effects import ArmTimer, DisarmTimer
from statemachine.promises import LEASED, ONE_RECEIVER, STALE, STAYS_STOPPED, WAKES

CURRENT, OLD = 1, 0
NOW = 0.0
POLICY = ChannelPolicy(intensity=2, stall_after=1.0)
"""The second failure in a row spends the intensity: the smallest number for which there is one that does not."""
NAP, NIGHT = 1.0, 1e6
"""Sleeps of the host: one that is shorter than any wait, and one that is longer."""
WAIT = 10.0
OFF = "off"
"""Settings of an account that is not to run."""
DEADLINES = (StartOverdue, StopOverdue)
OWN_ENDS = (Cause.LOST, Cause.CONFLICT, Cause.REFUSED, Cause.SPENT, Cause.CRASHED)


class Receiver(Enum):
    """What there is of a receiver outside of the machine."""

    NONE = "none"
    OPENING = "opening"
    UP = "up"
    BARRED = "barred"
    """There is none, and its work is about to say why: another gateway of the machine has the account."""
    STANDBY = "standby"
    """There is none, and its work is about to say why: another host may have the account."""


class Account(msgspec.Struct, frozen=True, cache_hash=True):
    """One account. `timer` is the event that is armed; `hangs`: neither a receive nor its end will come by themselves.

    `claimed`: it is held among the processes of the machine; `rival`: by another gateway there. `leased`: among the hosts
    that share it, it is this one that may receive.
    """

    state: Any
    data: ChannelData
    receiver: Receiver = Receiver.NONE
    told: bool = False
    hangs: bool = False
    fencing: bool = False
    watched: bool = False
    timer: type[Event] | None = None
    claimed: bool = False
    rival: bool = False
    leased: bool = True


class Change(msgspec.Struct, frozen=True):
    """A move of one account. `cost` is what it takes from the outside's budget."""

    label: str
    after: Account
    owed: bool
    cost: int
    broken: tuple[str, ...]


class View(NamedTuple):
    """What the gateway's own work can see of an account."""

    settled: bool
    stopped: bool
    rests: bool
    """It is stopped, or will be."""
    held: bool
    broken: bool
    hangs: bool
    settings: str
    rival: bool


def run_with(settings: str) -> Run:
    return Run("", settings, enabled=settings != OFF, policy=POLICY)


class AccountModel:
    """The moves of an account, over a channel machine class."""

    def __init__(self, channel: type[Machine[Any, Any]], *, rivals: bool = False, shared: bool = False) -> None:
        """`rivals`: there is another gateway on the machine, which wants the same account. `shared`: there are other hosts,
        and a lease that comes and goes.
        """
        self._rivals = rivals
        self._shared = shared
        self._machine = channel("account", ChannelData())
        self._initial = channel.initial
        self._stale: dict[tuple[Any, ChannelData], tuple[str, ...]] = {}

    def begin(self, before: Account | None = None, *, anew: bool = False) -> Account:
        """Of a process that begins. What the kernel holds for a process ends with it, but for another image of it."""
        blank = Account(self._initial, _blank(ChannelData()), leased=not self._shared)
        return blank if before is None else replace(blank, claimed=anew and before.claimed, rival=before.rival)

    def view(self, account: Account) -> View:
        machine = self._at(account)
        data = account.data
        settled, stopped, rests = is_settled(machine), is_stopped(machine), comes_to_rest(machine)
        return View(
            settled, stopped, rests, data.held, is_broken(machine), account.hangs, str(data.run.settings), account.rival
        )

    def is_under_way(self, account: Account) -> bool:
        """Whether something is under way with it, or a wait or a conflict that nothing will end; or it hangs, unseen."""
        machine = self._at(account)
        waits = account.state in machine.waiting or account.timer is not None
        in_conflict = is_running(machine) and account.data.conflict_since is not None
        return not is_settled(machine) or waits or in_conflict or account.hangs

    # What it is asked

    def tell(self, account: Account, event: Event) -> tuple[Account, tuple[str, ...]]:
        """The account after an event of the gateway or of a person, and the promises that this broke."""
        after, broken = self._fire(account, event)
        return after, broken + self._hold_stale(after)

    def asked_by_person(self, account: Account, settings: str) -> list[Change]:
        run = run_with(settings)
        events = (Start(run, By.PERSON), Stop(By.PERSON, confirm=True), Restart(run, By.PERSON))
        return [self._change(f"a person asks: {event.trigger}", account, event, owed=False, cost=1) for event in events]

    def woken(self, account: Account, slept: float) -> tuple[Account, tuple[str, ...]]:
        """The account after the host has slept, which it does for all of them at once, and the promises that this broke."""
        after, broken = self.tell(account, HostWoke(slept))
        unmoved = is_running(self._at(account)) and not after.told
        return after, (*broken, WAKES) if unmoved else broken

    # What happens by itself

    def changes(self, account: Account) -> list[Change]:
        """All that its receiver, its network and its timer can do next."""
        found = [
            *self._receiver_changes(account),
            *self._fence_changes(account),
            *self._rival_changes(account),
            *self._lease_changes(account),
        ]
        if account.timer is not None:
            # A deadline passes only for what hangs; slowness that ends in time changes nothing.
            overdue = account.timer in DEADLINES
            if account.hangs or not overdue:
                event = account.timer(CURRENT)
                found.append(self._change(f"the timer rings: {event.trigger}", replace(account, timer=None), event))
        return found

    def _rival_changes(self, account: Account) -> list[Change]:
        """Who takes an account while a receiver of ours lives is a second one."""
        if not self._rivals or account.claimed:
            return []
        if account.rival:
            free = replace(account, rival=False)
            return [Change("another gateway lets it go", free, owed=True, cost=0, broken=())]
        lives = account.receiver is not Receiver.NONE
        taken = replace(account, rival=True)
        broken = (ONE_RECEIVER,) if lives else ()
        return [Change("another gateway of the machine takes it", taken, owed=False, cost=1, broken=broken)]

    def _lease_changes(self, account: Account) -> list[Change]:
        """It comes in the end, and may go at any time. Meanwhile the channel is told, and what it does is looked at."""
        if not self._shared:
            return []
        if account.leased:
            gone = replace(account, leased=False)
            return [self._change("its lease goes to another host", gone, LeaseLost(), owed=False, cost=1)]
        return [self._change("its lease comes", replace(account, leased=True), LeaseGained())]

    def _receiver_changes(self, account: Account) -> list[Change]:
        if account.receiver is Receiver.NONE:
            return []
        if account.receiver is Receiver.STANDBY:
            cause = Cause.CLOSED if account.told else Cause.STANDBY
            return [self._change("another host may have it", _gone(account), ReceiverEnded(CURRENT, cause, "", NOW))]
        if account.receiver is Receiver.BARRED:
            cause = Cause.CLOSED if account.told else Cause.CONFLICT
            ended = ReceiverEnded(CURRENT, cause, "", NOW)
            return [self._change("another gateway has it", _gone(account), ended)]
        found = []
        gone = _gone(account)
        if account.receiver is Receiver.OPENING:
            up = replace(account, receiver=Receiver.UP)
            comes = not account.hangs
            found.append(self._change("its first receive is complete", up, ReceiverReady(CURRENT), owed=comes))
        if account.watched and account.hangs and not account.told:
            # It is looked at until it ends; that it is found stalled is told once.
            seen = replace(account, watched=False)
            found.append(self._change("its receiver is found stalled", seen, ReceiverStalled(CURRENT)))
        if account.told:
            ended = ReceiverEnded(CURRENT, Cause.CLOSED, "", NOW)
            found.append(self._change("its receiver has ended", gone, ended, owed=not account.hangs))
        for cause in OWN_ENDS:
            ended = ReceiverEnded(CURRENT, cause, "", NOW)
            label = f"its receiver ends by itself: {cause.value}"
            found.append(self._change(label, gone, ended, owed=False, cost=1))
        if not account.hangs:
            found.append(Change("its receiver hangs", replace(account, hangs=True), owed=False, cost=1, broken=()))
        return found

    def _fence_changes(self, account: Account) -> list[Change]:
        if not account.fencing:
            return []
        before = replace(account, fencing=False)
        cut = _gone(before)
        return [
            self._change("its receiver is cut off", cut, ReceiverFenced(CURRENT, NOW)),
            self._change("cutting it off fails", before, FenceFailed(CURRENT, ""), owed=False, cost=1),
        ]

    def _change(self, label: str, account: Account, event: Event, *, owed: bool = True, cost: int = 0) -> Change:
        after, broken = self._fire(account, event)
        # It is told to end at once, and is being cut off: what is left of the lease is for that.
        uncut = not after.leased and after.receiver in (Receiver.OPENING, Receiver.UP) and not after.told
        return Change(label, after, owed, cost, broken + self._hold_stale(after) + ((LEASED,) if uncut else ()))

    # The machine

    def _at(self, account: Account) -> Machine[Any, Any]:
        self._machine.state, self._machine.data = account.state, account.data
        return self._machine

    def _fire(self, account: Account, event: Event) -> tuple[Account, tuple[str, ...]]:
        machine = self._at(account)
        step = machine.fire(event)
        if isinstance(step, Refusal):
            return account, ()
        after = replace(account, state=machine.state, data=machine.data)
        broken: tuple[str, ...] = ()
        for effect in step.effects:
            after, wrong = _perform(after, effect)
            broken += wrong
            if self._rivals and isinstance(effect, OpenReceiver):
                after = replace(after, receiver=Receiver.BARRED) if after.rival else replace(after, claimed=True)
            if isinstance(effect, OpenReceiver) and not after.leased and after.receiver is Receiver.OPENING:
                after = replace(after, receiver=Receiver.STANDBY)
        if after.claimed and after.data.held and is_stopped(machine):
            after = replace(after, claimed=False)
        return replace(after, data=_blank(after.data)), broken

    def _hold_stale(self, account: Account) -> tuple[str, ...]:
        """Whatever an older generation or timer may still say must be refused, here and everywhere."""
        key = account.state, account.data
        if key not in self._stale:
            self._stale[key] = tuple({STALE for event in _STALE_WORDS if isinstance(self._try(account, event), Step)})
        return self._stale[key]

    def _try(self, account: Account, event: Event) -> Step | Refusal:
        return self._at(account).fire(event)


_STALE_WORDS: tuple[Event, ...] = (
    ReceiverReady(OLD),
    *(ReceiverEnded(OLD, cause, "", NOW) for cause in Cause),
    ReceiverFenced(OLD, NOW),
    FenceFailed(OLD, ""),
    ReceiverStalled(OLD),
    *(ring(OLD) for ring in (StartOverdue, StopOverdue, RetryDue, FenceDue, ConflictOver)),
)


def _perform(account: Account, effect: Effect) -> tuple[Account, tuple[str, ...]]:
    """An effect, taken at its word: what `gateway` would refuse to do a second time is done here, and counted."""
    data = account.data
    match effect:
        case OpenReceiver():
            alive = account.receiver is not Receiver.NONE
            opened = replace(_gone(account), receiver=Receiver.OPENING, fencing=False)
            return opened, ((ONE_RECEIVER,) if alive else ()) + ((STAYS_STOPPED,) if data.held else ())
        case CloseReceiver(generation=generation) if generation == data.generation:
            # Nobody looks at one that was told to end.
            return replace(account, told=account.receiver is not Receiver.NONE, watched=False), ()
        case WatchReceiver(generation=generation, within=within) if generation == data.generation:
            return replace(account, watched=account.receiver is not Receiver.NONE and within is not None), ()
        case FenceReceiver(generation=generation) if generation == data.generation:
            return replace(account, fencing=True), ()
        case ArmTimer(then=then):
            return replace(account, timer=type(then) if then.token == data.timer else None), ()  # type: ignore[attr-defined]
        case DisarmTimer():
            account = replace(account, timer=None)
    return account, ()


def _gone(account: Account) -> Account:
    """There is no receiver any more, and nobody looks at one."""
    return replace(account, receiver=Receiver.NONE, told=False, hangs=False, watched=False)


def _blank(data: ChannelData) -> ChannelData:
    """Numbers made relative, and what no guard reads made equal."""
    spent = (NOW,) * min(len(data.failures), POLICY.intensity - 1)
    return replace(
        data, generation=CURRENT, timer=CURRENT, failures=spent, attempts=0, conflicts=(), last_error="",
        last_cause=data.last_cause if data.last_cause in (Cause.CRASHED, Cause.STANDBY) else Cause.CLOSED,
        conflict_since=None if data.conflict_since is None else NOW, wait=WAIT,
        run=data.run if data.run.settings is not None else run_with(OFF),
    )  # fmt: skip
