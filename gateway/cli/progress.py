"""What is said while somebody waits: on a terminal something that moves, anywhere else nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread

from gateway.cli.exits import on_terminal
from gateway.errors import GatewayError

LOOK_EVERY = 0.5
"""Seconds from one look to the next, of what is watched or followed."""


@contextmanager
def waiting(text: str, look: Callable[[], str] | None = None) -> Iterator[Callable[[str], None]]:
    """Say what is waited for as long as the body takes. What is yielded takes what there is to add.

    Or `look` says it, again and again, in a thread of its own: for a body that waits for an answer.
    """
    if not on_terminal(sys.stderr):
        yield lambda _: None
        return
    from gateway.cli.terminal import moving  # noqa: PLC0415 - nobody in a pipe waits for its import

    over = Event()

    def keep_looking(tell: Callable[[str], None], look: Callable[[], str]) -> None:
        while not over.wait(LOOK_EVERY):
            with suppress(GatewayError):  # the body is told what is wrong
                tell(look())

    with moving(text) as tell:
        if look is not None:
            Thread(target=keep_looking, args=(tell, look), daemon=True).start()
        try:
            yield tell
        finally:
            over.set()
