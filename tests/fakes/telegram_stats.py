"""What the fake Telegram counts about the receivers of one bot.

A *poll* is one getUpdates of the gateway under test. It is in flight from its arrival until it was
answered, was ended in favour of a later one, or its connection had gone. Polls of a simulated
foreign program are never counted here. All times are `time.monotonic()`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple


class PollRecord(NamedTuple):
    """The life of one poll; `ended_at` is None and `outcome` "in flight" while it is held.

    Outcomes: "updates" and "empty" (answered), "conflict_self", "conflict_foreign" and
    "conflict_webhook" (ended with 409), "gone" (the client closed it), "reset", "half" and
    "garbage" (a fault or a dropped connection), or the error code of any other answer, "429" say.
    """

    arrived_at: float
    ended_at: float | None
    timeout_param: int
    offset: int
    outcome: str


class Gap(NamedTuple):
    """Time in which no poll was in flight: all of it, and the longest single stretch."""

    total: float
    longest: float


@dataclass
class Stats:
    """The counts of one bot since it was added."""

    polls: int = 0
    """getUpdates that arrived, refused and faulty ones too."""
    overlaps: int = 0
    """Polls that arrived while another one was still open: two receivers at one moment."""
    conflicts_self: int = 0
    """409s written because two polls of the gateway met."""
    conflicts_foreign: int = 0
    """409s written because a foreign program's poll ended the gateway's."""
    redelivered: int = 0
    """Times an update was written out although an earlier answer had carried it completely."""
    delivered: list[int] = field(default_factory=list)
    """Update ids in the order they were written out, repeated when redelivered."""
    confirmed_offset: int = 0
    """The highest offset that made the server forget all updates below it."""
    both: int = 0
    """Times a webhook was set while a poll was still there: two receivers at one moment."""
    get_me_count: int = 0
    send_count: int = 0
    """Messages accepted by sendMessage."""
    gaps: list[float] = field(default_factory=list)
    """Seconds from the end of a poll to the arrival of the next; an overlap leaves none."""
    in_flight: int = 0
    max_in_flight: int = 0
    poll_log: list[PollRecord] = field(default_factory=list)
    """Every poll, in order of arrival."""
    _handed_out: set[int] = field(default_factory=set, repr=False)
    _last_end: float | None = field(default=None, repr=False)

    @property
    def longest_gap(self) -> float:
        """The longest of `gaps`, 0 when there is none."""
        return max(self.gaps, default=0.0)

    def poll_arrived(self, at: float, timeout: int, offset: int, *, met_another: bool) -> int:
        """Count a new poll, and return the place of its record in the log.

        `met_another` tells that its client was there together with another poll's, be that one in
        flight still or not.
        """
        self.polls += 1
        if met_another:
            self.overlaps += 1
        elif self._last_end is not None and not self.in_flight:
            self.gaps.append(at - self._last_end)
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, 1 + met_another)
        self.poll_log.append(PollRecord(at, None, timeout, offset, "in flight"))
        return len(self.poll_log) - 1

    def poll_ended(self, place: int, at: float, outcome: str) -> None:
        """Close the record of a poll that was in flight."""
        self.poll_log[place] = self.poll_log[place]._replace(ended_at=at, outcome=outcome)
        self.in_flight -= 1
        self._last_end = at

    def updates_written(self, ids: Iterable[int]) -> None:
        """Count updates whose answer was written out completely."""
        for update_id in ids:
            self.redelivered += update_id in self._handed_out
            self._handed_out.add(update_id)
            self.delivered.append(update_id)

    def gap_since(self, since: float, now: float) -> Gap:
        """Time without a poll in flight between `since` and `now`, from the poll log."""
        covered_until = since
        gaps = []
        for record in self.poll_log:
            gaps.append(record.arrived_at - covered_until)
            ended_at = now if record.ended_at is None else record.ended_at
            covered_until = max(covered_until, ended_at)
        gaps = [gap for gap in (*gaps, now - covered_until) if gap > 0]
        return Gap(sum(gaps), max(gaps, default=0.0))
