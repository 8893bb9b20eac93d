"""The journals of real processes that are kept here lead where they led: a table that was changed is held against them."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest

from gateway.cli.replay import run
from statemachine import Change
from tests.real.process import ROOT, TOKEN
from tests.replay.record import BOT, IT, JOURNALS, MAIN, SCENARIOS, record

HOLDS: dict[str, set[tuple[str, str, str]]] = {
    "founding_case": {
        ("gateway", "config_changed", "hot_reloading"),
        ("gateway", "plan_applied", "restart_pending"),
        ("gateway", "restart_ready", "restarting"),
    },
    "conflict": {(MAIN, "receiver_ended", "conflict"), (MAIN, "start", "starting")},
    "fence": {
        (IT, "stop_overdue", "stop_overdue"),
        (IT, "fence_failed", "stop_overdue"),
        (IT, "fence_due", "stop_overdue"),
        (IT, "receiver_ended", "stopped"),
        (IT, "receiver_fenced", "starting"),
    },
    "failed_reload": {("gateway", "plan_failed", "restart_pending"), ("gateway", "restarted", "running")},
    "cancel": {("gateway", "restart_cancelled", "restart_pending"), ("gateway", "restart_cancelled", "running")},
    "come_and_go": {("gateway", "config_rejected", "running"), (IT, "restart", "starting")},
    "confirm": {
        ("change", "change_confirmed", "committed"),
        ("change", "change_cancelled", "rolling_back"),
        ("change", "probation_extended", "probation"),
        ("change", "probation_over", "rolling_back"),
        ("change", "revision_settled", "rolled_back"),
    },
    "stop": {("gateway", "stop_requested", "stopping"), ("gateway", "config_changed", "hot_reloading")},
}
"""What each is kept for: machine, trigger, and the state that it led to. Changes are all called the same here."""


def steps(path: Path) -> set[tuple[str, str, str]]:
    entries = [json.loads(line) for line in path.read_text().splitlines()[1:]]
    return {(_name(entry["machine"]), entry["trigger"], entry["after"]) for entry in entries}


def _name(machine: str) -> str:
    return Change.kind if machine.startswith(f"{Change.kind}/") else machine


def test_there_is_a_journal_of_each_scenario() -> None:
    assert {path.stem for path in JOURNALS.glob("*.jsonl")} == set(SCENARIOS) == set(HOLDS)


@pytest.mark.parametrize("name", SCENARIOS)
def test_it_leads_where_it_led(name: str) -> None:
    report = run(JOURNALS / f"{name}.jsonl")
    assert report["difference"] is None, report["difference"]["words"] + "; if that is meant: make journals"
    assert report["states"]["gateway"] == "stopped"
    assert steps(JOURNALS / f"{name}.jsonl") >= HOLDS[name]


@pytest.mark.parametrize("name", SCENARIOS)
def test_what_is_kept_names_no_secret_and_no_place(name: str) -> None:
    text = (JOURNALS / f"{name}.jsonl").read_text()
    for word in (BOT, TOKEN, tempfile.gettempdir(), str(ROOT)):
        assert word not in text


@pytest.mark.parametrize("name", ["cancel", "stop"])
async def test_recorded_anew_it_replays(tmp_path: Path, name: str) -> None:
    """The way in which the kept ones were made."""
    journal = await record(name, tmp_path / name)
    report = run(journal)
    assert report["difference"] is None
    assert (report["cut"], report["other_tables"]) == (False, [])
    assert steps(journal) >= HOLDS[name]
