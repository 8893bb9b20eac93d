"""A live setting counts from its next use on, and nothing is restarted for it."""

from __future__ import annotations

from pathlib import Path

from tests.gateway.configs import telegram
from tests.gateway.process.house import House
from tests.virtual import run_virtual

MAIN = "telegram/main"


def test_a_live_stop_timeout_is_the_next_stops(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, telegram(main="token: one-token")) as house:
            await house.until_account(MAIN, "running")
            receipt = await house.write(telegram(main="token: one-token, stop_timeout_ms: 120"))
            assert receipt["plan"]["class"] == "live"
            channel = house.channel(MAIN)
            assert channel.data.run.policy.stop_timeout == 0.12
            assert channel.data.generation == 1
            assert house.account(MAIN) == "running"

    run_virtual(main())
