"""The world of two hosts: no two of them receive at a time, and whatever is wrong with a lease is found out there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from msgspec.structs import replace as changed

from statemachine import Lease, Machine
from statemachine.explore import Move, Report, explore
from statemachine.explore_command import run
from statemachine.lease import (
    HoldLease,
    LeaseEnds,
    LeaseGivenUp,
    LeaseTaken,
    LeaseWanted,
    RevokeLease,
)
from statemachine.lease_record import Claim, Record
from statemachine.promises import ENDS, ONE_HOST
from statemachine.story import as_test, story
from statemachine.world import HostWorld
from statemachine.world.hosts import POLICY, Host, Hosts, Phase

AnyMachine = type[Machine[Any, Any]]


def test_no_two_hosts_receive_at_a_time_whatever_one_thing_the_outside_may_do() -> None:
    """And one of them does in the end. Two things are `python -m statemachine explore --hosts`."""
    world = HostWorld(budget=1)
    report: Report[Hosts] = explore(world)
    assert report.complete
    assert not report.violations, "\n\n".join(story(world, violation) for violation in report.violations)
    assert report.states > 50_000


# What is written down, and what is done around the table: each fault breaks a promise


class Few(HostWorld):
    """Of what may happen, only that whose label has this in it: enough to find a fault, and soon explored."""

    happens = "?"

    def moves(self, world: Hosts) -> Iterator[Move[Hosts]]:
        return (move for move in super().moves(world) if move.owed or self.happens in move.label)


class TakesWhatIsHeld(Few):
    """It does not wait until a record has run out."""

    happens = "parted"

    def claim(self, record: Record | None, me: Record, effect: HoldLease, at: float, unchanged: float) -> Claim | None:
        return super().claim(record, me, effect, at, POLICY.ttl)


class WaitsForNoPoll(Few):
    """What the dead one had asked its network for is forgotten."""

    happens = "loses its record"

    def claim(self, record: Record | None, me: Record, effect: HoldLease, at: float, unchanged: float) -> Claim | None:
        claimed = super().claim(record, me, effect, at, unchanged)
        return claimed and claimed._replace(waits=0.0)


class RenewsWhatIsLost(Few):
    """A renewal takes what is somebody else's by now."""

    def claim(self, record: Record | None, me: Record, effect: HoldLease, at: float, unchanged: float) -> Claim | None:
        return super().claim(record, me, changed(effect, renews=False), at, POLICY.ttl)


class LooksAtNoClock(Few):
    """Before a receive it is not asked whether the lease has ended: one that was halted goes on."""

    happens = "halted"

    def _receives(self, host: Host) -> Any:
        yield "it receives", changed(host, poll=2), None


class Unclocked(LooksAtNoClock):
    """The same, of hosts that are parted and not halted: then the machine's timers alone must do, and they do."""

    happens = "parted"


class CutsNothingOff(Unclocked):
    """Nor is the channel told that its lease is lost."""

    def perform(self, host: Host, effect: Any) -> Host:
        return host if isinstance(effect, RevokeLease) else super().perform(host, effect)


class WritesOverAnything(Few):
    """The store takes a write over what the writer has not read."""

    def _write(self, world: Hosts, place: int, host: Host, asked: Any) -> Any:
        return super()._write(world, place, host, changed(asked, stale=False))


class GivesUpWhileItReceives(Few):
    """The lease is released before the receiver has ended."""

    happens = "gives it up"

    def _faults(self, world: Hosts, place: int, host: Host) -> Any:
        if host.phase is Phase.UP:
            yield self._tell(f"host {place} gives it up", world, place, host, LeaseGivenUp(), owed=False)


AROUND = (
    TakesWhatIsHeld,
    WaitsForNoPoll,
    RenewsWhatIsLost,
    LooksAtNoClock,
    CutsNothingOff,
    WritesOverAnything,
    GivesUpWhileItReceives,
)


@pytest.mark.parametrize("faulty", AROUND, ids=lambda faulty: faulty.__name__)
def test_a_fault_around_the_table_breaks_the_promise(faulty: type[HostWorld]) -> None:
    assert ONE_HOST in explore(faulty(1), until={ONE_HOST}).promises_broken


# The table: each fault in it breaks a promise


def without(on: type[Any], state: str) -> AnyMachine:
    """The lease without an event in a state."""

    class Without(Lease):
        table = tuple(
            replace(row, source=tuple(s for s in row.sources if s.value != state)) if row.on is on else row
            for row in Lease.table
            if row.on is not on or {s.value for s in row.sources} != {state}
        )

    return Without


USED_AT_ONCE = Lease.table.index(
    next(row for row in Lease.table if row.on is LeaseTaken and "others_may_still_receive" in row.guards)
)


class UsedAtOnce(Lease):
    """What is taken is used, whoever may still receive."""

    table = (*Lease.table[:USED_AT_ONCE], *Lease.table[USED_AT_ONCE + 1 :])


class Forgets(Unclocked):
    """The same, where the store loses its record."""

    happens = "loses its record"


TABLES: dict[str, tuple[type[HostWorld], AnyMachine, str]] = {
    "what is taken is used at once": (Forgets, UsedAtOnce, ONE_HOST),
    "nothing ends it": (Unclocked, without(LeaseEnds, "held"), ONE_HOST),
    "what was lost is not wanted again": (Forgets, without(LeaseWanted, "lost"), ENDS),
}


@pytest.mark.parametrize("fault", TABLES)
def test_a_fault_in_the_table_breaks_its_promise(fault: str) -> None:
    world, lease, promise = TABLES[fault]
    assert promise in explore(world(1, lease), until={promise}).promises_broken


def test_without_its_clocks_the_table_alone_keeps_the_promise_of_hosts_that_are_not_halted() -> None:
    assert not explore(Unclocked(1)).violations


def test_what_it_finds_is_told_as_a_story_and_as_a_test(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report = explore(TakesWhatIsHeld(1), until={ONE_HOST})
    told = story(TakesWhatIsHeld(1), report.violations[0])
    assert ONE_HOST in told
    assert "host 1" in told
    assert "HostWorld(1)" in as_test(report.violations[0], "HostWorld(1)", "python -m statemachine explore --hosts")
    assert run(1, 0, hosts=True, as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["broken"] == []
