"""The frames are those of the published protocol: each is held against its schema."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from jsonschema import Draft7Validator

from tests.real.process import TOKEN, Client, Gateway, RpcError, config_text

SCHEMA = json.loads((Path(__file__).parents[1] / "protocol" / "openclaw-v4.schema.json").read_text())["definitions"]
SESSION = "webchat:default:main"


def conforms(definition: str, value: Any) -> None:
    """Fails with every way in which the value is not what the published schema says."""
    faults = [
        f"{list(fault.path)}: {fault.message}" for fault in Draft7Validator(SCHEMA[definition]).iter_errors(value)
    ]
    assert not faults, faults


async def test_handshake_and_answers_conform(tmp_path: Path) -> None:
    """hello-ok, answers, errors and events of a session, from connect to the shutdown of a restart."""
    async with Gateway(tmp_path, config_text(restart="{delay_ms: 0, cooldown_ms: 0}")) as gateway:
        client = await gateway.client()
        conforms("HelloOk", client.hello)
        conforms("ChannelsStatusResult", await client.request("channels.status"))
        conforms("ConfigSchemaResponse", await client.request("config.schema"))
        place = await client.request("config.schema.lookup", {"path": "channels.webchat.accounts.default"})
        conforms("ConfigSchemaLookupResult", place)
        await client.request("chat.send", {"sessionKey": SESSION, "message": "hi", "idempotencyKey": "k"})
        with pytest.raises(RpcError) as refused:
            await client.request("channels.start", {"channel": "webchat"})
        conforms("ErrorShape", refused.value.error)
        assert refused.value.error["details"]["state"] == "running"
        gateway.signal(signal.SIGUSR1)
        await asyncio.wait_for(client.socket_closed(), 10)
        assert client.socket.close_code == 1012
        for frame in client.events:
            conforms("EventFrame", frame)
            named = {"tick": "TickEvent", "shutdown": "ShutdownEvent", "chat": "ChatFinalEvent"}.get(frame["event"])
            if named:
                conforms(named, frame["payload"])
        assert {"shutdown", "chat", "journal", "lifecycle"} <= {frame["event"] for frame in client.events}
        assert [frame["seq"] for frame in client.events] == sorted({frame["seq"] for frame in client.events})
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
    async with Gateway(tmp_path, config_text()) as gateway, aiohttp.ClientSession() as session:
        async with session.get(gateway.url + "/") as page:
            assert page.status == 200
            assert page.content_type == "text/html"
            assert "default-src 'none'" in page.headers["Content-Security-Policy"]
        async with session.ws_connect(gateway.url + "/") as socket:
            challenge = await socket.receive_json()
            conforms("EventFrame", challenge)
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
