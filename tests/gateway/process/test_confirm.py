"""Changes that must be confirmed: rolled back in time, by an account's failure, by a person."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.errors import AccountRefusedError, ConfigError, NoWindowError, WindowOpenError
from gateway.process.pending import Decision
from statemachine.lifecycle import LifecycleState
from statemachine.lifecycle_events import Origin
from tests.gateway.fakes import Script
from tests.gateway.process.house import House
from tests.gateway.process.two_accounts import (
    HOUR,
    MAIN,
    ONE,
    OTHER,
    RESTARTS,
    THREE,
    TWO,
    both_run,
    revision,
    run,
    token,
)

S = LifecycleState
OFF = ONE.replace("gateway:\n", "gateway:\n  reload: {mode: 'off'}\n")


# In time


def test_what_nobody_confirms_is_rolled_back_and_the_file_stays(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            receipt = await house.write(TWO, confirm=5)
            assert receipt["outcome"] == "probation"
            assert receipt["confirm_by"] == house._clock.wall_ms() + 5_000
            assert token(house) == "two-token"
            await asyncio.sleep(4.9)
            assert token(house) == "two-token"
            await asyncio.sleep(1)
            await both_run(house)
            assert token(house) == "one-token"
            assert house.on_disk() == TWO.encode(), "the user's file is not touched"
            assert house._ledger.applied_id == revision(ONE)
            assert house.outcomes()[0] == "rolled_back"
            assert house._history.entries(1)[0].why == "it was not confirmed in time"
            assert len(house.network.of(OTHER)) == 1, "who was not touched goes on"

    run(main())


def test_what_was_rolled_back_does_not_come_again_by_itself(tmp_path: Path) -> None:
    """Neither by the watcher, nor by a restart; a person who wants it gets it."""

    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            await house.write(TWO, confirm=1)
            await asyncio.sleep(2)
            await house._changes.notice(Origin.FILE, "watcher")
            await house.ticket("again", 0)
            await house.until(S.RESTARTING)
            await house.until(S.RUNNING)
            await both_run(house)
            assert (token(house), house._ledger.applied_id) == ("one-token", revision(ONE))
            await house._changes.notice(Origin.CALL, "SIGHUP")
            await asyncio.sleep(1)
            assert (token(house), house._ledger.applied_id) == ("two-token", revision(TWO))

    run(main())


def test_who_asks_for_the_file_before_it_is_rolled_back_does_not_ask_for_it_again(tmp_path: Path) -> None:
    """Found by 20,000 schedules: a SIGHUP waited for a slow disk, and came to its turn when the rollback was over."""

    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            await house.write(TWO, confirm=5)
            await asyncio.sleep(4)
            async with house._changes._lock:
                asked = asyncio.ensure_future(house._changes.notice(Origin.CALL, "SIGHUP"))
                await asyncio.sleep(2)
            await asked
            await asyncio.sleep(30)
            assert (token(house), house.outcomes()[0]) == ("one-token", "rolled_back")

    run(main())


def test_a_write_of_the_same_bytes_adopts_what_was_rolled_back(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            await house.write(TWO, confirm=1)
            await asyncio.sleep(2)
            assert (await house.write(TWO))["outcome"] == "applied"
            assert token(house) == "two-token"

    run(main())


def test_confirmed_it_stays(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            receipt = await house.write(TWO, confirm=5)
            told = await house._changes.decide(receipt["revision"], Decision.CONFIRM, "test")
            assert told["outcome"] == "committed"
            await asyncio.sleep(HOUR)
            assert token(house) == "two-token"
            assert house.outcomes()[0] == "committed"
            assert house._standing.record.last_good == revision(TWO)
            assert house._standing.record.window is None

    run(main())


def test_the_time_can_be_extended(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            receipt = await house.write(TWO, confirm=5)
            await asyncio.sleep(4)
            told = await house._changes.decide(receipt["revision"], Decision.EXTEND, "test", seconds=60)
            assert told["confirm_by"] == house._clock.wall_ms() + 60_000
            await asyncio.sleep(50)
            assert token(house) == "two-token"
            await asyncio.sleep(11)
            await both_run(house)
            assert token(house) == "one-token"

    run(main())


def test_cancelled_it_is_rolled_back_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            receipt = await house.write(TWO, confirm=HOUR)
            told = await house._changes.decide(receipt["revision"], Decision.CANCEL, "test")
            assert told["outcome"] == "rolled_back"
            assert token(house) == "one-token"
            assert house._history.entries(1)[0].why == "cancelled by test"

    run(main())


def test_after_the_deadline_it_cannot_be_confirmed(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            receipt = await house.write(TWO, confirm=1)
            await asyncio.sleep(2)
            with pytest.raises(NoWindowError, match="rolled_back: it was not confirmed in time"):
                await house._changes.decide(receipt["revision"], Decision.CONFIRM, "test")

    run(main())


# Not at the cost of an account


def test_an_account_that_ran_and_fails_ends_it_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            house.network.script(MAIN, Script(error=AccountRefusedError("getUpdates: Unauthorized")))
            receipt = await house.write(TWO, confirm=HOUR)
            assert (receipt["outcome"], receipt["stage"]) == ("rolled_back", "health")
            assert MAIN in receipt["why"]
            await both_run(house)
            assert token(house) == "one-token"
            assert house._history.entries(1)[0].outcome == "rolled_back"

    run(main())


def test_an_account_that_fails_in_the_probation_ends_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            house.network.script(MAIN, Script(fails_after=30, error=AccountRefusedError("getUpdates: Unauthorized")))
            receipt = await house.write(TWO, confirm=HOUR)
            assert receipt["outcome"] == "probation"
            await asyncio.sleep(31)
            await both_run(house)
            assert token(house) == "one-token"
            assert MAIN in house._history.entries(1)[0].why

    run(main())


def test_without_a_confirmation_a_refused_account_fails_alone(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            await asyncio.sleep(30)
            house.network.script(MAIN, Script(error=AccountRefusedError("getUpdates: Unauthorized")))
            receipt = await house.write(TWO)
            assert receipt["outcome"] == "applied"
            assert house.account(MAIN) == "failed"
            await asyncio.sleep(HOUR)
            assert house._standing.record.last_good == revision(ONE), "it did not run well"

    run(main())


# Before anything is touched


def test_a_token_that_the_network_refuses_is_refused_before_the_old_receiver_ends(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            house.network.refuses["two-token"] = "getMe: Unauthorized"
            with pytest.raises(ConfigError, match=r"accounts\.main.*getMe: Unauthorized"):
                await house.write(TWO)
            assert house.on_disk() == ONE.encode()
            assert len(house.network.of(MAIN)) == 1

    run(main())


def test_a_saved_token_that_the_network_refuses_is_noted_and_the_old_one_runs_on(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            house.network.refuses["two-token"] = "getMe: Unauthorized"
            await house.edit(TWO)
            await asyncio.sleep(1)
            assert house.lifecycle.data.rejected == revision(TWO)
            assert house._changes.issues[0]["path"] == "channels.telegram.accounts.main"
            assert len(house.network.of(MAIN)) == 1
            await house.edit(THREE)
            await asyncio.sleep(1)
            assert token(house) == "three-token"

    run(main())


# Beside others


def test_no_other_call_is_taken_while_one_waits_for_its_confirmation(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            await house.write(TWO, confirm=30)
            with pytest.raises(WindowOpenError, match="confirm or cancel"):
                await house.write(THREE)
            assert house.on_disk() == TWO.encode()

    run(main())


@pytest.mark.parametrize("decision", [Decision.CONFIRM, Decision.CANCEL])
def test_an_edit_beside_it_waits_for_its_end_and_is_not_lost(tmp_path: Path, decision: Decision) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            receipt = await house.write(TWO, confirm=HOUR)
            await house.edit(THREE)
            await asyncio.sleep(60)
            assert token(house) == "two-token"
            await house._changes.decide(receipt["revision"], decision, "test")
            await asyncio.sleep(5)
            await both_run(house)
            assert (token(house), house._ledger.applied_id) == ("three-token", revision(THREE))

    run(main())


def test_an_edit_beside_it_that_cannot_be_used_does_not_keep_it_running(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            await house.write(TWO, confirm=30)
            await house.edit("gateway: {nme: x}\n")
            await asyncio.sleep(31)
            await both_run(house)
            assert token(house) == "one-token"
            assert house.lifecycle.data.rejected is not None
            assert house.outcomes()[0] == "rolled_back"

    run(main())


def test_an_edit_beside_it_that_needs_a_restart_does_not_keep_it_running_until_then(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            await house.write(TWO, confirm=30)
            await house.edit(RESTARTS.replace("one-token", "three-token"))
            await asyncio.sleep(30.5)
            await both_run(house)
            assert token(house) == "one-token"
            await house.until(S.RESTARTING)
            await house.until(S.RUNNING)
            await both_run(house)
            assert token(house) == "three-token"

    run(main())


def test_with_reload_off_it_is_rolled_back_although_the_watcher_reads_first_what_is_put_back(tmp_path: Path) -> None:
    """Found by seed 19402 of the simulation: that is no edit, which would be noted and change nothing."""

    async def main() -> None:
        async with House(tmp_path, OFF) as house:
            await both_run(house)
            receipt = await house.write(OFF.replace("one-token", "two-token"), confirm=HOUR)
            await house.until(S.RESTARTING)
            await house.until(S.RUNNING)
            await both_run(house)
            assert token(house) == "two-token"
            changes = house._changes
            async with changes._lock:
                noticing = asyncio.ensure_future(changes.notice(Origin.FILE, "watcher"))
                await asyncio.sleep(0)
                deciding = asyncio.ensure_future(changes.decide(receipt["revision"], Decision.CANCEL, "test"))
                await asyncio.sleep(1)
            await noticing
            await asyncio.sleep(1)
            assert house.outcomes()[0] == "rolling_back", "until what ran before runs"
            await house.until(S.RESTARTING)
            await house.until(S.RUNNING)
            await deciding
            await both_run(house)
            assert (token(house), house._ledger.applied_id) == ("one-token", revision(OFF))
            await asyncio.sleep(1)
            assert house.outcomes()[0] == "rolled_back"

    run(main())


def test_what_needs_a_restart_is_watched_from_when_it_runs(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            receipt = await house.write(RESTARTS, delay=1, confirm=10)
            assert receipt["outcome"] == "restart_pending"
            await house.until(S.RESTARTING)
            await house.until(S.RUNNING)
            assert house._ledger.applied_id == revision(RESTARTS)
            assert house._standing.record.window is not None
            await asyncio.sleep(11)
            assert house.state is S.RESTART_PENDING, "what ran before needs a restart, too"
            await house.until(S.RESTARTING)
            await house.until(S.RUNNING)
            await both_run(house)
            assert house._ledger.applied_id == revision(ONE)
            await asyncio.sleep(1)
            assert house.outcomes()[0] == "rolled_back"

    run(main())


def test_cancelled_while_it_waits_for_its_restart_it_never_runs(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            receipt = await house.write(RESTARTS, delay=30, confirm=10)
            told = await house._changes.decide(receipt["revision"], Decision.CANCEL, "test")
            assert told["outcome"] == "rolled_back"
            assert house.state is S.RUNNING
            await asyncio.sleep(HOUR)
            assert house.lifecycle.data.restarts == 0

    run(main())
