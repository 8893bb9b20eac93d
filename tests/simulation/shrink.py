"""From a failing schedule to a short one: actions are dropped for as long as the same promise is still broken.

Source: A. Zeller, R. Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", IEEE TSE 28(2), 2002 (ddmin).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.simulation.schedule import Schedule


def shrink(schedule: Schedule, still_fails: Callable[[Sequence[int]], bool]) -> list[int]:
    """The numbers of the actions that are needed. `still_fails` carries out the schedule with some of them alone."""
    kept = list(range(len(schedule.actions)))
    parts = 2
    while len(kept) > 1:
        size = -(-len(kept) // parts)
        chunks = [kept[start : start + size] for start in range(0, len(kept), size)]
        rest = next((rest for rest in _complements(kept, chunks) if still_fails(rest)), None)
        if rest is not None:
            kept, parts = rest, max(parts - 1, 2)
        elif size == 1:
            break
        else:
            parts = min(parts * 2, len(kept))
    if len(kept) == 1 and still_fails([]):
        return []
    return kept


def _complements(kept: list[int], chunks: list[list[int]]) -> list[list[int]]:
    return [[number for number in kept if number not in chunk] for chunk in chunks]
