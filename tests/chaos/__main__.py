"""`python -m tests.chaos --minutes 60 [--seed N] [--json FILE]`; ends with 1 when a promise was not kept."""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import sys
import tempfile
from pathlib import Path

from tests.chaos.report import summary, table, violations
from tests.chaos.run import Order, run


def main() -> int:
    parser = argparse.ArgumentParser(description="Chaos on the real gateway, with a referee outside.")
    parser.add_argument("--minutes", type=float, default=60.0, help="for how long")
    parser.add_argument("--seed", type=int, help="what is done is chosen by it; when exactly, by the machine as well")
    parser.add_argument(
        "--restart", choices=("auto", "in_process"), default="auto", help="how it restarts (%(default)s)"
    )
    parser.add_argument("--json", type=Path, help="write the figures there too")
    given = parser.parse_args()
    seed = random.randrange(1_000_000) if given.seed is None else given.seed
    # So that whoever ends it leaves no process and no mount behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    print(f"chaos for {given.minutes:g} minutes, seed {seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        order = Order(given.minutes * 60, seed, restart=given.restart)
        outcome = asyncio.run(run(order, Path(folder), lambda line: print(line, flush=True)))
    world = outcome.world
    print(f"\n{table(world)}")
    if given.json:
        given.json.write_text(json.dumps(summary(world), indent=2) + "\n")
    if world.record.violated:
        print(f"\n{violations(world)}\n\nagain: python -m tests.chaos --minutes {given.minutes:g} --seed {seed}")
    return 1 if world.record.violated else 0


if __name__ == "__main__":
    sys.exit(main())
