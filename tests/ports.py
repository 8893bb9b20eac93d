"""A port that stays free until it is wanted, and one that is not free."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from random import SystemRandom

PORTS = range(20_000, 30_000)
"""Below those that outgoing connections get, so that nobody takes the port meanwhile, or while a gateway is dead."""


def free_port() -> int:
    """One of them that nobody listens on: not from a seed, for two runs of one seed may go on side by side."""
    while True:
        port = SystemRandom().choice(PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


@contextmanager
def taken_port() -> Iterator[int]:
    """Somebody listens on it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]
