"""Ports for the tests of what listens: one that is taken, and a config that asks for a certain one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from gateway.process.operations import bind
from tests.gateway.process.two_accounts import ONE


def on_port(port: int) -> str:
    return ONE.replace("port: 0", f"port: {port}")


@contextmanager
def taken_port() -> Iterator[int]:
    """Somebody listens on it."""
    with bind("127.0.0.1", 0) as listener:
        yield listener.getsockname()[1]
