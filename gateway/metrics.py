"""What has happened since the boot, as numbers: counted from the journal, which hears of everything.

Machines are counted by their kind, not by their name: what there is to count does not grow with the accounts.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping
from itertools import accumulate
from typing import Any

from gateway.journal import Entry
from statemachine.change import Change, ChangeState
from statemachine.change_events import ChangeProposed
from statemachine.channel_events import Cause, ReceiverEnded
from statemachine.delivery import Delivery
from statemachine.incoming import Incoming, has_ended
from statemachine.lifecycle_events import Restarted, Started, Ticket
from statemachine.record import ABSENT

REPORTED = frozenset({"sent", "dead", "unknown", "retry_wait"})
DECIDED = {
    ChangeState.PROBATION.value: "applied",
    ChangeState.COMMITTED.value: "applied",
    ChangeState.ROLLED_BACK.value: "rolled_back",
    ChangeState.REJECTED.value: "rejected",
}
"""The states in which it is known whether a change runs, and what it came to."""

QUICK = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
CALLS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
LONG = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
"""Seconds: of what nobody waits for, of what a person waits for, and of what may wait for a restart."""


class Histogram:
    """How often what took so many seconds was seen. A fixed number of figures, however often that is."""

    def __init__(self, bounds: tuple[float, ...] = QUICK) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """As Prometheus has them: each with all that is below it."""
        names = [*map(str, self.bounds), "+Inf"]
        return list(zip(names, map(float, accumulate(self.counts)), strict=True))


class Tally:
    """A listener of the journal from its first entry on. Asked by whoever shows metrics, at the time of asking.

    All is counted from this image of the program on, but `restarts`: one by another image would else never be seen to be more.
    """

    def __init__(self, restarts: Mapping[str, int] | None = None) -> None:
        self.transitions: defaultdict[tuple[str, str, str], int] = defaultdict(int)
        """Rows taken, by kind of machine, trigger and the state that followed."""
        self.refusals: defaultdict[tuple[str, str, str], int] = defaultdict(int)
        """By kind of machine, trigger and the state that it was refused in."""
        self.restarts: defaultdict[str, int] = defaultdict(int, restarts or {})
        """Restarts that were completed, by what asked for them first: config_change, signal or call."""
        self.coalesced = 0
        """Requests for a restart that joined one that was pending."""
        self.applies = {outcome: Histogram(LONG) for outcome in DECIDED.values()}
        """By outcome: from a change's proposal until it runs (`applied`), or will not (`rolled_back`, `rejected`)."""
        self._proposed: dict[str, int] = {}
        """Changes of which that is not known yet: when they were proposed, wall-clock ms."""
        self.conflicts: defaultdict[str, int] = defaultdict(int)
        """By account: how often its network said that somebody else receives on it."""
        self.received = 0
        """Messages that were taken over, each counted once."""
        self.incoming: defaultdict[str, int] = defaultdict(int)
        """Messages that came to an end, by what it was."""
        self.outgoing: defaultdict[str, int] = defaultdict(int)
        """Outgoing messages by what became of them: sent, dead, unknown, retry_wait."""
        self.handlers: defaultdict[str, Histogram] = defaultdict(lambda: Histogram(CALLS))
        """How long handlers took, by name."""
        self.commits = Histogram()
        """Of the store."""
        self.lag = Histogram()
        """How late the loop came to what was due."""

    def note(self, entry: Entry) -> None:
        """Count one entry. In the dispatcher's turn: a few dictionary look-ups, and nothing that can fail."""
        # Of a machine that is not there any more no kind is known.
        kind = ABSENT if entry.standing is None else entry.standing.machine.kind
        if entry.row is None:
            self.refusals[kind, entry.trigger, entry.before] += 1
            return
        self.transitions[kind, entry.trigger, entry.after] += 1
        if kind == Incoming.kind:
            if entry.standing is not None and has_ended(entry.standing.machine):
                self.incoming[entry.after] += 1
            return
        if kind == Delivery.kind:
            if entry.before != entry.after and entry.after in REPORTED:
                self.outgoing[entry.after] += 1
            return
        if kind == Change.kind:
            self._note_change(entry)
        elif isinstance(entry.event, ReceiverEnded):
            if entry.event.cause is Cause.CONFLICT:
                self.conflicts[entry.machine] += 1
        else:
            self._note_restart(entry)

    def _note_restart(self, entry: Entry) -> None:
        served = _known(entry, "served")
        # In a process that took the place of another one a restart is complete when it has started.
        if isinstance(entry.event, Restarted) or (isinstance(entry.event, Started) and served):
            self.restarts[_reason(served)] += 1
        elif entry.outcome == "coalesced" and _tickets_now(entry) > len(_known(entry, "tickets")):
            self.coalesced += 1

    def _note_change(self, entry: Entry) -> None:
        """Each change is timed once. One that an earlier process began is not: nobody here knows when it was proposed."""
        if isinstance(entry.event, ChangeProposed):
            self._proposed[entry.machine] = entry.at
        if entry.after in DECIDED and (began := self._proposed.pop(entry.machine, None)) is not None:
            # The wall clock may have been set back meanwhile.
            self.applies[DECIDED[entry.after]].observe(max(0, entry.at - began) / 1000)


def _known(entry: Entry, name: str) -> tuple[Ticket, ...]:
    """Tickets that the machine had when the event came."""
    found: Any = getattr(entry.standing and entry.standing.data, name, ())
    return tuple(found)


def _tickets_now(entry: Entry) -> int:
    return len(getattr(entry.standing and entry.standing.machine.data, "tickets", ()))


def _reason(served: tuple[Ticket, ...]) -> str:
    """Of the ticket that was due first. What a person gave as the reason is no label: there is no end to what people say."""
    if not served:
        return "call"
    first = min(served, key=lambda ticket: ticket.due_at)
    if first.revision is not None:
        return "config_change"
    return "signal" if first.requester.startswith("SIG") else "call"
