"""What hosts that share an account write down for each other, and what follows from it: pure, so that it is explored too.

A record may be taken when it was released, or was seen unchanged for as long as its holder gave it. Of two who write over the
same one the store refuses the second: that makes the first the only one.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from statemachine.lease import HoldLease


class Record(msgspec.Struct, frozen=True):
    """Who holds an account. `holder` is a state folder on a host, `who` names it for people."""

    holder: str
    who: str
    term: int
    ttl: float
    """Seconds that it is good for, from when it was asked to be written."""
    settled: bool
    """Nothing that an earlier holder had asked the network for can be under way."""
    released: bool = False


class Claim(NamedTuple):
    """What is to be written, and for how many seconds it is not to be used: somebody else may still receive."""

    record: Record
    waits: float


def claim(record: Record | None, me: Record, effect: HoldLease, at: float, unchanged: float) -> Claim | None:
    """What a gateway writes that asks for the lease, or renews it, at `at`; None where it is somebody else's.

    `me` says who asks; `record` is what it has read, and has seen unchanged for so many seconds, from after it was read first:
    whoever wrote it counts from before it was written.
    """
    mine = record is not None and record.holder == me.holder
    same = record is not None and mine and record.term == effect.term and not record.released
    if effect.renews and not same:
        return None
    if record is not None and not (mine or record.released or unchanged >= record.ttl):
        return None
    waits = 0.0 if same else _waits(record, me, effect)
    term = effect.term if same else 1 + (effect.term if record is None else record.term)
    settled = not waits and at >= effect.clear_at
    return Claim(Record(me.holder, me.who, term, effect.policy.ttl, settled), waits)


def _waits(record: Record | None, me: Record, effect: HoldLease) -> float:
    """None after an orderly end. After any other the network may wait with the dead, for as long as a receive takes."""
    if record is None or not record.settled:
        # Nobody ever had it, or the store has lost it: then whoever has it goes on until it finds out, or its time is over.
        return effect.policy.ttl + effect.policy.linger
    return 0.0 if record.released or record.holder == me.holder else effect.policy.linger
