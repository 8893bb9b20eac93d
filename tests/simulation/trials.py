"""Changes that must be confirmed, as parts of a schedule: what is written, and what happens beside it and to it."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

WINDOWS = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""Seconds to confirm a change."""
EXTENSIONS = (1.0, 5.0, 30.0, 60.0)
AFTER_THE_END = (0.5, 2.0, 10.0)
Part = tuple[float, str, dict[str, Any]]
"""Seconds from the beginning of the trial, a kind of action, and its parameters."""


class Trials:
    """Makes what belongs to a trial. `make` makes an action of any kind; `texts` are all that were wished for so far."""

    def __init__(self, random: Random, change: Callable[[], str], texts: list[str], bots: list[str]) -> None:
        self._random = random
        self._change = change
        self._texts = texts
        self._bots = bots

    def kinds(self) -> dict[str, tuple[float, Callable[[], dict[str, Any]]]]:
        """What may also happen by itself: how often, and with which parameters."""
        some = self._random.choice
        return {
            "trial": (3, self._trial),
            "decide": (1, self._decision),
            "rollback": (0.8, lambda: {"text": some(self._texts), "confirm": some((None, None, 5.0, 30.0))}),
            "edit back": (0.8, lambda: {"text": some(self._texts)}),
            "save in": (0.6, lambda: {"text": self._change(), "n": self._random.randint(1, 12)}),
            "rival": (0.6, lambda: {"text": self._change(), "holds": some((0.0, 0.05, 2.0, 12.0))}),
        }

    def _trial(self) -> dict[str, Any]:
        some = self._random.choice
        return {"text": self._change(), "confirm": some(WINDOWS), "delay": some((None, 0.0, 1.0))}

    def _decision(self, *kinds: str) -> dict[str, Any]:
        some = self._random.choice
        decision = some(kinds or ("confirm", "confirm", "extend", "cancel"))
        return {"decision": decision, "seconds": some(EXTENSIONS), "back": some((0, 0, 0, 1))}

    def beside(self, window: float) -> list[Part]:
        """What happens to a trial with that many seconds: one or two things at most, so that each is seen by itself, too."""
        count = self._random.choice((0, 1, 1, 1, 2, 2, 3))
        ways = (
            self._decided, self._decided, self._decided, self._extended, self._written_beside, self._edited_beside,
            self._edited_beside, self._crashed, self._crashed, self._crashed, self._no_space, self._account_lost,
            self._account_lost, self._unreachable, self._adopted, self._adopted, self._stopped, self._clock_set,
            self._spoilt, self._slow,
        )  # fmt: skip
        return [part for way in self._random.choices(ways, k=count) for part in way(window)]

    def _within(self, window: float) -> float:
        """A moment of the time to confirm it, or about its ends."""
        return self._random.choice((0.0, 0.1, 0.4, 0.9, window / 2, window - 0.01, window, window + 0.05, window + 0.5))

    def _decided(self, window: float) -> list[Part]:
        return [(self._within(window), "decide", self._decision("confirm", "confirm", "cancel") | {"back": 0})]

    def _extended(self, window: float) -> list[Part]:
        first = (min(self._within(window), window * 0.9), "decide", self._decision("extend") | {"back": 0})
        return [first, *(self._decided(window) if self._random.random() < 0.5 else [])]

    def _written_beside(self, window: float) -> list[Part]:
        return [(self._within(window), "write", {"text": self._change(), "delay": 0.0})]

    def _edited_beside(self, window: float) -> list[Part]:
        some = self._random.choice
        at = self._within(window)
        if self._random.random() < 0.2:
            return [(0.0, "save in", {"text": self._change(), "n": self._random.randint(1, 12)})]
        if self._random.random() < 0.3:
            return [(at, "rival", {"text": self._change(), "holds": some((0.0, 0.05, 2.0))})]
        edit = {"text": self._change(), "how": "replace", "events": some(((0.0,), (), (0.3, 0.0)))}
        back = [(at + some(AFTER_THE_END), "edit back", {"text": some(self._texts)})]
        return [(at, "edit", edit), *(back if self._random.random() < 0.3 else [])]

    def _crashed(self, window: float) -> list[Part]:
        """In the middle of its writing, at one of the decisions about it, or when it runs; now and then for longer than its time."""
        some = self._random.choice
        when = some(("write", "write", "decision", "now"))
        at = 0.0 if when == "write" else self._within(window)
        boot = some((0.05, 0.5, 3.0, window + 1.0))
        crash = {"when": when, "n": self._random.randint(1, 14), "cut": some((0.001, 0.02)), "boot": boot}
        parts: list[Part] = [(at, "crash", crash)]
        if self._random.random() < 0.3:
            parts.append(
                (at + boot + some((0.3, 1.0)), "decide", self._decision("confirm", "extend", "cancel") | {"back": 0})
            )
        return parts

    def _no_space(self, window: float) -> list[Part]:
        at = self._random.choice((0.0, 0.05, window - 0.5))
        return [(at, "full disk", {"seconds": self._random.choice((0.1, 2.0, window + 1.0))})]

    def _account_lost(self, window: float) -> list[Part]:
        """Its network answers who it is, and refuses its polls: at once, or after a while."""
        some = self._random.choice
        fault = {"kind": "401", "bot": some(self._bots), "method": "getUpdates", "count": 1, "seconds": 0.0}
        return [(some((0.0, 0.0, 0.2, window / 2)), "fault", fault)]

    def _unreachable(self, window: float) -> list[Part]:
        some = self._random.choice
        fault = {"kind": some(("refuse", "hang", "500")), "bot": some(self._bots), "method": "", "count": 12}
        return [(some((0.0, 0.2)), "fault", fault | {"seconds": window})]

    def _adopted(self, window: float) -> list[Part]:
        """Somebody wants what the file holds: while it is on trial, or when it was rolled back."""
        return [
            (self._random.choice((self._within(window), window + self._random.choice(AFTER_THE_END))), "SIGHUP", {})
        ]

    def _stopped(self, window: float) -> list[Part]:
        some = self._random.choice
        if self._random.random() < 0.5:
            return [(self._within(window), "restart", {"delay": some((0.0, 1.0)), "force": False})]
        return [(self._within(window), "SIGTERM", {"again": None, "boot": some((0.1, window + 1.0))})]

    def _clock_set(self, window: float) -> list[Part]:
        seconds = self._random.choice((-86_400.0, -3_600.0, -10.0, 10.0, 3_600.0))
        parts: list[Part] = [(self._within(window), "wall clock", {"seconds": seconds})]
        return parts + (self._crashed(window) if self._random.random() < 0.6 else [])

    def _spoilt(self, window: float) -> list[Part]:
        """The file becomes unusable beside it, and perhaps the process is gone before anybody mends it."""
        some, at = self._random.choice, self._within(window)
        spoil = {"text": some(("channels: [", "gateway: {nme: x}\n", None)), "events": some(((0.0,), ())),
                 "mend": some((None, 2.0, 20.0)), "wish": self._change()}  # fmt: skip
        crash = {"when": "now", "n": 1, "cut": 0.001, "boot": some((0.05, 3.0))}
        return [(at, "spoil", spoil), *([(at + 0.5, "crash", crash)] if self._random.random() < 0.6 else [])]

    def _slow(self, _: float) -> list[Part]:
        return [
            (0.0, "slow disk", {"seconds": self._random.choice((2.0, 20.0)), "slowest": self._random.random() < 0.4})
        ]
