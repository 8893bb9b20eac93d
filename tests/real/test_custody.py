"""A config that somebody else owns: never written, always followed. And two gateways that write one file."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gateway.config.file import parse, revision_of
from tests.fakes.telegram import FakeTelegram
from tests.real.process import Gateway, RpcError, config_text, telegram_account

BOT = "1001:a-bots-secret-0001"
MAIN = "telegram/main"
FAST = "{mode: hybrid, debounce_ms: 50}"


def at(folder: Path, path: Path) -> Gateway:
    """A gateway that works in one folder, and has its config at a path of its own."""
    gateway = Gateway(folder, None, command=[sys.executable, "-m", "gateway", "--config", str(path)])
    gateway.config = path
    return gateway


def history_of(gateway: Gateway) -> list[tuple[str, bytes]]:
    folder = gateway.folder / ".gateway" / "config-history"
    return sorted((path.name, path.read_bytes()) for path in folder.rglob("*") if path.is_file())


class Owned:
    """A config that is somebody else's: where it is seen, and how its owner brings a new version."""

    def __init__(self, path: Path, why: str, bring: Callable[[str], Any]) -> None:
        self.path = path
        self.why = why
        self.bring = bring


def config_map(folder: Path) -> Owned:
    """As Kubernetes mounts one: `..data` is swapped, the file's own link never changes."""
    mount = folder / "mount"
    mount.mkdir()
    versions = iter(range(1, 100))

    def bring(text: str) -> None:
        version = mount / f"..2026_01_{next(versions):02}"
        version.mkdir()
        (version / "gateway.yaml").write_text(text)
        (mount / "..data_tmp").symlink_to(version.name)
        (mount / "..data_tmp").replace(mount / "..data")

    (mount / "gateway.yaml").symlink_to("..data/gateway.yaml")
    return Owned(mount / "gateway.yaml", "..data", bring)


def read_only_file(folder: Path) -> Owned:
    """As a config manager leaves it: mode 0444, replaced by rename."""
    path = folder / "conf" / "gateway.yaml"
    path.parent.mkdir()

    def bring(text: str) -> None:
        fresh = path.with_name("fresh")
        fresh.write_text(text)
        fresh.chmod(0o444)
        fresh.replace(path)

    return Owned(path, "0444", bring)


def mounted_file(folder: Path) -> Owned:
    """As `docker run -v` brings a single file: the owner writes its source in place."""
    path, source = folder / "conf" / "gateway.yaml", folder / "source.yaml"
    path.parent.mkdir()
    path.touch()
    source.touch()
    if subprocess.run(["mount", "--bind", str(source), str(path)], capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount")
    return Owned(path, "mount of its own", source.write_text)


async def history_settled(gateway: Gateway) -> None:
    """What became of the newest change is written down a moment after its account runs."""
    async with asyncio.timeout(10):
        while True:
            _, body = await gateway.http("GET", "/api/v1/config/history?limit=1")
            if body["entries"] and body["entries"][0]["outcome"] != "pending":
                return
            await asyncio.sleep(0.02)


async def expect_refused(gateway: Gateway, why: str) -> None:
    """By every road, before anything is done: the file, its folder and the history are as before."""
    before = gateway.config.read_bytes()
    await history_settled(gateway)
    names, history = sorted(gateway.config.parent.iterdir()), history_of(gateway)
    now = revision_of(before)
    client = await gateway.client()
    text = before.decode().replace("gateway:\n", "gateway:\n  name: ours\n", 1)
    for method, raw in (("config.patch", '{"gateway": {"name": "ours"}}'), ("config.apply", text)):
        with pytest.raises(RpcError) as refused:
            await client.request(method, {"raw": raw, "baseHash": now})
        assert refused.value.error["code"] == "INVALID_REQUEST"
        assert "retryAfterMs" not in refused.value.error
        assert why in refused.value.error["message"]
        assert "edit its source" in refused.value.error["message"]
    for method, raw, base in (
        ("PATCH", '{"gateway": {"name": "ours"}}', now),
        ("PUT", text, now),
        ("PATCH", '{"gateway": {"nmae": "ours"}}', "stale"),
    ):
        headers = {"If-Match": base, "Content-Type": "application/yaml"}
        status, body = await gateway.http(method, "/api/v1/config", data=raw, headers=headers)
        assert (status, body["error"]["code"]) == (409, "read_only")
        assert why in body["error"]["message"]
        assert str(gateway.config) in body["error"]["message"]
    assert gateway.config.read_bytes() == before
    assert sorted(gateway.config.parent.iterdir()) == names
    assert history_of(gateway) == history
    config = (await gateway.status())["config"]
    assert config["writable"] is False
    assert why in config["owner"]


@pytest.mark.parametrize("kind", [config_map, read_only_file, mounted_file], ids=lambda kind: kind.__name__)
async def test_case_61_what_somebody_else_owns_is_followed_and_never_written(
    tmp_path: Path, kind: Callable[[Path], Owned]
) -> None:
    """Writes are refused by every road; a new version is picked up, the account follows it, and still nothing is written."""
    owned = kind(tmp_path)
    try:
        async with FakeTelegram() as telegram:
            bot = telegram.add_bot(BOT, "main_bot")

            def text(seconds: int) -> str:
                return config_text(telegram_account("main", BOT, telegram.url, poll_timeout_s=seconds), reload=FAST)

            owned.bring(text(20))
            async with at(tmp_path, owned.path) as gateway:
                await gateway.until(lambda s: all(a["state"] == "running" for a in s["accounts"]))
                await expect_refused(gateway, owned.why)
                for generation, seconds in ((2, 21), (3, 22)):
                    owned.bring(text(seconds))
                    await gateway.until(partial(_runs, generation))
                await bot.wait_polls(6)
                assert bot.stats.poll_log[-1].timeout_param == 22
                await expect_refused(gateway, owned.why)
                assert bot.stats.overlaps == bot.stats.conflicts_self == 0
                assert gateway.starts(MAIN) == 3
    finally:
        subprocess.run(["umount", "--lazy", str(owned.path)], capture_output=True, check=False)


def _runs(generation: int, status: dict[str, Any]) -> bool:
    """The bot's account has completed a receive in this generation."""
    return any((a["generation"], a["state"]) == (generation, "running") for a in status["accounts"])


async def test_case_61_a_file_that_is_given_back_can_be_written(tmp_path: Path) -> None:
    async with Gateway(tmp_path, config_text()) as gateway:
        client = await gateway.client()
        gateway.config.chmod(0o444)
        with pytest.raises(RpcError, match="lets nobody write it"):
            await client.patch('{"gateway": {"name": "ours"}}')
        gateway.config.chmod(0o644)
        assert (await client.patch('{"gateway": {"name": "ours"}}'))["ok"]
        config = (await gateway.status())["config"]
        assert (config["writable"], config["owner"]) == (True, None)
        assert gateway.config.stat().st_mode & 0o777 == 0o644


# Two processes, one file


AT_ONCE = 100
"""Writers of each gateway that all begin with the same hash."""
STUBBORN, TIMES = 3, 8
"""Writers of each gateway that go on until they have won that often."""

Answer = tuple[str, int, str]
"""The hash that a writer sent, the status, and the hash that it was told."""


@asynccontextmanager
async def two_gateways(tmp_path: Path) -> AsyncIterator[tuple[Gateway, Gateway]]:
    """Two processes with one config file, each with a state folder and a port of its own."""
    path = tmp_path / "shared" / "gateway.yaml"
    path.parent.mkdir()
    path.write_text(config_text(reload=FAST))
    folders = tmp_path / "one", tmp_path / "two"
    for folder in folders:
        folder.mkdir()
    async with at(folders[0], path) as one, at(folders[1], path) as two:
        yield one, two


async def write(gateway: Gateway, name: str, base: str, tries: int) -> list[Answer]:
    """Add a handler, with the hash that was seen, and after a refusal with the one that was told."""
    said: list[Answer] = []
    while len(said) < tries and (not said or said[-1][1] != 200):
        headers = {"If-Match": base, "Content-Type": "application/json"}
        patch = json.dumps({"handlers": {name: {"type": "echo"}}})
        status, body = await gateway.http("PATCH", "/api/v1/config", data=patch, headers=headers)
        told = body["hash"] if status == 200 else body["error"]["details"]["currentHash"]
        said.append((base, status, told))
        base = told
    return said


async def write_often(gateway: Gateway, name: str, base: str) -> dict[str, list[Answer]]:
    said = {}
    for number in range(TIMES):
        said[f"{name}-{number}"] = await write(gateway, f"{name}-{number}", base, 1000)
        base = said[f"{name}-{number}"][-1][2]
    return said


async def test_case_54_two_processes_that_write_one_file_lose_no_update(tmp_path: Path) -> None:
    """A hundred concurrent patches by each of two gateways, then a few writers that do not give up: each wins or is told
    the hash of the moment. The file holds exactly what the winners wrote, and no two of them wrote over the same text."""
    async with two_gateways(tmp_path) as (one, two):
        first = revision_of(one.config.read_bytes())
        sides = {"one": one, "two": two}
        said: dict[str, list[Answer]] = {}

        async def once(name: str, gateway: Gateway) -> None:
            said[name] = await write(gateway, name, first, 3)

        async def often(name: str, gateway: Gateway) -> None:
            said.update(await write_often(gateway, name, first))

        for act, count in ((once, AT_ONCE), (often, STUBBORN)):
            await asyncio.gather(
                *(act(f"{side}-{act.__name__}-{n}", gateway) for n in range(count) for side, gateway in sides.items())
            )
        judge(said, first, one.config)
        last = revision_of(one.config.read_bytes())
        for gateway in (one, two):
            await gateway.until(lambda s: s["config"]["applied"] == last)
        await follow_and_stay(one, two, last)


def judge(said: dict[str, list[Answer]], first: str, path: Path) -> None:
    answers = [answer for tries in said.values() for answer in tries]
    assert {status for _, status, _ in answers} == {200, 412}
    winners = {name for name, tries in said.items() if tries[-1][1] == 200}
    assert len(winners) >= 2 * STUBBORN * TIMES
    chain = {base: after for base, status, after in answers if status == 200}
    assert len(chain) == len(winners), "two writers wrote over the same text"
    assert {told for _, status, told in answers if status == 412} <= {first, *chain.values()}
    last = first
    for _ in winners:
        last = chain[last]
    assert revision_of(path.read_bytes()) == last
    assert set(parse(path.read_bytes())["handlers"]) == {"echo", *winners}
    assert [found.name for found in path.parent.iterdir()] == ["gateway.yaml"]


async def follow_and_stay(one: Gateway, two: Gateway, last: str) -> None:
    """What one has written the other runs, and neither writes it again."""
    client = await one.client()
    receipt: dict[str, Any] = await client.patch('{"gateway": {"name": "the last word"}}')
    assert receipt["hash"] != last
    await two.until(lambda s: s["name"] == "the last word" and s["config"]["applied"] == receipt["hash"])
    assert revision_of(one.config.read_bytes()) == receipt["hash"]


async def test_case_54_a_lock_that_is_not_let_go_is_named(tmp_path: Path) -> None:
    """Another process has the folder's lock and keeps it: the write is refused as one for later, and nothing was done."""
    program = "import fcntl, os, sys, time\nfcntl.flock(os.open(sys.argv[1], 0), 2)\nprint(flush=True)\ntime.sleep(90)"
    async with Gateway(tmp_path, config_text()) as gateway:
        before = gateway.config.read_bytes()
        holder = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, str(tmp_path), stdout=asyncio.subprocess.PIPE
        )
        assert holder.stdout is not None
        await holder.stdout.readline()
        client = await gateway.client()
        waiting = asyncio.ensure_future(client.patch('{"gateway": {"name": "late"}}'))
        await asyncio.sleep(0.3)
        assert (await gateway.http("GET", "/healthz"))[0] == 200
        with pytest.raises(RpcError) as refused:
            await waiting
        assert refused.value.error["code"] == "UNAVAILABLE"
        assert refused.value.error["retryable"] is True
        assert refused.value.error["retryAfterMs"] > 0
        assert f"the lock on {tmp_path}" in refused.value.error["message"]
        assert gateway.config.read_bytes() == before
        holder.kill()
        await holder.wait()
        assert (await client.patch('{"gateway": {"name": "late"}}'))["ok"]
