"""What is counted: the journal's entries as a running gateway makes them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.config.handlers import CommandHandler, HttpHandler, OpenaiHandler, PythonHandler
from gateway.errors import ConfigError, ConflictError, ConnectionLostError
from gateway.metrics import Tally
from statemachine.channel_events import By, Stop
from statemachine.lifecycle import LifecycleState
from statemachine.lifecycle_events import RestartRequested, Ticket
from tests.gateway.configs import telegram
from tests.gateway.fakes import Script
from tests.gateway.process.house import House
from tests.virtual import run_virtual

MAIN = "telegram/main"
OTHERS = (
    OpenaiHandler(type="openai", base_url="x", model="y"),
    PythonHandler(type="python", target="x:y"),
    CommandHandler(type="command", argv=("x",)),
)
S = LifecycleState
ONE = telegram(main="token: one-token")
COLD = ONE.replace("gateway:\n", "gateway:\n  restart: {cooldown_ms: 0}\n")
COLDER = COLD.replace("cooldown_ms: 0", "cooldown_ms: 0, drain_timeout_ms: 29000")


def run(main: Coroutine[Any, Any, None]) -> None:
    with capture_logs():
        run_virtual(main)


def test_a_handler_that_takes_as_long_as_it_may_is_still_told_from_one_that_takes_longer() -> None:
    """What is beyond the last bound has no figure: each type's usual limit is below it."""
    limits = [each.timeout_ms / 1000 for each in (HttpHandler(type="http", url="x"), *OTHERS)]
    for limit in limits:
        histogram = Tally().handlers["one"]
        histogram.observe(limit)
        histogram.observe(2 * limit)
        below = [count for _, count in histogram.buckets()]
        assert 1.0 in below[:-1], f"{limit} s and twice that are told apart"


def ask(house: House, name: str, requester: str, delay: float, revision: str | None = None) -> None:
    house.post(RestartRequested(Ticket(name, requester, "because", revision, house.now() + delay)))


def test_every_entry_is_counted_once_and_by_its_kind_of_machine(tmp_path: Path) -> None:
    """Two accounts are one kind; the sums are those of the journal itself."""

    async def main() -> None:
        async with House(tmp_path, telegram(main="token: one-token", other="token: two-token")) as house:
            for name in (MAIN, "telegram/other"):
                await house.until_account(name, "running")
            house.post(Stop(By.PERSON), MAIN)
            await house.until_account(MAIN, "stopped")
            house.cancel("no such ticket")
            house.post(Stop(By.PERSON), "telegram/gone")
            await asyncio.sleep(1)
            tally, entries = house._tally, house._journal.page(0, 100_000)
            assert {kind for kind, _, _ in tally.transitions} == {"lifecycle", "channel", "change"}
            assert tally.transitions["channel", "start", "starting"] == 2
            assert tally.transitions["channel", "receiver_ended", "stopped"] == 1
            assert tally.transitions["lifecycle", "started", "running"] == 1
            assert tally.refusals == {
                ("lifecycle", "restart_cancelled", "running"): 1,
                ("absent", "stop", "absent"): 1,
            }
            assert sum(tally.transitions.values()) == len([e for e in entries if e.kind == "step"])
            assert sum(tally.refusals.values()) == len([e for e in entries if e.kind == "refusal"])

    run(main())


def test_a_restart_is_counted_when_it_is_complete_by_what_asked_first(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, COLD) as house:
            await house.until_account(MAIN, "running")
            ask(house, "r1", "SIGUSR1", 2)
            ask(house, "r2", "http 127.0.0.1", 3)
            await house.until(S.RESTARTING)
            assert house._tally.restarts == {}
            await house.until(S.RUNNING)
            assert house._tally.restarts == {"signal": 1}
            ask(house, "r3", "SIGUSR1", 3)
            ask(house, "r4", "ws 127.0.0.1 SIG", 1)
            await house.until(S.RESTARTING)
            await house.until(S.RUNNING)
            assert house._tally.restarts == {"signal": 1, "call": 1}
            await house.write(COLDER)
            await house.until(S.RESTARTING)
            await house.until(S.RUNNING)
            assert house._tally.restarts == {"signal": 1, "call": 1, "config_change": 1}

    run(main())


def test_a_request_that_joins_a_pending_restart_is_coalesced(tmp_path: Path) -> None:
    """The first is none, whoever joins it is one, be it a call or a change; an event about a known revision is not."""

    async def main() -> None:
        async with House(tmp_path, COLD) as house:
            await house.until_account(MAIN, "running")
            ask(house, "r1", "SIGUSR1", 50)
            await asyncio.sleep(1)
            assert house._tally.coalesced == 0
            ask(house, "r2", "http", 60)
            ask(house, "r3", "http", 10)
            await asyncio.sleep(1)
            assert house._tally.coalesced == 2
            await house.edit(COLDER)
            await asyncio.sleep(1)
            assert house._tally.coalesced == 3
            await house.edit(COLDER)
            await asyncio.sleep(1)
            assert house._tally.coalesced == 3

    run(main())


def test_a_change_is_timed_once_from_its_proposal_until_it_is_known_whether_it_runs(tmp_path: Path) -> None:
    """One that needs a restart runs after it; one that is rolled back later has run before."""

    async def main() -> None:
        async with House(tmp_path, COLD) as house:
            await house.until_account(MAIN, "running")
            applies = house._tally.applies
            before = {outcome: sum(applies[outcome].counts) for outcome in applies}

            def seen() -> dict[str, int]:
                return {outcome: sum(applies[outcome].counts) - before[outcome] for outcome in applies}

            await house.write(COLD.replace("gateway:\n", "gateway:\n  name: other\n"))
            assert seen() == {"applied": 1, "rolled_back": 0, "rejected": 0}
            total = applies["applied"].total
            await house.write(COLDER)
            await asyncio.sleep(1)
            assert seen()["applied"] == 1
            await house.until(S.RESTARTING)
            await house.until(S.RUNNING)
            await asyncio.sleep(100)
            assert seen() == {"applied": 2, "rolled_back": 0, "rejected": 0}
            assert 2 <= applies["applied"].total - total < 100
            with pytest.raises(ConfigError):
                await house.write("gateway: {name: ''}\n")
            assert seen() == {"applied": 2, "rolled_back": 0, "rejected": 1}
            assert house._tally._proposed == {}

    run(main())


def test_conflicts_are_counted_by_account_for_ever(tmp_path: Path) -> None:
    """What the machine knows of them is a window; a counter never goes back."""

    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await house.until_account(MAIN, "running")
            house.network.script(MAIN, *[Script(error=ConflictError("somebody else"))] * 2)
            house.network.live(MAIN)[0].fail(ConflictError("somebody else"))
            await house.until_account(MAIN, "conflict")
            await house.until_account(MAIN, "running", within=10_000)
            house.network.live(MAIN)[0].fail(ConnectionLostError("no network"))
            await asyncio.sleep(1)
            assert house._tally.conflicts == {MAIN: 3}
            await asyncio.sleep(2 * 3600)
            assert house._tally.conflicts == {MAIN: 3}

    run(main())
