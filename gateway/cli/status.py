"""`gateway status`: where everything is, once or as it goes on. Whoever watches a restart goes on watching afterwards."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from gateway.cli import status_text
from gateway.cli.asking import asked
from gateway.cli.client import CallError, Client, UnreachableError
from gateway.cli.exits import EXIT_OK, complain, on_terminal
from gateway.cli.plain import say, say_json
from gateway.cli.progress import LOOK_EVERY

PAGE = 1_000
"""Outgoing messages that are counted at the most."""


class Look(NamedTuple):
    """What was seen, how many messages wait to go out by each account, and why nothing newer was seen."""

    status: dict[str, Any]
    queues: Mapping[str, int]
    trouble: str = ""


def status(config: Path, state_dir: Path, *, watch: bool, as_json: bool) -> int:
    """Say it; watched, until it is interrupted."""
    drawn = on_terminal(sys.stdout) and not as_json

    def once(client: Client) -> int:
        seen = _look(client, queues=drawn)
        if drawn:
            _draw(seen)
        else:
            say_json(seen.status) if as_json else say(status_text.status(seen.status))
        return EXIT_OK

    def again_and_again(client: Client) -> int:
        looks = _looks(client, config, state_dir, queues=drawn)
        with suppress(KeyboardInterrupt):  # whoever watched has seen enough
            _redraw(looks) if drawn else _repeat(looks) if as_json else _tell_changes(looks)
        return EXIT_OK

    return asked(config, state_dir, again_and_again if watch else once, as_json=as_json)


def _look(client: Client, *, queues: bool) -> Look:
    answer = client.call("GET", "/api/v1/status")
    if not queues or not answer["pending"]["outbox"]:
        return Look(answer, {})
    from gateway.cli import tables  # noqa: PLC0415 - a pipe has none

    return Look(answer, tables.queues(client.call("GET", "/api/v1/outbox", limit=PAGE)["deliveries"]))


def _looks(client: Client, config: Path, state_dir: Path, *, queues: bool) -> Iterator[Look]:
    """Without an end. The first must be had; later the gateway may be away for a while, and come back elsewhere."""
    seen = _look(client, queues=queues)
    while True:
        yield seen
        time.sleep(LOOK_EVERY)
        try:
            client = Client(config, state_dir) if seen.trouble else client
            seen = _look(client, queues=queues)
        except (CallError, UnreachableError) as error:
            seen = seen._replace(trouble=str(error))


def _draw(seen: Look) -> None:
    from gateway.cli import tables, terminal  # noqa: PLC0415 - a pipe has none

    terminal.screen().print(tables.status(seen.status, seen.queues))


def _redraw(looks: Iterator[Look]) -> None:
    """In place; the last look stays when it is interrupted."""
    from rich.live import Live  # noqa: PLC0415 - a pipe has none

    from gateway.cli import tables, terminal  # noqa: PLC0415

    with Live(console=terminal.screen(), auto_refresh=False) as live:
        for seen in looks:
            live.update(tables.status(seen.status, seen.queues, seen.trouble), refresh=True)


def _repeat(looks: Iterator[Look]) -> None:
    for seen in looks:
        if not seen.trouble:
            say_json(seen.status)


def _tell_changes(looks: Iterator[Look]) -> None:
    """All of it once, and then a line for whatever is different."""
    before = next(looks)
    say(status_text.status(before.status))
    for seen in looks:
        if seen.trouble != before.trouble:
            complain(seen.trouble or "it answers again")
        for line in status_text.moved(before.status, seen.status):
            say(line)
        before = seen
