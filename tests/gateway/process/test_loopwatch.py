"""What keeps the loop is named by its line, and nobody is blamed for a process that was halted."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.process import loopwatch
from gateway.process.loopwatch import NOBODY, LoopWatch, place_of


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loopwatch, "TICK", 0.05)
    monkeypatch.setattr(loopwatch, "LATE", 0.1)
    monkeypatch.setattr(loopwatch, "LOOK_EVERY", 0.01)


def watched(
    doing: Callable[[], None], times: int = 1, *, look: bool = True
) -> tuple[LoopWatch, list[Any], list[float]]:
    """A loop that does that, between ticks."""
    lags: list[float] = []
    watch = LoopWatch(lags.append, lambda: 1234, look=look)

    async def main() -> None:
        ticking = asyncio.ensure_future(watch.run())
        for _ in range(times):
            seen = len(lags)
            while len(lags) == seen:
                await asyncio.sleep(0.001)
            doing()
            while len(lags) == seen + 1:
                await asyncio.sleep(0.001)
        ticking.cancel()
        await asyncio.wait({ticking})

    with capture_logs() as lines:
        asyncio.run(main())
        while any(thread.name == "loopwatch" for thread in threading.enumerate()):
            time.sleep(0.01)
    return watch, lines, lags


def blamed(lines: list[Any]) -> list[Any]:
    """What is told of a place; the rest is of a machine that is busy elsewhere."""
    return [line for line in lines if line["place"] != NOBODY]


def blocks_for_half_a_second() -> None:
    time.sleep(0.5)


def blocks_in_a_library() -> None:
    list(map(_wait, [0.5]))


def _wait(seconds: float) -> None:
    threading.Event().wait(seconds)


def test_what_blocks_the_loop_is_named_with_how_long_it_did() -> None:
    watch, lines, lags = watched(blocks_for_half_a_second)
    assert watch.longest is not None
    assert watch.longest is watch.last
    file, _, function = watch.longest.place.rpartition(":")
    assert file == "process/test_loopwatch.py"
    assert function.split()[1] == "blocks_for_half_a_second"
    assert watch.longest.seconds > 0.3
    assert watch.longest.at == 1234
    assert max(lags) > 0.3
    (line,) = lines
    assert (line["event"], line["place"], line["seconds"]) == (
        "loop_blocked",
        watch.longest.place,
        watch.longest.seconds,
    )
    assert watch.shown() == {"longest": vars(watch.longest), "last": vars(watch.longest)}


def test_of_a_library_the_one_who_called_it_is_named() -> None:
    watch, _, _ = watched(blocks_in_a_library)
    assert watch.last is not None
    assert watch.last.place.endswith(" _wait")


def test_the_same_place_is_told_of_once_in_a_while() -> None:
    watch, lines, _ = watched(blocks_for_half_a_second, times=3)
    assert watch.last is not None
    assert len(blamed(lines)) == 1


def test_one_that_goes_on_is_told_of_before_it_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loopwatch, "LONG", 0.2)
    watch, lines, _ = watched(blocks_for_half_a_second)
    (line,) = blamed(lines)
    assert "it goes on" in line["why"]
    assert watch.last is not None
    assert line["seconds"] < watch.last.seconds


def test_a_loop_that_turns_blames_nobody() -> None:
    watch, lines, lags = watched(lambda: None, times=3)
    assert (watch.last, watch.longest, lines) == (None, None, [])
    assert watch.shown() == {"longest": None, "last": None}
    assert len(lags) >= 3


def test_nobody_looks_where_nobody_is_to() -> None:
    """Where time is virtual."""
    watch, lines, lags = watched(blocks_for_half_a_second, look=False)
    assert (watch.last, lines) == (None, [])
    assert max(lags) > 0.3


def test_a_loop_that_waits_is_nobodys_fault() -> None:
    """A process that was halted is late, and its loop waits for what comes."""
    place = []

    async def main() -> None:
        thread = threading.get_ident()
        looking = asyncio.get_running_loop().run_in_executor(None, _look_later, thread)
        place.append(await looking)

    asyncio.run(main())
    assert place == [NOBODY]
    assert place_of(None) == NOBODY


def _look_later(thread: int) -> str:
    time.sleep(0.1)
    return place_of(sys._current_frames().get(thread))


def test_no_folder_is_shown() -> None:
    place = place_of(sys._getframe())
    assert place.startswith("process/test_loopwatch.py:")
    assert str(Path(__file__).parent.parent) not in place
