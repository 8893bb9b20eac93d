"""The pace: never faster than the network allows in any span of time, and never slower than that."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.messages import pace as pace_module
from gateway.messages.pace import Limits, Pace, Rate
from tests.fuzz.profiles import tries

A_MOMENT = 1e-6
"""Seconds that a sum of floating-point times may be off."""
RATES = st.builds(Rate, st.sampled_from([0.0, 0.05, 1 / 30, 0.5, 1.0, 3.0]), st.integers(1, 30))
STREAMS = st.lists(st.tuples(st.sampled_from([0.0, 0.0, 0.01, 0.3, 1.0, 20.0]), st.sampled_from("abc")), max_size=80)
"""Messages: seconds since the one before, and the conversation."""


def earliest(rate: Rate, sent: list[float], now: float) -> float:
    """When the next may go at the earliest, if in no span more go than a burst and one each interval."""
    return max([now, *(at + (len(sent) - place + 1 - rate.burst) * rate.interval for place, at in enumerate(sent))])


def play(limits: Limits, stream: list[tuple[float, str]]) -> dict[str, list[float]]:
    """Send each as soon as the pace allows it; when those of each conversation went, and of "all"."""
    pace, now = Pace(lambda: limits), 100.0
    sent: dict[str, list[float]] = {key: [] for key in ("all", "a", "b", "c")}
    for gap, conversation in stream:
        now += gap
        at = pace.at(conversation, now)
        slowest = max(
            earliest(limits.account, sent["all"], now), earliest(limits.conversation, sent[conversation], now)
        )
        assert at == pytest.approx(slowest, abs=A_MOMENT)
        now = max(now, at)
        assert pace.at(conversation, now) == now, "what was told to come then may go then"
        pace.take(conversation, now)
        for key in ("all", conversation):
            sent[key].append(now)
    return sent


@tries(200)
@given(account=RATES, conversation=RATES, stream=STREAMS)
def test_in_no_span_go_more_than_a_burst_and_one_each_interval_and_none_waits_longer(
    account: Rate, conversation: Rate, stream: list[tuple[float, str]]
) -> None:
    sent = play(Limits(4096, account, conversation), stream)
    for key, times in sent.items():
        rate = account if key == "all" else conversation
        for (first, begin), (last, end) in combinations(enumerate(times), 2):
            if rate.interval:
                assert last - first + 1 <= rate.burst + (end - begin + A_MOMENT) / rate.interval


def test_no_limit_is_none() -> None:
    pace = Pace(Limits)
    for _ in range(1_000):
        assert pace.at("a", 5.0) == 5.0
        pace.take("a", 5.0)


def test_one_conversation_waits_and_another_does_not() -> None:
    pace = Pace(lambda: Limits(conversation=Rate(1.0, 2)))
    for _ in range(2):
        pace.take("busy", 10.0)
    assert (pace.at("busy", 10.0), pace.at("quiet", 10.0)) == (11.0, 10.0)


def test_a_change_of_the_limits_holds_for_the_next_one() -> None:
    limits = Limits(account=Rate(10.0, 1))
    pace = Pace(lambda: limits)
    pace.take("a", 0.0)
    assert pace.at("a", 1.0) == 10.0
    limits = Limits(account=Rate(10.0, 3))
    assert pace.at("a", 1.0) == 1.0
    limits = Limits()
    assert pace.at("a", 1.0) == 1.0


def test_conversations_are_forgotten_when_that_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace_module, "FORGET_AT", 10)
    pace = Pace(lambda: Limits(conversation=Rate(1.0, 1)))
    for number in range(100):
        pace.take(f"conversation {number}", number / 20)
    assert len(pace._conversations) <= 30, "as many as went in the last second, and some"
    assert pace.at("conversation 99", 99 / 20) == pytest.approx(99 / 20 + 1)
    waits = Counter(pace.at(f"conversation {number}", 99 / 20) > 99 / 20 for number in range(100))
    assert waits[True] == 20
