"""Which rows and refusals of the tables the tests fired: a table on the terminal, and a picture of each machine.

`make machine-coverage`, or `pytest -p tests.machine_coverage --machine-coverage FOLDER`. Told apart are
the running service (a dispatcher that owns a lifecycle, as `gateway.app` builds it, or a real process, by its log)
and the tables alone (whoever else fires a machine).
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gateway.dispatcher import Dispatcher
from gateway.process.changes import LIFECYCLE
from statemachine import MACHINES, Change, Channel, Lifecycle, Machine, Refusal, Step, replay
from statemachine._machine import Row, cells
from statemachine.describe import MachineClass, group_name
from statemachine.diagram import Look, RowLook, svg
from statemachine.errors import DrawingError

SERVICE, TABLES, NEVER = "#9bd58f", "#ffd56b", "#ff9a8f"
LEGEND = (
    (SERVICE, "fired by the running service; behind each event: how often by it + by tests of the tables"),
    (TABLES, "fired by tests of the tables only"),
    (NEVER, "never fired"),
)


@dataclass
class Tally:
    """How often each row was taken, by kind and number, and each event refused, by kind, state and trigger."""

    rows: Counter[tuple[str, int]] = field(default_factory=Counter)
    refusals: Counter[tuple[str, str, str]] = field(default_factory=Counter)

    def add(self, kind: str, result: Step | Refusal) -> None:
        if isinstance(result, Step):
            self.rows[kind, result.row] += 1
        else:
            self.refusals[kind, result.state, result.trigger] += 1

    def add_log(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """What a real process logged of its steps and refusals."""
        for line in lines:
            if "machine" not in line or "trigger" not in line:
                continue
            kind = _kind(line["machine"])
            if "row" in line:
                self.rows[kind, line["row"]] += 1
            elif line["event"] == "refused":
                self.refusals[kind, line["state"], line["trigger"]] += 1


def _kind(machine: str) -> str:
    """What a machine of this name is."""
    if machine == LIFECYCLE:
        return Lifecycle.kind
    return Change.kind if machine.startswith(f"{Change.kind}/") else Channel.kind


class Collector:
    """Looks on while machines are fired, from `start` to `stop`."""

    def __init__(self) -> None:
        self.service = Tally()
        self.tables = Tally()
        self._tally: Tally | None = self.tables
        self._read: Counter[Path] = Counter()
        self._patch = pytest.MonkeyPatch()

    def start(self) -> None:
        fire, dispatch, again = Machine.fire, Dispatcher._fire, replay._fire

        def watched_fire(machine: Machine[Any, Any], event: Any) -> Step | Refusal:
            result = fire(machine, event)
            if self._tally is not None and type(machine) in MACHINES:
                self._tally.add(machine.kind, result)
            return result

        def watched_dispatch(dispatcher: Dispatcher, posted: Any) -> Step | Refusal:
            is_service = isinstance(dispatcher._machines.get(LIFECYCLE), Lifecycle)
            with self._counting(self.service if is_service else self.tables):
                return dispatch(dispatcher, posted)

        def unwatched(machine: Any, entry: Any) -> Any:
            with self._counting(None):  # it was counted when it happened
                return again(machine, entry)

        self._patch.setattr(Machine, "fire", watched_fire)
        self._patch.setattr(Dispatcher, "_fire", watched_dispatch)
        self._patch.setattr(replay, "_fire", unwatched)

    @contextlib.contextmanager
    def _counting(self, tally: Tally | None) -> Iterator[None]:
        self._tally, before = tally, self._tally
        try:
            yield
        finally:
            self._tally = before

    def stop(self) -> None:
        self._patch.undo()

    def read_log(self, path: Path, lines: list[dict[str, Any]]) -> None:
        """Those that were not read before: several processes may write into one file, one after the other."""
        self.service.add_log(lines[self._read[path] :])
        self._read[path] = len(lines)


COLLECTOR: Collector | None = None
"""The one of this run of the tests, if it was asked for."""


def note_log(path: Path, lines: list[dict[str, Any]]) -> None:
    """A real process has ended, and this is its log."""
    if COLLECTOR is not None:
        COLLECTOR.read_log(path, lines)


# What it says


def refusable(machine: MachineClass) -> Iterator[tuple[str, str]]:
    """Every state and trigger that may be refused: it has no row there, or only rows with guards."""
    for state, event, rows in cells(machine):
        if all(machine.table[number].guards for number in rows):
            yield state.value, event.trigger


def row_line(machine: MachineClass, row: Row[Any]) -> str:
    guards = f" [{' & '.join(row.guards)}]" if row.guards else ""
    dest = f" --> {row.dest.name}" if row.dest else ""
    return f"{group_name(machine, row.sources)}{dest}: {row.on.trigger}{guards}"


def missing(machine: MachineClass, tally: Tally) -> list[str]:
    """The rows that were not taken, in words."""
    return [
        f"{machine.kind} row {number}: {row_line(machine, row)}"
        for number, row in enumerate(machine.table)
        if not tally.rows[machine.kind, number]
    ]


def table(machine: MachineClass, service: Tally, tables: Tally) -> list[str]:
    """The lines for the terminal."""
    lines = [f"{machine.kind}: {'row':>3} {'service':>8} {'tables':>8}"]
    for number, row in enumerate(machine.table):
        key = machine.kind, number
        counts = f"{service.rows[key] or 'NEVER':>8} {tables.rows[key] or '-':>8}"
        lines.append(f"{' ' * len(machine.kind)}  {number:>3} {counts}  {row_line(machine, row)}")
    lines.append(f"{machine.kind}: refused events, of those that a state may refuse")
    lines += [f"  {state.name}: {words}" for state, words in refused(machine, service, tables).items()]
    return lines


def refused(machine: MachineClass, service: Tally, tables: Tally) -> dict[Any, str]:
    """Of each state, how many of the events that it may refuse it has refused, and to whom."""
    words = {}
    for state in machine.states:
        keys = [(machine.kind, *cell) for cell in refusable(machine) if cell[0] == state.value]
        fired = [key for key in keys if service.refusals[key]]
        only = [key for key in keys if tables.refusals[key] and not service.refusals[key]]
        never = len(keys) - len(fired) - len(only)
        words[state] = (
            f"refused: {len(fired)} by the service, {len(only)} by tables only, {never} never, of {len(keys)}"
        )
    return words


def look(machine: MachineClass, service: Tally, tables: Tally) -> Look:
    rows = {}
    for number in range(len(machine.table)):
        by_service, by_tables = service.rows[machine.kind, number], tables.rows[machine.kind, number]
        colour = SERVICE if by_service else TABLES if by_tables else NEVER
        rows[number] = RowLook(colour, f"{by_service} + {by_tables}")
    return Look(rows, refused(machine, service, tables), LEGEND)


def as_data(service: Tally, tables: Tally) -> dict[str, Any]:
    """All of it, for a program."""
    return {
        machine.kind: {
            "rows": [
                {
                    "row": number,
                    "words": row_line(machine, row),
                    "service": service.rows[machine.kind, number],
                    "tables": tables.rows[machine.kind, number],
                }
                for number, row in enumerate(machine.table)
            ],
            "refusals": [
                {
                    "state": state,
                    "trigger": trigger,
                    "service": service.refusals[machine.kind, state, trigger],
                    "tables": tables.refusals[machine.kind, state, trigger],
                }
                for state, trigger in refusable(machine)
            ],
        }
        for machine in MACHINES
    }


def write(folder: Path, service: Tally, tables: Tally) -> list[str]:
    """The data, and a picture of each machine where Graphviz is there; the names of the files, or why there is none."""
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / "machines.json"
    data.write_text(json.dumps(as_data(service, tables), indent=1) + "\n")
    written = [str(data)]
    for machine in MACHINES:
        path = folder / f"{machine.kind}.svg"
        try:
            path.write_bytes(svg(machine, look(machine, service, tables)))
        except DrawingError as error:
            return [*written, str(error)]
        written.append(str(path))
    return written


# The plugin


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--machine-coverage", type=Path, metavar="FOLDER", help="say which rows of the tables were fired")


def pytest_configure(config: pytest.Config) -> None:
    global COLLECTOR  # noqa: PLW0603 - one a run, and the tests' processes must find it
    if config.getoption("--machine-coverage"):
        COLLECTOR = Collector()
        COLLECTOR.start()


def pytest_unconfigure() -> None:
    if COLLECTOR is not None:
        COLLECTOR.stop()


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if COLLECTOR is None:
        return
    terminalreporter.section("machine coverage")
    for machine in MACHINES:
        for line in table(machine, COLLECTOR.service, COLLECTOR.tables):
            terminalreporter.write_line(line)
    for path in write(config.getoption("--machine-coverage"), COLLECTOR.service, COLLECTOR.tables):
        terminalreporter.write_line(path)
