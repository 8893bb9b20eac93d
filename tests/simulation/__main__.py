"""`python -m tests.simulation --seeds 20000` runs schedules; `--seed 7 --only 1,4` runs one, or a part of it, again.

`--planted` shows that the simulation sees: each bug kept under `planted/` is put in and must be found.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter

from tests.simulation.planted import find_all, hunt
from tests.simulation.run import run_seed, run_seeds, shrink_seed
from tests.simulation.schedule import make_schedule
from tests.simulation.story import table, tell

REPORT_EVERY = 10.0
MOST_STORIES = 3


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=2_000, help="how many schedules")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes side by side")
    parser.add_argument("--json", action="store_true", help="the summary as JSON")
    parser.add_argument("--seed", type=int, help="one schedule, with its story")
    parser.add_argument("--only", help="with --seed: the numbers of the actions to carry out, or none")
    parser.add_argument("--planted", action="store_true", help="plant each bug and find it")
    parser.add_argument("--record", action="store_true", help="with --planted: keep where each was found")
    parser.add_argument("--hunt", action="store_true", help="run until one fails, and say which as JSON")
    given = parser.parse_args()
    if given.planted:
        return find_all(given.seeds, given.jobs, record=given.record)
    if given.hunt:
        return hunt(given.first, given.seeds)
    if given.seed is not None:
        return one(given.seed, given.only)
    return many(given.first, given.seeds, given.jobs, as_json=given.json)


def one(seed: int, given: str | None) -> int:
    everything = range(len(make_schedule(seed).actions))
    kept = list(everything) if given is None else [int(n) for n in given.split(",") if n != "none"]
    result = run_seed(seed, kept)
    if not result.violations:
        print(f"seed {seed}: every promise held; {dict(result.counts)}")
        return 0
    if given is None:
        kept = shrink_seed(seed, result.violations[0].promise)
        result = run_seed(seed, kept)
    print(tell(result, kept))
    return 1


def many(first: int, count: int, jobs: int, *, as_json: bool) -> int:
    began = told = time.monotonic()
    counts: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    failed: dict[int, str] = {}
    for number, result in enumerate(run_seeds(range(first, first + count), jobs), 1):
        counts += result.counts
        faults += result.faults
        if result.violations:
            failed[result.seed] = result.violations[0].promise
            print(f"seed {result.seed}: {result.violations[0]}", file=sys.stderr, flush=True)
        now = time.monotonic()
        if now - told > REPORT_EVERY:
            told = now
            rate = number / (now - began) * 60
            print(f"{number:,} of {count:,}, {rate:,.0f} a minute, {len(failed)} failed", file=sys.stderr, flush=True)
    seconds = time.monotonic() - began
    if as_json:
        numbers = {
            "schedules": count,
            "seconds": round(seconds, 1),
            "counts": counts,
            "faults": faults,
            "failed": failed,
        }
        print(json.dumps(numbers, indent=2))
    else:
        print(table(count, seconds, counts, faults, len(failed)))
    for seed, promise in list(failed.items())[:MOST_STORIES]:
        kept = shrink_seed(seed, promise)
        print(f"\n{tell(run_seed(seed, kept), kept)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
