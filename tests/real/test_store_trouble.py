"""A store that cannot be written while the gateway runs: nothing is confirmed, the status says so, and all is well again by itself."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path

import pytest

from tests.chaos.disk import Disk
from tests.fakes.telegram import Bot, FakeTelegram
from tests.real.process import Gateway, config_text, telegram_account

TOKEN = "4712:a-token-of-a-bot-in-trouble"
STORE = "gateway.sqlite3"
Trouble = Callable[[Gateway], AbstractContextManager[None]]


def text_of(telegram: FakeTelegram) -> str:
    account = telegram_account(
        "main", TOKEN, telegram.url, sends_per_second=0, sends_per_second_in_a_chat=0, poll_timeout_s=1
    )
    return config_text(account)


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[tuple[Gateway, Bot]]:
    async with FakeTelegram() as telegram:
        bot = telegram.add_bot(TOKEN, "in_trouble")
        async with Gateway(folder, text_of(telegram)) as gateway:
            bot.push("before")
            await bot.wait_sent(1, 10)
            yield gateway, bot


@contextlib.contextmanager
def full_disk(gateway: Gateway) -> Iterator[None]:
    disk, pid = Disk(gateway.folder), gateway.process.pid  # type: ignore[union-attr]
    disk.kind = "tmpfs" if os.path.ismount(gateway.folder) else "limit"
    disk.fill(pid)
    try:
        yield
    finally:
        disk.free(pid)


@contextlib.contextmanager
def locked(gateway: Gateway) -> Iterator[None]:
    """Another program holds the lock that a writer needs."""
    other = sqlite3.connect(gateway.folder / ".gateway" / STORE, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.rollback()
        other.close()


@contextlib.contextmanager
def replaced(gateway: Gateway) -> Iterator[None]:
    """Somebody puts another file in its place, and takes it away again."""
    path = gateway.folder / ".gateway" / STORE
    path.rename(path.with_name("aside"))
    path.write_bytes(b"somebody else's")
    try:
        yield
    finally:
        assert path.read_bytes() == b"somebody else's", "what is somebody else's is not written over"
        path.with_name("aside").replace(path)


@pytest.mark.parametrize("trouble", [full_disk, locked, replaced])
async def test_nothing_is_confirmed_and_nothing_lost_while_the_store_stalls(tmp_path: Path, trouble: Trouble) -> None:
    with Disk.under(tmp_path / "disk") as disk:
        if trouble is full_disk and disk.kind != "tmpfs":
            pytest.skip("no file system can be mounted here")
        async with running(tmp_path / "disk") as (gateway, bot):
            with trouble(gateway):
                confirmed = bot.stats.confirmed_offset
                numbers = [bot.push(f"during {number}", chat_id=number) for number in range(5)]
                await gateway.until(lambda status: "store_stalled" in reasons(status))
                await asyncio.sleep(2)
                # Those may have come with a poll that was under way; none of them is called received.
                assert bot.stats.confirmed_offset <= numbers[0]
                assert bot.stats.confirmed_offset >= confirmed
                assert len(bot.sent) == 1
            await bot.wait_sent(6, 20)
            await gateway.until(lambda status: not reasons(status))
            assert sorted(sent["text"] for sent in bot.sent[1:]) == [f"during {number}" for number in range(5)]
            bot.push("after")
            await bot.wait_sent(7, 10)
            await asyncio.sleep(0.5)
            assert len(bot.sent) == 7


async def test_a_store_that_somebody_has_removed_is_written_out_again_whole(tmp_path: Path) -> None:
    async with running(tmp_path) as (gateway, bot):
        for file in (tmp_path / ".gateway").glob(f"{STORE}*"):
            file.unlink()
        bot.push("during")
        await bot.wait_sent(2, 10)
        _, body = await gateway.http("GET", "/api/v1/messages")
        assert [message["text"] for message in body["messages"]] == ["during", "before"]
        assert body["counts"] == {"handled": 2}
    with contextlib.closing(sqlite3.connect(tmp_path / ".gateway" / STORE)) as store:
        assert store.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert store.execute("SELECT count(*) FROM inbox").fetchone() == (2,)


async def test_a_store_that_is_made_read_only_goes_on_with_what_it_has_open(tmp_path: Path) -> None:
    """For root by a mount, which binds even root; otherwise by the permissions."""
    async with running(tmp_path) as (gateway, bot):
        with made_read_only(tmp_path / ".gateway"):
            for number in range(30):
                bot.push(f"during {number}")
            await bot.wait_sent(31, 20)
            assert "store_stalled" not in reasons(await gateway.status())
        bot.push("after")
        await bot.wait_sent(32, 10)
        _, body = await gateway.http("GET", "/api/v1/messages?limit=1")
        assert body["counts"] == {"handled": 32}


@contextlib.contextmanager
def made_read_only(folder: Path) -> Iterator[None]:
    mount = ["mount", "--bind", str(folder), str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode == 0:
        try:
            subprocess.run(["mount", "-o", "remount,bind,ro", str(folder)], check=True)
            yield
        finally:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
        return
    modes = {path: path.stat().st_mode for path in (folder, *folder.glob(f"{STORE}*"))}
    for path, mode in modes.items():
        path.chmod(mode & ~0o222)
    try:
        yield
    finally:
        for path, mode in modes.items():
            path.chmod(mode)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda raw: raw[:2048] + bytes(2048) + raw[4096:], "damaged"),
        (lambda _: b"no database at all" * 100, "cannot be used"),
    ],
)
async def test_a_damaged_store_is_refused_at_the_start_with_the_remedy(
    tmp_path: Path, spoil: Callable[[bytes], bytes], why: str
) -> None:
    async with running(tmp_path):
        pass
    store = tmp_path / ".gateway" / STORE
    store.write_bytes(spoil(store.read_bytes()))
    spoilt = store.read_bytes()
    gateway = Gateway(tmp_path, None)
    try:
        await gateway.spawn()
        assert await gateway.wait() == 1
        said = " ".join(str(line) for line in gateway.log)
        assert why in said
        assert "restore a backup there, or move it away" in said
        assert store.read_bytes() == spoilt, "it is left as it is"
    finally:
        await gateway.close()


def reasons(status: dict[str, object]) -> list[str]:
    degraded: list[dict[str, str]] = status["degraded"]  # type: ignore[assignment]
    return [reason["reason"] for reason in degraded]
