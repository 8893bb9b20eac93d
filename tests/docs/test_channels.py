"""docs/channels.md: its adapter is installed, passes what it promises, and receives a message in a running gateway."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from gateway.cli.init import starter
from tests.docs.packages import install
from tests.docs.pages import Page
from tests.docs.shell import Here, shell
from tests.real.process import ROOT

ADMIN = "gateway: {admin: {port: 0}}\n"
ELSEWHERE = "/var/mail/gateway"


async def test_the_adapter_of_the_page_is_installed_and_receives_a_letter(tmp_path: Path) -> None:
    with Page("docs/channels.md") as page:
        page.write(tmp_path, "pyproject.toml", "gateway_letters.py", "test_letters.py")
        install(tmp_path)
        path, folder = f"{ROOT}:{tmp_path}", str(tmp_path / "mail")
        config = page.take("yaml").text.replace(ELSEWHERE, folder)
        letters = page.take("console").text.replace(ELSEWHERE, folder)
        async with Here(tmp_path, starter({}).replace("18790", "0"), PYTHONPATH=path) as gateway:
            # As long as there is no such folder the account waits for one.
            gateway.config.write_text(ADMIN + config)
            await gateway.until(lambda status: _state(status) == "backoff")
            await shell(letters, tmp_path)
            async with asyncio.timeout(15):
                while not (found := list((tmp_path / "mail" / "outbox").glob("[0-9]*"))):
                    await asyncio.sleep(0.02)
            assert json.loads(found[0].read_text()) == {"to": "ann", "text": "Dear gateway"}
            await gateway.until(lambda status: _state(status) == "running")
        assert "passed" in await shell(page.take("console"), tmp_path, PYTHONPATH=path)


def _state(status: dict[str, list[dict[str, str]]]) -> str:
    return next((row["state"] for row in status["accounts"] if row["channel"] == "letters"), "")
