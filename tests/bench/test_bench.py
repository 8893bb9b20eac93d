"""That the bench runs and writes what it should; how long anything took is nobody's business here."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.bench.numbers import summary
from tests.bench.reference import EDIT, LIVE, NOTHING, PATCH, SERIES, Span
from tests.bench.scale import APPLY, FILE
from tests.bench.scale import PATCH as ONE_PATCH
from tests.bench.table import table, times
from tests.bench.writes import SIZE
from tests.real.process import ROOT

SUMMARY = {"median", "p95", "least", "most"}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    """One smoke run: its output and its file."""
    file = tmp_path_factory.mktemp("bench") / "bench.json"
    return asyncio.run(run_smoke(file)), json.loads(file.read_text())


async def run_smoke(file: Path) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench", "--smoke", "--json", str(file),
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return output.decode()


def test_every_kind_of_change_is_measured_idle_and_under_traffic(ran: tuple[str, dict[str, Any]]) -> None:
    rows = ran[1]["reload"]
    kinds = [NOTHING, PATCH, LIVE, EDIT, SERIES]
    assert [(row["traffic"], row["change"]) for row in rows] == [(t, k) for t in ("idle", "traffic") for k in kinds]
    for row in rows:
        assert all(row[key].keys() == SUMMARY for key in ("answer_ms", "longest_ms", "total_ms", "window_ms"))
        assert (row["pushed"] > 0) == (row["traffic"] == "traffic")


def test_a_change_restarts_the_account_as_often_as_its_kind_says(ran: tuple[str, dict[str, Any]]) -> None:
    expected = {NOTHING: 0, PATCH: 1, LIVE: 0, EDIT: 1, SERIES: ran[1]["about"]["counts"]["in_series"]}
    assert all(row["account_restarts"] == expected[row["change"]] for row in ran[1]["reload"])


def test_nothing_meets_and_nothing_is_lost(ran: tuple[str, dict[str, Any]]) -> None:
    for row in ran[1]["reload"]:
        assert (row["overlaps"], row["conflicts"], row["lost"], row["doubled"]) == (0, 0, 0, 0), row
    for row in ran[1]["restart"]:
        assert (row["overlaps"], row["conflicts"], row["errors"]) == (0, 0, 0), row


def test_idle_start_and_restart_are_measured(ran: tuple[str, dict[str, Any]]) -> None:
    _, results = ran
    assert [row["program"] for row in results["idle"]] == ["gateway", "bare poll loop"]
    assert all(row["rss_mb"] >= row["uss_mb"] > 0 for row in results["idle"])
    assert all(results["start"][key].keys() == SUMMARY for key in ("gateway_ms", "bare_ms", "gateway_ready_ms"))
    assert results["start"]["ratio"] > 0
    for row in results["restart"]:
        assert row["visits"] > 0
        assert row["stall_ms"].keys() == SUMMARY


def test_one_of_many_is_measured_by_every_road_and_the_others_are_left_alone(ran: tuple[str, dict[str, Any]]) -> None:
    rows = ran[1]["scale"]
    assert [row["change"] for row in rows] == [FILE, APPLY, ONE_PATCH]
    for row in rows:
        assert all(
            row[f"{who}_{what}"].keys() == SUMMARY for who in ("one", "many") for what in ("poll_ms", "answer_ms")
        )
        assert (row["interrupted"], row["overlaps"]) == (0, 0)


def test_pings_are_measured_while_a_long_config_is_written(ran: tuple[str, dict[str, Any]]) -> None:
    written = ran[1]["writes"]
    assert all(written[key].keys() == SUMMARY for key in ("answer_ms", "longest_ping_ms", "quiet_ping_ms"))
    assert written["bytes"] == SIZE


def test_messages_are_measured_by_both_programs_in_turn(ran: tuple[str, dict[str, Any]]) -> None:
    rows = ran[1]["messages"]
    assert [row["program"] for row in rows] == ["gateway", "bare echo loop"]
    assert all(row[key] > 0 for row in rows for key in ("per_s", "cpu_ms", "p50_ms", "p99_ms"))


def test_the_page_is_measured_beside_a_bare_one(ran: tuple[str, dict[str, Any]]) -> None:
    page = ran[1]["page"]
    assert all(page[key].keys() == SUMMARY for key in ("gateway_ms", "bare_ms"))
    assert page["ratio"] > 0


def test_the_table_has_its_parts(ran: tuple[str, dict[str, Any]]) -> None:
    for part in (
        "RELOAD",
        "IDLE",
        "COLD START",
        "RESTART",
        "patch, traffic",
        "target",
        "ONE OF",
        "BYTES IS WRITTEN",
        "ECHO",
        "THE PAGE",
    ):
        assert part in ran[0]


def test_a_summary_takes_the_nearest_rank() -> None:
    assert summary([float(each) for each in range(1, 21)]) == {"median": 10.5, "p95": 19.0, "least": 1.0, "most": 20.0}
    assert summary([3.0]) == {"median": 3.0, "p95": 3.0, "least": 3.0, "most": 3.0}


def test_columns_line_up() -> None:
    assert table(("a", "b"), [("long", "1"), ("x", "22")]) == "a      b\n----  --\nlong   1\nx     22"


def test_a_ratio_needs_both_sides() -> None:
    assert times(Span(100, 200), 2.0) == "50-100x"
    assert (times(None, 2.0), times(Span.of(3), 0.0)) == ("-", "-")
