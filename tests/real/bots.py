"""One bot or two on a gateway that is a real process, the roads by which its config changes, and what the bot's server has seen."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from tests.fakes.telegram import Bot, FakeTelegram
from tests.real.process import Client, Gateway, config_text, telegram_account

TOKEN = "1001:a-bots-secret-0001"
MAIN = "telegram/main"
STUBBORN = [sys.executable, "-m", "tests.real.stubborn_gateway"]
FAST = "{mode: hybrid, debounce_ms: 50}"

Road = Callable[[Gateway, str], Awaitable[Any]]
"""Brings a whole new text of the config to a gateway."""


def one_account(telegram: FakeTelegram, *, poll_timeout_s: int = 20, **more: Any) -> str:
    """The config of a gateway with the one bot of TOKEN."""
    account = telegram_account("main", TOKEN, telegram.url, poll_timeout_s=poll_timeout_s)
    return config_text(account, **more)


def stubborn(mode: str, *, stop_timeout_ms: int = 60_000, drain_timeout_ms: int = 60_000) -> str:
    """The config of a gateway (STUBBORN) with the one account of a channel that does not end as it should."""
    account = json.dumps({"mode": mode, "stop_timeout_ms": stop_timeout_ms})
    return config_text(
        channels=f"  stubborn: {{accounts: {{it: {account}}}}}\n",
        restart=f"{{delay_ms: 0, cooldown_ms: 0, drain_timeout_ms: {drain_timeout_ms}}}",
    )


async def running(gateway: Gateway) -> None:
    """Wait until the gateway and each account of it run."""
    await gateway.until(lambda s: s["state"] == "running" and {a["state"] for a in s["accounts"]} == {"running"})


def poll_timeout(seconds: int, account: str = "main") -> str:
    """A patch that needs one account to restart, and nothing else."""
    return json.dumps({"channels": {"telegram": {"accounts": {account: {"poll_timeout_s": seconds}}}}})


def token(of_bot: str) -> str:
    """A patch that gives the account another token."""
    return json.dumps({"channels": {"telegram": {"accounts": {"main": {"token": of_bot}}}}})


def gateway_class(milliseconds: int) -> str:
    """A patch that needs the gateway to restart."""
    return json.dumps({"gateway": {"restart": {"defer_timeout_ms": milliseconds}}})


def revision_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def state_of(status: dict[str, Any], name: str = MAIN) -> dict[str, Any]:
    """An account of a status; an empty mapping when there is none."""
    return next((a for a in status["accounts"] if f"{a['channel']}/{a['account']}" == name), {})


def runs(status: dict[str, Any], generation: int | None = None, name: str = MAIN) -> bool:
    """The gateway is at rest and the account runs, in this generation if one is given."""
    account = state_of(status, name)
    at_rest = status["state"] == "running" and account.get("state") == "running"
    return at_rest and generation in (None, account["generation"])


def applied(status: dict[str, Any], text: str) -> bool:
    return bool(status["state"] == "running" and status["config"]["applied"] == revision_of(text))


async def answers(bot: Bot, text: str = "are you there?") -> None:
    """A message to the bot is answered by the echo."""
    before = len(bot.sent)
    bot.push(text, chat_id=7, user_id=5, username="ann")
    await bot.wait_sent(before + 1, timeout=20)
    assert bot.sent[-1]["text"] == text


def one_receiver(bot: Bot) -> None:
    """The promise: never two receivers of one account, and no 409 of our own making."""
    assert bot.stats.overlaps == 0
    assert bot.stats.conflicts_self == 0
    assert bot.stats.max_in_flight <= 1


def tickets_seen(client: Client) -> set[str]:
    """The ids of all tickets that this client was told of."""
    told = [frame["payload"] for frame in client.events if frame["event"] == "lifecycle"]
    return {ticket["id"] for payload in told for ticket in payload["tickets"]}


async def moves(gateway: Gateway, after: int) -> list[dict[str, Any]]:
    """What the journal has after that entry of machines that came into another state."""
    return [entry for entry in await gateway.journal() if entry["seq"] > after and entry["before"] != entry["after"]]


async def outcome_of(gateway: Gateway, request: str) -> str:
    code, body = await gateway.http("GET", f"/api/v1/requests/{request}")
    assert code == 200, body
    outcome: str = body["outcome"]
    return outcome


async def outcomes_of(gateway: Gateway, requests: Iterable[str]) -> list[str]:
    """The outcomes of requests, none of which may still be open."""
    outcomes = [await outcome_of(gateway, request) for request in sorted(requests)]
    assert "pending" not in outcomes, outcomes
    return outcomes


async def at_rest(gateway: Gateway, client: Client | None = None) -> dict[str, Any]:
    """Wait until nothing is under way; no ticket may be left, and each that was told of has an outcome."""
    status = await gateway.until(lambda s: s["state"] == "running" and not s["tickets"])
    if client is not None:
        await outcomes_of(gateway, tickets_seen(client))
    return status


# Roads


async def by_file(gateway: Gateway, text: str) -> None:
    await gateway.edit(lambda _: text)


async def by_apply(gateway: Gateway, text: str) -> dict[str, Any]:
    client = await gateway.client()
    base = (await client.request("config.get"))["hash"]
    return await client.request("config.apply", {"raw": text, "baseHash": base})


async def by_put(gateway: Gateway, text: str) -> dict[str, Any]:
    _, config = await gateway.http("GET", "/api/v1/config")
    headers = {"If-Match": f'"{config["hash"]}"', "Content-Type": "application/yaml"}
    code, receipt = await gateway.http("PUT", "/api/v1/config", data=text.encode(), headers=headers)
    assert code == 200, receipt
    return dict(receipt)
