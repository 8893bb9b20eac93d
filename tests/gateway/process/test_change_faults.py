"""Faults that meet in a change: a full disk at the wrong moment, a crash between two steps, a clock that was set."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path
from typing import Any

import pytest

from gateway.config import file, history, standing
from gateway.errors import ConfigError, ConfigWriteError
from gateway.process.pending import Decision
from statemachine.lifecycle import LifecycleState
from statemachine.lifecycle_events import Origin
from tests.gateway.process.house import House, late
from tests.gateway.process.two_accounts import (
    HOUR,
    ONE,
    RESTARTS,
    THREE,
    TWO,
    both_run,
    killed_in_the_window,
    revision,
    run,
    token,
)

BROKEN = "gateway: {nme: x}\n"


def full(monkeypatch: pytest.MonkeyPatch, module: Any) -> None:
    """What this module writes finds no space."""

    def write(path: Path, raw: bytes, *_: Any) -> None:
        raise ConfigWriteError(f"{path} cannot be written: {errno.errorcode[errno.ENOSPC]}")

    monkeypatch.setattr(module, "write", write)


# Edits


def test_an_edit_that_cannot_be_entered_into_the_history_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            with monkeypatch.context() as patched:
                full(patched, history)
                await house.edit(TWO)
                await asyncio.sleep(1)
            assert (token(house), house._ledger.applied_id) == ("two-token", revision(TWO))

    run(main())


def test_an_edit_that_is_not_ready_in_time_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            with monkeypatch.context() as slow:
                slow.setattr(asyncio, "to_thread", late(50, "_enter"))
                await house.edit(TWO)
            await asyncio.sleep(30)
            assert (token(house), house._ledger.applied_id) == ("two-token", revision(TWO))

    run(main())


# What is set aside


def test_what_was_set_aside_stays_so_when_the_next_change_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            await house.write(TWO, confirm=1)
            await asyncio.sleep(2)
            with monkeypatch.context() as patched:
                full(patched, file)
                with pytest.raises(ConfigWriteError):
                    await house.write(THREE, confirm=5)
        async with House(tmp_path, TWO) as house:
            await both_run(house)
            assert token(house) == "one-token", "it was rolled back, and nobody has asked for it again"

    run(main())


def test_what_was_set_aside_is_forgotten_when_the_file_holds_something_else(tmp_path: Path) -> None:
    """Who saves it again later means it."""

    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            await house.write(TWO, confirm=1)
            await asyncio.sleep(2)
            await house.edit(THREE)
            await asyncio.sleep(1)
            await house.edit(TWO)
            await asyncio.sleep(1)
            assert (token(house), house._ledger.applied_id) == ("two-token", revision(TWO))

    run(main())


def test_what_was_set_aside_is_forgotten_by_a_boot_with_something_else(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            await house.write(TWO, confirm=1)
            await asyncio.sleep(2)
        async with House(tmp_path, THREE) as house:
            await both_run(house)
            await house.edit(TWO)
            await asyncio.sleep(1)
            assert token(house) == "two-token"

    run(main())


def test_a_write_is_not_called_refused_when_only_its_end_cannot_be_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file holds it; that nothing is set aside any more can be written down later."""

    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            await house.write(TWO, confirm=1)
            await asyncio.sleep(2)
            with monkeypatch.context() as patched:
                full(patched, standing)
                assert (await house.write(THREE))["outcome"] == "applied"
            assert house.on_disk() == THREE.encode()

    run(main())


def test_what_could_not_be_noted_is_noted_when_there_is_space_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            await house.write(TWO, confirm=5)
            with monkeypatch.context() as patched:
                full(patched, standing)
                await asyncio.sleep(10)
                assert house._standing.fault
            await asyncio.sleep(3)
            assert not house._standing.fault
            kept = standing.Standing(tmp_path / "state").record
            assert (kept.window, kept.set_aside is not None) == (None, True)

    run(main())


def test_what_was_to_be_confirmed_and_will_not_be_restarted_for_is_set_aside(tmp_path: Path) -> None:
    """A person cancels its restart: the next one must not run what nobody will confirm."""

    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            writing = asyncio.ensure_future(house.write(RESTARTS, delay=30, confirm=10))
            await house.until(LifecycleState.RESTART_PENDING)
            await house.cancel(house.lifecycle.data.tickets[0].id)
            await writing
            await asyncio.sleep(1)
            assert house.outcomes()[0] == "rolled_back"
            await house.ticket("again", 0)
            await house.until(LifecycleState.RESTARTING)
            await house.until(LifecycleState.RUNNING)
            assert house._ledger.applied_id == revision(ONE)

    run(main())


# Over a crash


def test_a_clock_that_was_set_back_gives_a_change_no_more_than_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        await killed_in_the_window(tmp_path, 60)
        house = House(tmp_path, TWO)
        honest = house._clock.wall_ms
        monkeypatch.setattr(house._clock, "wall_ms", lambda: honest() - round(HOUR * 1000))
        async with house:
            await both_run(house)
            await asyncio.sleep(61)
            await both_run(house)
            assert token(house) == "one-token"

    run(main())


def test_overdue_at_a_boot_with_a_file_that_cannot_be_used_what_ran_before_runs(tmp_path: Path) -> None:
    async def main() -> None:
        await killed_in_the_window(tmp_path, 5)
        await asyncio.sleep(10)
        async with House(tmp_path, BROKEN) as house:
            await both_run(house)
            assert (token(house), house._ledger.applied_id) == ("one-token", revision(ONE))
            assert house.on_disk() == BROKEN.encode()

    run(main())


def test_confirmed_on_a_full_disk_its_writer_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts now; that a crash would undo it must be said."""

    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            receipt = await house.write(TWO, confirm=60)
            with monkeypatch.context() as patched:
                full(patched, standing)
                with pytest.raises(ConfigWriteError):
                    await house._changes.decide(receipt["revision"], Decision.CONFIRM, "test")
            await asyncio.sleep(120)
            assert token(house) == "two-token"

    run(main())


# A file that cannot be used


def test_a_rollback_by_a_restart_is_not_kept_by_a_file_that_cannot_be_used(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            await house.write(RESTARTS, delay=0, confirm=10)
            await house.until(LifecycleState.RESTARTING)
            await house.until(LifecycleState.RUNNING)
            await house.edit(BROKEN)
            await asyncio.sleep(60)
            assert house._ledger.applied_id == revision(ONE)
            assert house.outcomes()[0] == "rolled_back"
            assert house.on_disk() == BROKEN.encode()

    run(main())


def test_what_is_put_back_is_what_was_accepted_not_what_was_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside a file that cannot be used: a write that failed has left nothing behind to go back to."""

    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            await house.edit(BROKEN)
            with monkeypatch.context() as patched:
                full(patched, file)
                with pytest.raises(ConfigWriteError):
                    await house.write(TWO)
            await house.write(THREE, confirm=1)
            await asyncio.sleep(5)
            assert (token(house), house._ledger.applied_id) == ("one-token", revision(ONE))

    run(main())


def test_what_is_put_back_is_kept_although_no_entry_names_it(tmp_path: Path) -> None:
    """The history tidies between the planning and the writing: what nothing names is gone then."""

    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            await house.edit(BROKEN)
            house._history._loaded().clear()
            await house.write(THREE, confirm=1)
            await asyncio.sleep(5)
            assert (token(house), house._ledger.applied_id) == ("one-token", revision(ONE))

    run(main())


def test_what_the_network_has_refused_is_tried_again_when_somebody_asks(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            house.network.refuses["two-token"] = "getMe: Unauthorized"
            await house.edit(TWO)
            await asyncio.sleep(1)
            assert house.lifecycle.data.rejected == revision(TWO)
            house.network.refuses.clear()
            await house._changes.notice(Origin.CALL, "SIGHUP")
            await asyncio.sleep(1)
            assert (token(house), house._ledger.applied_id) == ("two-token", revision(TWO))

    run(main())


def test_what_the_network_has_refused_runs_when_the_same_is_written(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            house.network.refuses["two-token"] = "getMe: Unauthorized"
            await house.edit(TWO)
            await asyncio.sleep(1)
            house.network.refuses.clear()
            assert (await house.write(TWO))["outcome"] == "applied"
            assert token(house) == "two-token"

    run(main())


def test_what_is_wrong_with_the_file_is_shown_for_as_long_as_it_is_there(tmp_path: Path) -> None:
    """A call that is refused has mended nothing."""

    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            await house.edit(BROKEN)
            issues = house._changes.issues
            assert issues
            house.network.refuses["two-token"] = "getMe: Unauthorized"
            with pytest.raises(ConfigError):
                await house.write(TWO)
            assert house._changes.issues == issues
            await house.write(THREE)
            assert house._changes.issues == []

    run(main())


def test_good_is_only_what_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A boot that falls back must find the bytes."""

    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            await asyncio.sleep(15)
            with monkeypatch.context() as patched:
                full(patched, history)
                await house.edit(TWO)
                await asyncio.sleep(15)
                assert token(house) == "two-token"
                assert house._standing.record.last_good == revision(ONE)
        async with House(tmp_path, BROKEN) as house:
            await both_run(house)
            assert token(house) == "one-token"

    run(main())


def test_an_edit_that_had_no_entry_is_kept_when_it_is_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            with monkeypatch.context() as patched:
                full(patched, history)
                await house.edit(TWO)
            await asyncio.sleep(15)
        async with House(tmp_path, BROKEN) as house:
            await both_run(house)
            assert token(house) == "two-token"

    run(main())


def test_what_waits_for_a_restart_that_an_older_text_makes_needless_has_ended(tmp_path: Path) -> None:
    """Nothing was proposed against it: the older text came by the watcher's look alone."""

    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            await house.write(RESTARTS, delay=60)
            house.save(ONE)
            event = await house._changes.review(Origin.FILE, "test")
            await house.post(event)
            await asyncio.sleep(30)
            assert house.state is LifecycleState.RUNNING
            assert house.outcomes()[0] == "superseded"

    run(main())
