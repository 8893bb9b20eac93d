"""Telegram's errors by class: what follows from each, and no secret in any."""

from __future__ import annotations

import asyncio

import pytest

from gateway.errors import (
    AccountRefusedError,
    ChannelError,
    ConflictError,
    ConnectionLostError,
)
from gateway.testing.channels import PATIENCE, Lines
from tests.gateway.channels.telegram_network import FAULTS, Fail, TelegramNetwork, no_secret_in


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize("method", ["getMe", "getUpdates"])
@pytest.mark.parametrize(("fail", "kind", "text"), FAULTS.values(), ids=list(FAULTS))
async def test_what_follows_from_an_error_is_said_by_its_class(
    network: TelegramNetwork, lines: Lines, fail: Fail, kind: type[ChannelError], text: str, method: str
) -> None:
    fail(network.bot, method)
    line = lines.open()
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(ChannelError) as caught:
            await line.begin()
    assert type(caught.value) is kind
    assert text in str(caught.value)
    assert str(caught.value).startswith(f"{method}: ")
    assert no_secret_in(caught.value)
    assert line.announced == 0
    await line.receiver.close()
    assert not network.receives()


async def test_the_seconds_that_the_network_asked_to_wait(network: TelegramNetwork, lines: Lines) -> None:
    network.bot.fail_next(429, retry_after=17)
    with pytest.raises(ConnectionLostError) as caught:
        await lines.open().begin()
    assert caught.value.retry_after == 17


async def test_another_program_takes_over_a_long_poll(network: TelegramNetwork, lines: Lines) -> None:
    line = await lines.running()
    await line.until(network.receives)
    with network.bot.foreign_poll():
        assert line.task is not None
        await asyncio.wait({line.task}, timeout=PATIENCE)
        assert isinstance(line.task.exception(), ConflictError)


async def test_a_token_that_is_revoked_ends_a_long_poll(network: TelegramNetwork, lines: Lines) -> None:
    line = await lines.running()
    await line.until(network.receives)
    network.bot.revoke()
    assert line.task is not None
    await asyncio.wait({line.task}, timeout=PATIENCE)
    error = line.task.exception()
    assert isinstance(error, AccountRefusedError)
    assert no_secret_in(error)


async def test_a_token_that_never_was(network: TelegramNetwork, lines: Lines) -> None:
    network.configure(token="1002:AAF-another-token")
    with pytest.raises(AccountRefusedError):
        await lines.open().begin()


async def test_a_connection_that_breaks_in_the_middle_of_a_long_poll(network: TelegramNetwork, lines: Lines) -> None:
    line = await lines.running()
    for _ in range(3):
        if line.task is not None and line.task.done():
            break
        await network.bot.wait_polling()
        await network.server.drop_connections()
        await asyncio.sleep(0.05)
    assert line.task is not None
    await asyncio.wait({line.task}, timeout=PATIENCE)
    error = line.task.exception()
    assert isinstance(error, ConnectionLostError)
    assert no_secret_in(error)


@pytest.mark.parametrize("base", ["http://127.0.0.1:9", "http://no-such-host.invalid", "https://127.0.0.1:9"])
async def test_a_network_that_cannot_be_reached(network: TelegramNetwork, lines: Lines, base: str) -> None:
    network.configure(api_base=f"'{base}'")
    with pytest.raises(ConnectionLostError) as caught:
        await lines.open().begin()
    assert no_secret_in(caught.value)


@pytest.mark.usefixtures("_impatient")
async def test_a_network_that_answers_nothing(network: TelegramNetwork, lines: Lines) -> None:
    network.server.blackhole = True
    with pytest.raises(ConnectionLostError, match=r"getMe: no answer within 0\.3 s"):
        await lines.open().begin()
