"""A config change from whatever road: applied once, answered once, and never at the cost of somebody else's."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gateway.config import file
from gateway.config.edit import merge_patch, replacement
from gateway.errors import StaleHashError, UnavailableError
from gateway.process.changes import LIFECYCLE, Write
from statemachine.lifecycle import LifecycleState
from statemachine.lifecycle_events import Impact, Origin
from tests.gateway.configs import telegram
from tests.gateway.fakes import Script
from tests.gateway.process.house import House
from tests.gateway.process.one_account import COLD, LIVE, MAIN, ONE, THREE, TWO, applications, drain_timeout, outcomes
from tests.gateway.process.two_accounts import run

S = LifecycleState


# One write is one revision


def test_case_1_a_write_and_its_own_file_event_are_one(tmp_path: Path) -> None:
    """The founding case: the watcher tells of the file that a call has written, and the channel is restarted once."""

    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await house.until_account(MAIN, "running")
            writing = asyncio.ensure_future(house.write(TWO))
            for _ in range(10):
                await asyncio.sleep(0.1)
                await house._changes.notice(Origin.FILE, "watcher")
            assert (await writing)["outcome"] == "applied"
            await asyncio.sleep(120)
            assert applications(house) == ["started", "plan_applied"]
            assert [receiver.settings.token.reveal() for receiver in house.network.of(MAIN)] == [
                "one-token",
                "two-token",
            ]
            assert outcomes(house) == ["done"]
            absorbed = house._journal.page(0, 1000, LIFECYCLE)
            assert {entry.outcome for entry in absorbed if entry.cause == "watcher"} == {"coalesced"}

    run(main())


def test_case_4_an_edit_soon_after_a_write_is_another_revision(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await house.until_account(MAIN, "running")
            await house.write(TWO)
            await asyncio.sleep(0.5)
            await house.edit(THREE)
            await asyncio.sleep(5)
            assert house._ledger.applied == house._reader().load(THREE.encode()).config
            assert house.network.live(MAIN)[0].settings.token.reveal() == "three-token"

    run(main())


def test_an_edit_while_a_slow_reload_is_under_way_is_not_lost(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await house.until_account(MAIN, "running")
            house.network.script(MAIN, Script(ready_after=20))
            writing = asyncio.ensure_future(house.write(TWO))
            await asyncio.sleep(5)
            assert house.state is S.HOT_RELOADING
            await house.edit(THREE)
            assert (await writing)["outcome"] == "applied"
            await house.until_account(MAIN, "running")
            await asyncio.sleep(5)
            assert house.network.live(MAIN)[0].settings.token.reveal() == "three-token"
            assert applications(house) == ["started", "plan_applied", "plan_applied"]

    run(main())


def test_who_waits_for_a_revision_that_was_superseded_gets_the_newer_ones_outcome(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await house.until_account(MAIN, "running")
            house.network.script(MAIN, Script(ready_after=20))
            first = asyncio.ensure_future(house.write(TWO))
            await asyncio.sleep(1)
            second = asyncio.ensure_future(house.write(THREE))
            await asyncio.sleep(1)
            third = asyncio.ensure_future(house.write(LIVE))
            assert [(await writing)["outcome"] for writing in (first, second, third)] == ["applied"] * 3
            assert applications(house) == ["started", "plan_applied", "plan_applied"]
            assert house._ledger.applied_id == file.revision_of(LIVE.encode())

    run(main())


def test_case_59_an_unchanged_revision_moves_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await house.until_account(MAIN, "running")
            before = house.lifecycle.data
            for _ in range(5):
                house.save(ONE)
                await house._changes.notice(Origin.FILE, "watcher")
                receipt = await house.write(ONE)
                assert (receipt["outcome"], receipt["changed_paths"], receipt["restart"]) == ("noop", [], None)
            assert house.lifecycle.data == before
            assert len(house.network.of(MAIN)) == 1

    run(main())


def test_a_comment_is_a_revision_that_changes_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            receipt = await house.write(ONE + "# a comment\n")
            assert receipt["outcome"] == "noop"
            assert receipt["hash"] == house._ledger.applied_id == file.revision_of(house.on_disk())
            assert applications(house) == ["started"]

    run(main())


def test_a_slow_reading_is_not_posted_behind_a_write_that_came_later(tmp_path: Path) -> None:
    """It would bring the old revision back: what runs would not be what is on disk."""

    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await house.until_account(MAIN, "running")
            load = house._changes.load

            async def slow_load() -> Any:
                revision = await load()
                await asyncio.sleep(1)
                return revision

            house._changes.load = slow_load  # type: ignore[method-assign]
            house.save(THREE)
            noticing = asyncio.ensure_future(house._changes.notice(Origin.FILE, "watcher"))
            await asyncio.sleep(0.5)
            assert (await house.write(TWO))["outcome"] == "applied"
            await noticing
            await asyncio.sleep(10)
            assert house._ledger.applied_id == house.hash == file.revision_of(TWO.encode())

    run(main())


def test_a_revision_that_a_restart_applied_while_it_was_read_again_is_answered_for_ever_after(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await house.until_account(MAIN, "running")
            house.network.script(MAIN, Script(ready_after=10))
            first = asyncio.ensure_future(house.write(TWO))
            await asyncio.sleep(1)
            load = house._changes.load
            waits = [30.0]

            async def slow_load() -> Any:
                """The first reading, which is the review's, takes longer than the whole restart."""
                revision = await load()
                await asyncio.sleep(waits.pop() if waits else 0)
                return revision

            second = asyncio.ensure_future(house.write(THREE))
            await asyncio.sleep(1)
            house._changes.load = slow_load  # type: ignore[method-assign]
            house.ticket("restart", 0)
            await asyncio.gather(first, second)
            await asyncio.sleep(60)
            assert waits == []
            assert house.lifecycle.data.reviewed is None
            async with asyncio.timeout(10):
                assert (await house.write(THREE))["outcome"] == "noop"

    run(main())


# Receipts


def test_what_a_receipt_says(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await house.until_account(MAIN, "running")
            receipt = await house.write(LIVE)
            assert receipt == {
                "request": receipt["request"],
                "revision": file.revision_of(LIVE.encode()),
                "hash": file.revision_of(LIVE.encode()),
                "changed_paths": ["store.keep_days"],
                "plan": {"class": "live", "accounts": {}},
                "outcome": "applied",
                "stage": None,
                "why": "",
                "confirm_by": None,
                "restart": None,
            }
            assert house.outcome(receipt["request"]) == "done"
            assert house.on_disk() == LIVE.encode()

    run(main())


def test_case_63_before_a_restart_the_answer_comes_first(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            receipt = await house.write(COLD)
            assert house.state is S.RESTART_PENDING
            assert (receipt["outcome"], receipt["plan"]["class"]) == ("restart_pending", "gateway")
            ticket = receipt["restart"]
            assert ticket["due_in_ms"] == pytest.approx(2_000, abs=50)
            assert house.outcome(ticket["id"]) == "pending"
            await house.until(S.RUNNING)
            assert house.outcome(ticket["id"]) == "done"
            assert drain_timeout(house) == 29_000

    run(main())


@pytest.mark.parametrize(("delay", "seconds"), [(None, 2.0), (0.0, 0.0), (7.0, 7.0), (3_600.0, 60.0), (-5.0, 0.0)])
def test_a_restarts_delay_is_the_writers_within_bounds(tmp_path: Path, delay: float | None, seconds: float) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            before = house.now()
            await house.write(COLD, delay=delay)
            await house._dispatcher.until(LIFECYCLE, lambda machine: machine.data.restarts == 1)
            assert house.now() - before == pytest.approx(seconds, abs=0.1)

    run(main())


def test_case_21_a_revert_takes_the_restart_back(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            ticket = (await house.write(COLD))["restart"]["id"]
            assert (await house.write(ONE))["outcome"] == "noop"
            assert (house.outcome(ticket), house.state) == ("superseded", S.RUNNING)
            await asyncio.sleep(120)
            assert applications(house) == ["started"]

    run(main())


def test_case_21_a_hot_edit_meanwhile_is_applied_and_the_restart_stands(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await house.until_account(MAIN, "running")
            ticket = (await house.write(COLD))["restart"]["id"]
            receipt = await house.write(COLD.replace("one-token", "two-token"))
            assert receipt["outcome"] == "restart_pending"
            assert house.network.live(MAIN)[0].settings.token.reveal() == "two-token"
            assert drain_timeout(house) == 30_000
            await house.until(S.RUNNING)
            assert house.outcome(ticket) == "done"
            assert house.triggers().count("restarted") == 1
            assert drain_timeout(house) == 29_000

    run(main())


def test_the_restart_that_is_due_first_is_the_one_that_is_told_of(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            assert house._changes.pending_restart() is None
            await house.ticket("late", 30)
            await house.ticket("soon", 5)
            await house.ticket("later", 40)
            assert house._changes.pending_restart() == {"id": "soon", "due_in_ms": 5_000}
            await house.cancel("soon")
            assert house._changes.pending_restart() == {"id": "late", "due_in_ms": 30_000}

    run(main())


# Writers and their hashes


def test_case_54_of_six_writers_at_once_one_wins_and_five_are_told(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            base = house.hash
            texts = [telegram(main=f"token: token-{number}") for number in range(6)]
            results = await asyncio.gather(*(house.write(text, base) for text in texts), return_exceptions=True)
            (won,) = [number for number, result in enumerate(results) if isinstance(result, dict)]
            stale = [result for result in results if isinstance(result, StaleHashError)]
            assert len(stale) == 5
            assert {error.current for error in stale} == {house.hash}
            assert house.on_disk() == texts[won].encode()
            assert sorted(outcomes(house)) == ["done"] + ["refused"] * 5

    run(main())


@pytest.mark.parametrize("base", [None, "0" * 64])
def test_without_the_right_hash_nothing_is_written(tmp_path: Path, base: str | None) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            with pytest.raises(StaleHashError) as caught:
                await house.write(TWO, base)
            assert caught.value.current == house.hash
            assert house.on_disk() == ONE.encode()
            assert [entry.road for entry in house._history.entries(10)] == ["boot"]

    run(main())


def test_somebody_who_saves_while_a_write_is_being_made_is_not_overwritten(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:

            def slow_edit(current: bytes) -> bytes:
                house.save(THREE)
                return replacement(TWO)(current)

            with pytest.raises(StaleHashError) as caught:
                await house._changes.write(Write(slow_edit, house.hash, "test"))
            assert house.on_disk() == THREE.encode()
            assert caught.value.current == file.revision_of(THREE.encode())

    run(main())


def test_the_first_file_needs_no_hash(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            house.path.unlink()
            assert (await house.write(TWO, None))["outcome"] == "applied"
            assert house.path.stat().st_mode & 0o777 == 0o600

    run(main())


def test_a_patch_is_made_of_what_is_there_when_its_turn_comes(tmp_path: Path) -> None:
    """case_54: two patches, the second with the hash of the first one's result: neither undoes the other."""

    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            for key, value in (("keep_days", 7), ("durability", "normal")):
                edit = merge_patch({"store": {key: value}})
                await house._changes.write(Write(edit, house.hash, "test"))
            found = house._reader().load(house.on_disk()).config
            assert (found.store.keep_days, found.store.durability) == (7, "normal")

    run(main())


# Reload mode `off`


OFF = ONE.replace("gateway:\n", "gateway:\n  reload: {mode: 'off'}\n")


def test_with_reload_off_an_edit_is_drift_and_a_call_asks_for_a_restart(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, OFF) as house:
            await house.until_account(MAIN, "running")
            await house.edit(OFF.replace("one-token", "two-token"))
            await asyncio.sleep(60)
            assert house.lifecycle.data.drift
            assert applications(house) == ["started"]
            receipt = await house.write(OFF.replace("one-token", "three-token"))
            assert (receipt["outcome"], receipt["plan"]["class"]) == ("restart_pending", Impact.CHANNEL.word)
            await house.until(S.RUNNING)
            assert house.network.live(MAIN)[0].settings.token.reveal() == "three-token"
            assert not house.lifecycle.data.drift

    run(main())


# The end


def test_a_write_that_waits_when_the_gateway_stops_is_answered(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await house.until_account(MAIN, "running")
            house.network.script(MAIN, Script(ready_after=20))
            writing = [asyncio.ensure_future(house.write(TWO))]
            await asyncio.sleep(1)
            writing.append(asyncio.ensure_future(house.write(THREE)))
            await asyncio.sleep(1)
            await house.end()
            for result in await asyncio.gather(*writing, return_exceptions=True):
                assert isinstance(result, UnavailableError)
                assert "written, and not applied" in str(result)
            assert outcomes(house) == ["failed", "failed"]

    run(main())
