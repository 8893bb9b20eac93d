"""A port that stays free until it is wanted."""

from __future__ import annotations

import socket
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
