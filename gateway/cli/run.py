"""`gateway run`: take the lock, run the app, and turn how it ended into an exit code."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import structlog

from gateway.app import App, Options
from gateway.channels.base import Adapter
from gateway.cli.exits import EXIT_CONFIG, EXIT_FAILED, EXIT_HELD, complain
from gateway.errors import ConfigError, LockedError
from gateway.process.image import Image, is_replaceable, receive, replace_image, stand_in_for_closed
from gateway.process.lock import StateLock

TURN = 0.001
"""Seconds that a busy thread keeps the interpreter when the loop wants it. A thread that reads a long config is busy, and
the loop asks for the interpreter after every call to the kernel: with the usual 5 ms a turn of it could take 30."""


def run(config: Path, state_dir: Path, extra_adapters: Mapping[str, Adapter] | None = None) -> int:
    """Run a gateway until it is stopped; the exit code. The process must end then: soon after it is ended."""
    stand_in_for_closed()
    carried, lock = receive(os.environ), StateLock(state_dir)
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock.acquire() if carried is None else lock.take_over(carried.lock)
    except OSError as error:
        complain(f"{state_dir} cannot be used: {error.strerror}; mend that, or use another --state-dir")
        return EXIT_FAILED
    except LockedError as error:
        complain(f"{error}; stop it, or use another --state-dir")
        return EXIT_HELD
    try:
        image = Image(carried, lock.descriptor, replace_image if is_replaceable() else None)
        return _run_to_the_end(Options(config, state_dir, image), extra_adapters)
    except ConfigError as error:
        complain(f"{config} cannot be used:")
        for issue in error.issues:
            complain(f"  {issue}")
        complain("`python -m gateway init` writes a config to start from")
        return EXIT_CONFIG
    finally:
        lock.release()


def _run_to_the_end(options: Options, extra_adapters: Mapping[str, Adapter] | None) -> int:
    """Run it and be gone in time: a task that will not be cancelled, a thread, or a loop that does not turn must not keep it."""
    sys.setswitchinterval(TURN)
    last_resort = LastResort()
    app = App(options, extra_adapters, last_resort.within, own_process=True)
    with asyncio.Runner() as runner:
        code = runner.run(app.run())
        # Not taken back: Python waits for threads after the last line of the program, too.
        last_resort.within(app.last_moments, code)
    return code


class LastResort:
    """Ends the process from a thread of its own, unless it has ended by then."""

    def __init__(self) -> None:
        self._timer: threading.Timer | None = None

    def within(self, seconds: float, code: int) -> None:
        """After so many seconds, in the place of what was said before."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = threading.Timer(seconds, _give_up, (code,))
        self._timer.daemon = True
        self._timer.start()


def _give_up(code: int) -> None:
    structlog.get_logger().error("did_not_end", why="something still ran when everything else had ended")
    os._exit(code)
