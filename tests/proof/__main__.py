"""`python -m tests.proof`: run the checks, keep their figures in docs/figures.json, and write docs/promises.md.

Without names every check is run (over an hour, for the chaos); `--take FILE` reads one check's output of an earlier run.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.proof.checks import CHECKS, Check
from tests.proof.page import page

ROOT = Path(__file__).resolve().parents[2]
FIGURES = ROOT / "docs" / "figures.json"
PAGE = ROOT / "docs" / "promises.md"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.proof", description=__doc__)
    parser.add_argument("checks", nargs="*", metavar="CHECK", help=f"one of: {', '.join(CHECKS)}")
    parser.add_argument("--take", type=Path, metavar="FILE", help="the output of the one check that is named")
    given = parser.parse_args()
    unknown = [name for name in given.checks if name not in CHECKS]
    if unknown or (given.take and len(given.checks) != 1):
        parser.error(f"no check {', '.join(unknown)}" if unknown else "--take needs one check")
    broken = 0
    for name in given.checks or CHECKS:
        check = CHECKS[name]
        print(f"{name}: {check.command}", file=sys.stderr, flush=True)
        try:
            said = given.take.read_text(encoding="utf-8") if given.take else _run(check)
            _keep(name, check.read(said))
        except ValueError as error:
            print(f"{name}: {error}", file=sys.stderr)
            broken = 1
    PAGE.write_text(page(kept()), encoding="utf-8")
    return broken


def kept() -> dict[str, Any]:
    """The figures of the last runs, by check."""
    found: dict[str, Any] = json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.exists() else {}
    return found


def _keep(name: str, figure: str) -> None:
    today = dt.datetime.now(tz=dt.UTC).date().isoformat()
    figures = kept() | {name: {"figure": figure, "on": today}}
    FIGURES.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print(f"  {figure}", file=sys.stderr, flush=True)


def _run(check: Check) -> str:
    """The check's output; progress and stories go to standard error as they come."""
    command = [sys.executable, *shlex.split(check.command)[1:]]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise ValueError(f"it ended with {done.returncode}:\n{done.stdout[-2000:]}")
    return (ROOT / check.result).read_text(encoding="utf-8") if check.result else done.stdout


if __name__ == "__main__":
    sys.exit(main())
