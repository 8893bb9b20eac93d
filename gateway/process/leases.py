"""Accounts that several hosts share (`gateway.lease`): each has a lease, and only who holds it receives.

The machine of a lease decides (`statemachine.lease`); here its effects are performed, and the account's channel is told.
"""

from __future__ import annotations

import asyncio
import os
import socket
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import structlog
from msgspec.structs import replace

from gateway.clock import Clock
from gateway.config.lease import LeaseSettings
from gateway.config.model import Config
from gateway.dispatcher import Dispatcher
from gateway.errors import LeaseLostError
from gateway.journal import Entry
from gateway.process.lease_store import Holder, LeaseStore
from gateway.runner import Runner
from statemachine import Event, LeaseState, Machine
from statemachine.channel import Channel, is_stopped
from statemachine.channel_events import LeaseGained, LeaseLost, Run
from statemachine.lease import (
    GrantLease,
    HoldLease,
    Lease,
    LeaseData,
    LeaseEnds,
    LeaseGivenUp,
    LeasePolicy,
    LeaseTaken,
    LeaseWanted,
    ReleaseLease,
    RevokeLease,
    StoreFailed,
    has_an_answer,
    is_free,
    is_held,
)

log: structlog.stdlib.BoundLogger = structlog.get_logger()

PREFIX = "lease/"
CUT_OFF = 3.0
"""Seconds, of what a lease is good for, that are kept for cutting a receiver off: more than a fence may take."""
ANSWER = 3.0
"""Seconds that the store has for an answer: more than two questions to it may take."""
LAST_RESORT = ANSWER + 0.5
"""Seconds after which a question is taken back that its store has not even given up: the next one waits for that."""
CAUSE = "lease"

E = TypeVar("E", HoldLease, ReleaseLease)
Connect = Callable[[LeaseSettings], LeaseStore]


def connect(settings: LeaseSettings) -> LeaseStore:
    """The store that the hosts share. Its library is imported by who uses it alone."""
    from gateway.process.nats import NatsStore  # noqa: PLC0415

    return NatsStore(settings)


class Leases:
    """What this gateway holds, and waits for."""

    def __init__(
        self,
        config: Callable[[], Config],
        dispatcher: Dispatcher,
        state_dir: Path,
        clock: Clock,
        connect: Connect = connect,
    ) -> None:
        self._config = config
        self._dispatcher = dispatcher
        self._state_dir = state_dir
        self._clock = clock
        self._connect = connect
        self._stores: list[tuple[LeaseSettings, LeaseStore, Holder]] = []
        """Each that the settings ever named: what is held in an earlier one is given up there."""
        self._until: dict[str, float] = {}
        """By account, when its lease ends: boottime, which goes on in a host that sleeps."""
        self._turns: dict[str, asyncio.Lock] = {}
        """By key: what is asked later is answered later."""

    def register(self, runner: Runner) -> None:
        """Tell the runner who performs what, and which completion an exception becomes."""

        def failed(effect: HoldLease | ReleaseLease, why: str) -> Event:
            return StoreFailed(effect.attempt, self._clock.monotonic(), why)

        runner.work(HoldLease, self._hold, failed, LAST_RESORT)
        runner.work(ReleaseLease, self._release, failed, LAST_RESORT)
        runner.command(GrantLease, lambda name, _: self._dispatcher.tell(_account(name), LeaseGained(), CAUSE))
        runner.command(RevokeLease, self._revoke)

    # What receivers ask

    async def admit(self, account: str, run: Run) -> str:
        """Say that a receiver is about to be opened, and that the one before it is dead. Why it may not be; "" where it may."""
        settings, claim, name = self._config().gateway.lease, run.settings.claim, PREFIX + account  # type: ignore[attr-defined]
        if settings.url is None or claim is None:
            self._until.pop(account, None)
            if self._dispatcher.find(name) is not None:
                self._dispatcher.tell(name, LeaseGivenUp(), CAUSE)
            return ""
        if self._dispatcher.find(name) is None:
            self._dispatcher.add(Lease(name, LeaseData()))
        # Waited for: what was said of the account before is decided first.
        await self._dispatcher.post(
            name, LeaseWanted(f"{claim}@{self._number(settings)}", _policy(settings, run)), CAUSE
        )
        await self._dispatcher.until(name, has_an_answer)
        machine = self._dispatcher.machine(name)
        return "" if is_held(machine) else machine.data.why or "its lease is being given up"

    def permit(self, account: str) -> None:
        """Ask before each receive. Raises LeaseLostError when its time is over, be it that the host slept meanwhile."""
        until = self._until.get(account)
        if until is None or self._clock.boottime() < until:
            return
        name = PREFIX + account
        self._dispatcher.tell(name, LeaseEnds(self._dispatcher.machine(name).data.timer), CAUSE)
        raise LeaseLostError("its lease was not renewed in time: another host may receive from now on")

    # What becomes of accounts

    def note(self, entry: Entry, config: Config) -> None:
        """From a journal listener: an account that rests, and is not to run, is anybody's. One that is gone needs no machine.

        One that stops because the gateway restarts is kept: whatever follows has it then.
        """
        if entry.standing is None:
            return
        machine, account = entry.standing.machine, _account(entry.machine)
        if isinstance(machine, Lease) and is_free(machine) and account not in config.accounts():
            asyncio.get_running_loop().call_soon(self._forget, machine)
        elif isinstance(machine, Channel) and is_stopped(machine) and self.of(account) is not None:
            settings = config.accounts().get(account)
            if machine.data.held or settings is None or not settings.enabled:
                self._dispatcher.tell(PREFIX + account, LeaseGivenUp(), entry.trigger)

    def _forget(self, lease: Lease) -> None:
        """Unless the account has come back meanwhile."""
        if self._dispatcher.find(lease.name) is lease and is_free(lease):
            self._dispatcher.remove(lease.name)
            self._until.pop(_account(lease.name), None)

    async def give_up_all(self) -> None:
        """The gateway ends, and its receivers have: whoever waits may have their accounts at once."""
        names = list(self._dispatcher.machines(Lease))
        for name in names:
            self._dispatcher.tell(name, LeaseGivenUp(), "stop")
        await asyncio.gather(*(self._dispatcher.until(name, is_free) for name in names))

    def of(self, account: str) -> Machine[LeaseState, LeaseData] | None:
        """An account's lease, to look at; None where it is not shared."""
        return self._dispatcher.find(PREFIX + account)

    async def close(self) -> None:
        """At the very end of the process."""
        await asyncio.gather(*(store.close() for _, store, _ in self._stores))

    # Work and commands of the lease's machine

    async def _hold(self, name: str, effect: HoldLease) -> Event:
        before = self._clock.boottime()
        holder, effect = self._at(effect)
        async with self._turn(effect.key):
            answer = await holder.hold(effect)
        if isinstance(answer, LeaseTaken):
            self._until[_account(name)] = before + effect.policy.ttl - effect.policy.margin
        return answer

    async def _release(self, _: str, effect: ReleaseLease) -> Event:
        holder, effect = self._at(effect)
        async with self._turn(effect.key):
            return await holder.release(effect)

    def _revoke(self, name: str, _: RevokeLease) -> None:
        account = _account(name)
        why = self._dispatcher.machine(name).data.why or "it was not renewed in time"
        log.warning("lease_lost", account=account, why=why, remedy="it receives again when it has its lease")
        self._dispatcher.tell(account, LeaseLost(), CAUSE)

    def _turn(self, key: str) -> asyncio.Lock:
        return self._turns.setdefault(key, asyncio.Lock())

    def _number(self, settings: LeaseSettings) -> int:
        """Of the store that they name, which is got to know when a lease is first wanted there."""
        for number, (known, _, _) in enumerate(self._stores):
            if known == settings:
                return number
        store = self._connect(settings)
        me, who = _myself(self._state_dir), f"{socket.gethostname()}, PID {os.getpid()}"
        self._stores.append((settings, store, Holder(store, me, who, self._clock.monotonic)))
        return len(self._stores) - 1

    def _at(self, effect: E) -> tuple[Holder, E]:
        """Whom to ask; and what, in the words of the store, which knows bots and no stores."""
        claim, _, number = effect.key.partition("@")
        return self._stores[int(number)][2], replace(effect, key=claim)


def _policy(settings: LeaseSettings, run: Run) -> LeasePolicy:
    ttl = settings.ttl_ms / 1000
    return LeasePolicy(ttl, CUT_OFF, ttl / 3, 1.0, ANSWER, run.policy.conflict_wait)


def _account(name: str) -> str:
    return name.removeprefix(PREFIX)


def _myself(state_dir: Path) -> str:
    """A state folder on a host: its lock is the proof that an earlier life of it is dead. A copy on another host is another."""
    path = state_dir / "lease-holder"
    if not path.exists():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(uuid.uuid4().hex)
    return f"{socket.gethostname()}:{path.read_text().strip()}"
