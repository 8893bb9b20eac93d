"""Case 48 by the whole gateway, on virtual time: whatever restarts what, no day has more session starts than the network allows."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from random import Random
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.errors import ConnectionLostError
from gateway.process import messages
from statemachine.channel_events import By, HostWoke, Restart, Start, Stop
from statemachine.lifecycle import LifecycleState as S
from tests.gateway.configs import telegram
from tests.gateway.fakes import FakeNetwork, Script
from tests.gateway.process.house import House
from tests.gateway.process.test_supervision import DAY, MAIN, run_of
from tests.virtual import run_virtual

ONE = telegram(main="token: one-token")
LIMIT = 20
BROKE = ConnectionLostError("the line broke")


@pytest.fixture(autouse=True)
def _house_is_kept_each_quarter_of_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    """As often as usual, it is most of what happens in days in which nothing else does."""
    monkeypatch.setattr(messages, "HOUSEKEEPING", 900.0)


def run(main: Coroutine[Any, Any, None]) -> None:
    with capture_logs():
        run_virtual(main)


def counting(limit: int = LIMIT, *, remembers: bool = True) -> FakeNetwork:
    network = FakeNetwork()
    network.starts_a_day, network.remembers = limit, remembers
    return network


def shortest(starts: list[float], limit: int = LIMIT) -> float:
    """Seconds from a start to the one that is `limit` later, at the least: below a day there were too many in one."""
    return min(later - earlier for earlier, later in zip(starts, starts[limit:], strict=False))


async def lose_session(house: House) -> None:
    """Its session is over, and its line breaks."""
    house.network.sessions.clear()
    for receiver in house.network.live(MAIN):
        receiver.fail(BROKE)


@pytest.mark.parametrize("up", [0.0, 7.0, 400.0], ids=lambda up: f"up for {up:g} s")
def test_case_48_three_days_in_which_every_session_breaks(tmp_path: Path, up: float) -> None:
    """At once, or after a while in which it was up: an account that flaps is never suppressed for its failures."""

    async def main() -> None:
        network = counting(remembers=False)
        network.script(MAIN, *[Script(fails_after=up, error=BROKE)] * 5_000)
        async with House(tmp_path, ONE, network=network):
            await asyncio.sleep(3 * DAY)
            # Each day has all of them, and no window has one more.
            assert 3 * LIMIT <= len(network.starts) <= 4 * LIMIT
            assert shortest(network.starts) >= DAY
            assert network.resumes == 0

    run(main())


def test_it_says_how_many_and_until_when_and_begins_again_by_itself(tmp_path: Path) -> None:
    async def main() -> None:
        network = counting(limit=3)
        async with House(tmp_path, ONE, network=network) as house:
            began = house.now()
            for _ in range(3):
                await house.until_account(MAIN, "running")
                await lose_session(house)
                await house.until_account(MAIN, "backoff")
            await house.until_account(MAIN, "suppressed")
            error = house.channel(MAIN).data.last_error
            assert error.startswith(
                "3 sessions were started within a day, and 3 are allowed: the next may be started at 2027-"
            )
            await asyncio.sleep(DAY - 100)
            assert house.account(MAIN) == "suppressed"
            assert len(network.of(MAIN)) == 4, "nobody has tried meanwhile"
            await house.until_account(MAIN, "running")
            assert DAY <= house.now() - began <= DAY + 70
            assert len(network.starts) == 4

    run(main())


def test_no_road_leads_past_a_spent_budget(tmp_path: Path) -> None:
    """A person, other settings, a reload, restarts of the gateway, a host that slept, a crash and another boot."""

    async def main() -> None:
        network = counting(limit=3)
        house = House(tmp_path, ONE, network=network)
        await house.begin()
        await house.until(S.RUNNING)
        for _ in range(3):
            await house.until_account(MAIN, "running")
            await lose_session(house)
            await house.until_account(MAIN, "backoff")
        await house.until_account(MAIN, "suppressed")
        for ask in (Start(run_of(house), By.PERSON), Restart(run_of(house), By.PERSON), HostWoke(2 * DAY)):
            await house.post(ask, MAIN)
            await house.until_account(MAIN, "suppressed")
        await house.post(Stop(By.PERSON), MAIN)
        await house.post(Start(run_of(house), By.PERSON), MAIN)
        await house.until_account(MAIN, "suppressed")
        await house.edit(telegram(main="token: one-token, poll_timeout_s: 7"))
        await house.until(S.RUNNING)
        await house.until_account(MAIN, "suppressed")
        attempts = len(network.of(MAIN))
        assert attempts == 3 + 1 + 3 + 1 + 1, "each of them was one"
        for number in range(3):
            await house.ticket(f"restart {number}", 0)
            await house.until(S.RUNNING)
            await house.until_account(MAIN, "suppressed")
        for _ in range(2):
            await house.kill()
            house = House(tmp_path, ONE, network=network)
            await house.begin()
            await house.until(S.RUNNING)
            await house.until_account(MAIN, "suppressed")
        assert len(network.of(MAIN)) >= attempts + 2
        assert len(network.starts) == 3
        await house.kill()

    run(main())


async def disturb(house: House, random: Random) -> None:
    """Something that ends a line, or asks for another one."""
    asks = (Start(run_of(house), By.PERSON), Restart(run_of(house), By.PERSON))
    what = random.randrange(7)
    if what < 2:
        await lose_session(house)
    elif what == 2:
        for receiver in house.network.live(MAIN):
            receiver.fail(BROKE)
    elif what < 5:
        house.post(asks[what - 3], MAIN)
    elif what == 5:
        house._accounts.woke(random.choice((60.0, 3_600.0, 2 * DAY)))
    else:
        await house.ticket(f"restart {house.now()}", 0)
        await house.until(S.RUNNING)


def test_case_48_random_roads_over_days(tmp_path: Path) -> None:
    """Sessions that are lost or taken up again, persons, sleeps, restarts, `kill -9` and boots: never more, and never barred for good."""
    seed = Random().randrange(10**6)
    print(f"seed {seed}")
    random = Random(seed)

    async def live(network: FakeNetwork, until: float) -> None:
        """One process, to its kill."""
        house = House(tmp_path, ONE, seed=seed, network=network)
        await house.begin()
        await house.until(S.RUNNING)
        for _ in range(random.randrange(5, 60)):
            await asyncio.sleep(random.choice((1, 30, 600, 3_600)))
            await disturb(house, random)
            if house.now() > until:
                break
        await house.kill()

    async def main() -> None:
        network, loop = counting(), asyncio.get_running_loop()
        until = loop.time() + 5 * DAY
        while loop.time() < until:
            await live(network, until)
        assert shortest(network.starts) >= DAY
        assert network.resumes > 0
        print(
            f"{len(network.starts)} starts in 5 days, {network.resumes} taken up again; {LIMIT} within {shortest(network.starts) / 3600:.2f} h"
        )
        assert network.violations == []
        last = loop.time()
        async with House(tmp_path, ONE, seed=seed, network=network) as house:
            await house.until_account(MAIN, "running", within=DAY + 300)
            assert loop.time() - last <= DAY + 300

    run(main())
