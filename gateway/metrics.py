"""What has happened since the boot, as numbers: counted from the journal, which hears of everything.

Machines are counted by their kind, not by their name: what there is to count does not grow with the accounts.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from gateway.journal import Entry
from statemachine.channel import Cause, ReceiverEnded
from statemachine.lifecycle_events import Restarted, Ticket
from statemachine.record import ABSENT


class Tally:
    """A listener of the journal from its first entry on. Asked by whoever shows metrics, at the time of asking."""

    def __init__(self) -> None:
        self.transitions: defaultdict[tuple[str, str, str], int] = defaultdict(int)
        """Rows taken, by kind of machine, trigger and the state that followed."""
        self.refusals: defaultdict[tuple[str, str, str], int] = defaultdict(int)
        """By kind of machine, trigger and the state that it was refused in."""
        self.restarts: defaultdict[str, int] = defaultdict(int)
        """Restarts that were completed, by what asked for them first: config_change, signal or call."""
        self.coalesced = 0
        """Requests for a restart that joined one that was pending."""
        self.conflicts: defaultdict[str, int] = defaultdict(int)
        """By account: how often its network said that somebody else receives on it."""

    def note(self, entry: Entry) -> None:
        """Count one entry. In the dispatcher's turn: a few dictionary look-ups, and nothing that can fail."""
        # Of a machine that is not there any more no kind is known.
        kind = ABSENT if entry.standing is None else entry.standing.machine.kind
        if entry.row is None:
            self.refusals[kind, entry.trigger, entry.before] += 1
            return
        self.transitions[kind, entry.trigger, entry.after] += 1
        if isinstance(entry.event, ReceiverEnded):
            if entry.event.cause is Cause.CONFLICT:
                self.conflicts[entry.machine] += 1
        elif isinstance(entry.event, Restarted):
            self.restarts[_reason(_known(entry, "served"))] += 1
        elif entry.outcome == "coalesced" and _tickets_now(entry) > len(_known(entry, "tickets")):
            self.coalesced += 1


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
