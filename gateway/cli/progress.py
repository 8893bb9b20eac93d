"""What is said while somebody waits: on a terminal something that moves, anywhere else nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gateway.cli.exits import on_terminal


@contextmanager
def waiting(text: str) -> Iterator[Callable[[str], None]]:
    """Say what is waited for as long as the body takes. What is yielded takes what there is to add."""
    if not on_terminal(sys.stderr):
        yield lambda _: None
        return
    from gateway.cli.terminal import moving  # noqa: PLC0415 - nobody in a pipe waits for its import

    with moving(text) as tell:
        yield tell
