"""What the frames say; that each is one of the published protocol is held wherever frames are received."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from tests.protocol import frames
from tests.real.process import TOKEN, Client, Gateway, RpcError, config_text

SESSION = "webchat:default:main"


async def test_a_session_has_what_its_hello_lists(tmp_path: Path) -> None:
    """hello-ok, answers, errors and events, from connect to the shutdown of a restart."""
    async with Gateway(tmp_path, config_text(restart="{delay_ms: 0, cooldown_ms: 0}")) as gateway:
        client = await gateway.client()
        for method in ("channels.status", "config.schema", "logs.tail"):
            await client.request(method)
            await client.request("config.schema.lookup", {"path": "channels.webchat.accounts.default"})
        await client.request("chat.send", {"sessionKey": SESSION, "message": "hi", "idempotencyKey": "k"})
        with pytest.raises(RpcError) as refused:
            await client.request("channels.start", {"channel": "webchat"})
        assert refused.value.error["details"]["state"] == "running"
        gateway.signal(signal.SIGUSR1)
        await asyncio.wait_for(client.socket_closed(), 10)
        assert client.socket.close_code == 1012
        assert {"shutdown", "chat", "journal", "lifecycle"} <= {frame["event"] for frame in client.events}
        await client.close()


async def test_hello_lists_exactly_what_exists(tmp_path: Path) -> None:
    """Every method that hello-ok lists answers, and every other is refused as unknown."""
    async with Gateway(tmp_path, config_text()) as gateway:
        client = await gateway.client()
        for method in client.hello["features"]["methods"]:
            assert method == "connect" or "unknown method" not in await _complaint(client, method)
        with pytest.raises(RpcError, match=r"unknown method 'no\.such'"):
            await client.request("no.such")
        await client.close()


async def _complaint(client: Client, method: str) -> str:
    try:
        await client.request(method, {})
    except RpcError as error:
        return str(error)
    return ""


async def test_the_root_speaks_the_protocol_too(tmp_path: Path) -> None:
    """`/` is the page for a browser and the WebSocket for a client of the protocol."""
    async with Gateway(tmp_path, config_text()) as gateway, frames.session() as session:
        async with session.get(gateway.url + "/") as page:
            assert page.status == 200
            assert page.content_type == "text/html"
            assert "default-src 'none'" in page.headers["Content-Security-Policy"]
        async with session.ws_connect(gateway.url + "/") as socket:
            challenge = await socket.receive_json()
            assert challenge["event"] == "connect.challenge"


async def test_json5_as_people_write_it_is_taken(tmp_path: Path) -> None:
    """Comments, single quotes, trailing commas and bare keys, in a patch."""
    async with Gateway(tmp_path, config_text()) as gateway:
        client = await gateway.client()
        answer = await client.patch("{gateway: {name: 'five', /* a comment */}, // another\n}")
        assert answer["ok"]
        assert answer["changedPaths"] == ["gateway.name"]
        assert "name: five" in gateway.config.read_text()
        await client.close()


async def test_a_scope_that_was_not_asked_for_is_not_given(tmp_path: Path) -> None:
    """A client that asked for reading alone can read, and write nothing."""
    async with Gateway(tmp_path, config_text()) as gateway:
        client = await Client.connect(gateway.url, TOKEN, scopes=["operator.read"])
        config = await client.request("config.get")
        with pytest.raises(RpcError, match=r"operator\.admin"):
            await client.request("config.patch", {"raw": "{}", "baseHash": config["hash"]})
        await client.close()
