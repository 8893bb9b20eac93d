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
from gateway.process.image import Image, is_replaceable, receive, replace_image
from gateway.process.lock import StateLock

LAST_MOMENTS = 1.0
"""Seconds that tasks and threads get to end when everything has been decided."""
TURN = 0.001
"""Seconds that a busy thread keeps the interpreter when the loop wants it. A thread that reads a long config is busy, and
the loop asks for the interpreter after every call to the kernel: with the usual 5 ms a turn of it could take 30."""


def run(config: Path, state_dir: Path, extra_adapters: Mapping[str, Adapter] | None = None) -> int:
    """Run a gateway until it is stopped; the exit code."""
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
        return _run_to_the_end(App(Options(config, state_dir, image), extra_adapters))
    except ConfigError as error:
        complain(f"{config} cannot be used:")
        for issue in error.issues:
            complain(f"  {issue}")
        complain("`python -m gateway init` writes a config to start from")
        return EXIT_CONFIG
    finally:
        lock.release()


def _run_to_the_end(app: App) -> int:
    """Run it and be gone soon after: a task that will not be cancelled, or a thread, must not keep the process."""
    sys.setswitchinterval(TURN)
    with asyncio.Runner() as runner:
        code = runner.run(app.run())
        last_resort = threading.Timer(LAST_MOMENTS, _give_up, (code,))
        last_resort.daemon = True
        last_resort.start()
    last_resort.cancel()
    return code


def _give_up(code: int) -> None:
    structlog.get_logger().error("did_not_end", why="something still ran when everything else had ended")
    os._exit(code)
