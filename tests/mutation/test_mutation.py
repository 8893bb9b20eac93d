"""The tool that breaks guards on purpose works, and the fences that matter most are watched in every run of the suite."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from statemachine import MACHINES
from tests.mutation.__main__ import EXPLAINED, is_fence, promise_broken_by
from tests.mutation.shell import SWAPS
from tests.mutation.swaps import ROOT, copy_of_the_tree, killer
from tests.mutation.tables import mutants

KEY_FENCES = (
    "effects are set going before the step is recorded",
    "a second receiver of an account is opened",
    "what an older generation is told ends the present one",
    "the end is said before the connection is closed",
    "a session may be asked for before its start is kept",
    "a stale base is written over",
    "the file is written before the promise to roll it back",
)
EVERY = {mutant.name: mutant for mutant in mutants()}


def test_every_row_every_guard_and_every_action_has_its_mutants() -> None:
    parts = sum(1 + 2 * len(row.guards) + len(row.effects) for machine in MACHINES for row in machine.table)
    assert len(EVERY) == parts
    assert set(EXPLAINED) <= set(EVERY) | {swap.name for swap in SWAPS}


@pytest.mark.parametrize("swap", SWAPS, ids=lambda swap: swap.name)
def test_what_is_swapped_is_there_once(swap) -> None:
    text = (ROOT / swap.file).read_text(encoding="utf-8")
    assert text.count(swap.old) == 1
    assert swap.new != swap.old
    if swap.file.endswith(".py"):
        compile(text.replace(swap.old, swap.new), swap.file, "exec")
    for test in swap.tests:
        file, _, name = test.partition("::")
        assert (ROOT / file).exists()
        assert not name or f"def {name}(" in (ROOT / file).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory):
    with copy_of_the_tree(tmp_path_factory.mktemp("mutants")) as copied:
        yield copied


@pytest.mark.parametrize("name", KEY_FENCES)
def test_a_key_fence_is_watched(name: str, tree: Path) -> None:
    swap = next(swap for swap in SWAPS if swap.name == name)
    assert killer(swap, tree), f"no test sees that {name}"


def test_tests_that_do_not_end_have_seen_it(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.mutation.swaps.PATIENCE", 2.0)
    (tree / "tests" / "test_endless.py").write_text("import time\n\n\ndef test_endless():\n    time.sleep(100)\n")
    assert killer(replace(SWAPS[0], tests=("tests/test_endless.py",)), tree) == "tests/test_endless.py: they do not end"


@pytest.mark.parametrize("name", [name for name, mutant in EVERY.items() if is_fence(mutant)])
def test_an_exploration_finds_what_believes_a_stale_word(name: str) -> None:
    assert promise_broken_by(EVERY[name])
