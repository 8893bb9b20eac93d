"""The test-only adapter keeps what every adapter promises, by the fake Discord, which counts honestly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.errors import AccountRefusedError, ConnectionLostError, SessionsSpentError
from gateway.redact import Secret
from gateway.testing.channels import AdapterContract, Lines, Network

from .discord import Bot, FakeDiscord
from .discord_adapter import DiscordAccount, DiscordAdapter

TOKEN = "4242.a-bots-secret"


class DiscordNetwork:
    """The other side."""

    name = "discord/main"

    def __init__(self, discord: FakeDiscord, starts_a_day: int = 100) -> None:
        self.discord = discord
        self.bot: Bot = discord.add_bot(TOKEN)
        self.adapter = DiscordAdapter()
        self.settings = DiscordAccount(token=Secret(TOKEN), server=discord.url, starts_a_day=starts_a_day)
        self.identity = self.settings.identity

    def say(self, text: str) -> None:
        self.bot.say(text)

    def answers(self) -> list[str]:
        return [text for _, text in self.bot.answers]

    def receives(self) -> bool:
        return bool(self.bot.lines)


@pytest.fixture
async def network() -> AsyncIterator[DiscordNetwork]:
    async with FakeDiscord() as discord:
        yield DiscordNetwork(discord)


class TestDiscord(AdapterContract):
    """Every promise but one: what is said before there is the first session nobody is told of."""

    async def test_what_was_said_while_nobody_received_is_not_lost(self, network: Network, lines: Lines) -> None:
        await (await lines.running()).end()
        network.say("between")
        line = await lines.running()
        await line.until(lambda: line.texts == ["between"])


@pytest.fixture
async def lines(network: DiscordNetwork) -> AsyncIterator[Lines]:
    lines = Lines(network)
    yield lines
    await lines.close()


async def test_generations_lines_that_break_and_reconnects_are_one_start(network: DiscordNetwork, lines: Lines) -> None:
    bot = network.bot
    for number in range(5):
        line = await lines.running()
        await bot.ask_to_reconnect()
        network.say(f"at once {number}")
        await line.until(lambda line=line: len(line.delivered) == 1)
        await line.end()
        line = await lines.running()
        bot.drop()
        assert line.task is not None
        with pytest.raises(ConnectionLostError):
            await line.task
        await line.receiver.close()
        network.say(f"while nobody is there {number}")
        line = await lines.running()
        await line.until(lambda line=line: len(line.delivered) == 1)
        await line.end()
    assert (bot.identifies, bot.refused_resumes, bot.most_lines) == (1, 0, 1)
    assert bot.resumes == 4 + 5 + 5 + 5
    assert [line.again for line in lines.all if line.again] == []


async def test_a_session_that_cannot_be_taken_up_now_is_kept_and_one_that_is_over_is_not(
    network: DiscordNetwork, lines: Lines
) -> None:
    await (await lines.running()).end()
    network.bot.not_now = 2
    for _ in range(2):
        line = lines.open()
        with pytest.raises(ConnectionLostError, match="cannot be taken up again"):
            await line.begin()
        await line.receiver.close()
    await (await lines.running()).end()
    assert network.bot.identifies == 1
    network.bot.forget()
    line = lines.open()
    with pytest.raises(ConnectionLostError, match="cannot be taken up again"):
        await line.begin()
    await line.receiver.close()
    await (await lines.running()).end()
    assert (network.bot.identifies, network.bot.refused_resumes) == (2, 1)


async def test_it_stops_before_the_token_is_reset_and_a_session_is_taken_up_all_the_same(
    network: DiscordNetwork, lines: Lines
) -> None:
    network.discord.starts_a_day = 3
    network.settings = DiscordAccount(token=Secret(TOKEN), server=network.discord.url, starts_a_day=3)
    for _ in range(3):
        network.bot.forget()
        lines.sessions.keep(network.identity, None)
        await (await lines.running()).end()
    for _ in range(10):
        await (await lines.running()).end()
    lines.sessions.keep(network.identity, None)
    for _ in range(10):
        line = lines.open()
        with pytest.raises(SessionsSpentError, match="3 sessions were started within a day, and 3 are allowed"):
            await line.begin()
        await line.receiver.close()
    assert (network.bot.identifies, network.bot.resumes, network.bot.reset) == (3, 10, False)


async def test_the_fake_counts_too(network: DiscordNetwork, lines: Lines) -> None:
    """Whoever does not count loses the token."""
    network.discord.starts_a_day = 2
    for _ in range(2):
        lines.sessions.keep(network.identity, None)
        await (await lines.running()).end()
    lines.sessions.keep(network.identity, None)
    line = lines.open()
    with pytest.raises(AccountRefusedError):
        await line.begin()
    assert network.bot.reset


async def test_a_server_that_answers_no_heartbeat_is_left(lines: Lines, network: DiscordNetwork) -> None:
    line = await lines.running()
    (there,) = network.bot.lines
    there.send = lambda *_, **__: asyncio.sleep(0)  # type: ignore[method-assign]
    assert line.task is not None
    with pytest.raises(ConnectionLostError):
        await asyncio.wait_for(line.task, 5)
