"""The world of leases: two hosts that want one account, the store that they share, and time.

Each host has the real table of a lease; what it writes down is decided by what the gateway decides it by. A host may be
halted, parted from the store, or die, and what it had asked may arrive when nobody waits for it any more.

Time passes in steps, for all hosts alike; every number in a world is relative to its present. What must happen by a moment
happens before it passes, unless the host is halted: then its receive goes on at the network, for as long as that waits.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Any

import msgspec
from msgspec.structs import replace

from statemachine._machine import Effect, Event, Machine, Refusal
from statemachine.effects import ArmTimer, DisarmTimer
from statemachine.explore import Move
from statemachine.lease import (
    GrantLease,
    HoldLease,
    Lease,
    LeaseData,
    LeaseDenied,
    LeaseEnds,
    LeaseGivenUp,
    LeasePolicy,
    LeaseReleased,
    LeaseTaken,
    LeaseWanted,
    ReleaseLease,
    RevokeLease,
    StoreFailed,
    has_an_answer,
    is_held,
)
from statemachine.lease_record import Claim, Record, claim
from statemachine.promises import ENDS, ONE_HOST

POLL = 2
"""Steps that a receive lasts at the network, at the most."""
POLICY = LeasePolicy(ttl=3.0, margin=1.0, renew_after=1.0, ask_after=1.0, answer_within=1.0, linger=float(POLL))
NOW = 0.0
OLDEST = 3
"""Steps. What was asked before that gives a lease that has ended."""
LONG_AGO = -1.0 - OLDEST
OVER = -2.0
CURRENT, OLD = 1, 0


class Phase(Enum):
    """What the account's channel is at."""

    REST = "at rest"
    ASKING = "asking"
    """It would open a receiver, and waits to hear whether it may."""
    STANDBY = "on standby"
    UP = "up"
    CUT = "being cut off"


class Asked(msgspec.Struct, frozen=True, cache_hash=True):
    """What the store was asked, `age` steps ago, and how far that is. `stale`: somebody has written since it was read."""

    effect: HoldLease | ReleaseLease
    age: int = 0
    read: bool = False
    write: Record | None = None
    waits: float = 0.0
    stale: bool = False
    done: bool = False


class Host(msgspec.Struct, frozen=True, cache_hash=True):
    """One gateway. `poll`: steps that its receive may last yet; `seen`: for how many it has seen the present record."""

    state: Any
    data: LeaseData
    phase: Phase = Phase.REST
    halted: bool = False
    parted: bool = False
    timer: Event | None = None
    due: float = 0.0
    asked: Asked | None = None
    late: Asked | None = None
    """What nobody waits for any more, and may arrive yet."""
    poll: int = 0
    seen: int = -1


class Hosts(msgspec.Struct, frozen=True, cache_hash=True):
    """Everything."""

    budget: int
    record: Record | None
    hosts: tuple[Host, Host]


class HostWorld:
    """A model for `statemachine.explore`, over the lease's machine class. `budget`: how many things the outside may do."""

    def __init__(self, budget: int = 2, lease: type[Machine[Any, Any]] = Lease) -> None:
        self._budget = budget
        self._lease = lease
        self._machine = lease("lease", LeaseData())

    # What `explore` asks

    def start(self) -> Hosts:
        """Somebody had it, and has let it go: what follows when there is no record is one of the faults."""
        return Hosts(self._budget, replace(_me("another"), released=True), (self._fresh(), self._fresh()))

    def _fresh(self) -> Host:
        return Host(self._lease.initial, LeaseData(policy=POLICY))

    def moves(self, world: Hosts) -> Iterator[Move[Hosts]]:
        urgent = False
        for place, host in enumerate(world.hosts):
            yield from self._arrivals(world, place, host)
            if host.halted:
                yield self._move(f"host {place} goes on", world, place, replace(host, halted=False))
                continue
            if host.parted:
                yield self._move(f"host {place} reaches the store again", world, place, replace(host, parted=False))
            if host.phase is Phase.REST:
                # What a channel does: nothing is told of it, it is looked for.
                yield self._tell(f"host {place} wants it", world, place, replace(host, phase=Phase.ASKING), WANTED)
            for label, after, event in self._urgent(host):
                urgent = True
                yield self._tell(f"host {place}: {label}", world, place, after, event)
            yield from self._answers(world, place, host)
        if not urgent and all(map(_may_wait, world.hosts)):
            yield Move("time passes", self._relative(_later(world)))
        if world.budget:
            # The hosts are alike: whichever meets the first, it is called host 0.
            for place, host in enumerate(world.hosts[:1] if world.budget == self._budget else world.hosts):
                yield from self._faults(replace(world, budget=world.budget - 1), place, host)
            if world.record is not None:
                yield self._forgotten(replace(world, budget=world.budget - 1))

    def outstanding(self, world: Hosts) -> Iterator[str]:
        nobody = all(host.phase is not Phase.UP for host in world.hosts)
        if nobody or any(host.phase is Phase.STANDBY and not self._waits(host) for host in world.hosts):
            yield ENDS

    def _waits(self, host: Host) -> bool:
        """It asks for it, and will again."""
        return not has_an_answer(self._at(replace(host, data=replace(host.data, why=""))))

    def tell(self, world: Hosts) -> str:
        record = world.record
        written = "nothing" if record is None else f"{record.holder}'s{' released' if record.released else ''}"
        parts = [f"written: {written}"]
        for place, host in enumerate(world.hosts):
            more = [word for word, is_so in (("halted", host.halted), ("parted", host.parted)) if is_so]
            more += [f"receives for {host.poll} at most"] if host.poll else []
            parts.append(", ".join([f"host {place} {host.state.value}, {host.phase.value}", *more]))
        return "; ".join(parts)

    # What the outside may do

    def _faults(self, world: Hosts, place: int, host: Host) -> Iterator[Move[Hosts]]:
        if not host.halted:
            yield self._move(f"host {place} is halted", world, place, replace(host, halted=True), owed=False)
        if not host.parted:
            yield self._move(
                f"host {place} is parted from the store", world, place, replace(host, parted=True), owed=False
            )
        # Its receive goes on at the network; a new life of it knows nothing but its own name.
        fresh = replace(self._fresh(), poll=host.poll, late=_written_late(host.asked) or host.late)
        yield self._move(f"host {place} dies and begins anew", world, place, fresh, owed=False)
        if not host.halted and host.phase in (Phase.UP, Phase.STANDBY):
            rests = replace(host, phase=Phase.REST, poll=0)
            yield self._tell(f"a person stops it on host {place}", world, place, rests, LeaseGivenUp(), owed=False)

    def _forgotten(self, world: Hosts) -> Move[Hosts]:
        first, second = (_outrun(host, False) for host in world.hosts)
        after = self._relative(replace(world, record=None, hosts=(first, second)))
        return Move("the store loses its record", after, owed=False)

    # What a host does as soon as it can

    def _urgent(self, host: Host) -> Iterator[tuple[str, Host, Event | None]]:
        if host.timer is not None and host.due <= NOW:
            yield f"the timer rings: {host.timer.trigger}", replace(host, timer=None), host.timer
        machine = self._at(host)
        if host.phase is Phase.ASKING and has_an_answer(machine):
            yield from self._admitted(host, is_held(machine))
        if host.phase is Phase.UP and not host.poll:
            yield from self._receives(host)
        if host.phase is Phase.CUT:
            yield "its receiver is cut off", replace(host, phase=Phase.ASKING, poll=0), WANTED

    def _admitted(self, host: Host, held: bool) -> Iterator[tuple[str, Host, Event | None]]:
        phase = Phase.UP if held else Phase.STANDBY
        yield f"it may{'' if held else ' not'}", replace(host, phase=phase), None

    def _receives(self, host: Host) -> Iterator[tuple[str, Host, Event | None]]:
        """Before each receive the time is looked at."""
        if host.data.ends > NOW:
            yield "it receives", replace(host, poll=POLL), None
        else:
            yield "it finds its lease at an end", replace(host, phase=Phase.CUT), LeaseEnds(host.data.timer)

    # The store

    def _arrivals(self, world: Hosts, place: int, host: Host) -> Iterator[Move[Hosts]]:
        """What is on its way arrives, be its host halted or dead; parted from the store it is late."""
        asked = host.asked
        if asked is not None and not asked.done and not host.parted:
            if asked.read:
                yield self._write(world, place, replace(host, asked=replace(asked, done=True)), asked)
            else:
                read = self._read(world.record, place, host, asked)
                seen = max(host.seen, 0)
                yield self._move(f"host {place}: the store is read", world, place, replace(host, asked=read, seen=seen))
        if host.late is not None:
            yield self._write(world, place, replace(host, late=None), host.late)
            yield self._move(f"host {place}: what was late is lost", world, place, replace(host, late=None), owed=False)

    def _read(self, record: Record | None, place: int, host: Host, asked: Asked) -> Asked:
        effect, name = asked.effect, str(place)
        if isinstance(effect, ReleaseLease):
            mine = record is not None and record.holder == name and record.term == effect.term
            return replace(
                asked, read=True, write=replace(record, released=True) if record is not None and mine else None
            )
        claimed = self.claim(record, _me(name), effect, float(-asked.age), float(max(host.seen, 0)))
        if claimed is None:
            return replace(asked, read=True)
        return replace(asked, read=True, write=claimed.record, waits=claimed.waits)

    def claim(self, record: Record | None, me: Record, effect: HoldLease, at: float, unchanged: float) -> Claim | None:
        """What the gateway decides."""
        return claim(record, me, effect, at, unchanged)

    def _write(self, world: Hosts, place: int, host: Host, asked: Asked) -> Move[Hosts]:
        """Over what it has read, or not at all."""
        label = f"host {place}: the store is written"
        if asked.write is None or asked.stale:
            return self._move(label, world, place, host)
        first, second = (_outrun(host if n == place else each, n == place) for n, each in enumerate(world.hosts))
        return Move(label, self._relative(replace(world, record=asked.write, hosts=(first, second))))

    def _answers(self, world: Hosts, place: int, host: Host) -> Iterator[Move[Hosts]]:
        asked = host.asked
        if asked is None:
            return
        at, attempt = float(-asked.age), asked.effect.attempt
        if asked.done and not host.parted:
            yield self._tell(f"host {place} is answered", world, place, replace(host, asked=None), _answer(asked, at))
        if host.parted:
            left = replace(host, asked=None, late=_written_late(asked) or host.late)
            yield self._tell(f"host {place} has no answer", world, place, left, StoreFailed(attempt, NOW, "none"))

    # The machine

    def _at(self, host: Host) -> Machine[Any, Any]:
        self._machine.state, self._machine.data = host.state, host.data
        return self._machine

    def _tell(
        self, label: str, world: Hosts, place: int, host: Host, event: Event | None, *, owed: bool = True
    ) -> Move[Hosts]:
        if event is not None:
            machine = self._at(host)
            step = machine.fire(event)
            if not isinstance(step, Refusal):
                host = replace(host, state=machine.state, data=machine.data)
                for effect in step.effects:
                    host = self.perform(host, effect)
        return self._move(label, world, place, host, owed=owed)

    def perform(self, host: Host, effect: Effect) -> Host:
        """An effect, taken at its word."""
        match effect:
            case HoldLease() | ReleaseLease():
                late = _written_late(host.asked) or host.late
                return replace(host, asked=Asked(effect), late=late)
            case GrantLease() if host.phase is Phase.STANDBY:
                return replace(host, phase=Phase.ASKING)
            case RevokeLease() if host.phase in (Phase.UP, Phase.ASKING):
                return replace(host, phase=Phase.CUT)
            case ArmTimer(then=then, at=at, after=after):
                return replace(host, timer=then, due=after if at is None else at)
            case DisarmTimer():
                return replace(host, timer=None)
        return host

    def _move(self, label: str, world: Hosts, place: int, host: Host, *, owed: bool = True) -> Move[Hosts]:
        hosts = (host, world.hosts[1]) if place == 0 else (world.hosts[0], host)
        after = self._relative(replace(world, hosts=hosts))
        two = all(each.poll for each in after.hosts)
        return Move(label, after, owed, (ONE_HOST,) if two else ())

    # Equal futures are equal worlds

    def _relative(self, world: Hosts) -> Hosts:
        """Terms, attempts and timers are compared, and not counted."""
        record = world.record
        first, second = (_relative(host, record) for host in world.hosts)
        known = None if record is None else replace(record, term=CURRENT)
        return replace(world, record=known, hosts=(first, second))


WANTED = LeaseWanted("bot", POLICY)


def _me(name: str) -> Record:
    return Record(name, name, 0, 0.0, settled=True)


def _may_wait(host: Host) -> bool:
    """Time may pass: it has no question to a store that it reaches, and none that was asked long ago."""
    return host.halted or host.asked is None or (host.parted and host.asked.age < POLICY.answer_within)


def _later(world: Hosts) -> Hosts:
    first, second = map(_older, world.hosts)
    return replace(world, hosts=(first, second))


def _older(host: Host) -> Host:
    data = host.data
    aged = replace(data, clear_at=max(data.clear_at - 1, LONG_AGO), ends=max(data.ends - 1, OVER))
    return replace(
        host,
        data=aged,
        due=max(host.due - 1, NOW),
        asked=_aged(host.asked),
        late=_aged(host.late),
        poll=max(host.poll - 1, 0),
        seen=min(host.seen + 1, int(POLICY.ttl)) if host.seen >= 0 else -1,
    )


def _aged(asked: Asked | None) -> Asked | None:
    if asked is None:
        return None
    effect = asked.effect
    if isinstance(effect, HoldLease):
        effect = replace(effect, clear_at=max(effect.clear_at - 1, LONG_AGO))
    return replace(asked, age=min(asked.age + 1, OLDEST), effect=effect)


def _outrun(host: Host, writer: bool) -> Host:
    """Somebody has written: what others have read is out of date, and so is what the writer had sent before."""
    asked = replace(host.asked, stale=True) if host.asked is not None and host.asked.read and not writer else host.asked
    late = replace(host.late, stale=True) if host.late is not None else None
    return replace(host, asked=asked, late=late, seen=-1)


def _written_late(asked: Asked | None) -> Asked | None:
    """A write that was sent may arrive whatever becomes of its sender; a question that was not answered is nothing."""
    return (
        asked
        if asked is not None and asked.read and not asked.done and asked.write is not None and not asked.stale
        else None
    )


def _answer(asked: Asked, at: float) -> Event:
    attempt = asked.effect.attempt
    if asked.stale and asked.write is not None:
        return StoreFailed(attempt, NOW, "somebody was faster")
    if isinstance(asked.effect, ReleaseLease):
        return LeaseReleased(attempt)
    if asked.write is None:
        return LeaseDenied(attempt, "another")
    return LeaseTaken(attempt, at, asked.write.term, asked.waits)


def _relative(host: Host, record: Record | None) -> Host:
    data, term = host.data, record.term if record is not None else OLD
    timer = host.timer
    if timer is not None:
        timer = type(timer)(CURRENT if timer.token == data.timer else OLD)  # type: ignore[attr-defined]
    blank = replace(
        data,
        key="bot",
        policy=POLICY,
        term=CURRENT if data.term == term else OLD,
        attempt=CURRENT,
        timer=CURRENT,
        why="for a reason" if data.why else "",
        answers=True,
    )
    return replace(
        host,
        data=blank,
        timer=timer,
        due=host.due if timer is not None else 0.0,
        asked=_numbered(host.asked, data.attempt, term),
        late=_numbered(host.late, data.attempt, term),
    )


def _numbered(asked: Asked | None, attempt: int, term: int) -> Asked | None:
    if asked is None:
        return None
    effect = replace(
        asked.effect,
        attempt=CURRENT if asked.effect.attempt == attempt else OLD,
        term=CURRENT if asked.effect.term == term else OLD,
    )
    # What it writes is the present term, or the one behind it.
    write = asked.write
    if write is not None:
        write = replace(write, term=CURRENT if write.term == term else CURRENT + 1)
    return replace(asked, effect=effect, write=write)
