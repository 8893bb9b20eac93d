"""What is kept of what was done, without the garbage collector's help."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

LITTLE = 60_000
"""Bytes."""


@contextmanager
def kept_by_nobody(times: int) -> Iterator[Iterator[int]]:
    """For what is done with something large in each of so many turns: after the first, next to nothing may come to stay."""
    gc.collect()
    gc.disable()
    tracemalloc.start()
    found: list[int] = []

    def turns() -> Iterator[int]:
        for turn in range(times):
            yield turn
            found.append(tracemalloc.get_traced_memory()[0])

    try:
        yield turns()
    finally:
        tracemalloc.stop()
        gc.enable()
    assert len(found) == times
    assert found[-1] - found[0] < LITTLE, f"bytes after each turn: {found}"
