"""`gateway run`: take the lock, run the app, and turn how it ended into an exit code."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from gateway.app import App, Options
from gateway.channels.base import Adapter
from gateway.cli.main import EXIT_CONFIG, EXIT_HELD, complain
from gateway.errors import ConfigError, LockedError
from gateway.process.lock import StateLock


def run(config: Path, state_dir: Path, extra_adapters: Mapping[str, Adapter] | None = None) -> int:
    """Run a gateway until it is stopped; the exit code."""
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = StateLock(state_dir)
    try:
        lock.acquire()
        return asyncio.run(App(Options(config, state_dir), extra_adapters).run())
    except LockedError as error:
        complain(f"{error}; stop it, or use another --state-dir")
        return EXIT_HELD
    except ConfigError as error:
        complain(f"{config} cannot be used:")
        for issue in error.issues:
            complain(f"  {issue}")
        complain("`python -m gateway init` writes a config to start from")
        return EXIT_CONFIG
    finally:
        lock.release()
