"""Signals only post events. They are blocked from the program's first line until these handlers stand."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

HANDLED = (signal.SIGUSR1, signal.SIGHUP, signal.SIGTERM, signal.SIGINT)


def install(on_signal: Callable[[signal.Signals], None]) -> None:
    """Call `on_signal` in the loop's own turn, and let in what was blocked while the program was starting."""
    loop = asyncio.get_running_loop()
    for number in HANDLED:
        loop.add_signal_handler(number, on_signal, number)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)


def remove() -> None:
    loop = asyncio.get_running_loop()
    for number in HANDLED:
        loop.remove_signal_handler(number)


@contextmanager
def held() -> Iterator[None]:
    """They wait, for the next image of the process if there is one: the mask and what waits behind it outlive this one."""
    signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
