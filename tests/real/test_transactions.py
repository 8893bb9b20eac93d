"""An apply that breaks one of five accounts is taken back: in time, at once, and over the death of the process.

The referee is the Bot API server: it says who polls, with which settings, and whose poll was never interrupted.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.telegram import Bot, FakeTelegram
from tests.fakes.telegram_stats import PollRecord
from tests.real.process import Gateway, config_text, telegram_account

NAMES = ("a", "b", "broken", "c", "d")
BROKEN = "broken"
DEAD = "http://127.0.0.1:9"
"""Nobody listens there: what cannot be reached is not refused, it is only not there."""
WINDOW_S = 5
LONG_POLL_S = 40
"""Longer than any of these tests: a poll that ended was interrupted."""


@dataclass
class Five:
    """A gateway with five accounts, each of a bot of its own."""

    gateway: Gateway
    telegram: FakeTelegram
    bots: dict[str, Bot]
    text: str

    async def polling(self) -> dict[str, PollRecord]:
        """Wait until each holds its long poll; the polls."""
        for bot in self.bots.values():
            while not (bot.stats.poll_log and self.holds_long_poll(bot)):
                await asyncio.sleep(0.02)
        return {name: bot.stats.poll_log[-1] for name, bot in self.bots.items()}

    @staticmethod
    def holds_long_poll(bot: Bot) -> bool:
        last = bot.stats.poll_log[-1]
        return last.outcome == "in flight" and last.timeout_param == LONG_POLL_S

    def judge(self, held: dict[str, PollRecord]) -> None:
        """The four beside it hold the very polls of the beginning, and nobody ever received twice."""
        for name, bot in self.bots.items():
            if name != BROKEN:
                assert bot.stats.poll_log[-1] is held[name], f"the poll of {name} was interrupted"
                assert self.gateway.starts(f"telegram/{name}") == 1
            self.one_receiver(bot)

    @staticmethod
    def one_receiver(bot: Bot) -> None:
        assert (bot.stats.overlaps, bot.stats.conflicts_self) == (0, 0)

    async def write(self, change: Callable[[str], str], **query: Any) -> dict[str, Any]:
        """PUT the text with the change; the receipt."""
        _, config = await self.gateway.http("GET", "/api/v1/config")
        parameters = {"confirm_within_s": WINDOW_S, "note": "a change for the better", **query}
        asked = "&".join(f"{key}={value}" for key, value in parameters.items()).replace(" ", "%20")
        code, receipt = await self.gateway.http(
            "PUT", f"/api/v1/config?{asked}", data=change(self.text).encode(),
            headers={"If-Match": config["hash"], "Content-Type": "application/yaml"},
        )  # fmt: skip
        assert code == 200, receipt
        return dict(receipt)

    def history(self) -> list[dict[str, Any]]:
        """The entries as the log in the state folder has them, oldest first, each with what became of it."""
        entries: dict[int, dict[str, Any]] = {}
        for line in (self.gateway.folder / ".gateway" / "config-history" / "log.jsonl").read_text().splitlines():
            record = json.loads(line)
            entries[record["number"]] = entries.get(record["number"], {}) | record
        return list(entries.values())

    async def rolled_back(self) -> dict[str, Any]:
        """Wait until the last change is rolled back and the broken account runs again; the entry of the change."""
        await self.gateway.until(lambda s: s["config"]["window"] is None and s["config"]["set_aside"] is not None)
        await self.gateway.until(
            lambda s: {account["state"] for account in s["accounts"]} == {"running"} and s["state"] == "running"
        )
        while self.history()[-1]["outcome"] != "rolled_back":
            await asyncio.sleep(0.02)
        return self.history()[-1]


@asynccontextmanager
async def five(folder: Path) -> AsyncIterator[Five]:
    async with FakeTelegram() as telegram:
        bots = {
            name: telegram.add_bot(f"{1001 + number}:a-bots-secret-{number:04}", f"bot_{name}")
            for number, name in enumerate(NAMES)
        }
        accounts = "".join(
            telegram_account(name, bot.token, telegram.url, poll_timeout_s=LONG_POLL_S) for name, bot in bots.items()
        )
        text = config_text(accounts)
        async with Gateway(folder, text) as gateway:
            yield Five(gateway, telegram, bots, text)


def to_a_dead_port(text: str) -> str:
    """The broken account's server is nowhere."""
    return "".join(
        line.replace(line.split('api_base: "')[1].split('"')[0], DEAD) if f"{BROKEN}:" in line else line
        for line in text.splitlines(keepends=True)
    )


def with_another_token(five: Five) -> str:
    """Another token of the same bot: it is told who it is, and may not receive."""
    token = f"{five.bots[BROKEN].id}:a-token-that-may-not-receive"
    five.telegram.add_bot(token, "bot_refused").fail_next(401, method="getUpdates", times=1000)
    return five.text.replace(five.bots[BROKEN].token, token)


async def test_a_change_that_cuts_an_account_off_is_rolled_back_when_nobody_confirms_it(tmp_path: Path) -> None:
    async with five(tmp_path) as it:
        held = await it.polling()
        began = time.monotonic()
        receipt = await it.write(to_a_dead_port)
        assert (receipt["outcome"], receipt["stage"]) == ("probation", None)
        assert receipt["plan"]["accounts"][f"telegram/{BROKEN}"]["state"] == "backoff"
        assert list(receipt["plan"]["accounts"]) == [f"telegram/{BROKEN}"]
        assert receipt["confirm_by"] is not None
        assert it.bots[BROKEN].stats.in_flight == 0
        entry = await it.rolled_back()
        assert time.monotonic() - began >= WINDOW_S, "it had its time"
        assert (entry["why"], entry["stage"]) == ("it was not confirmed in time", "confirm")
        assert (entry["road"], entry["note"]) == ("http", "a change for the better")
        assert entry["changed_paths"] == [f"channels.telegram.accounts.{BROKEN}.api_base"]
        await it.polling()
        it.judge(held)
        await stays_back(it, to_a_dead_port(it.text))


async def test_a_change_that_an_account_s_network_refuses_is_rolled_back_at_once(tmp_path: Path) -> None:
    async with five(tmp_path) as it:
        held = await it.polling()
        changed = with_another_token(it)
        receipt = await it.write(lambda _: changed, confirm_within_s=600)
        assert (receipt["outcome"], receipt["stage"]) == ("rolled_back", "health")
        assert f"telegram/{BROKEN} ran before and has failed" in receipt["why"]
        entry = await it.rolled_back()
        assert (entry["stage"], entry["why"]) == ("health", receipt["why"])
        assert entry["revision"] == receipt["revision"]
        await it.polling()
        it.judge(held)
        await stays_back(it, changed)


async def stays_back(it: Five, text: str) -> None:
    """The file is its author's and holds what was written; it is told of, and neither a look at it nor a restart brings it."""
    assert it.gateway.config.read_text() == text
    status = await it.gateway.status()
    assert status["config"]["drift"] is True
    (reason,) = status["degraded"]
    assert reason["reason"] == "drift"
    assert "rolled back" in reason["detail"]
    generation = (await it.gateway.account(f"telegram/{BROKEN}"))["generation"]
    await asyncio.sleep(2.3)  # the watcher's own look
    assert (await it.gateway.account(f"telegram/{BROKEN}"))["generation"] == generation


@pytest.mark.parametrize("too_late", [False, True], ids=["in time", "too late"])
async def test_killed_inside_the_window_it_is_rolled_back_all_the_same(tmp_path: Path, *, too_late: bool) -> None:
    """Started again while there is time left, it runs what was to be confirmed, and the rest of the time counts; after
    that it begins with what ran before, and never runs the other one."""
    async with five(tmp_path) as it:
        await it.polling()
        receipt = await it.write(to_a_dead_port)
        polls = it.bots[BROKEN].stats.polls
        await die(it.gateway)
        left = receipt["confirm_by"] / 1000 - time.time()
        await asyncio.sleep(left + 0.2 if too_late else 0)
        await it.gateway.start()
        if not too_late:
            window = (await it.gateway.status())["config"]["window"]
            assert (window["revision"], window["confirm_by"]) == (receipt["revision"], receipt["confirm_by"])
            assert it.bots[BROKEN].stats.polls == polls
        entry = await it.rolled_back()
        assert time.time() >= receipt["confirm_by"] / 1000
        assert entry["stage"] == "confirm"
        assert entry["why"].startswith("it was not confirmed in time")
        assert ("no gateway ran" in entry["why"]) == too_late
        await it.polling()
        for bot in it.bots.values():
            it.one_receiver(bot)
        await stays_back(it, to_a_dead_port(it.text))


@pytest.mark.parametrize("decision", ["confirm", "cancel"])
async def test_killed_inside_the_window_it_can_still_be_decided(tmp_path: Path, decision: str) -> None:
    """Who comes back in time may confirm or cancel it, as if nothing had been."""
    async with five(tmp_path) as it:
        await it.polling()
        receipt = await it.write(to_a_dead_port, confirm_within_s=600)
        await die(it.gateway)
        await it.gateway.start()
        await it.gateway.until(lambda s: s["config"]["window"] is not None)
        call = {"revision": receipt["revision"], "decision": decision}
        code, told = await it.gateway.http("POST", "/api/v1/config/confirm", json=call)
        assert code == 200, told
        if decision == "cancel":
            assert told["outcome"] == "rolled_back"
            assert (await it.rolled_back())["why"].startswith("cancelled by ")
            await it.polling()
            await stays_back(it, to_a_dead_port(it.text))
        else:
            assert told["outcome"] == "committed"
            await die(it.gateway)
            await it.gateway.start()
            status = await it.gateway.status()
            assert (status["config"]["window"], status["config"]["applied"]) == (None, receipt["revision"])


async def die(gateway: Gateway) -> None:
    """kill -9."""
    assert gateway.process is not None
    gateway.process.kill()
    await gateway.process.wait()
