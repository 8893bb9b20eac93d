"""What the gateway falls back to, and what it leaves alone: an invalid file, a valid one that was edited meanwhile, a change that did not come about."""

from __future__ import annotations

import asyncio
import hashlib
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.telegram import Bot, FakeTelegram
from tests.real.process import Gateway, config_text, telegram_account

FAST = "{mode: hybrid, debounce_ms: 100}"
ONE, TWO = "telegram/one", "telegram/two"


def revision_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def all_run(status: dict[str, Any]) -> bool:
    return status["state"] == "running" and {account["state"] for account in status["accounts"]} == {"running"}


def runs_with(status: dict[str, Any], text: str) -> bool:
    """It is at rest, and this is what it runs with."""
    return all_run(status) and status["config"]["applied"] == revision_of(text) and not status["config"]["drift"]


@dataclass
class Pair:
    """Two accounts, and what the gateway began with."""

    gateway: Gateway
    telegram: FakeTelegram
    bots: dict[str, Bot]
    text: str

    async def good(self) -> None:
        """Let a change of the text be confirmed, so that it is the last good one."""
        text = self.text.replace("# a comment", "# a good comment")
        _, config = await self.gateway.http("GET", "/api/v1/config")
        code, receipt = await self.gateway.http(
            "PUT", "/api/v1/config?confirm_within_s=600", data=text.encode(),
            headers={"If-Match": config["hash"], "Content-Type": "application/yaml"},
        )  # fmt: skip
        assert (code, receipt["outcome"]) == (200, "probation"), receipt
        call = {"revision": receipt["revision"], "decision": "confirm"}
        code, told = await self.gateway.http("POST", "/api/v1/config/confirm", json=call)
        assert (code, told["outcome"]) == (200, "committed"), told
        self.text = text

    def save(self, text: str) -> None:
        """As an editor does; it works while no gateway runs, too."""
        fresh = self.gateway.config.with_name("editor")
        fresh.write_text(text)
        fresh.replace(self.gateway.config)

    def standing(self) -> dict[str, Any]:
        return dict(json.loads((self.gateway.folder / ".gateway" / "standing.json").read_text()))

    def one_receiver(self) -> None:
        for bot in self.bots.values():
            assert (bot.stats.overlaps, bot.stats.conflicts_self) == (0, 0)


@asynccontextmanager
async def pair(folder: Path, *, mode: str = FAST) -> AsyncIterator[Pair]:
    async with FakeTelegram() as telegram:
        bots = {
            name: telegram.add_bot(f"{number}:a-bots-secret", name) for number, name in ((1001, "one"), (1002, "two"))
        }
        accounts = "".join(telegram_account(name, bot.token, telegram.url) for name, bot in bots.items())
        text = config_text(accounts, restart="{delay_ms: 100, cooldown_ms: 0}", reload=mode)
        async with Gateway(folder, text) as gateway:
            await gateway.until(all_run)
            yield Pair(gateway, telegram, bots, text)
            await gateway.until(lambda s: s["state"] == "running")


def broken(text: str) -> str:
    return text.replace("channels:", "chanels:")


@pytest.mark.parametrize("how", ["stopped", "killed"])
async def test_case_57_an_invalid_file_at_a_boot_does_not_keep_the_accounts_from_running(
    tmp_path: Path, how: str
) -> None:
    """The last good config runs, degraded and told of, with the page up; the file stays as it is, and mended it is taken."""
    async with pair(tmp_path) as it:
        await it.good()
        if how == "stopped":
            assert await it.gateway.stop() == 0
        else:
            assert it.gateway.process is not None
            it.gateway.process.kill()
            await it.gateway.wait()
        it.save(broken(it.text))
        await it.gateway.start()
        status = await it.gateway.until(all_run)
        assert status["config"]["applied"] == revision_of(it.text)
        assert status["config"]["on_disk"] == revision_of(broken(it.text))
        assert status["config"]["drift"] is True
        (reason,) = status["degraded"]
        assert reason["reason"] == "config_rejected"
        assert "chanels" in json.dumps(status["config"]["issues"])
        for bot in it.bots.values():
            await bot.wait_polling()
        assert it.gateway.config.read_text() == broken(it.text)
        # A call that patches it is told; a mended file is taken.
        code, refused = await it.gateway.http(
            "PATCH",
            "/api/v1/config",
            json={"gateway": {"name": "x"}},
            headers={"If-Match": revision_of(broken(it.text))},
        )
        assert (code, refused["error"]["code"]) == (422, "invalid_config"), refused
        it.save(it.text + "# mended\n")
        status = await it.gateway.until(lambda s: runs_with(s, it.text + "# mended\n"))
        assert (status["degraded"], status["config"]["issues"]) == ([], [])
        it.one_receiver()


async def test_case_57_a_restart_into_an_invalid_file_is_refused_before_anything_ends(tmp_path: Path) -> None:
    async with pair(tmp_path) as it:
        for bot in it.bots.values():
            await bot.wait_polls(2)
        it.save(broken(it.text))
        await it.gateway.until(lambda s: s["config"]["issues"] != [])
        it.gateway.signal(signal.SIGUSR1)
        code, asked = await it.gateway.http("POST", "/api/v1/restart", json={"reason": "to be sure"})
        assert code == 202, asked
        for _ in range(200):
            _, request = await it.gateway.http("GET", f"/api/v1/requests/{asked['id']}")
            if request["outcome"] != "pending":
                break
            await asyncio.sleep(0.02)
        assert request["outcome"] == "refused"
        assert "chanels" in request["why"]
        status = await it.gateway.status()
        assert (status["state"], status["restarts"], status["tickets"]) == ("running", 0, [])
        assert len(it.gateway.boots) == 1
        assert [it.gateway.starts(name) for name in (ONE, TWO)] == [1, 1]
        it.save(it.text)
        await it.gateway.until(lambda s: s["degraded"] == [])
        it.one_receiver()


async def test_case_58_a_valid_edit_is_never_replaced_by_an_older_copy(tmp_path: Path) -> None:
    """Edited while no gateway runs, while a broken file is set aside, and beside a rollback: it is what runs, and the file
    is its author's, byte for byte. A broken one never becomes the last good one."""
    async with pair(tmp_path) as it:
        await it.good()
        good = revision_of(it.text)
        for number, before in enumerate(("", broken(it.text), "")):
            assert await it.gateway.stop() == 0
            if before:
                it.save(before)
                await it.gateway.start()
                await it.gateway.until(all_run)
                assert it.standing()["last_good"] == good
                assert it.gateway.config.read_text() == before
                assert await it.gateway.stop() == 0
            edited = it.text + f"# edited {number} while nobody looked\n"
            it.save(edited)
            await it.gateway.start()
            status = await it.gateway.until(all_run)
            assert (status["config"]["applied"], status["degraded"]) == (revision_of(edited), [])
            assert it.gateway.config.read_text() == edited
        kept = {path.stem for path in (tmp_path / ".gateway" / "config-history").glob("*.yaml")}
        assert good in kept
        assert revision_of(broken(it.text)) not in kept, "the broken one is not among what can be gone back to"


async def test_case_63_neither_a_stop_nor_a_restart_writes_the_file(tmp_path: Path) -> None:
    """Not even a file that nobody has read yet: what is saved in the last moment is what the next boot finds."""
    async with pair(tmp_path) as it:
        before = it.gateway.config.stat()
        it.gateway.signal(signal.SIGUSR1)
        await it.gateway.ready(2)
        await it.gateway.until(all_run)
        it.gateway.signal(signal.SIGTERM)
        late = it.text + "# saved while it stops\n"
        it.save(late)
        saved = it.gateway.config.stat()
        assert await it.gateway.wait() == 0
        after = it.gateway.config.stat()
        assert (after.st_ino, after.st_mtime_ns) == (saved.st_ino, saved.st_mtime_ns)
        assert after.st_ino != before.st_ino
        await it.gateway.start()
        status = await it.gateway.until(all_run)
        assert status["config"]["applied"] == revision_of(late)


def with_polls(text: str, account: str, seconds: int) -> str:
    lines = text.splitlines(keepends=True)
    return "".join(
        line.replace("poll_timeout_s: 5", f"poll_timeout_s: {seconds}") if f"      {account}: " in line else line
        for line in lines
    )


async def test_case_22_what_was_refused_is_tried_again_with_the_next_edit(tmp_path: Path) -> None:
    """An edit whose token its network refuses does not run, and is told of; the next edit differs from what runs in both,
    and when the token is good by then both come about."""
    async with pair(tmp_path) as it:
        token = "1001:a-token-of-tomorrow"
        refused = it.text.replace(it.bots["one"].token, token)
        it.save(refused)
        status = await it.gateway.until(lambda s: s["config"]["issues"] != [])
        assert (status["config"]["on_disk"], status["config"]["drift"]) == (revision_of(refused), True)
        assert status["config"]["applied"] == revision_of(it.text)
        assert [reason["reason"] for reason in status["degraded"]] == ["config_rejected"]
        assert it.gateway.starts(ONE) == 1
        tomorrow = it.telegram.add_bot(token, "one_tomorrow")
        both = with_polls(refused, "two", 7)
        it.save(both)
        status = await it.gateway.until(lambda s: runs_with(s, both))
        assert (status["degraded"], status["config"]["drift"]) == ([], False)
        assert (it.gateway.starts(ONE), it.gateway.starts(TWO)) == (2, 2)
        await tomorrow.wait_polling()
        _, history = await it.gateway.http("GET", "/api/v1/config/history?limit=1")
        paths = [f"channels.telegram.accounts.{path}" for path in ("one.token", "two.poll_timeout_s")]
        assert history["entries"][0]["changed_paths"] == paths
        it.one_receiver()


@pytest.mark.parametrize("take_back", [False, True], ids=["and more", "and back"])
async def test_case_22_what_was_ignored_counts_until_it_runs(tmp_path: Path, *, take_back: bool) -> None:
    """With reloads off an edit is drift. The plan of the next one is made against what runs, not against what was ignored:
    it names both, and taken back it names nothing."""
    async with pair(tmp_path, mode='{mode: "off", debounce_ms: 100}') as it:
        ignored = with_polls(it.text, "one", 7)
        it.save(ignored)
        await it.gateway.until(lambda s: s["config"]["on_disk"] == revision_of(ignored))
        status = await it.gateway.status()
        assert (status["config"]["drift"], status["config"]["applied"]) == (True, revision_of(it.text))
        then = it.text if take_back else with_polls(ignored, "two", 8)
        code, plan = await it.gateway.http(
            "POST", "/api/v1/config/plan", data=then.encode(), headers={"Content-Type": "application/yaml"}
        )
        assert code == 200, plan
        expected = [f"channels.telegram.accounts.{name}.poll_timeout_s" for name in ("one", "two")]
        assert plan["changed_paths"] == ([] if take_back else expected)
        it.save(then)
        status = await it.gateway.until(lambda s: s["config"]["on_disk"] == revision_of(then))
        await it.gateway.until(lambda s: s["config"]["drift"] is not take_back)
        if not take_back:
            it.gateway.signal(signal.SIGUSR1)
            await it.gateway.ready(2)
            await it.gateway.until(lambda s: runs_with(s, then))
