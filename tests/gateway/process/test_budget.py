"""How the time of an end is split: no stage takes from one after it, and what it leaves over is theirs."""

from __future__ import annotations

from itertools import pairwise

import pytest

from gateway.process.budget import (
    LIMIT,
    MOMENT,
    MOST,
    SHARES,
    Budget,
    Stage,
    budget_of,
    limit_of,
    shortfall,
)

STAGES = list(Stage)


def test_the_shares_are_the_whole_in_the_order_of_the_stages() -> None:
    assert sum(SHARES.values()) == pytest.approx(1.0)
    assert list(SHARES) == STAGES


@pytest.mark.parametrize("seconds", [3.0, 30.0, 1_000.0])
def test_stages_that_take_all_they_may_end_within_the_whole(seconds: float) -> None:
    budget, now = Budget(seconds, 100.0), 100.0
    for stage in STAGES:
        now += budget.left(stage, now)
    assert now <= 100.0 + seconds + 1e-9


def test_what_a_stage_leaves_over_goes_to_the_next() -> None:
    budget = Budget(30.0, 0.0)
    assert budget.left(Stage.RECEIVERS, 0.6) == pytest.approx(18.0)
    assert budget.left(Stage.RECEIVERS, 0.1) == pytest.approx(18.5)
    assert budget.left(Stage.REPLIES, 0.2) == pytest.approx(22.0)
    assert budget.left(Stage.REPLIES, 18.6) == pytest.approx(3.6)


@pytest.mark.parametrize("stage", MOST)
def test_more_time_than_it_can_use_is_not_waited_for(stage: Stage) -> None:
    assert Budget(1_000.0, 0.0).left(stage, 0.0) == MOST[stage]


def test_a_stage_that_comes_too_late_has_a_moment() -> None:
    assert Budget(30.0, 0.0).left(Stage.STORE, 31.0) == MOMENT


def test_hurried_what_is_left_shares_less() -> None:
    budget = Budget(30.0, 0.0)
    budget.hurry(Stage.RECEIVERS, 3.0, 5.0)
    assert budget.left(Stage.RECEIVERS, 5.0) == pytest.approx(3.0 * 0.6 / 0.98)
    now = 5.0
    for stage in STAGES[STAGES.index(Stage.RECEIVERS) :]:
        now += budget.left(stage, now)
    assert now <= 8.0 + MOMENT


def test_hurried_it_never_has_more_than_there_was() -> None:
    budget = Budget(3.0, 0.0)
    budget.hurry(Stage.REPLIES, 10.0, 2.5)
    assert budget.left(Stage.STORE, 2.5) <= 0.5
    budget.hurry(Stage.STORE, 10.0, 9.0)
    assert budget.left(Stage.STORE, 9.0) == MOMENT


def test_each_stage_ends_after_the_one_before_it() -> None:
    budget = Budget(10.0, 0.0)
    assert all(
        budget.left(one, 0.0) < budget.left(two, 0.0) for one, two in pairwise(STAGES) if not {one, two} & MOST.keys()
    )


# Below the supervisor's


@pytest.mark.parametrize(
    ("wanted", "limit", "used"),
    [(30.0, None, 30.0), (30.0, 45.0, 30.0), (30.0, 31.0, 30.0), (30.0, 30.5, 29.5), (30.0, 10.0, 9.0), (1.0, 0.5, MOMENT)],
)  # fmt: skip
def test_case_65_the_smaller_one_is_used_and_the_shortfall_is_told(
    wanted: float, limit: float | None, used: float
) -> None:
    assert budget_of(wanted, limit) == pytest.approx(used)
    why = shortfall(wanted, limit)
    assert bool(why) == (used < wanted)
    if why:
        assert f"{limit:g} s ({LIMIT})" in why
        assert "gateway.restart.drain_timeout_ms" in why
        assert f"gets {used:g} s" in why


@pytest.mark.parametrize(("text", "seconds"), [("", None), (" ", None), ("45", 45.0), ("1.5", 1.5)])
def test_the_limit_of_the_environment(text: str, seconds: float | None) -> None:
    assert limit_of({LIMIT: text}) == seconds
    assert limit_of({}) is None


@pytest.mark.parametrize("text", ["soon", "0", "-1", "nan", "inf", "45s"])
def test_a_limit_that_is_no_time_is_named(text: str) -> None:
    with pytest.raises(ValueError, match=f"{LIMIT} is '{text}'"):
        limit_of({LIMIT: text})
