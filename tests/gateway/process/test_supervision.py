"""Supervision of accounts by the whole gateway: failures, conflicts, stalls and sleep, each account by itself."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.errors import ConflictError, ConnectionLostError
from gateway.journal import Entry
from statemachine import Event
from statemachine.channel_events import By, HostWoke, OpenReceiver, Restart, Run, Start, Stop
from tests.gateway.configs import telegram
from tests.gateway.fakes import NEVER, Script
from tests.gateway.process.house import House
from tests.virtual import run_virtual

ONE = telegram(main="token: one-token")
FOUR = telegram(one="token: token-1", two="token: token-2", three="token: token-3", four="token: token-4")
MAIN = "telegram/main"
SIBLINGS = ("telegram/two", "telegram/three", "telegram/four")
LOST = ConnectionLostError("getMe: ClientConnectorDNSError")
CONFLICT = ConflictError("terminated by other getUpdates request")
DAY = 86_400.0
POLLS = Script(polls=30.0)


def run(main: Coroutine[Any, Any, None]) -> list[dict[str, Any]]:
    with capture_logs() as lines:
        run_virtual(main)
    return [dict(line) for line in lines]


def run_of(house: House, name: str = MAIN) -> Run:
    return house._accounts.run_of(name, house._ledger.applied.accounts()[name], house._ledger.applied_id)


def steps(house: House, name: str, trigger: str) -> list[Entry]:
    return [e for e in house._journal.page(0, 100_000, name) if e.trigger == trigger and e.kind == "step"]


class Openings:
    """When each generation of an account was asked for, from the moment this is made; by whatever trigger."""

    def __init__(self, house: House) -> None:
        self.at: dict[str, list[float]] = {}
        self._perform, self._house = house._dispatcher._perform, house
        house._dispatcher.connect(self._note)

    def _note(self, name: str, effects: tuple[Any, ...], cause: str) -> None:
        for effect in effects:
            if isinstance(effect, OpenReceiver):
                self.at.setdefault(name, []).append(self._house.now())
        self._perform(name, effects, cause)


def gaps(times: list[float]) -> list[float]:
    return [later - earlier for earlier, later in itertools.pairwise(times)]


# Stalls and silence


def test_case_49_a_day_of_silence_restarts_nothing(tmp_path: Path) -> None:
    """Nobody says anything, and every poll comes back empty."""

    async def main() -> None:
        house = House(tmp_path, ONE)
        house.network.policy = {"stall_after": 45.0}
        house.network.script(MAIN, POLLS)
        async with house:
            await house.until_account(MAIN, "running")
            await asyncio.sleep(60)
            last = house._journal.last
            await asyncio.sleep(DAY)
            assert house._journal.last == last, "nothing at all has happened: a look costs no step"
            assert len(house.network.of(MAIN)) == 1
            assert house._receivers._live[MAIN].intake.receives >= DAY / 30.0 - 1

    run(main())


def test_a_poll_that_hangs_is_replaced_within_its_watchdog_once(tmp_path: Path) -> None:
    async def main() -> None:
        house = House(tmp_path, ONE)
        house.network.policy = {"stall_after": 45.0}
        house.network.script(MAIN, Script(), POLLS)
        async with house:
            await house.until_account(MAIN, "running")
            since = house.now()
            await house.until_account(MAIN, "stopping")
            assert 45.0 <= house.now() - since <= 45.0 * 1.25
            await house.until_account(MAIN, "running")
            assert house.now() - since <= 45.0 * 1.25 + 1.1, "the first wait of a failure is at most a second"
            assert len(house.channel(MAIN).data.failures) == 1
            await asyncio.sleep(DAY)
            assert len(steps(house, MAIN, "receiver_stalled")) == 1
            assert len(house.network.of(MAIN)) == 2

    run(main())


def test_an_account_that_waits_for_the_gateway_does_not_hang(tmp_path: Path) -> None:
    """A queue that is full, or a store that takes nothing, is not the network's doing."""

    async def main() -> None:
        house = House(tmp_path, ONE)
        house.network.policy = {"stall_after": 45.0}
        house.network.script(MAIN, POLLS)
        async with house:
            await house.until_account(MAIN, "running")
            house._messages.pipeline._behind = True
            await asyncio.sleep(DAY)
            assert steps(house, MAIN, "receiver_stalled") == []
            house._messages.pipeline._behind = False
            house._messages.pipeline._changed.set()
            await asyncio.sleep(100)
            assert len(house.network.of(MAIN)) == 1

    run(main())


def test_an_adapter_without_receives_to_complete_is_not_watched(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE + "  webchat: {accounts: {default: {}}}\n") as house:
            await house.until_account("webchat/default", "running")
            await asyncio.sleep(DAY)
            assert house.channel("webchat/default").data.generation == 1
            assert house._receivers._live["webchat/default"].watch is None

    run(main())


# One account's trouble


@asynccontextmanager
async def beside_siblings(tmp_path: Path, policy: dict[str, Any], scripts: list[Script]) -> AsyncIterator[House]:
    """`telegram/one` does what the scripts say, and three others poll: whatever happens to it, nothing may happen to them."""
    house = House(tmp_path, FOUR)
    house.network.policy = {"stall_after": 45.0} | policy
    for name in SIBLINGS:
        house.network.script(name, POLLS)
    house.network.script("telegram/one", *scripts)
    async with house:
        for name in SIBLINGS:
            await house.until_account(name, "running")
        yield house
        for name in SIBLINGS:
            assert [e.trigger for e in house._journal.page(0, 100_000, name)] == ["start", "receiver_ready"]


def test_case_10_one_account_restarts_again_and_again_and_its_siblings_never(tmp_path: Path) -> None:
    """Its restarts come one after the other, each when the one before is dead, and all of them are counted in one place."""

    async def main() -> None:
        scripts = [Script(lingers=30.0, closes_in=0.5)] * 200
        async with beside_siblings(tmp_path, {"stop_timeout": 5.0}, scripts) as house:
            one = house.channel("telegram/one")
            await house.until_account("telegram/one", "running")
            openings = Openings(house)
            for restart in range(1, 161):
                asks: tuple[Event, ...] = (Restart(run_of(house, "telegram/one"), By.PERSON), HostWoke(60.0))
                if restart % 3:
                    house.post(asks[restart % 3 - 1], "telegram/one")
                await house.until_account("telegram/one", "stop_overdue")
                await house.post(Start(run_of(house, "telegram/one"), By.PERSON), "telegram/one")
                await house.until_account("telegram/one", "running")
                assert len(house.network.live("telegram/one")) == 1
                assert one.data.generation == len(house.network.of("telegram/one")) == restart + 1
            assert len(openings.at["telegram/one"]) == 160
            assert set(openings.at) == {"telegram/one"}

    run(main())


def test_an_account_that_will_not_die_touches_no_other(tmp_path: Path) -> None:
    async def main() -> None:
        scripts = [Script(), Script(lingers=NEVER, fence_fails=2)] * 50
        async with beside_siblings(tmp_path, {"intensity": 3}, scripts) as house:
            await asyncio.sleep(3600)
            assert len(house.network.of("telegram/one")) > 10

    run(main())


# Conflicts


def test_case_41_exactly_one_attempt_after_each_wait_of_a_conflict(tmp_path: Path) -> None:
    """A sooner one would sustain it: the other's poll lives on at the server for as long as a poll may last."""

    async def main() -> None:
        house = House(tmp_path, ONE)
        house.network.policy = {"conflict_wait": 35.0, "intensity": 3}
        house.network.script(MAIN, *[Script(error=CONFLICT)] * 100)
        async with house:
            openings = Openings(house)
            await asyncio.sleep(90 * 36.0)
            waits = gaps(openings.at[MAIN])
            assert len(waits) > 80
            assert all(35.0 <= wait <= 35.1 for wait in waits)
            assert house.account(MAIN) in ("conflict", "starting")
            assert house.channel(MAIN).data.failures == (), "it is never given up"
            await house.until_account(MAIN, "running", within=20 * 36.0)

    run(main())


def test_when_the_other_leaves_it_receives_again_within_one_wait_and_the_log_tells_of_it_once(tmp_path: Path) -> None:
    began: list[float] = []

    async def main() -> None:
        house = House(tmp_path, ONE)
        house.network.policy = {"conflict_wait": 35.0}
        house.network.script(MAIN, *[Script(fails_after=3.0, error=CONFLICT)] * 4)
        async with house:
            await house.until_account(MAIN, "conflict")
            began.append(house.now())
            for _ in range(3):
                await house.until_account(MAIN, "running")
                assert house.channel(MAIN).data.conflict_since == began[0], "it began when it first came"
                await house.until_account(MAIN, "conflict")
            gone = house.now()
            await house.until_account(MAIN, "running")
            assert house.now() - gone <= 35.1
            await asyncio.sleep(36.0)
            began.append(house.now())
            assert house.channel(MAIN).data.conflict_since is None

    lines = run(main())
    (first,) = [line for line in lines if line["event"] == "conflict_began"]
    (last,) = [line for line in lines if line["event"] == "conflict_ended"]
    assert first["account"] == last["account"] == MAIN
    assert first["log_level"] == "warning"
    for cause in ("another gateway", "script", "another machine", "old process", "webhook"):
        assert cause in first["remedy"]
    assert last["seconds"] == pytest.approx(began[1] - began[0], abs=2.0)


# Failures that pass


def test_case_43_and_case_48_what_cannot_be_reached_is_tried_for_ever_and_slowly(tmp_path: Path) -> None:
    """A name that is not resolved is nobody's refusal. Below a thousand starts a day, as strict networks count them."""

    async def main() -> None:
        house = House(tmp_path, ONE)
        house.network.script(MAIN, *[Script(error=LOST)] * 10_000)
        async with house:
            openings = Openings(house)
            await asyncio.sleep(DAY)
            assert all(e.after != "failed" for e in house._journal.page(0, 100_000, MAIN)), "it is never terminal"
            assert openings.at[MAIN][-1] > house.now() - 121.0, "it is still tried"
            assert 500 < len(openings.at[MAIN]) < 1_000
            house.network._scripts[MAIN].clear()
            await house.until_account(MAIN, "running", within=121.0)

    run(main())


def test_case_44_the_network_is_down_at_the_boot_and_it_runs_when_that_is_back(tmp_path: Path) -> None:
    async def main() -> None:
        house = House(tmp_path, ONE)
        house.network.policy = {"intensity": 3}
        house.network.script(MAIN, Script(ready_after=NEVER), *[Script(error=LOST)] * 100_000)
        async with house:
            await asyncio.sleep(20)
            assert house.account(MAIN) == "starting", "it has begun, and does not run before its first receive"
            await house.until_account(MAIN, "suppressed")
            openings = Openings(house)
            await asyncio.sleep(3600)
            assert all(wait >= 120.0 for wait in gaps(openings.at[MAIN])), (
                "the budget is spent: one slow attempt a time"
            )
            assert len(openings.at[MAIN]) >= 29, "and never a silent end"
            await house.until_account(MAIN, "suppressed")
            house.network._scripts[MAIN].clear()
            await house.post(Start(run_of(house), By.PERSON), MAIN)
            await house.until_account(MAIN, "running", within=1.0)

    run(main())


# Sleep


def test_case_51_after_a_sleep_what_ran_begins_anew_at_once_and_nothing_is_counted(tmp_path: Path) -> None:
    async def main() -> None:
        house = House(tmp_path, FOUR)
        house.network.policy = {"stall_after": 45.0}
        for name in ("telegram/one", *SIBLINGS):
            house.network.script(name, *[POLLS] * 3)
        async with house:
            for name in ("telegram/one", *SIBLINGS):
                await house.until_account(name, "running")
            await house.post(Stop(By.PERSON), "telegram/two")
            await house.until_account("telegram/two", "stopped")
            house._accounts.woke(8 * 3600.0)
            await asyncio.sleep(1.0)
            for name in ("telegram/one", "telegram/three", "telegram/four"):
                machine = house.channel(name)
                assert (house.account(name), machine.data.generation) == ("running", 2)
                assert (machine.data.failures, machine.data.attempts) == ((), 0)
            await asyncio.sleep(3600)
            assert house.account("telegram/two") == "stopped", "a person stopped it"
            assert len(house.network.of("telegram/two")) == 1
            assert house.channel("telegram/one").data.generation == 2, "the gap is no stall"

    run(main())


def test_a_wait_that_the_sleep_was_shorter_than_goes_on(tmp_path: Path) -> None:
    """Who asked for patience gets it: only a sleep as long as the whole wait is proof that it is over."""

    async def main() -> None:
        house = House(tmp_path, ONE)
        house.network.script(MAIN, Script(error=ConnectionLostError("429", retry_after=600.0)))
        async with house:
            openings = Openings(house)
            await house.until_account(MAIN, "backoff")
            house._accounts.woke(599.0)
            await asyncio.sleep(10)
            assert openings.at == {}
            house._accounts.woke(600.0)
            await house.until_account(MAIN, "running", within=1.0)

    run(main())
