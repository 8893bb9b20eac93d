"""Carries out schedules by their seeds, one or thousands, and shrinks one that fails."""

from __future__ import annotations

import gc
import multiprocessing
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from tests.simulation.play import Result, only, play
from tests.simulation.schedule import make_schedule
from tests.simulation.shrink import shrink

MEMORY = Path("/dev/shm")
"""Where a file costs nothing, if the system has it."""
COLLECT_EVERY = 50
CHUNK = 10


def run_seed(seed: int, kept: Sequence[int] | None = None) -> Result:
    """One schedule, or a part of it, in a folder of its own that is gone afterwards."""
    schedule = make_schedule(seed)
    if kept is not None:
        schedule = only(schedule, kept)
    folder = str(MEMORY) if MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="simulation-", dir=folder) as place:
        return play(schedule, Path(place) / "house")


def run_seeds(seeds: Sequence[int], jobs: int) -> Iterator[Result]:
    """The results in the order of the seeds. Journals of schedules that held are left out: nobody reads them."""
    if jobs <= 1:
        yield from map(_run_one, seeds)
        return
    context = multiprocessing.get_context("spawn")
    with context.Pool(jobs) as pool:
        yield from pool.imap(_run_one, seeds, chunksize=CHUNK)


def _run_one(seed: int) -> Result:
    result = run_seed(seed)
    if not result.violations:
        result.entries.clear()
    if seed % COLLECT_EVERY == 0:
        gc.collect()
    return result


def first_failing(seeds: Iterable[int], runs: Callable[[int], Result] = run_seed) -> Result | None:
    return next((result for seed in seeds if (result := runs(seed)).violations), None)


def shrink_seed(seed: int, promise: str) -> list[int]:
    """The actions of this schedule without which that promise would hold."""
    return shrink(make_schedule(seed), lambda kept: promise in run_seed(seed, kept).promises)
