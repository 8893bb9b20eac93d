"""The referee: counts live receivers per bot at every instant, and keeps what broke which promise."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulation.clock import Time
    from tests.simulation.network import Session


@dataclass(frozen=True)
class Violation:
    """One broken promise: which, when (virtual seconds), and what was seen."""

    promise: str
    at: float
    seen: str

    def __str__(self) -> str:
        return f"{self.promise}: {self.seen} (at {self.at:.3f} s)"


class Referee:
    """Stands outside of the gateway: what it sees is calls, polls, closed sessions, and the bytes on the disk."""

    def __init__(self, time: Time) -> None:
        self._time = time
        self.violations: list[Violation] = []
        self.live: dict[str, list[Session]] = {}
        """By bot: every session of ours from its first call to its close."""
        self.counts: Counter[str] = Counter()

    def blame(self, promise: str, seen: str) -> None:
        self.violations.append(Violation(promise, self._time.now, seen))

    def expect(self, holds: bool, promise: str, seen: str) -> None:
        if not holds:
            self.blame(promise, seen)

    def begins(self, session: Session) -> None:
        """The first call of a session: from here on it is a receiver."""
        others = self.live.setdefault(session.bot, [])
        if others:
            names = ", ".join(other.owner for other in others)
            self.blame("one receiver", f"bot {session.bot}: {session.owner} begins while {names} is not closed")
        others.append(session)
        self.counts["generations"] += 1

    def ends(self, session: Session) -> None:
        live = self.live.get(session.bot, [])
        if session in live:
            live.remove(session)

    def all_live(self) -> list[Session]:
        return [session for sessions in self.live.values() for session in sessions]
