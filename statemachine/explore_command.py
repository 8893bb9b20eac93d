"""`python -m statemachine explore`: one exploration of the product, with its progress, its figures and its stories."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from statemachine.explore import Model, Report, explore
from statemachine.lifecycle_events import RestartBy
from statemachine.story import as_test, story
from statemachine.world import HostWorld, MessageWorld, World

IN_PROCESS = RestartBy.IN_PROCESS.value
USUAL = {"reload": True, "confirm": False, "restart_by": IN_PROCESS, "rivals": False, "shared": False}
"""What a world of accounts is where nothing else is asked for."""
OPTIONS = {
    "reload": "--reload-off", "confirm": "--confirm", "restart_by": "--restart {}", "rivals": "--rivals", "shared": "--shared",
}  # fmt: skip


def run(
    channels: int,
    budget: int,
    *,
    reload: bool = True,
    confirm: bool = False,
    messages: bool = False,
    restart_by: str = IN_PROCESS,
    rivals: bool = False,
    shared: bool = False,
    hosts: bool = False,
    limit: int | None = None,
    test: Path | None = None,
    as_json: bool = False,
) -> int:
    """Explore, print, and return the exit code; the first broken promise goes into the file `test` as well."""
    world: Model[Any]
    if messages:
        world, made, options = MessageWorld(budget), f"MessageWorld({budget})", f"--messages --budget {budget}"
    elif hosts:
        world, made, options = HostWorld(budget), f"HostWorld({budget})", f"--hosts --budget {budget}"
    else:
        world, made, options = product(
            channels, budget, reload=reload, confirm=confirm, restart_by=restart_by, rivals=rivals, shared=shared
        )
    began = time.perf_counter()

    def progress(states: int, edges: int) -> None:
        print(f"{states:,} states, {edges:,} edges, {time.perf_counter() - began:.0f} s", file=sys.stderr)

    report: Report[Any] = explore(world, limit=limit, progress=progress)
    seconds = time.perf_counter() - began
    if test is not None and report.violations:
        test.write_text(
            as_test(report.violations[0], made, f"python -m statemachine explore {options}"), encoding="utf-8"
        )
    print(_as_json(world, report, seconds) if as_json else _as_text(world, report, seconds, made))
    if report.violations:
        return 1
    return 0 if report.complete else 2


def product(channels: int, budget: int, **given: Any) -> tuple[World, str, str]:
    """The world of accounts, how it is made in Python, and the options that make it."""
    unusual = {name: value for name, value in given.items() if value != USUAL[name]}
    made = ", ".join([str(channels), f"budget={budget}", *(f"{name}={value!r}" for name, value in unusual.items())])
    options = [f"--channels {channels} --budget {budget}", *(OPTIONS[name].format(unusual[name]) for name in unusual)]
    return World(channels, budget=budget, **given), f"World({made})", " ".join(options)


def _as_text(world: Model[Any], report: Report[Any], seconds: float, made: str) -> str:
    stories = [story(world, violation) for violation in report.violations]
    reach = "all that can be reached" if report.complete else "NOT all that can be reached: the limit came first"
    verdict = f"{len(stories)} promises broken" if stories else "every promise kept"
    figures = f"{made}: {report.states:,} states, {report.edges:,} edges, {seconds:.1f} s; {reach}; {verdict}"
    return "\n\n".join([*stories, figures])


def _as_json(world: Model[Any], report: Report[Any], seconds: float) -> str:
    broken = [
        {"promise": v.promise, "story": [{"move": m.label, "world": world.tell(m.after)} for m in v.story]}
        for v in report.violations
    ]
    figures = {"states": report.states, "edges": report.edges, "seconds": round(seconds, 1)}
    return json.dumps(figures | {"complete": report.complete, "broken": broken}, indent=2)
