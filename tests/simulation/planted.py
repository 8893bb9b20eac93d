"""Bugs that programs of this kind have had, kept as patches under `planted/`: each must be found, or the simulation is blind.

A patch is put into a copy of the tree, and the copy's own simulation run until it finds something.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.simulation.run import first_failing, run_seed, shrink_seed

ROOT = Path(__file__).resolve().parents[2]
PATCHES = sorted((Path(__file__).parent / "planted").glob("*.patch"))
SEEDS = Path(__file__).parent / "planted" / "seeds.json"
"""For each patch where it was found first: what `--planted --record` writes, and the suite runs."""
TREES = ("gateway", "statemachine", "tests/simulation")


@dataclass(frozen=True)
class Find:
    """Which promise showed a bug, at which seed, after how many schedules, and the actions that are needed."""

    promise: str
    seed: int
    schedules: int
    actions: tuple[int, ...]
    seen: str


def plant(patch: Path, folder: Path) -> Path:
    """A copy of the tree with the bug in it."""
    for tree in TREES:
        ignored = shutil.ignore_patterns("__pycache__", "planted", "page")
        shutil.copytree(ROOT / tree, folder / tree, ignore=ignored)
    (folder / "tests" / "__init__.py").touch()
    (folder / "tests" / "simulation" / "planted").mkdir()
    environ = os.environ | {"GIT_CEILING_DIRECTORIES": str(folder.parent)}
    applied = subprocess.run(
        ["git", "apply", str(patch)], cwd=folder, env=environ, capture_output=True, text=True, check=False
    )
    if applied.returncode != 0:
        raise RuntimeError(f"{patch.name} does not apply any more: {applied.stderr}")
    return folder


def ask(folder: Path, *arguments: str) -> str:
    """What the simulation in a planted tree prints."""
    environ = os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "tests.simulation", *arguments]
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"{' '.join(arguments)}: {done.stderr[-2000:]}")
    return done.stdout


def hunt(first: int, count: int) -> int:
    """In a planted tree: schedules until one fails, and then what is left of it; as one line of JSON."""
    result = first_failing(range(first, first + count))
    if result is None:
        print(json.dumps(None))
        return 0
    kept = shrink_seed(result.seed, result.violations[0].promise)
    # What is left may break another promise first: that is the one that its story tells.
    violation = run_seed(result.seed, kept).violations[0]
    find = Find(violation.promise, result.seed, result.seed - first + 1, tuple(kept), violation.seen)
    print(json.dumps(asdict(find)))
    return 1


def find(patch: Path, seeds: int) -> Find | None:
    with tempfile.TemporaryDirectory(prefix="planted-") as folder:
        said = ask(plant(patch, Path(folder) / "tree"), "--hunt", "--seeds", str(seeds))
    found = json.loads(said.splitlines()[-1])  # a defect may have printed its traceback before
    return None if found is None else Find(**found | {"actions": tuple(found["actions"])})


def find_all(seeds: int, jobs: int, *, record: bool) -> int:
    """Plant and hunt each; print the table; 0 when all were found."""
    finds = []
    with ThreadPoolExecutor(jobs) as pool:
        for patch, found in zip(PATCHES, pool.map(lambda patch: find(patch, seeds), PATCHES), strict=True):
            finds.append(found)
            print(f"{patch.stem}: {found or 'not found'}", file=sys.stderr, flush=True)
    print(_table(finds))
    if record:
        table = {patch.stem: asdict(f) for patch, f in zip(PATCHES, finds, strict=True) if f is not None}
        SEEDS.write_text(json.dumps(table, indent=2) + "\n")
    return 0 if all(finds) else 1


def recorded() -> dict[str, Find]:
    found = json.loads(SEEDS.read_text())
    return {name: Find(**values | {"actions": tuple(values["actions"])}) for name, values in found.items()}


def _table(finds: Sequence[Find | None]) -> str:
    lines = [f"{'bug':<36} {'found by':<38} {'seed':>5} {'schedules':>9} {'actions':>7}"]
    for patch, found in zip(PATCHES, finds, strict=True):
        if found is None:
            lines.append(f"{patch.stem:<36} NOT FOUND")
        else:
            lines.append(
                f"{patch.stem:<36} {found.promise:<38} {found.seed:>5} {found.schedules:>9} {len(found.actions):>7}"
            )
    return "\n".join(lines)
