"""Changes that must be confirmed, and what is known to be good, over the death of the process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection
from pathlib import Path

import pytest

from gateway.config import file
from gateway.config.standing import Window
from gateway.errors import AccountRefusedError, ConfigError, ConfigWriteError
from gateway.process.pending import Decision
from statemachine.lifecycle import LifecycleState
from tests.gateway.fakes import NEVER, Script
from tests.gateway.process.house import FakeControl, House
from tests.gateway.process.two_accounts import (
    MAIN,
    ONE,
    TWO,
    both_run,
    killed_in_the_window,
    revision,
    run,
    token,
)

S = LifecycleState


# Over a crash


class SlowHouse(House):
    """A gateway whose boot takes a while."""

    async def _make_control_plane(self) -> FakeControl:
        await asyncio.sleep(3)
        return await super()._make_control_plane()


def test_what_a_receipt_promises_is_on_the_disk_when_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            kept = tmp_path / "state" / "standing.json"
            with monkeypatch.context() as patched:
                # Nothing that is done beside it comes to its turn in time.
                patched.setattr(house._changes.transactions._errands, "see_through", lambda work: work.close())
                receipt = await house.write(TWO, confirm=60)
            promised = json.loads(kept.read_bytes())["window"]
            assert promised["until"] == receipt["confirm_by"]
            assert promised["number"] == house._history.entries(1)[0].number

    run(main())


def test_a_promise_is_made_with_the_number_of_its_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the file is written: who dies between the two can be told what became of it."""

    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            held: list[Window] = []
            monkeypatch.setattr(house._standing, "hold", held.append)
            await house.write(TWO, confirm=60)
            assert held[0].until is None
            assert held[0].number == house._history.entries(1)[0].number

    run(main())


def test_killed_in_the_window_the_time_goes_on(tmp_path: Path) -> None:
    async def main() -> None:
        until = await killed_in_the_window(tmp_path, 60)
        async with SlowHouse(tmp_path, TWO) as house:
            await both_run(house)
            window = house._standing.record.window
            assert window is not None
            assert window.until == until, "a boot does not put it off"
            await asyncio.sleep(55)
            assert token(house) == "two-token"
            await asyncio.sleep(6)
            await both_run(house)
            assert token(house) == "one-token"
            assert house.outcomes()[0] == "rolled_back"

    run(main())


def test_the_time_goes_on_while_a_boot_opens_its_store(tmp_path: Path) -> None:
    """A large one is looked through first, and that takes as long as it takes."""

    async def main() -> None:
        until = await killed_in_the_window(tmp_path, 60)
        house = SlowHouse(tmp_path, TWO)
        await house.begin()
        opened = house._messages.open

        async def slowly() -> Collection[str]:
            await asyncio.sleep(40)
            return await opened()

        house._messages.open = slowly  # type: ignore[method-assign]
        await house.until(S.RUNNING)
        await asyncio.sleep((until - house._clock.wall_ms()) / 1000 + 5)
        await both_run(house)
        assert token(house) == "one-token"
        await house.__aexit__(None)

    run(main())


def test_killed_in_the_window_and_back_too_late_it_boots_with_what_ran_before(tmp_path: Path) -> None:
    async def main() -> None:
        await killed_in_the_window(tmp_path, 5)
        await asyncio.sleep(10)
        async with House(tmp_path, TWO) as house:
            await both_run(house)
            assert (token(house), len(house.network.of(MAIN))) == ("one-token", 1)
            assert house.on_disk() == TWO.encode()
            await asyncio.sleep(1)
            assert house.outcomes()[0] == "rolled_back"
            assert "no gateway ran" in house._history.entries(1)[0].why

    run(main())


def test_killed_between_the_promise_and_the_write_nothing_is_rolled_back(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            real = file.write

            def dies(path: Path, raw: bytes, *expected: bytes | None) -> bool:
                if path == house.path:
                    raise ConfigWriteError("the process dies here")
                return real(path, raw, *expected)

            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(file, "write", dies)
                patched.setattr(house._standing, "release", lambda _: None)
                with pytest.raises(ConfigWriteError):
                    await house.write(TWO, confirm=60)
            assert house._standing.record.window is not None
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            assert house._standing.record.window is None
            await asyncio.sleep(120)
            assert token(house) == "one-token"
            assert len(house.network.of(MAIN)) == 1

    run(main())


# What a gateway boots with


def test_case_57_an_invalid_file_and_a_last_good_copy(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            await asyncio.sleep(30)
            assert house._standing.record.last_good == revision(ONE)
        async with House(tmp_path, "gateway: {nme: x}\n") as house:
            await both_run(house)
            assert house._ledger.applied_id == revision(ONE)
            assert house.on_disk() == b"gateway: {nme: x}\n", "the file is its owner's"
            assert house.lifecycle.data.rejected is not None
            await house.ticket("refused", 0)
            await asyncio.sleep(5)
            assert house.outcome("refused") == "refused"
            await house.edit(TWO)
            await asyncio.sleep(1)
            assert token(house) == "two-token"

    run(main())


def test_an_invalid_file_and_a_last_good_copy_that_was_rolled_back_since(tmp_path: Path) -> None:
    """Found by 20,000 schedules: what nobody had confirmed the second time was known to be good from the first."""

    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            await asyncio.sleep(30)
            await house.edit(TWO)
            await both_run(house)
            await house.write(ONE, confirm=3)
            await asyncio.sleep(5)
            assert (token(house), house.outcomes()[0]) == ("two-token", "rolled_back")
            assert house._standing.record.last_good == revision(ONE)
        async with House(tmp_path, "gateway: {nme: x}\n") as house:
            await both_run(house)
            assert token(house) == "two-token"

    run(main())


def test_an_invalid_file_and_no_last_good_copy_is_no_boot(tmp_path: Path) -> None:
    async def main() -> None:
        house = House(tmp_path, "gateway: {nme: x}\n")
        with pytest.raises(ConfigError, match="nme"):
            await house.begin()
        house.control.listener.close()

    run(main())


def test_case_58_good_is_what_ran_well_not_what_was_written(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            await asyncio.sleep(30)
            house.network.script(MAIN, *[Script(error=AccountRefusedError("getMe: Unauthorized"))] * 50)
            await house.edit(TWO)
            await asyncio.sleep(60)
            assert house._ledger.applied_id == revision(TWO)
            assert house._standing.record.last_good == revision(ONE)
        async with House(tmp_path, "]") as house:
            await both_run(house)
            assert house._ledger.applied_id == revision(ONE)

    run(main())


async def killed_while_it_is_rolled_back(folder: Path) -> Window:
    """What ran before does not come back in time: the process dies before it could be said what became of the change."""
    house = House(folder, ONE)
    await house.begin()
    await house.until(LifecycleState.RUNNING)
    await both_run(house)
    await house.write(TWO, confirm=5)
    window = house._standing.record.window
    assert window is not None
    house.network.script(MAIN, Script(ready_after=NEVER))
    await asyncio.sleep(6)
    assert house.outcomes()[0] == "rolling_back"
    await house.kill()
    return window


def test_killed_while_it_is_rolled_back_it_is_rolled_back(tmp_path: Path) -> None:
    """Found by an hour of chaos: what ran before ran again, and the history called the change interrupted."""

    async def main() -> None:
        await killed_while_it_is_rolled_back(tmp_path)
        async with House(tmp_path, TWO) as house:
            await both_run(house)
            assert token(house) == "one-token"
            await asyncio.sleep(1)
            (entry,) = house._history.entries(1)
            assert (entry.outcome, entry.stage) == ("rolled_back", "confirm")
            assert "it was not confirmed in time" in entry.why

    run(main())


@pytest.mark.parametrize("text", [TWO, ONE], ids=["the file as it was", "edited since"])
@pytest.mark.parametrize(("confirmed", "outcome"), [(False, "rolled_back"), (True, "committed")])
def test_killed_before_it_was_written_down_what_became_of_it_the_next_boot_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, confirmed: bool, outcome: str
) -> None:
    """Found by an hour of chaos: what stands was on the disk, its entry was not, and stayed on probation for ever."""

    async def main() -> None:
        house = House(tmp_path, ONE)
        await house.begin()
        await house.until(LifecycleState.RUNNING)
        await both_run(house)
        await house.write(TWO, confirm=5)
        monkeypatch.setattr(house._changes.transactions, "_write_down", lambda _: None)
        if confirmed:
            await house._changes.decide(revision(TWO), Decision.CONFIRM, "somebody")
        await asyncio.sleep(10)
        assert token(house) == ("two-token" if confirmed else "one-token")
        assert house.outcomes()[0] == "probation"
        await house.kill()
        async with House(tmp_path, text) as house:
            await both_run(house)
            await asyncio.sleep(1)
            entry = next(entry for entry in house._history.entries(9) if entry.revision == revision(TWO))
            assert entry.outcome == outcome
            assert (entry.stage, entry.why) == (("", "") if confirmed else ("confirm", "it was not confirmed in time"))

    run(main())


def test_killed_while_it_is_rolled_back_and_nothing_to_go_back_to_it_is_interrupted(tmp_path: Path) -> None:
    """Without the bytes of what ran before, those of the file are the next best."""

    async def main() -> None:
        window = await killed_while_it_is_rolled_back(tmp_path)
        (kept,) = tmp_path.rglob(f"{window.base}.yaml")
        kept.unlink()
        async with House(tmp_path, TWO) as house:
            await both_run(house)
            await asyncio.sleep(1)
            assert (token(house), house.outcomes()[0]) == ("two-token", "interrupted")

    run(main())
