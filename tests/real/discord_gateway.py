"""A gateway with a network more that counts how often a session is started: see `tests/fakes/discord_adapter.py`.

`python -m tests.real.discord_gateway` takes what `python -m gateway` takes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from gateway.cli.run import run
from tests.fakes.discord_adapter import DiscordAdapter


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, default=Path("gateway.yaml"))
    parser.add_argument("--state-dir", type=Path, default=Path(".gateway"))
    given = parser.parse_args()
    return run(given.config.absolute(), given.state_dir.absolute(), {"discord": DiscordAdapter()})


if __name__ == "__main__":
    raise SystemExit(main())
