"""Bringing accounts in line with a config: each by its own machine, none touched that the plan does not name."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.errors import AccountRefusedError, ConflictError, ConnectionLostError, UnavailableError
from gateway.process.changes import LIFECYCLE
from statemachine import Refusal, Step
from statemachine.channel_events import By, Restart, Start, Stop
from statemachine.lifecycle import LifecycleState
from tests.gateway.configs import telegram
from tests.gateway.fakes import NEVER, Script
from tests.gateway.process.house import House
from tests.virtual import run_virtual

MAIN, OTHER = "telegram/main", "telegram/other"
ONE, TWO, NEW = "token: one-token", "token: two-token", "token: new-token"
BOTH = telegram(main=ONE, other=TWO)
S = LifecycleState


def run(main: Coroutine[Any, Any, None]) -> None:
    with capture_logs():
        run_virtual(main)


async def both_run(house: House) -> None:
    for name in (MAIN, OTHER):
        await house.until_account(name, "running")


def generations(house: House, name: str) -> list[str]:
    """What the account's machine went through since the beginning."""
    return [entry.after for entry in house._journal.page(0, 10_000, name) if entry.kind == "step"]


def test_at_boot_every_enabled_account_is_started_and_the_others_exist(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, telegram(main=ONE, off=f"{TWO}, enabled: false")) as house:
            await house.until_account(MAIN, "running")
            assert house.account("telegram/off") == "stopped"
            assert len(house.network.live(MAIN)) == 1
            assert house.network.of("telegram/off") == []

    run(main())


def test_boot_does_not_wait_for_a_network_that_does_not_answer(tmp_path: Path) -> None:
    async def main() -> None:
        house = House(tmp_path, BOTH)
        house.network.script(MAIN, Script(ready_after=NEVER))
        async with house:
            await house.until_account(OTHER, "running", within=1)
            assert house.account(MAIN) == "starting"

    run(main())


def test_case_62_only_the_account_that_the_plan_names_is_touched(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, BOTH) as house:
            await both_run(house)
            (other,) = house.network.of(OTHER)
            receipt = await house.write(telegram(main=NEW, other=TWO))
            assert receipt["plan"]["accounts"] == {MAIN: {"action": "restart", "state": "running", "generation": 2}}
            assert house.network.of(OTHER) == [other]
            assert house.network.live(OTHER) == [other]
            assert house.network.live(MAIN)[0].settings.token.reveal() == "new-token"

    run(main())


def test_the_old_receiver_is_dead_before_the_new_one_begins(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, BOTH) as house:
            await both_run(house)
            old = house.network.live(MAIN)[0]
            old.script.lingers, old.script.closes_in = 2.0, 1.0
            before = house.now()
            await house.write(telegram(main=NEW, other=TWO))
            assert house.now() - before >= 3
            assert old.closed
            assert old.confirmed == 0, "the first poll of the next generation confirms"

    run(main())


def test_case_6_one_that_does_not_end_is_cut_off_before_the_next_begins(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, BOTH) as house:
            await both_run(house)
            house.network.live(MAIN)[0].script.lingers = NEVER
            before = house.now()
            receipt = await house.write(telegram(main=NEW, other=TWO))
            assert receipt["outcome"] == "applied"
            assert 5 <= house.now() - before < 6, "its stop deadline, and no longer"
            assert "stop_overdue" in generations(house, MAIN)
            assert house.network.refused_late == 1, "it tried to deliver after that, and could not"

    run(main())


def test_a_live_change_touches_no_receiver(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, BOTH) as house:
            await both_run(house)
            receipt = await house.write(telegram(main=f"{ONE}, allow_from: [1]", other=TWO))
            assert receipt["plan"] == {
                "class": "live",
                "accounts": {MAIN: {"action": "live", "state": "running", "generation": 1}},
            }
            assert len(house.network.of(MAIN)) == 1

    run(main())


def test_an_account_that_goes_is_stopped_and_forgotten(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, BOTH) as house:
            await both_run(house)
            receipt = await house.write(telegram(main=ONE))
            assert receipt["plan"]["accounts"][OTHER]["action"] == "stop"
            assert (house.account(OTHER), house.network.live(OTHER)) == ("absent", [])
            assert isinstance(await house.post(Stop(By.PERSON), OTHER), Refusal)

    run(main())


def test_an_account_that_comes_back_runs_at_once_and_under_a_number_of_its_own(tmp_path: Path) -> None:
    """Nothing that was said of its earlier generations can be taken for a word about the new one."""

    async def main() -> None:
        async with House(tmp_path, BOTH) as house:
            await both_run(house)
            seen = {house.channel(OTHER).data.generation}
            for _ in range(3):
                await house.write(telegram(main=ONE))
                begun = len(house._journal.page(0, 10_000, OTHER))
                receipt = await house.write(BOTH)
                assert receipt["plan"]["accounts"][OTHER]["state"] == "running"
                assert generations(house, OTHER)[begun:] == ["starting", "running"]
                assert house.channel(OTHER).data.generation not in seen
                seen.add(house.channel(OTHER).data.generation)

    run(main())


def test_an_account_that_is_switched_off_and_on(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, BOTH) as house:
            await both_run(house)
            await house.write(telegram(main=f"{ONE}, enabled: false", other=TWO))
            assert (house.account(MAIN), house.network.live(MAIN)) == ("stopped", [])
            await house.write(BOTH)
            assert (house.account(MAIN), len(house.network.live(MAIN))) == ("running", 1)

    run(main())


def test_what_a_person_stopped_stays_stopped_through_reloads_and_restarts(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, BOTH) as house:
            await both_run(house)
            assert isinstance(await house.post(Stop(By.PERSON, confirm=True), MAIN), Step)
            await house.until_account(MAIN, "stopped")
            assert house.network.of(MAIN)[0].confirmed == 1, "a stop tells the network what was accepted"
            await house.write(telegram(main=NEW, other=TWO))
            house.ticket("restart")
            await asyncio.sleep(10)
            assert house.outcome("restart") == "done"
            assert (house.account(MAIN), house.account(OTHER)) == ("stopped", "running")
            config = house._ledger.applied
            started = house._accounts.run_of(MAIN, config.accounts()[MAIN], house._ledger.applied_id)
            await house.post(Start(started, By.PERSON), MAIN)
            await house.until_account(MAIN, "running")
            assert house.network.live(MAIN)[0].settings.token.reveal() == "new-token"

    run(main())


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (AccountRefusedError("the token is revoked"), "failed"),
        (ConflictError("somebody else receives"), "conflict"),
        (ConnectionLostError("no network"), "backoff"),
    ],
)
def test_case_46_an_account_that_its_network_refuses_fails_alone(tmp_path: Path, error: Exception, state: str) -> None:
    """It is no failure of the reload: the others are in line, and what came of each is listed."""

    async def main() -> None:
        async with House(tmp_path, BOTH) as house:
            await both_run(house)
            house.network.script(MAIN, Script(error=error))
            receipt = await house.write(telegram(main=NEW, other="token: other-new"))
            assert receipt["outcome"] == "applied"
            accounts = receipt["plan"]["accounts"]
            assert accounts[MAIN] == {"action": "restart", "state": state, "generation": 2, "error": str(error)}
            assert accounts[OTHER]["state"] == "running"
            assert house.state is S.RUNNING

    run(main())


def test_a_defect_of_an_adapter_is_a_failed_reload_and_the_restart_mends_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, BOTH) as house:
            await both_run(house)
            house.network.script(MAIN, Script(error=RuntimeError("a defect")))
            receipt = await house.write(telegram(main=NEW, other="token: other-new"))
            assert (receipt["outcome"], receipt["restart"]["due_in_ms"] <= 2_000) == ("restart_pending", True)
            assert house._ledger.applied == house._reader().load(BOTH.encode()).config
            await house.until(S.RUNNING)
            await both_run(house)
            assert house.triggers().count("restarted") == 1
            tokens = {receiver.settings.token.reveal() for receiver in house.network.all_live()}
            assert tokens == {"new-token", "other-new"}

    run(main())


@pytest.mark.parametrize(
    ("before", "failed", "after", "other"),
    [
        (telegram(main=ONE), BOTH, telegram(main=NEW), None),
        (
            telegram(main=ONE, other=f"{TWO}, enabled: false"),
            BOTH,
            telegram(main=NEW, other=f"{TWO}, enabled: false"),
            None,
        ),
        (BOTH, telegram(main=ONE, other=NEW), telegram(main=NEW, other=TWO), "two-token"),
    ],
    ids=["absent", "disabled", "other settings"],
)
def test_what_a_failed_reload_left_behind_is_mended_by_the_next_that_succeeds(
    tmp_path: Path, before: str, failed: str, after: str, other: str | None
) -> None:
    """Its restart was taken back: an account runs as no applied config says."""

    async def main() -> None:
        async with House(tmp_path, before) as house:
            await house.until_account(MAIN, "running")
            house.network.script(OTHER, Script(error=RuntimeError("a defect")))
            receipt = await house.write(failed)
            assert receipt["outcome"] == "restart_pending"
            await house.cancel(receipt["restart"]["id"])
            await house.until_account(OTHER, "running")
            receipt = await house.write(after)
            assert receipt["outcome"] == "applied"
            assert [live.settings.token.reveal() for live in house.network.live(OTHER)] == ([other] if other else [])
            assert (house.account(OTHER) == "running") == (other is not None)
            assert list(receipt["plan"]["accounts"]) == [MAIN]

    run(main())


@pytest.mark.parametrize("road", ["reload", "restart"])
@pytest.mark.parametrize(
    "after",
    [telegram(other=ONE), telegram(main=TWO, other=ONE), telegram(main=f"{ONE}, enabled: false", other=ONE)],
    ids=["renamed", "swapped", "handed over"],
)
def test_a_bot_that_moves_to_another_account_is_never_received_twice(tmp_path: Path, after: str, road: str) -> None:
    async def main() -> None:
        async with House(tmp_path, BOTH) as house:
            await both_run(house)
            house.network.live(MAIN)[0].script.lingers = 3.0
            if road == "reload":
                assert (await house.write(after))["outcome"] == "applied"
            else:
                house.save(after)
                await house.ticket("restart", 0.0)
                await house.until(S.RESTARTING)
            await house.until(S.RUNNING)
            await house.until_account(OTHER, "running")
            assert [live.settings.token.reveal() for live in house.network.live(OTHER)] == ["one-token"]
            assert house.network.violations == []

    run(main())


def test_a_failed_reload_that_is_taken_back_takes_its_accounts_back_too(tmp_path: Path) -> None:
    """The file says again what ran before; an account runs as the revision that failed wanted it, and nothing may differ."""

    async def main() -> None:
        async with House(tmp_path, BOTH) as house:
            await both_run(house)
            house.network.script(OTHER, Script(error=RuntimeError("a defect")))
            receipt = await house.write(telegram(main=ONE, other=NEW))
            assert receipt["outcome"] == "restart_pending"
            ticket = receipt["restart"]["id"]
            receipt = await house.write(BOTH)
            assert receipt["outcome"] == "applied"
            assert house.outcome(ticket) == "superseded"
            await both_run(house)
            assert [live.settings.token.reveal() for live in house.network.live(OTHER)] == ["two-token"]
            assert len(house.network.of(MAIN)) == 1, "the other account was not touched"
            assert (await house.write(BOTH))["outcome"] == "noop"

    run(main())


def test_an_account_that_a_broken_reload_was_to_stop_runs_on_when_that_is_taken_back(tmp_path: Path) -> None:
    """It is still ending when the file is put back: what it ran with is what it shall run with, and yet it will not."""

    async def main() -> None:
        async with House(tmp_path, BOTH) as house:
            await both_run(house)
            script = house.network.live(OTHER)[0].script
            script.lingers, script.fence_fails = 12.0, 100
            receipt = await house.write(telegram(main=ONE, other=f"{TWO}, enabled: false"), delay=60.0)
            assert receipt["outcome"] == "restart_pending"
            assert house.account(OTHER) == "stop_overdue"
            assert (await house.write(BOTH))["outcome"] == "applied"
            await house.until_account(OTHER, "running", within=10)

    run(main())


def test_an_account_that_cannot_be_cut_off_holds_up_nobody_for_ever(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, BOTH) as house:
            await both_run(house)
            stuck = house.network.live(MAIN)[0]
            stuck.script.lingers, stuck.script.fence_hangs = NEVER, True
            before = house.now()
            receipt = await house.write(telegram(main=NEW, other="token: other-new"))
            assert receipt["outcome"] == "restart_pending"
            assert house.now() - before < 10
            assert house.account(MAIN) == "stop_overdue"
            assert house.network.live(MAIN) == [stuck], "nothing was started beside it"
            assert house.account(OTHER) == "running"
            stuck.script.fence_hangs = False
            await house.until_account(MAIN, "running")
            await house.until(S.RUNNING)

    run(main())


def test_case_45_one_whose_close_breaks_is_dead_and_does_not_bar_the_next(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, telegram(main=ONE)) as house:
            await house.until_account(MAIN, "running")
            old = house.network.live(MAIN)[0]
            old.script.close_error = OSError("it is broken")
            await house.write(telegram(main=NEW))
            await house.until_account(MAIN, "running", within=60)
            assert len(house.network.live(MAIN)) == 1

    run(main())


def test_case_7_an_account_that_is_switched_on_while_its_old_receiver_cannot_be_ended_runs_in_the_end(
    tmp_path: Path,
) -> None:
    """A start that cannot be carried out yet is not forgotten."""

    async def main() -> None:
        async with House(tmp_path, BOTH) as house:
            await both_run(house)
            stuck = house.network.live(MAIN)[0]
            stuck.script.lingers, stuck.script.fence_fails = NEVER, 100
            await house.write(telegram(main=f"{ONE}, enabled: false", other=TWO))
            await house._dispatcher.until(LIFECYCLE, lambda machine: machine.data.restarts == 1)
            assert (house.state, house.account(MAIN)) == (S.RUNNING, "stop_overdue")
            stuck.script.fence_fails = 0
            await house.write(BOTH)
            await house.until_account(MAIN, "running")
            assert len(house.network.live(MAIN)) == 1
            await house.until(S.RUNNING)

    run(main())


def test_every_receiver_ends_with_the_gateway_and_confirms(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, BOTH) as house:
            await both_run(house)
            await house.end()
            assert house.exit_code == 0
            assert [receiver.confirmed for receiver in house.network.receivers] == [1, 1]
            assert all(receiver.closed for receiver in house.network.receivers)

    run(main())


def test_case_11_a_person_restarts_again_and_again(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, BOTH) as house:
            await both_run(house)
            settings = house._ledger.applied.accounts()[MAIN]
            again = Restart(house._accounts.run_of(MAIN, settings, house._ledger.applied_id), By.PERSON)
            for number in range(10):
                answer = await house.post(again, MAIN)
                assert isinstance(answer, Step), number
            await house.until_account(MAIN, "running")
            await asyncio.sleep(60)
            assert house.account(MAIN) == "running"
            assert len(house.network.of(MAIN)) <= 11
            assert len(house.network.of(OTHER)) == 1

    run(main())


def test_a_write_while_the_gateway_stops_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, BOTH) as house:
            await both_run(house)
            await house.end()
            with pytest.raises(UnavailableError):
                await house.write(telegram(main=NEW))
            assert house.on_disk() == BOTH.encode()

    run(main())
