"""The table and the pictures of what the tests fired: counted once, by whom it was fired, and not at all by a replay."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.dispatcher import Dispatcher
from gateway.journal import Journal, log_entry
from gateway.process.changes import LIFECYCLE
from statemachine import MACHINES, Change, Channel, Event, Lifecycle, Step
from statemachine.change_events import ChangeData, ChangeProposed, ChangeWritten
from statemachine.channel import ChannelData
from statemachine.channel_events import By, ReceiverReady, Run, Start
from statemachine.lifecycle_data import LifecycleData
from statemachine.lifecycle_events import Boot, LifecyclePolicy, StopRequested
from tests.machine_coverage import NEVER, SERVICE, TABLES, Collector, Tally, look, missing, refusable, refused, table
from tests.real.process import ROOT
from tests.replay.again import replay_again
from tests.virtual import VirtualClock, run_virtual

MAIN, CHANGE = "telegram/main", "change/1"
START = Start(Run("a revision", "settings"), By.GATEWAY)
EVENTS: tuple[tuple[str, Event], ...] = (
    (MAIN, START),
    (MAIN, START),
    (MAIN, ReceiverReady(1)),
    (MAIN, ReceiverReady(7)),
    (CHANGE, ChangeProposed(writes=True, confirm=None, window=False)),
    (CHANGE, ChangeWritten(1)),
    (LIFECYCLE, Boot("a revision", LifecyclePolicy())),
    (LIFECYCLE, StopRequested("SIGTERM")),
)


def fire_all(*, lifecycle: bool) -> list[dict[str, object]]:
    """Through a dispatcher, with the lifecycle or without; then replayed. The log lines."""

    async def main() -> None:
        journal = Journal(VirtualClock())
        journal.listen(log_entry)
        dispatcher = Dispatcher(journal)
        dispatcher.add(Channel(MAIN, ChannelData()))
        dispatcher.add(Change(CHANGE, ChangeData()))
        if lifecycle:
            dispatcher.add(Lifecycle(LIFECYCLE, LifecycleData()))
        for name, event in EVENTS if lifecycle else EVENTS[:6]:
            dispatcher.post(name, event, "test")
        while not dispatcher._inbox.empty():
            dispatcher._turn(dispatcher._inbox.get_nowait())
        replay_again(journal, dispatcher)

    with capture_logs() as lines:
        run_virtual(main())
    return [dict(line) for line in lines]


@pytest.fixture
def collector() -> Collector:
    return Collector()


def collect(collector: Collector) -> None:
    collector.start()
    try:
        fire_all(lifecycle=True)
        fire_all(lifecycle=False)
        assert isinstance(Channel("a", ChannelData()).fire(START), Step)
    finally:
        collector.stop()


def test_who_fired_what(collector: Collector) -> None:
    collect(collector)
    service, tables = collector.service, collector.tables
    both = {("channel", 3): 1, ("change", 1): 1}
    assert service.rows == both | {("channel", 0): 1, ("lifecycle", 0): 1, ("lifecycle", 45): 1}
    refusals = {
        ("channel", "starting", "start"): 1,
        ("channel", "running", "receiver_ready"): 1,
        ("change", "validating", "change_written"): 1,
    }
    assert service.refusals == refusals
    assert tables.rows == both | {("channel", 0): 2}, "a dispatcher without a lifecycle is no service"
    assert tables.refusals == refusals


def test_when_it_has_stopped_nothing_is_counted_any_more(collector: Collector) -> None:
    collect(collector)
    before = collector.service.rows.total(), collector.tables.rows.total()
    fire_all(lifecycle=True)
    assert (collector.service.rows.total(), collector.tables.rows.total()) == before


def test_a_log_says_the_same_as_the_machines_themselves(collector: Collector, tmp_path: Path) -> None:
    collector.start()
    lines = fire_all(lifecycle=True)
    collector.stop()
    seen, collector.service = collector.service, Tally()
    collector.read_log(tmp_path, [*lines, {"event": "raw", "raw": "no JSON"}])
    assert collector.service == seen
    collector.read_log(tmp_path, [*lines, {"event": "raw", "raw": "no JSON"}, lines[0]])
    assert collector.service.rows["channel", 0] == 2, "what one file has more than before is new"


def test_table_and_picture(collector: Collector) -> None:
    collect(collector)
    collector.tables.rows["channel", 1] += 5
    lines = table(Channel, collector.service, collector.tables)
    assert "0        1        2  STOPPED --> STARTING: start [is_enabled & may_start]" in lines[1]
    assert "1    NEVER        5  BACKOFF, CONFLICT, SUPPRESSED, FAILED --> STARTING: start" in lines[2]
    assert "STARTING: refused: 1 by the service, 0 by tables only, 11 never, of 12" in "\n".join(lines)
    drawn = look(Channel, collector.service, collector.tables)
    assert [drawn.rows[number].colour for number in (0, 1, 4)] == [SERVICE, TABLES, NEVER]
    assert drawn.rows[0].note == "1 + 2"
    assert len(missing(Channel, collector.service)) == len(Channel.table) - 2
    assert missing(Channel, collector.service)[1].startswith("channel row 2: STARTING --> RUNNING: receiver_ready [")


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.kind)
def test_what_can_be_refused(machine: type) -> None:
    cells = set(refusable(machine))
    if machine is Channel:
        assert ("running", "stop") not in cells, "it has a row without a guard"
        assert ("stopped", "receiver_ready") in cells, "it has no row"
        assert ("stopped", "start") in cells, "its row has a guard"
    words = refused(machine, Tally(), Tally())
    assert sum(int(text.rpartition(" ")[2]) for text in words.values()) == len(cells)


def test_as_a_plugin(tmp_path: Path) -> None:
    """On a test of the virtual house and on one of a real process, whose log is read."""
    tests = [
        "tests/gateway/process/test_live.py",
        "tests/real/test_cli.py::test_the_environment_names_config_and_state_folder",
    ]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "tests.machine_coverage"]
    done = subprocess.run(
        [*command, "--machine-coverage", str(tmp_path / "out"), *tests],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0        2        -  STOPPED --> STARTING: boot" in done.stdout
    data = json.loads((tmp_path / "out" / "machines.json").read_text())
    assert [row["service"] for row in data["lifecycle"]["rows"][:3]] == [2, 0, 2]
    pytest.importorskip("pygraphviz")
    picture = (tmp_path / "out" / "channel.svg").read_text()
    for colour in (SERVICE, NEVER):
        assert colour in picture
