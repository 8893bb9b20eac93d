"""Two hosts with one token, which no lock of a kernel can keep apart: what a network's own refusal makes of it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from gateway.channels.telegram import CONFLICT_MARGIN
from tests.fakes.telegram import FakeTelegram
from tests.real.process import ROOT, Gateway, config_text, telegram_account

TOKEN = "1069:a-bots-secret-0069"
MAIN = "telegram/main"
POLL_TIMEOUT = 1
ANOTHER_HOST = [sys.executable, "-m", "tests.real.another_host"]


async def test_case_69_in_a_rolling_update_the_new_replica_takes_over_and_nothing_is_lost(tmp_path: Path) -> None:
    """The new one is started before the old one ends, and no lease is there to part them: the conflict is shown, each makes
    one attempt a wait, and when the old one leaves the new one receives within one wait. That an update shall stop the old
    one first is what the guide says (`Recreate`)."""
    async with FakeTelegram() as telegram:
        bot = telegram.add_bot(TOKEN, "rolling_bot")
        text = config_text(telegram_account("main", TOKEN, telegram.url, poll_timeout_s=POLL_TIMEOUT))
        for name in ("old", "new"):
            (tmp_path / name).mkdir()
        old = Gateway(tmp_path / "old", text)
        async with Gateway(tmp_path / "new", text, command=ANOTHER_HOST) as new:
            try:
                await old.start()
                said = [str(number) for number in range(12)]
                for number in said[:6]:
                    bot.push(number)
                    await asyncio.sleep(0.05)
                await conflicts(old, new)
                for number in said[6:]:
                    bot.push(number)
                assert await old.stop() == 0
                async with asyncio.timeout(2 * (POLL_TIMEOUT + CONFLICT_MARGIN)):
                    await new.until(lambda status: status["accounts"][0]["state"] == "running")
                    while {message["text"] for message in bot.sent} != set(said):
                        await asyncio.sleep(0.05)
            finally:
                await old.close()
            assert ("running", "conflict") in [*old.moves(MAIN), *new.moves(MAIN)]
            attempts = old.starts(MAIN) + new.starts(MAIN)
            seconds = bot.stats.poll_log[-1].arrived_at - bot.stats.poll_log[0].arrived_at
            assert attempts <= 2 * (2 + seconds / (POLL_TIMEOUT + CONFLICT_MARGIN))
    assert "strategy: Recreate" in (ROOT / "docs" / "operating" / "README.md").read_text()


async def conflicts(*gateways: Gateway) -> None:
    """Wait until one of them has said what is the matter."""
    async with asyncio.timeout(20):
        while True:
            for gateway in gateways:
                account = await gateway.account(MAIN)
                if account["state"] == "conflict":
                    assert account["conflict_since"] is not None
                    assert "409" in account["error"] or "Conflict" in account["error"], account["error"]
                    return
            await asyncio.sleep(0.05)
