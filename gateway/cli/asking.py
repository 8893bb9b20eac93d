"""How a command asks the gateway that runs, and what it says where it gets no answer."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from gateway.cli import change_text
from gateway.cli.client import CallError, Client, UnreachableError
from gateway.cli.exits import EXIT_FAILED, EXIT_OK, EXIT_USAGE, complain
from gateway.cli.plain import say_json

VERBS = ("start", "stop", "restart")


def asked(config: Path, state_dir: Path, ask: Callable[[Client], int], *, as_json: bool = False) -> int:
    """Ask it; the exit code. What it refuses is told line by line, and with what it would allow.

    `ask` raises ValueError where what was given on the command line makes no sense.
    """
    try:
        return ask(Client(config, state_dir.absolute()))
    except CallError as error:
        for line in change_text.refusal(str(error), error.details):
            complain(line)
        if allowed := [verb for verb in VERBS if verb in error.details.get("allowed", ())]:
            complain(f"what can be done with it now: {', '.join(allowed)}")
        if as_json:
            say_json(error.body)
    except BrokenPipeError:
        # Whoever read has seen enough. What is left in the buffer goes nowhere, or Python would complain at the very end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK
    except (UnreachableError, OSError, UnicodeDecodeError) as error:
        complain(str(error))
    except ValueError as error:
        complain(str(error))
        return EXIT_USAGE
    return EXIT_FAILED
