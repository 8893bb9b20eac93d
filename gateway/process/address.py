"""Where the running gateway can be reached: a line in its state folder, for commands on the same host.

One that was killed leaves its line behind, and another program may have its port by then; who holds the lock's PID is
asked for first.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import structlog

log: structlog.stdlib.BoundLogger = structlog.get_logger()


def publish(state_dir: Path, address: str) -> None:
    """Written when a boot or a restart is complete. A full disk must not keep a gateway from coming up."""
    try:
        descriptor = os.open(_file(state_dir), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(f"{address}\n")
    except OSError as error:
        log.warning("address_not_written", folder=str(state_dir), why=error.strerror)


def withdraw(state_dir: Path) -> None:
    with contextlib.suppress(OSError):
        _file(state_dir).unlink(missing_ok=True)


def find(state_dir: Path) -> str | None:
    """The address of the gateway that runs with this state folder; None where none does, or it is not up yet."""
    try:
        holder = int((state_dir / "lock").read_text(encoding="ascii"))
        address = _file(state_dir).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None
    try:
        os.kill(holder, 0)
    except PermissionError:
        pass  # it runs, and is somebody else's
    except OSError:
        return None
    return address or None


def _file(state_dir: Path) -> Path:
    return state_dir / "address"
