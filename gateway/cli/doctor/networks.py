"""The networks: whether each account is let in, whether something else receives for it, and what time it is there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from gateway.channels.telegram_answers import Webhook, webhook_address, webhook_of
from gateway.channels.telegram_calls import BotApi
from gateway.cli.doctor.finding import Finding, Patient, Severity
from gateway.config.model import TelegramAccount
from gateway.errors import AccountRefusedError, ChannelError

PATIENCE = 10.0
"""Seconds that a network gets to answer."""
AT_ONCE = 20
LATELY = 600.0
"""Seconds for which a message that could not be brought is told of: Telegram remembers the last one for ever."""
ASKEW = 30.0
"""Seconds that a clock may be wrong: more, and signatures and the age of messages are judged wrongly."""
UNREACHED = "look at DNS, the firewall and the proxy of this machine, and at api_base"


def networks(patient: Patient) -> Iterator[Finding]:
    """All accounts at once; what they say in the order of the config. A network that nobody knows how to ask is passed over."""
    accounts = {} if patient.config is None else patient.config.accounts()
    telegram = {name: each for name, each in accounts.items() if isinstance(each, TelegramAccount) and each.enabled}
    if telegram:
        yield from asyncio.run(_ask_all(telegram))


async def _ask_all(accounts: Mapping[str, TelegramAccount]) -> list[Finding]:
    room = asyncio.Semaphore(AT_ONCE)

    async def asked(name: str, settings: TelegramAccount) -> list[Finding]:
        async with room:
            return [finding async for finding in _ask(name, settings)]

    servers = dict.fromkeys(settings.api_base for settings in accounts.values())
    found = await asyncio.gather(
        *(_compare_clocks(server) for server in servers), *map(asked, accounts, accounts.values())
    )
    return [finding for findings in found for finding in findings]


async def _ask(name: str, settings: TelegramAccount) -> AsyncIterator[Finding]:
    api = BotApi(settings)
    try:
        began = time.monotonic()
        me = await api.call("getMe", {}, PATIENCE)
        took = round((time.monotonic() - began) * 1000)
        yield Finding("network", Severity.OK, f"{name} is let in as @{_username(me)}, in {took} ms")
        for finding in _of_webhook(name, settings, webhook_of(await api.call("getWebhookInfo", {}, PATIENCE))):
            yield finding
    except AccountRefusedError as error:
        yield Finding("network", Severity.ERROR, f"{name}: {error}", "get a new token from @BotFather, and set it")
    except ChannelError as error:
        yield Finding("network", Severity.ERROR, f"{name}: {error}", UNREACHED)
    finally:
        await api.close()


def _of_webhook(name: str, settings: TelegramAccount, webhook: Webhook) -> Iterator[Finding]:
    """Whose it is; and where it is our own, whether Telegram reaches it."""
    ours = webhook.is_at(webhook_address(settings, name.partition("/")[2]))
    if webhook.address and not ours and not settings.delete_webhook:
        yield Finding(
            "network",
            Severity.ERROR,
            f"{name} has a webhook at {webhook.shown}, which this config does not name: what comes goes there",
            "if that is no longer wanted, set delete_webhook: true for the account",
        )
    if ours and webhook.error and webhook.error_at is not None:
        ago = max(0.0, time.time() - webhook.error_at / 1000)
        if ago < LATELY:
            waiting = f"{webhook.pending} wait" if webhook.pending != 1 else "1 waits"
            yield Finding(
                "network",
                Severity.WARNING,
                f"{name}: {ago:,.0f} s ago Telegram could not bring a message to {webhook.shown}: {webhook.error}; {waiting}",
                "see that webhook_url leads to the gateway: DNS, the certificate, the proxy and the firewall before it",
            )


def _username(me: Any) -> str:
    return str(me.get("username", "?")) if isinstance(me, dict) else "?"


async def _compare_clocks(server: str) -> list[Finding]:
    """By the time that the server says with any answer; one that does not answer is told of with its accounts."""
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE)) as session,
            session.get(server, allow_redirects=False) as response,
        ):
            there = parsedate_to_datetime(response.headers["Date"]).timestamp()
    except (aiohttp.ClientError, OSError, TimeoutError, KeyError, ValueError):
        return []
    askew = time.time() - there
    if abs(askew) < ASKEW:
        return [Finding("clock", Severity.OK, f"it goes as that of {urlsplit(server).hostname} does")]
    way = "ahead of" if askew > 0 else "behind"
    message = f"it is {abs(askew):,.0f} s {way} that of {urlsplit(server).hostname}"
    return [Finding("clock", Severity.WARNING, message, "set the clock: timedatectl set-ntp true")]
