"""The page of promises is what the last runs said, names checks that exist, and has no place for a broken promise."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.proof.__main__ import PAGE, ROOT, kept
from tests.proof.checks import CHECKS
from tests.proof.page import PROMISES, page


def test_the_page_is_the_one_that_the_figures_give() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(kept()), "run `python -m tests.proof` with a check's name"


def test_every_promise_is_held_by_checks_that_exist_and_every_check_holds_one() -> None:
    named = {name for promise in PROMISES for name in promise.held_by}
    assert named == set(CHECKS)
    assert set(kept()) <= set(CHECKS)


@pytest.mark.parametrize("check", CHECKS.values(), ids=lambda check: check.name)
def test_what_a_check_runs_is_there(check) -> None:
    for word in check.command.split():
        if word.startswith("tests/"):
            assert (ROOT / word).exists(), word
        elif word.startswith(("tests.", "statemachine")):
            assert Path(ROOT, *word.split("."), "__main__.py").exists(), word


@pytest.mark.parametrize(
    ("name", "output", "figure"),
    [
        (
            "explore, 3 accounts",
            json.dumps({"states": 12345, "edges": 67890, "seconds": 1.5, "complete": True, "broken": []}),
            "12,345 states and 67,890 moves visited in 1.5 s, 0 promises broken",
        ),
        ("Spin", "10 states, 20 transitions\na: holds\nb: holds\n", "Spin: 10 states, 20 transitions, 2 promises hold"),
        ("mutants", "killed x\n3 mutants: 3 killed, 1 of them by exploration too, 0 explained, 0 alive\n", None),
        ("founding race", "....\n4 passed in 1.0s\n", "4 tests passed"),
    ],
)
def test_a_figure_is_read_from_what_a_check_said(name: str, output: str, figure: str | None) -> None:
    assert CHECKS[name].read(output) == (figure or output.splitlines()[-1])


@pytest.mark.parametrize(
    ("name", "output"),
    [
        ("explore, 3 accounts", json.dumps({"states": 1, "edges": 1, "seconds": 1, "complete": False, "broken": []})),
        ("explore, 3 accounts", json.dumps({"states": 1, "edges": 1, "seconds": 1, "complete": True, "broken": [{}]})),
        ("Spin", "10 states, 20 transitions\na: holds\nb: broken\n"),
        ("simulation", json.dumps({"schedules": 1, "seconds": 1, "counts": {}, "faults": {}, "failed": {"3": "x"}})),
        ("chaos", json.dumps({"violated": 1})),
        ("mutants", "3 mutants: 2 killed, 1 of them by exploration too, 0 explained, 1 alive\n"),
        ("founding race", "1 failed, 3 passed in 1.0s\n"),
        ("founding race", "3 passed, 1 skipped in 1.0s\n"),
    ],
)
def test_a_broken_promise_is_no_figure(name: str, output: str) -> None:
    with pytest.raises(ValueError):
        CHECKS[name].read(output)
