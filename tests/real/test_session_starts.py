"""Case 48 in the real process, from outside: a network that counts how often a session is started, and resets the token for it."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.discord import Bot, FakeDiscord
from tests.real.process import PATIENCE, Gateway, config_text

TOKEN = "4242.a-bots-secret-0001"
MAIN = "discord/main"
DISCORD = [sys.executable, "-m", "tests.real.discord_gateway"]
FAST = "{mode: hybrid, debounce_ms: 50}"


def one_bot(discord: FakeDiscord, restart: str = "exec", **more: Any) -> str:
    keys = {"token": TOKEN, "server": discord.url, "note": '"0"'} | more
    account = ", ".join(f"{key}: {value}" for key, value in keys.items())
    channels = f"  discord: {{accounts: {{main: {{{account}}}}}}}\n"
    return config_text(channels=channels, restart=f"{{mode: {restart}, delay_ms: 0, cooldown_ms: 0}}", reload=FAST)


def account(status: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(row for row in status["accounts"] if row["channel"] == "discord")
    return found


def at_rest(status: dict[str, Any], state: str, after: int = 0) -> bool:
    """The gateway is, and the account is in this state, in a generation after that one."""
    found = account(status)
    return bool(status["state"] == "running" and found["state"] == state and found["generation"] > after)


class Scene:
    """A gateway with one bot, and somebody who writes to it all the time."""

    def __init__(self, gateway: Gateway, bot: Bot) -> None:
        self.gateway, self.bot = gateway, bot
        self.said: list[str] = []

    def say(self, what: str) -> None:
        self.said.append(f"{len(self.said)}: {what}")
        self.bot.say(self.said[-1])

    async def generation(self) -> int:
        return int((await self.gateway.account(MAIN))["generation"])

    async def runs(self, after: int) -> None:
        await self.gateway.until(lambda status: at_rest(status, "running", after))

    async def reload(self, number: int) -> None:
        before = await self.generation()
        self.say(f"before reload {number}")
        await self.gateway.edit(lambda text: text.replace(f'note: "{number}"', f'note: "{number + 1}"'))
        await self.runs(before)
        self.say(f"after reload {number}")

    async def restart(self) -> None:
        """By SIGUSR1."""
        boots = len(self.gateway.boots)
        self.say("before the restart")
        self.gateway.signal(signal.SIGUSR1)
        self.say("while it restarts")
        await asyncio.wait_for(self.gateway.ready(boots + 1), PATIENCE)
        await self.gateway.until(lambda status: at_rest(status, "running"))
        self.say("after the restart")

    async def kill(self) -> None:
        """`kill -9`, and another boot."""
        self.say("before the kill")
        assert self.gateway.process is not None
        self.gateway.process.kill()
        await self.gateway.process.wait()
        self.say("while there is none")
        await self.gateway.start()
        await self.gateway.until(lambda status: at_rest(status, "running"))
        self.say("after the boot")

    async def all_is_answered(self) -> None:
        async with asyncio.timeout(PATIENCE):
            while {text.removeprefix("\u21bb ") for _, text in self.bot.answers} < set(self.said):
                await asyncio.sleep(0.02)


@pytest.mark.parametrize("restart", ["exec", "in_process"])
async def test_case_48_reloads_restarts_and_broken_lines_are_one_start(tmp_path: Path, restart: str) -> None:
    """20 reloads, 3 restarts, a crash, lines that break, a server that asks to reconnect: one IDENTIFY, and nothing is lost."""
    async with FakeDiscord() as discord:
        bot = discord.add_bot(TOKEN)
        async with Gateway(tmp_path, one_bot(discord, restart), command=DISCORD) as gateway:
            scene = Scene(gateway, bot)
            await gateway.until(lambda status: at_rest(status, "running"))
            for number in range(20):
                await scene.reload(number)
                if number % 5 == 0:
                    before = await scene.generation()
                    bot.drop()
                    scene.say("while its line is broken")
                    await scene.runs(before)
                if number % 7 == 0:
                    resumes = bot.resumes
                    await bot.ask_to_reconnect()
                    async with asyncio.timeout(PATIENCE):
                        while bot.resumes == resumes:
                            await asyncio.sleep(0.01)
                if number % 8 == 0:
                    await scene.restart()
            bot.not_now = 2
            await scene.restart()
            await scene.kill()
            await scene.all_is_answered()
        again = {text: times for text, times in Counter(text for _, text in bot.answers).items() if times > 1}
        print(
            f"{restart}: {bot.resumes} taken up again, {bot.identifies} started, {len(scene.said)} messages, {again} twice"
        )
        assert bot.identifies == 1
        assert bot.resumes >= 20 + 4 + 3 + 4 + 1
        assert bot.refused_resumes == 0
        assert bot.most_lines == 1
        assert again == {}


async def test_case_48_a_session_that_is_refused_again_and_again_is_started_no_more_than_the_limit(
    tmp_path: Path,
) -> None:
    """By no road: not by itself, by a person, by a reload, by restarts, nor by a boot after a crash. And it says why, and until when."""
    limit = 5
    async with FakeDiscord(starts_a_day=limit) as discord:
        bot = discord.add_bot(TOKEN)
        bot.invalid = True
        text = one_bot(discord, starts_a_day=limit)
        async with Gateway(tmp_path, text, command=DISCORD) as gateway:
            await gateway.until(lambda status: at_rest(status, "suppressed"))
            assert bot.identifies == limit

            async def tried_again(after: int) -> None:
                await gateway.until(lambda status: at_rest(status, "suppressed", after))
                assert bot.identifies == limit

            for verb in ("start", "restart"):
                before = (await gateway.account(MAIN))["generation"]
                code, answer = await gateway.http("POST", f"/api/v1/channels/discord/main/{verb}")
                assert code in (200, 202), answer
                await tried_again(before)
            before = (await gateway.account(MAIN))["generation"]
            await gateway.edit(lambda text: text.replace('note: "0"', 'note: "1"'))
            await tried_again(before)
            for _ in range(2):
                boots = len(gateway.boots)
                gateway.signal(signal.SIGUSR1)
                await asyncio.wait_for(gateway.ready(boots + 1), PATIENCE)
                await tried_again(0)
            assert gateway.process is not None
            gateway.process.kill()
            await gateway.process.wait()
            await gateway.start()
            await tried_again(0)
            row = await gateway.account(MAIN)
            start = (
                f"{limit} sessions were started within a day, and {limit} are allowed: the next may be started at 20"
            )
            assert row["error"].startswith(start)
            reasons = {reason["reason"]: reason["detail"] for reason in (await gateway.status())["degraded"]}
            assert reasons["session_starts_spent"] == f"{MAIN} is suppressed: {row['error']}"
            # What it cannot start it does not run; what else there is does.
            assert (await gateway.account("webchat/default"))["state"] == "running"
            journal = [entry for entry in await gateway.journal() if entry["machine"] == MAIN]
            assert "suppressed" in {entry["after"] for entry in journal}
        assert (bot.identifies, bot.reset) == (limit, False)


async def test_case_48_a_spent_budget_bars_no_session_that_can_be_taken_up_again(tmp_path: Path) -> None:
    """Its last start lasts: reloads, restarts and a crash go on from it."""
    async with FakeDiscord(starts_a_day=1) as discord:
        bot = discord.add_bot(TOKEN)
        async with Gateway(tmp_path, one_bot(discord, starts_a_day=1), command=DISCORD) as gateway:
            scene = Scene(gateway, bot)
            await gateway.until(lambda status: at_rest(status, "running"))
            for number in range(3):
                await scene.reload(number)
                await scene.restart()
                await scene.kill()
            await scene.all_is_answered()
            bot.drop()
            bot.forget()
            await gateway.until(lambda status: at_rest(status, "suppressed"))
        assert (bot.identifies, bot.reset) == (1, False)


async def test_what_a_session_is_known_by_is_in_no_output(tmp_path: Path) -> None:
    async with FakeDiscord() as discord:
        bot = discord.add_bot(TOKEN)
        async with Gateway(tmp_path, one_bot(discord), command=DISCORD) as gateway:
            await gateway.until(lambda status: at_rest(status, "running"))
            (name,) = bot.sessions
            boots = len(gateway.boots)
            gateway.signal(signal.SIGUSR1)
            await asyncio.wait_for(gateway.ready(boots + 1), PATIENCE)
            await gateway.until(lambda status: at_rest(status, "running"))
            outputs = [str(await gateway.status()), str(await gateway.journal()), (tmp_path / "log").read_text()]
            assert [text for text in outputs if name in text or TOKEN in text] == []
            assert list(bot.sessions) == [name]
