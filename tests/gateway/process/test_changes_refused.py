"""What is wrong with a change, or with the file: said, and nothing that runs or is on the disk is touched."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from gateway.config import file
from gateway.config.edit import merge_patch, replacement
from gateway.errors import ConfigError, ConfigOwnedError, ConfigWriteError, StaleHashError, UnavailableError
from gateway.process.changes import Write
from gateway.process.wanted import REREAD_PAUSE, REREADS
from statemachine.lifecycle import LifecycleState
from statemachine.lifecycle_events import Origin
from tests.gateway.configs import telegram
from tests.gateway.fakes import Script
from tests.gateway.process.house import House
from tests.gateway.process.one_account import BROKEN, MAIN, ONE, THREE, TWO, applications, outcomes
from tests.gateway.process.two_accounts import run

S = LifecycleState


# What is wrong, and what cannot be done


def test_what_is_invalid_is_not_written(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            with pytest.raises(ConfigError) as caught:
                await house.write(BROKEN)
            assert caught.value.issues[0].path == "gateway.nme"
            assert house.on_disk() == ONE.encode()
            assert outcomes(house) == ["refused"]
            assert house._changes.issues == [], "what is on disk is all right"

    run(main())


@pytest.mark.parametrize("broken", ["write", "history"])
def test_what_cannot_be_written_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            if broken == "history":
                shutil.rmtree(tmp_path / "state" / "config-history")
                (tmp_path / "state" / "config-history").write_text("no folder")
            else:
                monkeypatch.setattr("gateway.config.file.tempfile.mkstemp", _no_space)
            with pytest.raises(ConfigWriteError):
                await house.write(TWO)
            assert house.on_disk() == ONE.encode()
            assert applications(house) == ["started"]
            assert outcomes(house) == ["refused"]

    run(main())


def _no_space(*_: Any, **__: Any) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_the_earlier_bytes_are_kept_first(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await house.write(TWO)
            await house.write(THREE)
            kept = {path.read_text() for path in (tmp_path / "state" / "config-history").glob("*.yaml")}
            assert kept == {ONE, TWO, THREE}

    run(main())


def test_an_edit_that_breaks_is_told_and_closes_its_request(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:

            def broken(_: bytes) -> bytes:
                raise ZeroDivisionError

            with pytest.raises(UnavailableError, match="ZeroDivisionError"):
                await house._changes.write(Write(broken, house.hash, "test"))
            assert outcomes(house) == ["failed"]
            assert (await house.write(TWO))["outcome"] == "applied"

    run(main())


def test_a_caller_that_goes_away_stops_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await house.until_account(MAIN, "running")
            house.network.script(MAIN, Script(ready_after=10))
            for turns in range(4):
                calling = asyncio.ensure_future(house.write(telegram(main=f"token: token-{turns}")))
                for _ in range(turns * 3):
                    await asyncio.sleep(0)
                calling.cancel()
                await asyncio.sleep(30)
                assert calling.cancelled()
            # The first had not even begun; each of the others was seen through.
            assert house.on_disk() == telegram(main="token: token-3").encode()
            assert house.network.live(MAIN)[0].settings.token.reveal() == "token-3"
            assert set(outcomes(house)) == {"done"}

    run(main())


def test_no_refusal_shows_a_secret(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await house.edit("gateway: {name: 'a one-token b', nme: one-token}\none-token: {}\n")
            await asyncio.sleep(1)
            shown = repr([entry.as_dict() for entry in house._journal.page()])
            assert "unknown key" in shown
            assert "one-token" not in shown

    run(main())


def test_secrets_of_a_config_are_known_before_it_runs(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await house.edit(TWO)
            await house.write(THREE)
            for token in ("one-token", "two-token", "three-token", "the-admin-token"):
                assert token not in house._redactor.text(f"<{token}>")

    run(main())


# A file that is broken, or not there


def test_case_56_a_file_that_is_broken_for_a_moment_was_never_broken(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            for broken in ("", "channels: [", None):
                if broken is None:
                    house.path.unlink()
                else:
                    house.path.write_text(broken)
                noticing = asyncio.ensure_future(house._changes.notice(Origin.FILE, "watcher"))
                await asyncio.sleep(REREADS * REREAD_PAUSE - 0.01)
                house.save(ONE)
                await noticing
                await asyncio.sleep(1)
            assert "config_rejected" not in house.triggers()
            assert house._changes.issues == []

    run(main())


@pytest.mark.parametrize("text", ["", "channels: [", BROKEN, None])
def test_case_56_a_broken_file_leaves_what_runs_and_is_shown(tmp_path: Path, text: str | None) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await house.until_account(MAIN, "running")
            if text is None:
                house.path.unlink()
                await house._changes.notice(Origin.FILE, "watcher")
            else:
                await house.edit(text)
            await asyncio.sleep(1)
            assert house.triggers().count("config_rejected") == 1
            assert house.lifecycle.data.rejected == ("missing" if text is None else file.revision_of(text.encode()))
            assert len(house._changes.issues) == 1
            assert (house.state, house.account(MAIN), len(house.network.of(MAIN))) == (S.RUNNING, "running", 1)
            await house._changes.notice(Origin.FILE, "watcher")
            await asyncio.sleep(1)
            # Mended, it is as if nothing had been; or it is the new one.
            await house.edit(TWO)
            await asyncio.sleep(1)
            assert (house._changes.issues, house.lifecycle.data.rejected) == ([], None)
            assert house.network.live(MAIN)[0].settings.token.reveal() == "two-token"

    run(main())


def test_a_broken_file_cannot_be_patched_and_can_be_replaced(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await house.edit("channels: [")
            with pytest.raises(ConfigError, match="mend or replace it first"):
                await house._changes.write(Write(merge_patch({"store": {"keep_days": 7}}), house.hash, "test"))
            assert (await house.write(TWO))["outcome"] == "applied"

    run(main())


def test_a_file_that_cannot_be_read_is_not_written_over(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            house.path.unlink()
            house.path.mkdir()
            with pytest.raises(ConfigError, match="cannot be read"):
                await house.write(TWO, None)
            house.path.rmdir()
            house.save(ONE)

    run(main())


@pytest.mark.parametrize("mode", [0o444, 0o000])
def test_case_61_a_file_that_nobody_may_write_is_not_written(tmp_path: Path, mode: int) -> None:
    """Refused before anything is done: not read, not compared, nothing put into the history."""

    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            house.path.chmod(mode)
            with pytest.raises(ConfigOwnedError, match="lets nobody write it"):
                await house._changes.write(Write(replacement(TWO), "stale", "test"))
            house.path.chmod(0o600)
            assert house.on_disk() == ONE.encode()
            assert [entry.road for entry in house._history.entries(10)] == ["boot"]
            assert outcomes(house) == ["refused"]

    run(main())


def test_case_54_another_process_that_writes_is_waited_for(tmp_path: Path) -> None:
    """What it has written meanwhile is not written over: our writer is told the hash of now."""

    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            other = os.open(tmp_path, os.O_RDONLY)
            fcntl.flock(other, fcntl.LOCK_EX)
            writing = asyncio.ensure_future(house.write(TWO))
            await asyncio.sleep(3)
            house.save(THREE)
            os.close(other)
            with pytest.raises(StaleHashError) as stale:
                await writing
            assert stale.value.current == house.hash
            assert house.on_disk() == THREE.encode()
            assert (await house.write(TWO))["outcome"] == "applied"

    run(main())
