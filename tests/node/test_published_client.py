"""A real gateway operated by the client that others have published: what it does by itself, and what it is asked to do."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.telegram import FakeTelegram
from tests.node.published import PublishedClient
from tests.real.process import Gateway, RpcError, config_text, telegram_account

BOT = "1001:a-bots-secret-0001"
QUICK_TICKS = (
    "from gateway.admin import websocket\nwebsocket.TICK = 0.5\nfrom gateway.__main__ import main\nsys.exit(main())"
)
AT_ONCE = "{delay_ms: 0, cooldown_ms: 0}"


def poll_timeout(seconds: int) -> str:
    """A patch that needs an account to restart; JSON5, as people write it."""
    return f"{{channels: {{telegram: {{accounts: {{main: {{poll_timeout_s: {seconds}}}}}}}}}}} // shorter"


async def refusal(client: PublishedClient, method: str, **params: Any) -> dict[str, Any]:
    """The error that a request is answered with."""
    with pytest.raises(RpcError) as refused:
        await client.request(method, params)
    return refused.value.error


async def test_a_session(tmp_path: Path, packages: Path) -> None:
    """Get, patch, apply, stop, start, say something, read the log; and what is told unasked, without a gap."""
    async with FakeTelegram() as telegram:
        telegram.add_bot(BOT, "echo_bot")
        text = config_text(telegram_account("main", BOT, telegram.url, poll_timeout_s=20))
        async with (
            Gateway(tmp_path, text, command=[sys.executable, "-c", f"import sys\n{QUICK_TICKS}"]) as gateway,
            PublishedClient(packages, gateway) as client,
        ):
            hello = await client.hello()
            assert hello["policy"]["tickIntervalMs"] == 500
            await gateway.until(lambda status: all(account["state"] == "running" for account in status["accounts"]))
            await _change_the_config(client, gateway)
            await _stop_and_start(client)
            await _say_and_read(client)
            ticks = len(client.events("tick"))
            await client.until(lambda: len(client.events("tick")) > ticks and client.events("health"))
            for name in ("journal", "lifecycle", "channel", "config"):
                assert client.events(name), name
            assert not client.all("gap")
            assert not client.all("close")


async def _change_the_config(client: PublishedClient, gateway: Gateway) -> None:
    config = await client.request("config.get")
    assert config["valid"]
    assert config["appliedConfigHash"] == config["configRevisionHash"] == config["hash"]
    assert BOT not in json.dumps(config)
    patched = await client.request("config.patch", {"raw": poll_timeout(7), "baseHash": config["hash"], "note": "less"})
    assert (patched["ok"], patched["receipt"]["outcome"]) == (True, "applied")
    assert patched["changedPaths"] == ["channels.telegram.accounts.main.poll_timeout_s"]
    assert (await gateway.account("telegram/main"))["generation"] == 2
    config = await client.request("config.get")
    applied = await client.request("config.apply", {"raw": config["raw"] + "# mine\n", "baseHash": config["hash"]})
    assert applied["noop"] or applied["receipt"]["outcome"] == "applied"
    assert gateway.config.read_text().endswith("# mine\n")
    assert BOT in gateway.config.read_text(), "a redacted mark sent back keeps the secret"


async def _stop_and_start(client: PublishedClient) -> None:
    call = {"channel": "telegram", "accountId": "main"}
    stopped = await client.request("channels.stop", call)
    assert (stopped["channel"], stopped["accountId"], stopped["stopped"]) == ("telegram", "main", True)
    status = await client.request("channels.status")
    assert [account["running"] for account in status["channelAccounts"]["telegram"]] == [False]
    started = await client.request("channels.start", call)
    assert (started["accountId"], started["started"], started["generation"]) == ("main", True, 3)
    refused = await refusal(client, "channels.start", **call)
    assert (refused["details"]["state"], refused["details"]["trigger"]) == ("running", "start")


async def _say_and_read(client: PublishedClient) -> None:
    say = {"sessionKey": "webchat:default:main", "message": "hello", "idempotencyKey": "1"}
    run = (await client.request("chat.send", say))["runId"]
    await client.until(lambda: client.events("chat"))
    assert client.events("chat")[0]["runId"] == run
    history = await client.request("chat.history", {"sessionKey": say["sessionKey"]})
    assert [message["text"] for message in history["messages"]] == ["hello", "hello"]
    tail = await client.request("logs.tail", {"limit": 5000})
    assert {"config_written", "transition"} <= {json.loads(line)["event"] for line in tail["lines"]}
    assert BOT not in json.dumps(tail)
    assert (await client.request("logs.tail", {"cursor": tail["cursor"]}))["lines"] == []
    assert (await client.request("gateway.restart.preflight"))["safe"]


@pytest.mark.parametrize("how", ["asked for", "by a change"])
async def test_it_comes_back_from_a_restart_by_itself(tmp_path: Path, packages: Path, how: str) -> None:
    """Told before, closed with the code of a restart, and on the next run it goes on as if nothing had been."""
    async with (
        Gateway(tmp_path, config_text(restart=AT_ONCE)) as gateway,
        PublishedClient(packages, gateway) as client,
    ):
        before = await client.hello()
        if how == "asked for":
            answer = await client.request("gateway.restart.request", {"reason": "why not"})
            assert (answer["ok"], answer["status"], answer["restart"]["coalesced"]) == (True, "scheduled", False)
            request = answer["id"]
        else:
            base = (await client.request("config.get"))["hash"]
            patch = '{"gateway": {"restart": {"defer_timeout_ms": 1000}}}'
            answer = await client.request("config.patch", {"raw": patch, "baseHash": base, "restartDelayMs": 0})
            assert (answer["ok"], answer["receipt"]["outcome"]) == (True, "restart_pending")
            request = answer["receipt"]["restart"]["id"]
        after = await client.hello(2)
        assert after["server"]["bootId"] != before["server"]["bootId"]
        assert client.events("shutdown")[0]["restartExpectedMs"] > 0
        assert [close["code"] for close in client.all("close")] == [1012]
        # The port is served before the restart is over: until then it is pending.
        while (outcome := (await client.request("requests.get", {"id": request}))["outcome"]) == "pending":
            await asyncio.sleep(0.05)
        assert outcome == "done"
        assert not client.all("gap")


async def test_its_default_scope_is_enough_for_everything(tmp_path: Path, packages: Path) -> None:
    """It asks for `operator.admin` alone where its user says nothing, and means by it all that is less."""
    async with Gateway(tmp_path, config_text()) as gateway, PublishedClient(packages, gateway) as client:
        assert (await client.hello())["auth"]["scopes"] == ["operator.admin"]
        for method in ("health", "status", "config.get", "config.schema", "channels.status", "machines.list"):
            await client.request(method)
        say = {"sessionKey": "webchat:default:main", "message": "hello", "idempotencyKey": "1"}
        assert (await client.request("chat.send", say))["status"] == "started"


async def test_what_is_refused_it_can_tell_apart(tmp_path: Path, packages: Path) -> None:
    async with (
        Gateway(tmp_path, config_text()) as gateway,
        PublishedClient(packages, gateway) as client,
        PublishedClient(packages, gateway, scopes=["operator.read"]) as reader,
    ):
        await client.hello()
        await reader.hello()
        config = await reader.request("config.get")
        refused = await refusal(reader, "config.patch", raw="{}", baseHash=config["hash"])
        assert (refused["code"], refused["details"]["missingScope"]) == ("FORBIDDEN", "operator.admin")
        refused = await refusal(client, "config.patch", raw="{}", baseHash="0" * 64)
        assert (refused["code"], refused["details"]["currentHash"]) == ("INVALID_REQUEST", config["hash"])
        refused = await refusal(client, "config.apply", raw="gateway: {nmae: x}", baseHash=config["hash"])
        assert [issue["line"] for issue in refused["details"]["issues"]] == [1]
        refused = await refusal(client, "no.such.method")
        assert refused["code"] == "INVALID_REQUEST"


async def test_with_a_wrong_token_it_stops_trying(tmp_path: Path, packages: Path) -> None:
    """It knows by the details that another attempt is of no use, and a lock-out is the last thing a person needs."""
    async with (
        Gateway(tmp_path, config_text()) as gateway,
        PublishedClient(packages, gateway, token="another-token") as client,
    ):
        (paused,) = await client.until(lambda: client.all("paused"))
        assert (paused["code"], paused["detailCode"]) == (1008, "AUTH_TOKEN_MISMATCH")
        assert not client.all("hello")


async def test_a_device_that_signs_is_welcome(tmp_path: Path, packages: Path) -> None:
    """The token alone decides, under either name; what a device signs is neither needed nor in the way."""
    async with (
        Gateway(tmp_path, config_text()) as gateway,
        PublishedClient(packages, gateway, with_device=True) as client,
        PublishedClient(packages, gateway, token=None, password="a-token-for-tests-0123456789") as other,
    ):
        for signed_in in (client, other):
            await signed_in.hello()
            assert (await signed_in.request("health"))["ok"]
