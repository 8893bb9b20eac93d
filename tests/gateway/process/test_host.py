"""Who notices that the host slept: by a clock that goes on in a suspend, while the one of the timers stands still."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from gateway.clock import Clock
from gateway.process.host import LATE, TICK, watch_host
from tests.virtual import VirtualClock, VirtualLoop, run_virtual


class SuspendedClock(VirtualClock):
    """`slept` seconds went by on the one clock and not on the other."""

    slept = 0.0

    def boottime(self) -> float:
        return self.monotonic() + self.slept


def woken(slept: float, *, at: float = 10.0, halted: float = 0.0) -> list[float]:
    """What is told of a sleep, or of a process that was halted, that begins so long after a tick."""

    async def main() -> list[float]:
        clock, told = SuspendedClock(), list[float]()
        watching = asyncio.ensure_future(watch_host(clock, told.append))
        await asyncio.sleep(3 * TICK + at)
        clock.slept += slept
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        loop._virtual.now += halted
        await asyncio.sleep(5 * TICK)
        watching.cancel()
        return told

    with capture_logs() as lines:
        told = run_virtual(main())
    assert [line["event"] for line in lines] == ["host_woke"] * len(told)
    return told


@pytest.mark.parametrize("at", [0.0, 10.0, TICK - 0.1])
def test_case_51_a_suspended_host_is_noticed_once(at: float) -> None:
    assert woken(8 * 3600.0, at=at) == [8 * 3600.0]


def test_case_51_a_late_tick_is_a_sleep_from_45_seconds_on() -> None:
    assert woken(LATE) == [LATE]
    assert woken(LATE - 0.1) == []
    assert woken(0.0) == []


def test_a_process_that_was_halted_has_slept_as_well() -> None:
    """Its timers' clock went on, and its tick is late by that clock, too."""
    (late,) = woken(0.0, halted=3600.0, at=10.0)
    assert late == pytest.approx(3600.0 - (TICK - 10.0))
    assert woken(0.0, halted=TICK + LATE - 20.1, at=10.0) == []


def test_the_clock_that_decides_goes_on() -> None:
    clock = Clock()
    before = clock.boottime()
    assert clock.boottime() >= before > 0
