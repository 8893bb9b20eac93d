"""A piece of the code is swapped for another one, in a copy of the project, and the tests that are named with it must find it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 300.0
"""Seconds for the tests of one piece: the slowest take a fifth of it."""
COPIED = ("gateway", "statemachine", "tests", "diagrams", "pyproject.toml", "Makefile", "README.md", ".gitignore")


@dataclass(frozen=True)
class Swap:
    """`old` stands once in `file`; with `new` in its place, one of `tests` must fail."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


@contextmanager
def copy_of_the_tree(folder: Path) -> Iterator[Path]:
    """A copy of the project to put mutants into; it is gone afterwards."""
    tree = folder / "tree"
    for name in COPIED:
        source = ROOT / name
        ignore = shutil.ignore_patterns("__pycache__")
        if source.is_dir():
            shutil.copytree(source, tree / name, ignore=ignore)
        else:
            tree.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, tree / name)
    try:
        yield tree
    finally:
        shutil.rmtree(tree)


def killer(swap: Swap, tree: Path) -> str:
    """The test that fails with the swap in place; "" where all of its tests pass. The tree is as before afterwards."""
    place = tree / swap.file
    text = place.read_text(encoding="utf-8")
    if text.count(swap.old) != 1:
        raise LookupError(f"{swap.name}: {swap.file} holds that piece {text.count(swap.old)} times")
    place.write_text(text.replace(swap.old, swap.new), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *swap.tests]
    environ = os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command, cwd=tree, env=environ, capture_output=True, text=True, check=False, timeout=PATIENCE
        )
    except subprocess.TimeoutExpired:
        # On virtual time what waits for ever does so at full speed, and whoever waits for the tests would, too.
        return f"{' '.join(swap.tests)}: they do not end"
    finally:
        place.write_text(text, encoding="utf-8")
    failed = [
        line.split()[1] for line in done.stdout.splitlines() if line.startswith(("FAILED tests/", "ERROR tests/"))
    ]
    if done.returncode and not failed:
        raise RuntimeError(f"{swap.name}: the tests could not be run:\n{done.stdout}{done.stderr}")
    return failed[0] if failed else ""
