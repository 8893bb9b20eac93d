"""The effects that every machine shares: its one timer.

A machine has one timer. Arming it again replaces it, and its firing carries the token it was armed with,
so that a firing which was already on its way when the timer was replaced is refused by `timer_is_current`.
"""

from __future__ import annotations

from statemachine._machine import Command, Event


class ArmTimer(Command, frozen=True):
    """Post `then` to this machine when it is due, in place of any timer armed before.

    Due at the monotonic time `at` (seconds), or `after` seconds from now. With `jitter` the wait is drawn
    evenly from 0 to `after`, but never below `at_least`: the "full jitter" of Marc Brooker,
    "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """

    then: Event
    at: float | None = None
    after: float = 0.0
    jitter: bool = False
    at_least: float = 0.0


class DisarmTimer(Command, frozen=True):
    """Forget this machine's timer."""
