"""A dozen of the random schedules; `make schedules SEEDS=300` runs many."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.real.schedules import describe, run_schedules

SEEDS = range(12)


@pytest.mark.timeout(300)
async def test_random_schedules_keep_the_promises(tmp_path: Path) -> None:
    """No overlap, no 409 of our own, one outcome for every request, and what the file says last is what runs."""
    verdicts = await run_schedules(list(SEEDS), tmp_path, lambda verdict: print(describe(verdict)))
    assert [describe(verdict) for verdict in verdicts if verdict.faults] == []
