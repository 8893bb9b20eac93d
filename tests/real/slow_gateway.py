"""A gateway whose handlers take their time: a message `sleep 0.5 ...` is answered half a second late, with its own text.

`python -m tests.real.slow_gateway` takes what `python -m gateway` takes.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from gateway.cli.run import run
from gateway.handlers.registry import Handlers
from gateway.messages.model import Message, Reply
from gateway.process import messages


class SlowHandlers(Handlers):
    """As the text says."""

    async def handle(self, handler: str, message: Message) -> tuple[Reply, ...]:
        if message.text.startswith("sleep "):
            await asyncio.sleep(float(message.text.split()[1]))
        return await super().handle(handler, message)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, default=Path("gateway.yaml"))
    parser.add_argument("--state-dir", type=Path, default=Path(".gateway"))
    given = parser.parse_args()
    messages.Handlers = SlowHandlers  # type: ignore[attr-defined]
    return run(given.config.absolute(), given.state_dir.absolute())


if __name__ == "__main__":
    raise SystemExit(main())
