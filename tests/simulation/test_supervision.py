"""Silence, a poll that hangs and a host that sleeps, with the real Telegram client: one schedule each, written by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.channels.telegram import STALL_MARGIN
from gateway.channels.telegram_receiver import ANSWER_MARGIN
from gateway.journal import Entry
from tests.simulation.play import Result, play
from tests.simulation.schedule import BOTS, Action, Schedule

ACCOUNT = "      {name}: {{token: '{bot}:secret-{name}', api_base: 'https://api.example', poll_timeout_s: 30}}\n"
CONFIG = "handlers: {echo: {type: echo}}\nroutes: [{handler: echo}]\nchannels:\n  telegram:\n    accounts:\n" + "".join(
    ACCOUNT.format(name=name, bot=BOTS[name]) for name in ("one", "two")
)
ONE, TWO = "telegram/one", "telegram/two"
DAY = 86_400.0
WITHIN = 30 + ANSWER_MARGIN + STALL_MARGIN


def carried_out(folder: Path, *actions: Action, seed: int = 1) -> Result:
    result = play(Schedule(seed, CONFIG, CONFIG, actions), folder / "house")
    assert result.violations == []
    return result


def moves(result: Result, account: str) -> list[Entry]:
    """But for those of the end, when the gateway is stopped."""
    found = [entry for entry in result.entries if entry.machine == account and entry.kind == "step"]
    assert [entry.trigger for entry in found[-2:]] == ["stop", "receiver_ended"]
    return found[:-2]


def test_case_49_24_hours_of_silence_on_an_account_restart_nothing(tmp_path: Path) -> None:
    """In the end it is asked whether it is there, and answers: the judge says so."""
    result = carried_out(tmp_path, Action(DAY, "hint"))
    for account in (ONE, TWO):
        assert [entry.trigger for entry in moves(result, account)] == ["start", "receiver_ready"]


@pytest.mark.parametrize("seed", range(5))
def test_a_poll_that_hangs_without_an_error_is_replaced_within_its_watchdog_once(tmp_path: Path, seed: int) -> None:
    """Its reader sits on an answer that has come, and does not mind being told to end: not even its own time limit does it."""
    bot = BOTS["one"]
    hold = {"kind": "hold", "bot": bot, "method": "getUpdates", "count": 1, "seconds": DAY}
    result = carried_out(
        tmp_path, Action(5.0, "fault", hold), Action(40.0, "say", {"bot": bot, "text": "held"}), Action(3600.0, "hint"),
        seed=seed,
    )  # fmt: skip
    found = moves(result, ONE)
    assert [(entry.trigger, entry.after) for entry in found] == [
        ("start", "starting"),
        ("receiver_ready", "running"),
        ("receiver_stalled", "stopping"),
        ("stop_overdue", "stop_overdue"),
        ("receiver_fenced", "backoff"),
        ("retry_due", "starting"),
        ("receiver_ready", "running"),
    ]
    stalled = found[2]
    last_receive = min(entry.at for entry in found) + 35_000
    """A long poll ended at about then: the one that hangs was the next."""
    assert WITHIN * 1000 - 10_000 < stalled.at - last_receive < WITHIN * 1250 + 10_000
    assert [entry.trigger for entry in moves(result, TWO)] == ["start", "receiver_ready"]


@pytest.mark.parametrize(("seconds", "clock"), [(3600.0, "the host's stands still"), (100.0, "the process' goes on")])
def test_case_51_a_sleep_restarts_what_runs_and_leaves_what_a_person_stopped(
    tmp_path: Path, seconds: float, clock: str
) -> None:
    result = carried_out(
        tmp_path, Action(10.0, "channel", {"account": "two", "verb": "stop"}), Action(20.0, "stall", {"seconds": seconds}),
        Action(seconds + 200.0, "hint"),
    )  # fmt: skip
    assert result.faults["suspended"] == (clock == "the host's stands still")
    one = moves(result, ONE)
    assert [entry.trigger for entry in one] == [
        "start",
        "receiver_ready",
        "host_woke",
        "receiver_ended",
        "receiver_ready",
    ]
    assert one[-1].at - one[2].at < 2_000, "at once"
    two = [entry for entry in result.entries if entry.machine == TWO and entry.kind == "step"]
    assert [(entry.trigger, entry.after) for entry in two[2:5]] == [
        ("stop", "stopping"),
        ("receiver_ended", "stopped"),
        ("host_woke", "stopped"),
    ]
    assert {entry.after for entry in two[5:]} <= {"stopped"}


def test_a_clock_that_is_set_forward_or_back_is_no_sleep_and_no_stall(tmp_path: Path) -> None:
    jumps = [
        Action(100.0 * number, "wall clock", {"seconds": by}) for number, by in enumerate((DAY, -2 * DAY, 7200.0), 1)
    ]
    result = carried_out(tmp_path, *jumps, Action(1000.0, "hint"))
    for account in (ONE, TWO):
        assert [entry.trigger for entry in moves(result, account)] == ["start", "receiver_ready"]


def test_when_another_poller_leaves_it_receives_again_within_one_wait(tmp_path: Path) -> None:
    result = carried_out(
        tmp_path, Action(100.0, "stranger", {"bot": BOTS["one"], "seconds": 300.0}), Action(600.0, "hint")
    )
    found = moves(result, ONE)
    conflicts = [entry for entry in found if entry.after == "conflict"]
    assert len(conflicts) > 3
    (over,) = [entry for entry in found if entry.trigger == "conflict_over"]
    last = [entry for entry in found if entry.after == "running" and entry.before == "starting"][-1]
    left = found[0].at + 400_000
    assert last.at - left <= 35_000 + 1_000
    assert over.at - last.at <= 35_000 + 1_000
    assert [entry.trigger for entry in moves(result, TWO)] == ["start", "receiver_ready"]
