"""One run of the gateway: a process begins with one, and has one more for each restart in it."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from gateway.clock import Clock


@dataclass(frozen=True)
class BootRecord:
    """`at` in wall-clock milliseconds."""

    id: str
    at: int


def new_boot(clock: Clock) -> BootRecord:
    return BootRecord(secrets.token_hex(8), clock.wall_ms())
