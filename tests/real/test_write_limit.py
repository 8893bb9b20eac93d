"""Config writes are limited by client and method, and the refusal says when the next one is allowed."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest

from gateway.config.file import revision_of
from tests.real.process import TOKEN, Gateway, RpcError, config_text


async def test_the_third_write_of_a_minute_is_refused_where_two_are_allowed(tmp_path: Path) -> None:
    text = config_text().replace("writes_per_minute: 0", "writes_per_minute: 2")
    async with Gateway(tmp_path, text) as gateway:
        client = await gateway.client()
        for name in ("one", "two"):
            assert (await client.patch(f"gateway: {{name: {name}}}"))["ok"]
        with pytest.raises(RpcError) as refused:
            await client.patch("gateway: {name: three}")
        assert refused.value.error["code"] == "UNAVAILABLE"
        assert 0 < refused.value.error["retryAfterMs"] <= 60_000
        assert "name: two" in gateway.config.read_text()
        # Another method counts for itself.
        config = await client.request("config.get")
        headers = {"If-Match": config["hash"], "Content-Type": "application/json"}
        status, _ = await gateway.http("PATCH", "/api/v1/config", data='{"gateway": {"name": "four"}}', headers=headers)
        assert status == 200
        await client.close()


async def test_one_client_s_limit_does_not_touch_another_s(tmp_path: Path) -> None:
    """By address over HTTP; over the WebSocket by who a client says it is, too. Refused writes do not count, and a new
    limit counts as soon as it runs."""
    text = config_text().replace("writes_per_minute: 0", "writes_per_minute: 1")
    async with Gateway(tmp_path, text) as gateway:
        client = await gateway.client()

        async def patch(name: str, local: str, base: str = "") -> tuple[int, str | None]:
            found = await client.request("config.get")
            headers = {
                "Authorization": f"Bearer {TOKEN}",
                "If-Match": base or found["hash"],
                "Content-Type": "application/json",
            }
            connector = aiohttp.TCPConnector(local_addr=(local, 0))
            async with aiohttp.ClientSession(connector=connector) as session:
                url, body = gateway.url + "/api/v1/config", f'{{"gateway": {{"name": "{name}"}}}}'
                async with session.patch(url, data=body, headers=headers) as response:
                    return response.status, response.headers.get("Retry-After")

        assert await patch("stale", "127.0.0.1", "0" * 64) == (412, None)
        assert await patch("ann", "127.0.0.1") == (200, None)
        status, after = await patch("ann again", "127.0.0.1")
        assert status == 429
        assert 0 < int(after or "0") <= 60
        assert await patch("bob", "127.0.0.2") == (200, None)
        assert (await client.patch("gateway: {name: on the socket}"))["ok"]
        with pytest.raises(RpcError) as refused:
            await client.patch("gateway: {name: again}")
        assert refused.value.error["retryable"] is True
        await gateway.edit(lambda text: text.replace("writes_per_minute: 1", "writes_per_minute: 2"))
        now = revision_of(gateway.config.read_bytes())
        await gateway.until(lambda s: s["config"]["applied"] == now)
        assert (await client.patch("gateway: {name: again}"))["ok"]
        assert (await patch("ann again", "127.0.0.1"))[0] == 200
