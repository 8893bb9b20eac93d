"""Config writes are limited by client and method, and the refusal says when the next one is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.real.process import Gateway, RpcError, config_text


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
