"""Whatever happens to a change, it ends, and what is said of it is true: nothing waits for a word that never comes."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest

from gateway.config.writerlock import WriterLock
from gateway.errors import AccountRefusedError
from gateway.process.pending import Decision
from statemachine.change_events import RevisionSettled
from statemachine.lifecycle import LifecycleState
from tests.gateway.process.house import House, late
from tests.gateway.process.two_accounts import (
    HOUR,
    MAIN,
    ONE,
    RESTARTS,
    THREE,
    TWO,
    both_run,
    changes,
    revision,
    run,
    token,
)

S = LifecycleState


def test_a_write_that_was_begun_is_not_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk hangs for longer than a stage may take: nobody is told that nothing was written before it is written."""

    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            with monkeypatch.context() as slow:
                slow.setattr(asyncio, "to_thread", late(50, "_write_whole"))
                writing = asyncio.ensure_future(house.write(TWO, confirm=HOUR))
                await asyncio.sleep(49)
                assert not writing.done()
                assert house.on_disk() == ONE.encode()
                receipt = await writing
            assert receipt["outcome"] == "probation"
            assert token(house) == "two-token"
            told = await house._changes.decide(receipt["revision"], Decision.CONFIRM, "test")
            assert told["outcome"] == "committed"
            assert house._standing.record.window is None

    run(main())


def test_a_rollback_whose_restart_a_newer_change_takes_has_ended(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            await house.write(RESTARTS, delay=1, confirm=10)
            await house.until(S.RESTARTING)
            await house.until(S.RUNNING)
            await house.until(S.RESTART_PENDING)  # what ran before needs a restart, too
            number = house._history.entries(1)[0].number
            await house.edit(THREE)
            await house.until(S.RESTARTING)
            await house.until(S.RUNNING)
            await both_run(house)
            assert token(house) == "three-token"
            await asyncio.sleep(HOUR)
            assert changes(house) == {}
            entry = house._history.find(str(number))
            assert (entry.outcome, entry.revision) == ("rolled_back", revision(RESTARTS))
            assert "not confirmed in time" in entry.why

    run(main())


def test_a_rollback_whose_restart_brings_an_edit_has_ended(tmp_path: Path) -> None:
    """The file is saved, and read by the restart before anybody has noticed."""

    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            await house.write(RESTARTS, delay=1, confirm=10)
            await house.until(S.RESTARTING)
            await house.until(S.RUNNING)
            await house.until(S.RESTART_PENDING)
            house.save(THREE)
            await house.until(S.RESTARTING)
            await house.until(S.RUNNING)
            await both_run(house)
            await asyncio.sleep(HOUR)
            assert (token(house), changes(house)) == ("three-token", {})

    run(main())


def test_a_rollback_that_waits_for_its_own_restart_goes_on(tmp_path: Path) -> None:
    """What is put back is read again by the lifecycle: that is no newer change."""

    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            await house.write(RESTARTS, delay=1, confirm=10)
            await house.until(S.RESTARTING)
            await house.until(S.RUNNING)
            await house.until(S.RESTART_PENDING)
            await house._changes.review_again()
            assert "rolling_back" in changes(house).values()
            await house.until(S.RESTARTING)
            await house.until(S.RUNNING)
            assert "rolling_back" not in changes(house).values()

    run(main())


def test_a_rollback_without_the_bytes_of_what_ran_before_ends(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            receipt = await house.write(TWO, confirm=HOUR)
            shutil.rmtree(tmp_path / "state" / "config-history")
            told = await house._changes.decide(receipt["revision"], Decision.CANCEL, "test")
            assert told["outcome"] == "rolled_back"
            assert "cancelled by test" in told["why"]
            assert "not kept" in told["why"]
            assert changes(house) == {}

    run(main())


def test_overdue_at_boot_without_the_bytes_of_what_ran_before_the_file_runs(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            await house.write(TWO, confirm=60)
        await asyncio.sleep(HOUR)
        shutil.rmtree(tmp_path / "state" / "config-history")
        async with House(tmp_path, TWO) as house:
            await both_run(house)
            assert token(house) == "two-token"
            await asyncio.sleep(HOUR)
            assert changes(house) == {}
            assert house._standing.record.set_aside is None

    run(main())


def test_what_a_restart_has_replaced_is_not_called_good(tmp_path: Path) -> None:
    """The last good config comes back by the file, and nobody has noticed: what is watched does not run any more."""

    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            await asyncio.sleep(30)
            await house.write(TWO)
            house.save(ONE)
            await house.ticket("now", 0)
            await house.until(S.RESTARTING)
            await house.until(S.RUNNING)
            await both_run(house)
            assert token(house) == "one-token"
            await asyncio.sleep(HOUR)
            assert house._standing.record.last_good == revision(ONE)
            assert changes(house) == {}

    run(main())


def test_what_a_review_has_replaced_is_not_called_good(tmp_path: Path) -> None:
    """So it is when the lifecycle reads the file again after a reload."""

    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            await asyncio.sleep(30)
            await house.write(TWO)
            house.save(ONE)
            house.post(await house._changes.review_again())
            await asyncio.sleep(1)
            await both_run(house)
            assert token(house) == "one-token"
            await asyncio.sleep(HOUR)
            assert house._standing.record.last_good == revision(ONE)
            assert changes(house) == {}

    run(main())


def test_an_account_that_fails_in_the_moment_in_which_the_probation_begins_ends_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            real = house._dispatcher.post

            def post(machine: str, event: Any, cause: str) -> Any:
                if not isinstance(event, RevisionSettled):
                    return real(machine, event, cause)
                # The word is on its way already, and the refusal is handled before it.
                house.network.live(MAIN)[0].fail(AccountRefusedError("getUpdates: Unauthorized"))
                return asyncio.get_running_loop().call_later(1, real, machine, event, cause)

            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(house._dispatcher, "post", post)
                await house.write(TWO, confirm=HOUR)
            await asyncio.sleep(1)
            await both_run(house)
            assert token(house) == "one-token"
            assert MAIN in house._history.entries(1)[0].why

    run(main())


def test_a_write_beside_a_rollback_is_one_change(tmp_path: Path) -> None:
    """It waits for another process to end its write, and has no word of the rollback that begins meanwhile."""

    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            receipt = await house.write(TWO, confirm=HOUR)
            async with WriterLock(house.path).held():
                writing = asyncio.ensure_future(house.write(THREE))
                await asyncio.sleep(1)
                cancelling = asyncio.ensure_future(house._changes.decide(receipt["revision"], Decision.CANCEL, "test"))
                await asyncio.sleep(1)
            assert (await writing)["outcome"] == "applied"
            assert (await cancelling)["outcome"] == "rolled_back"
            await asyncio.sleep(HOUR)
            assert token(house) == "three-token"
            assert [entry.revision for entry in house._history.entries(9)].count(revision(THREE)) == 1

    run(main())


def test_an_edit_for_which_the_network_was_too_slow_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is wrong with the file then, and nobody saves it a second time."""

    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)

            async def slow(*_: Any) -> str:
                await asyncio.sleep(30)
                return ""

            with monkeypatch.context() as patched:
                patched.setattr(house.network.adapter, "probe", slow)
                await house.edit(TWO)
            assert (token(house), changes(house)) == ("one-token", {})
            assert house.lifecycle.data.rejected is None
            await asyncio.sleep(5)
            assert token(house) == "two-token"

    run(main())
