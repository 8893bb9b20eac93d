"""How a command ends: its exit code, and what it says of a failure."""

from __future__ import annotations

import sys

EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_HELD, EXIT_CONFIG = 0, 1, 2, 76, 78
"""And 75, which the lifecycle says where a restart is another process's."""


def complain(message: str) -> None:
    sys.stderr.write(f"gateway: {message}\n")
