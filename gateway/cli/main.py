"""What `python -m gateway` understands. A gateway that is to run is told apart here, before the command line's libraries are imported."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

CONFIG, STATE_DIR = ("--config", "GATEWAY_CONFIG", "gateway.yaml"), ("--state-dir", "GATEWAY_STATE_DIR", ".gateway")
"""An option, the variable that is asked where it is not given, and what it is without either."""
COMPLETION = "_GATEWAY_COMPLETE"
"""Set by a shell that asks what may come next. It gives no arguments, as whoever starts a gateway does."""


class Places(NamedTuple):
    """Where the config file and the state folder are."""

    config: Path
    state_dir: Path


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code, testable without a process."""
    words = sys.argv[1:] if argv is None else argv
    places = None if COMPLETION in os.environ else run_places(words)
    if places is None:
        # Blocked by the program's first line, for a gateway. A command ends as any program does when it is told to.
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        from gateway.cli.commands.app import command_line  # noqa: PLC0415

        return command_line(words)
    _import_structlog_without_rich()
    from gateway.cli.run import run  # noqa: PLC0415

    return run(places.config.absolute(), places.state_dir.absolute())


def _import_structlog_without_rich() -> None:
    """Structlog imports rich where there is one, for tracebacks that no log here has: 25 ms of a start, and 4 MB for ever."""
    sys.modules["rich"] = None  # type: ignore[assignment]  # which is how Python says that there is none
    try:
        import_module("structlog")
    finally:
        del sys.modules["rich"]


def run_places(words: Sequence[str]) -> Places | None:
    """Of `[run] [--config FILE] [--state-dir FOLDER]`, however it is written; None of anything else, help and mistakes included."""
    found: dict[str, str] = {}
    rest, commands = list(words), ["run"]
    while rest:
        word = rest.pop(0)
        option, equals, value = word.partition("=")
        if option in (CONFIG[0], STATE_DIR[0]) and (equals or rest):
            found[option] = value if equals else rest.pop(0)
        elif word in commands:
            commands.remove(word)
        else:
            return None
    return Places(*(place(found.get(each[0]), each) for each in (CONFIG, STATE_DIR)))


def place(given: Path | str | None, option: tuple[str, str, str]) -> Path:
    """What CONFIG or STATE_DIR comes to, of which this value was given, or none."""
    _, variable, otherwise = option
    return Path(os.environ.get(variable, otherwise) if given is None else given)
