"""What is run to hold the promises, and how the figure is read from what it said."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """A command of the project. `read` makes a sentence of its output, or of the file `result` that it writes.

    Raises ValueError where a promise was found broken: a page of promises has no place for that.
    """

    name: str
    command: str
    read: Callable[[str], str]
    result: str = ""


def _explored(text: str) -> str:
    found = json.loads(text)
    _demand(found["complete"] and not found["broken"], "a promise is broken, or the exploration was cut short")
    return f"{found['states']:,} states and {found['edges']:,} moves visited in {found['seconds']} s, 0 promises broken"


def _spun(text: str) -> str:
    size = re.search(r"(\d+) states, (\d+) transitions", text)
    verdicts = re.findall(r"^(.+): (holds|broken|violated)$", text, re.MULTILINE)
    _demand(
        size is not None and bool(verdicts) and all(v == "holds" for _, v in verdicts), "Spin found a promise broken"
    )
    assert size is not None
    return f"Spin: {int(size[1]):,} states, {int(size[2]):,} transitions, {len(verdicts)} promises hold"


def _simulated(text: str) -> str:
    found = json.loads(text)
    _demand(not found["failed"], f"seeds {list(found['failed'])[:5]} failed")
    rate = found["schedules"] / found["seconds"] * 60
    faults = sum(found["faults"].values())
    return f"{found['schedules']:,} schedules with {faults:,} faults in them, 0 violations ({rate:,.0f} a minute)"


def _chaotic(text: str) -> str:
    found = json.loads(text)
    _demand(not found["violated"], f"{found['violated']} violations")
    return (
        f"{found['minutes']:g} minutes, seed {found['seed']}: {sum(found['doings'].values()):,} doings, "
        f"{sum(found['faults'].values()):,} faults, {found['processes']} processes, {found['restarts']} restarts, "
        f"{found['generations']:,} generations, {found['polls']:,} polls, {found['overlaps']} overlaps, "
        f"{found['own_409s']} conflicts of our own making, 0 violations"
    )


def _mutated(text: str) -> str:
    (line,) = re.findall(r"^\d+ mutants: .*$", text, re.MULTILINE)
    _demand(line.endswith(" 0 alive"), line)
    return str(line)


def _tested(text: str) -> str:
    found = re.search(r"(\d+) passed", text)
    _demand(found is not None and "failed" not in text and "skipped" not in text, "not every test passed")
    assert found is not None
    return f"{found[1]} tests passed" if found[1] != "1" else "1 test passed"


def _demand(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)


def _tests(name: str, where: str) -> Check:
    return Check(name, f"python -m pytest -q -p no:cacheprovider {where}", _tested)


CHECKS: dict[str, Check] = {
    check.name: check
    for check in (
        Check("explore, 3 accounts", "python -m statemachine explore --channels 3 --json", _explored),
        Check("explore, 5 accounts", "python -m statemachine explore --channels 5 --json", _explored),
        Check(
            "explore, 1 account, 3 things", "python -m statemachine explore --channels 1 --budget 3 --json", _explored
        ),
        Check("explore, changes", "python -m statemachine explore --channels 1 --confirm --json", _explored),
        Check("explore, exec", "python -m statemachine explore --channels 2 --restart exec --rivals --json", _explored),
        Check("explore, exit", "python -m statemachine explore --channels 1 --restart exit --json", _explored),
        Check("explore, leases", "python -m statemachine explore --channels 1 --shared --json", _explored),
        Check("explore, hosts", "python -m statemachine explore --hosts --json", _explored),
        Check("explore, messages", "python -m statemachine explore --messages --json", _explored),
        Check("Spin", "python -m statemachine promela --check", _spun),
        Check("Spin, exec", "python -m statemachine promela --check --restart exec", _spun),
        Check("simulation", "python -m tests.simulation --seeds 20000 --json", _simulated),
        Check("chaos", "python -m tests.chaos --minutes 60 --json chaos.json", _chaotic, "chaos.json"),
        Check("mutants", "python -m tests.mutation", _mutated),
        _tests("founding race", "tests/founding"),
        _tests(
            "founding case, real process",
            "tests/real/test_founding_case.py tests/real/test_failed_reloads.py tests/real/test_bursts.py "
            "tests/real/test_restart_tickets.py tests/real/test_accounts.py",
        ),
        _tests(
            "restarts, real process", "tests/real/test_exec.py tests/real/test_restarts.py tests/real/test_signals.py"
        ),
        _tests("hosts", "tests/gateway/process/test_leases.py tests/real/test_leases.py"),
        _tests(
            "session starts",
            "tests/gateway/channels/test_sessions.py tests/gateway/process/test_session_starts.py tests/real/test_session_starts.py",
        ),
        _tests("webhook, real process", "tests/real/test_webhook.py"),
        _tests("transactions", "tests/real/test_transactions.py"),
        _tests("writers", "tests/real/test_writers.py"),
        _tests("killed writes", "tests/real/test_kills.py"),
        _tests("planted bugs", "tests/simulation"),
        _tests("rows", "tests/gateway/process/test_rows.py"),
        _tests("replay", "tests/replay"),
        _tests("fuzz", "tests/fuzz"),
        _tests("redaction", "tests/gateway/test_redact.py tests/gateway/test_log.py"),
        _tests("canaries", "tests/real/test_canary.py tests/real/test_secrets.py"),
        _tests("holes", "tests/gateway/admin/test_holes.py"),
    )
}
