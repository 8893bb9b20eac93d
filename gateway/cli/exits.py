"""How a command ends: its exit code, and what it says of a failure."""

from __future__ import annotations

import os
import sys
from typing import TextIO

EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_HELD, EXIT_CONFIG = 0, 1, 2, 76, 78
"""And 75, which the lifecycle says where a restart is another process's."""
RED, PLAIN = "\x1b[1;31m", "\x1b[0m"


def on_terminal(stream: TextIO | None) -> bool:
    """Whether a person looks at it, on something that can move its cursor. A stream that was closed before the start is None."""
    return stream is not None and stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def complain(message: str) -> None:
    """A line on the standard error."""
    # Imported when there is something to say: a gateway that starts well has not.
    from gateway.cli.plain import clean  # noqa: PLC0415

    coloured = on_terminal(sys.stderr) and not os.environ.get("NO_COLOR")
    sys.stderr.write(f"{RED}gateway:{PLAIN} {clean(message)}\n" if coloured else f"gateway: {clean(message)}\n")
