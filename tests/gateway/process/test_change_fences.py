"""The order in which a change is made lasting, who is told of what, and who is not: one test a fence."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from gateway.clock import Clock
from gateway.config.history import History
from gateway.config.standing import Record, Standing
from gateway.errors import AccountRefusedError, ConfigWriteError, NoWindowError, StaleHashError, UnavailableError
from gateway.process.pending import Decision, Pending
from statemachine.channel_events import By, Start
from statemachine.lifecycle import LifecycleState
from statemachine.lifecycle_events import Origin, StopRequested
from tests.gateway.fakes import NEVER, Script
from tests.gateway.process.house import House, late
from tests.gateway.process.two_accounts import (
    HOUR,
    MAIN,
    ONE,
    OTHER,
    RESTARTS,
    THREE,
    TWO,
    both_run,
    changes,
    killed_in_the_window,
    revision,
    run,
    token,
)

S = LifecycleState
UNUSABLE = "gateway: {nme: x}\n"
REFUSED = AccountRefusedError("getUpdates: Unauthorized")


def on_disk(folder: Path) -> Record:
    """What a gateway would find that booted now."""
    return Standing(folder / "state").record


def brought(house: House) -> list[tuple[str, str]]:
    """Roads and revisions of the history, newest first."""
    return [(entry.road, entry.revision) for entry in house._history.entries(99)]


# What is on the disk, and when


def test_before_the_file_is_touched_the_way_back_is_on_the_disk(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            transactions = house._changes.transactions
            write, seen = transactions._write_file, []

            def look(pending: Pending) -> None:
                history = History(tmp_path / "state" / "config-history", Clock())
                window = on_disk(tmp_path).window
                assert window is not None
                seen.append((window.revision, window.base, window.number, window.accounts, window.until))
                assert history.entries(1)[0].number == window.number
                assert (history.raw(window.revision), history.raw(window.base)) == (TWO.encode(), ONE.encode())
                assert house.on_disk() == ONE.encode()
                write(pending)

            transactions._write_file = look
            await house.write(TWO, confirm=60)
            number = house._history.entries(1)[0].number
            assert seen == [(revision(TWO), revision(ONE), number, (MAIN, OTHER), None)]

    run(main())


def test_a_rollback_is_on_the_disk_and_so_is_that_a_person_wants_it_after_all(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            await house.write(TWO, confirm=1)
            await asyncio.sleep(2)
            aside = on_disk(tmp_path).set_aside
            assert aside is not None
            assert (aside.revision, aside.base) == (revision(TWO), revision(ONE))
            await house.write(TWO)
            assert on_disk(tmp_path).set_aside is None

    run(main())


def test_a_decision_that_cannot_be_made_lasting_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            receipt = await house.write(TWO, confirm=HOUR)

            def full() -> None:
                raise ConfigWriteError("no space left on device")

            with monkeypatch.context() as patched:
                patched.setattr(house._standing, "flush", full)
                with pytest.raises(ConfigWriteError, match="no space"):
                    await house._changes.decide(receipt["revision"], Decision.CONFIRM, "test")

    run(main())


def test_a_window_that_cannot_be_made_lasting_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written then, nothing is held, and the next write is taken."""

    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)

            def full() -> None:
                raise ConfigWriteError("no space left on device")

            with monkeypatch.context() as patched:
                patched.setattr(house._standing, "flush", full)
                with pytest.raises(ConfigWriteError, match="no space"):
                    await house.write(TWO, confirm=HOUR)
            assert house.on_disk() == ONE.encode()
            assert house._standing.record.window is None
            assert (await house.write(THREE))["outcome"] == "applied"

    run(main())


def test_a_write_that_fails_holds_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            tmp_path.chmod(0o700)

            def fails(_: Pending) -> None:
                raise ConfigWriteError("no space left on device")

            house._changes.transactions._write_file, write = fails, house._changes.transactions._write_file
            with pytest.raises(ConfigWriteError, match="no space"):
                await house.write(TWO, confirm=HOUR)
            house._changes.transactions._write_file = write
            await asyncio.sleep(1)
            assert on_disk(tmp_path).window is None
            entry = house._history.entries(1)[0]
            assert (entry.outcome, entry.stage) == ("rejected", "write")
            assert (await house.write(TWO))["outcome"] == "applied"

    run(main())


def test_nobody_waits_for_a_revision_that_was_never_submitted(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            house.network.refuses["two-token"] = "getMe: Unauthorized"
            with pytest.raises(Exception, match="Unauthorized"):
                await house.write(TWO)
            with pytest.raises(StaleHashError):
                await house.write(TWO, base=revision(THREE))
            assert house._changes._waiters == {}

    run(main())


# Where a rollback goes back to


def test_a_rollback_of_what_replaced_a_file_that_could_not_be_used(tmp_path: Path) -> None:
    """It goes back to what was valid last, even if somebody has cleared the history."""

    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            shutil.rmtree(tmp_path / "state" / "config-history")
            await house.edit(UNUSABLE)
            receipt = await house.write(TWO, confirm=HOUR)
            assert token(house) == "two-token"
            told = await house._changes.decide(receipt["revision"], Decision.CANCEL, "test")
            assert (told["outcome"], told["why"]) == ("rolled_back", "cancelled by test")
            assert token(house) == "one-token"

    run(main())


def test_what_is_put_back_is_watched_until_it_is_known_to_be_good(tmp_path: Path) -> None:
    """It had not run for long enough when it was replaced."""

    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            await house.write(TWO, confirm=1)
            await asyncio.sleep(2)
            assert house._standing.record.last_good is None
            await asyncio.sleep(30)
            assert house._standing.record.last_good == revision(ONE)
            assert changes(house) == {}

    run(main())


def test_a_rollback_does_not_go_back_to_what_was_rolled_back(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            await house.write(TWO, confirm=1)
            await asyncio.sleep(2)
            receipt = await house.write(THREE, confirm=HOUR)
            await house._changes.decide(receipt["revision"], Decision.CANCEL, "test")
            assert (token(house), house._ledger.applied_id) == ("one-token", revision(ONE))

    run(main())


def test_an_edit_beside_it_that_cannot_run_does_not_keep_it_running(tmp_path: Path) -> None:
    """The network refuses the edit's token: what ran before is put back all the same."""

    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            receipt = await house.write(TWO, confirm=HOUR)
            await house.edit(THREE)
            house.network.refuses["three-token"] = "getMe: Unauthorized"
            told = await house._changes.decide(receipt["revision"], Decision.CANCEL, "test")
            assert told["outcome"] == "rolled_back"
            assert token(house) == "one-token"
            assert house.lifecycle.data.rejected == revision(THREE)
            await asyncio.sleep(HOUR)
            assert house._standing.record.last_good == revision(ONE)
            assert changes(house) == {}

    run(main())


# News


def test_an_edit_is_in_the_history_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            await house.edit(TWO)
            for _ in range(3):
                await house._changes.notice(Origin.FILE, "watcher")
            await house.write(THREE)
            await house._changes.notice(Origin.FILE, "watcher")
            await asyncio.sleep(1)
            assert brought(house)[:2] == [("call", revision(THREE)), ("file", revision(TWO))]
            assert len(brought(house)) == 3

    run(main())


def test_what_is_held_in_the_place_of_the_file_is_no_edit(tmp_path: Path) -> None:
    """The file was unusable meanwhile, so that the lifecycle has heard of another revision last."""

    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            await house.write(TWO, confirm=1)
            await asyncio.sleep(30)
            before = brought(house)
            await house.edit(UNUSABLE)
            await house.edit(TWO)
            await asyncio.sleep(1)
            assert token(house) == "one-token"
            assert brought(house) == before
            assert house.lifecycle.data.rejected is None

    run(main())


# Accounts


def test_an_account_that_did_not_run_before_ends_nothing(tmp_path: Path) -> None:
    """Neither by having failed long ago, nor by failing again."""

    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            house.network.live(OTHER)[0].fail(REFUSED)
            await house.until_account(OTHER, "failed")
            assert (await house.write(TWO, confirm=HOUR))["outcome"] == "probation"
            house.network.script(OTHER, Script(error=REFUSED))
            account = house._ledger.applied.accounts()[OTHER]
            await house.post(Start(house._accounts.run_of(OTHER, account, revision(TWO)), By.PERSON), OTHER)
            await house.until_account(OTHER, "failed")
            await asyncio.sleep(60)
            assert token(house) == "two-token"
            assert list(changes(house).values()) == ["probation"]

    run(main())


def test_an_account_that_ran_before_a_crash_and_does_not_come_back_ends_it(tmp_path: Path) -> None:
    async def main() -> None:
        await killed_in_the_window(tmp_path, HOUR)
        house = House(tmp_path, TWO)
        house.network.script(MAIN, Script(error=REFUSED))
        async with house:
            await asyncio.sleep(5)
            await both_run(house)
            assert token(house) == "one-token"
            assert MAIN in house._history.entries(1)[0].why

    run(main())


def test_an_account_that_is_not_to_run_keeps_nothing_from_being_good(tmp_path: Path) -> None:
    text = ONE.replace("other-token", "other-token, enabled: false")

    async def main() -> None:
        async with House(tmp_path, text) as house:
            await house.until_account(MAIN, "running")
            await asyncio.sleep(30)
            assert house._standing.record.last_good == revision(text)

    run(main())


def test_nothing_is_called_good_in_the_middle_of_a_restart(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            await asyncio.sleep(30)
            await house.write(TWO)
            house.control.drain_takes = 20
            await house.ticket("now", 0)
            await house.until(S.RESTARTING)
            await asyncio.sleep(15)
            await both_run(house)
            assert house._standing.record.last_good == revision(ONE)
            await house.until(S.RUNNING)
            await asyncio.sleep(HOUR)
            assert house._standing.record.last_good == revision(TWO)

    run(main())


# Newer ones, restarts, ends


def test_what_a_review_has_read_ends_the_watching_of_what_ran_before(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            await asyncio.sleep(30)
            await house.write(TWO)
            await asyncio.sleep(5)
            house.save(THREE)
            house.post(await house._changes.review_again())
            await asyncio.sleep(7)
            await both_run(house)
            assert token(house) == "three-token"
            assert house._standing.record.last_good == revision(ONE), "neither of them has run for long"
            await asyncio.sleep(5)
            assert house._standing.record.last_good == revision(THREE)

    run(main())


def test_what_only_a_restart_has_read_is_in_the_history_and_watched(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            await asyncio.sleep(30)
            house.save(TWO)
            await house.ticket("now", 0)
            await house.until(S.RESTARTING)
            await house.until(S.RUNNING)
            assert brought(house)[0] == ("restart", revision(TWO))
            await asyncio.sleep(30)
            assert house._standing.record.last_good == revision(TWO)
            assert house.outcomes()[0] == "committed"

    run(main())


def test_what_is_written_during_a_restart_is_newer_than_what_the_restart_has_read(tmp_path: Path) -> None:
    """And is watched when it runs."""

    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            await asyncio.sleep(30)
            house.save(TWO)
            house.control.drain_takes = 5
            await house.ticket("now", 0)
            await house.until(S.RESTARTING)
            await asyncio.sleep(1)
            assert (await house.write(THREE))["outcome"] == "restart_pending"
            await house.until(S.RUNNING)
            await asyncio.sleep(30)
            await both_run(house)
            assert token(house) == "three-token"
            assert house._standing.record.last_good == revision(THREE)

    run(main())


def test_what_is_rolled_back_during_a_restart_is_not_watched_again(tmp_path: Path) -> None:
    """The restart brings it once more; the word on what ran before comes after."""

    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            receipt = await house.write(TWO, confirm=HOUR)
            house.control.drain_takes = 5
            await house.ticket("now", 0)
            await house.until(S.RESTARTING)
            await asyncio.sleep(1)
            told = await house._changes.decide(receipt["revision"], Decision.CANCEL, "test")
            assert (told["outcome"], told["why"]) == ("rolled_back", "cancelled by test")
            await both_run(house)
            assert token(house) == "one-token"
            assert revision(TWO) not in {house._dispatcher.machine(name).data.revision for name in changes(house)}

    run(main())


def test_what_the_end_of_the_gateway_breaks_off_goes_on_with_the_next_boot(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            house.network.script(MAIN, Script(ready_after=NEVER))
            writing = asyncio.ensure_future(house.write(TWO, confirm=60))
            await house.until(S.HOT_RELOADING)
            await house.post(StopRequested("test"))
            with pytest.raises(UnavailableError, match="written, and not applied"):
                await writing
        async with House(tmp_path, TWO) as house:
            await both_run(house)
            await asyncio.sleep(30)
            assert token(house) == "two-token"
            await asyncio.sleep(31)
            await both_run(house)
            assert token(house) == "one-token"

    run(main())


def test_nothing_is_written_while_the_gateway_stops(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            house.network.live(MAIN)[0].script.lingers = 3
            await house.post(StopRequested("test"))
            with pytest.raises(UnavailableError, match="nothing was written"):
                await house.write(TWO)
            assert house.on_disk() == ONE.encode()

    run(main())


def test_what_waited_for_a_restart_when_the_process_died_is_called_interrupted(tmp_path: Path) -> None:
    """Another text has come in its place meanwhile: nothing more can become of it."""

    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            assert (await house.write(RESTARTS, delay=60))["outcome"] == "restart_pending"
            number = house._history.entries(1)[0].number
        async with House(tmp_path, THREE) as house:
            await both_run(house)
            assert house._history.find(str(number)).outcome == "interrupted"

    run(main())


def test_what_a_gateway_that_ends_will_not_take_has_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            for account in (MAIN, OTHER):
                house.network.live(account)[0].script.lingers = 3
            with monkeypatch.context() as patched:
                patched.setattr(asyncio, "to_thread", late(1, "_write_whole"))
                writing = asyncio.ensure_future(house.write(TWO))
                await asyncio.sleep(0.5)
                await house.post(StopRequested("test"))
                with pytest.raises(UnavailableError, match="written, and not applied"):
                    await writing
                await asyncio.sleep(0.5)
            assert changes(house) == {}
            assert house.outcomes()[0] == "refused"

    run(main())


def test_of_a_change_that_is_not_there_nothing_can_be_decided(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            receipt = await house.write(TWO)
            for decision in Decision:
                with pytest.raises(NoWindowError, match="must_be_confirmed"):
                    await house._changes.decide(receipt["revision"], decision, "test", seconds=5)
            with pytest.raises(NoWindowError, match="no change with this revision"):
                await house._changes.decide(revision(THREE), Decision.CONFIRM, "test")
            assert token(house) == "two-token"

    run(main())
