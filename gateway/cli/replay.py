"""`gateway replay`: run an exported journal through the tables, and say whether they lead where they led."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from gateway.cli.exits import EXIT_FAILED, EXIT_OK, EXIT_USAGE, complain
from gateway.cli.plain import say, say_json
from gateway.export import FORMAT
from statemachine import MACHINES
from statemachine.describe import digest
from statemachine.replay import Difference, Recorded, RecordError, Replay, recorded

EXPORT = "ask the gateway for it anew: GET /api/v1/journal?format=jsonl"


class Header(msgspec.Struct, frozen=True):
    """The first line of the file."""

    format: int
    gateway: str
    boot: str
    machines: dict[str, str]
    machine: str | None
    entries: int
    cut: bool


class UnreadableError(Exception):
    """The file is no whole journal; the message names the line."""


def replay(path: Path, *, as_json: bool = False) -> int:
    """Print what came of it; 1 where the tables lead elsewhere, 2 where the file cannot be read."""
    try:
        report = run(path)
    except UnreadableError as error:
        complain(f"{path}: {error}")
        return EXIT_USAGE
    say_json(report) if as_json else say(in_words(report))
    return EXIT_FAILED if report["difference"] else EXIT_OK


def run(path: Path) -> dict[str, Any]:
    """Replay a file until its end or the first difference. Raises UnreadableError."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableError(f"cannot be read: {error}") from error
    header = _header(lines)
    changed = [kind.kind for kind in MACHINES if header.machines.get(kind.kind) != digest(kind)]
    replay = Replay(frozenset(kind.kind for kind in MACHINES) - {*changed}, whole=not header.cut)
    difference: Difference | None = None
    for number, entry in _entries(header, lines):
        try:
            difference = replay.take(entry)
        except RecordError as error:
            raise UnreadableError(f"line {number}: {error}") from error
        if difference is not None:
            break
    return _report(header, replay, changed, difference)


def _header(lines: list[str]) -> Header:
    try:
        header = msgspec.json.decode(lines[0] if lines else "", type=Header)
    except (msgspec.DecodeError, RecursionError) as error:
        raise UnreadableError(f"line 1: no header of an exported journal ({error}); {EXPORT}") from error
    if header.format != FORMAT:
        raise UnreadableError(f"line 1: format {header.format}, and this gateway reads {FORMAT}")
    return header


def _entries(header: Header, lines: list[str]) -> Iterator[tuple[int, Recorded]]:
    """Each entry with the number of its line; a missing one is found by its number."""
    before: int | None = None
    for number, line in enumerate(lines[1:], 2):
        try:
            entry = recorded(json.loads(line))
        except (ValueError, RecursionError) as error:
            raise UnreadableError(f"line {number}: no JSON, cut off perhaps ({error}); {EXPORT}") from error
        except RecordError as error:
            raise UnreadableError(f"line {number}: {error}") from error
        if before is not None and (entry.seq <= before or (header.machine is None and entry.seq != before + 1)):
            raise UnreadableError(
                f"line {number}: entry {entry.seq} follows entry {before}: lines are missing or moved"
            )
        before = entry.seq
        yield number, entry
    if len(lines) - 1 != header.entries:
        found = f"{len(lines) - 1} entries where the header says {header.entries}"
        raise UnreadableError(f"line {len(lines)}: the file is cut off: {found}; {EXPORT}")


def _report(header: Header, replay: Replay, changed: list[str], difference: Difference | None) -> dict[str, Any]:
    return {
        "gateway": header.gateway,
        "boot": header.boot,
        "cut": header.cut,
        "other_tables": changed,
        "steps": replay.steps,
        "refusals": replay.refusals,
        "states": {name: machine.state.value for name, machine in replay.machines.items()},
        "difference": difference and {**dataclasses.asdict(difference), "words": str(difference)},
    }


def in_words(report: dict[str, Any]) -> str:
    """The report for a person."""
    lines = [f"journal of gateway {report['gateway']}, boot {report['boot']}"]
    if report["cut"]:
        lines.append("its beginning is not in the file: each machine is replayed from where it stood then")
    if report["other_tables"]:
        changed = ", ".join(report["other_tables"])
        lines.append(f"recorded with another table of: {changed}; states are compared, the numbers of its rows are not")
    machines = report["states"]
    lines.append(f"{len(machines)} machines, {report['steps']} steps, {report['refusals']} refusals")
    lines += [f"  {name}: {state}" for name, state in machines.items()]
    if report["difference"]:
        lines.append(f"the tables lead elsewhere: {report['difference']['words']}")
    else:
        lines.append("the tables lead to the same states")
    return "\n".join(lines)
