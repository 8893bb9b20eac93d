"""What a person is shown: the table of a run, and the short story of a failure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from gateway.journal import Entry
from tests.simulation.clock import BEGIN, EPOCH_MS
from tests.simulation.play import Result
from tests.simulation.schedule import make_schedule

TOLD = 25
"""Journal entries at the end of a story."""
FIRST = ("boots", "actions", "steps", "refusals", "generations", "restarts", "crashes")


def tell(result: Result, kept: Sequence[int]) -> str:
    """The actions that are needed, what was decided at the end, and what was broken."""
    schedule = make_schedule(result.seed)
    actions = "\n".join(f"  {number:3} {schedule.actions[number]}" for number in kept)
    journal = "\n".join(f"      {_line(entry)}" for entry in result.entries[-TOLD:])
    return (
        f"seed {result.seed}: {result.violations[0]}\n"
        f"the config at first: {' | '.join(line.strip() for line in schedule.first.splitlines())}\n"
        f"what was done ({len(kept)} of {len(schedule.actions)} actions are needed):\n{actions or '  nothing'}\n"
        f"what was decided last (seconds since the beginning):\n{journal}\n"
        f"again: {command(result.seed, kept)}"
    )


def command(seed: int, kept: Sequence[int]) -> str:
    return f"python -m tests.simulation --seed {seed} --only {','.join(map(str, kept)) or 'none'}"


def _line(entry: Entry) -> str:
    moved = entry.after if entry.before == entry.after else f"{entry.before} -> {entry.after}"
    at = (entry.at - EPOCH_MS) / 1000 - BEGIN
    more = f" ({entry.why})" if entry.why else ""
    return f"{at:9.3f}  {entry.machine}: {entry.trigger} {entry.outcome}, {moved}{more}"


def table(schedules: int, seconds: float, counts: Counter[str], faults: Counter[str], failed: int) -> str:
    """The summary of a run."""
    rows = [("schedules", f"{schedules:,}"), ("schedules/minute", f"{schedules / max(seconds, 0.001) * 60:,.0f}")]
    rows += [(name, f"{counts[name]:,}") for name in FIRST]
    rows += [(name, f"{counts[name]:,}") for name in sorted(set(counts) - {*FIRST, "violations"})]
    rows += [(f"fault: {name}", f"{count:,}") for name, count in sorted(faults.items())]
    rows += [("faults", f"{faults.total():,}"), ("violations", f"{counts['violations']:,} in {failed:,} schedules")]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value:>12}" for name, value in rows)
