"""The promises hold in fresh schedules; a seed is a schedule; and each planted bug is found, so the simulation is not blind."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.simulation.planted import PATCHES, ROOT, ask, plant, recorded
from tests.simulation.play import Result
from tests.simulation.run import run_seed, shrink_seed
from tests.simulation.schedule import Action, Schedule, make_schedule
from tests.simulation.shrink import shrink
from tests.simulation.story import command, tell

MOST_SCHEDULES = 5_000
FRESH = 200
BATCH = 20
FINDS = recorded()
DIGEST = "from tests.simulation.test_simulation import digest; print(digest(range(40, 48)))"


def digest(seeds: Sequence[int]) -> str:
    """All that was decided in these schedules."""
    decided = [(entry.as_dict(), repr(entry.event)) for seed in seeds for entry in run_seed(seed).entries]
    # A full disk is told of by its path, which is another one each time.
    told = re.sub(r"simulation-\w+", "", repr(decided))
    return hashlib.sha256(told.encode()).hexdigest()


def assert_held(result: Result) -> None:
    if result.violations:
        kept = shrink_seed(result.seed, result.violations[0].promise)
        pytest.fail(tell(run_seed(result.seed, kept), kept), pytrace=False)


@pytest.mark.parametrize("first", range(0, FRESH, BATCH))
def test_whatever_happens_the_promises_hold(first: int) -> None:
    for seed in range(first, first + BATCH):
        assert_held(run_seed(seed))


def test_a_seed_is_a_schedule_whatever_the_process() -> None:
    """The same journal, entry by entry, also where Python's hashes of texts are others."""
    here = digest(range(40, 48))
    environ = os.environ | {"PYTHONHASHSEED": "7", "PYTHONPATH": str(ROOT)}
    there = subprocess.run(
        [sys.executable, "-c", DIGEST], cwd=ROOT, env=environ, capture_output=True, text=True, check=True
    )
    assert there.stdout.strip() == here
    assert digest(range(48, 56)) != here


def test_a_schedule_is_data() -> None:
    assert make_schedule(3) == make_schedule(3)
    assert make_schedule(3) != make_schedule(4)


# Shrinking


def test_a_failing_schedule_is_shrunk_to_the_actions_that_are_needed() -> None:
    schedule = Schedule(1, "", "", tuple(Action(float(number), "hint") for number in range(23)))
    assert shrink(schedule, lambda kept: {3, 11, 20} <= set(kept)) == [3, 11, 20]
    assert shrink(schedule, lambda kept: 7 in kept) == [7]
    assert shrink(schedule, lambda _: True) == []


def test_the_command_of_a_failure_names_what_is_needed() -> None:
    assert command(123, [2, 5, 7]) == "python -m tests.simulation --seed 123 --only 2,5,7"
    assert command(9, []) == "python -m tests.simulation --seed 9 --only none"


# Planted bugs


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.stem)
def test_a_planted_bug_is_found_at_its_seed(patch: Path, tmp_path: Path) -> None:
    """As the shrunk schedule tells it: with its promise, and a command that shows it again."""
    found = FINDS[patch.stem]
    again = command(found.seed, found.actions)
    said = ask(plant(patch, tmp_path / "tree"), *again.split()[3:])
    assert f"seed {found.seed}: {found.promise}: " in said
    assert again in said


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.stem)
def test_the_code_as_it_is_passes_that_seed(patch: Path) -> None:
    found = FINDS[patch.stem]
    assert_held(run_seed(found.seed))
    assert_held(run_seed(found.seed, found.actions))


def test_every_patch_says_what_it_is_and_was_found_within_the_limit() -> None:
    assert len(PATCHES) >= 12
    assert set(FINDS) == {patch.stem for patch in PATCHES}
    for patch in PATCHES:
        head = patch.read_text().split("\n\n")[0].splitlines()
        assert len(head) >= 2, patch.name
        assert FINDS[patch.stem].schedules <= MOST_SCHEDULES


def test_the_summary_can_be_read_by_a_program() -> None:
    said = json.loads(ask(ROOT, "--first", "60", "--seeds", "5", "--jobs", "1", "--json"))
    assert said["schedules"] == 5
    assert said["failed"] == {}
    assert said["counts"]["boots"] >= 5
