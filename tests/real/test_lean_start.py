"""What a gateway that runs has imported: nothing of the command line's libraries, which would make each start and restart slower."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.real.process import Gateway, config_text

LIBRARIES = ("typer", "rich", "click", "shellingham", "gateway.cli.commands", "gateway.cli.tables")
LOOK = f"""\
import sys

def look(message):
    return ", ".join(name for name in ("gateway.cli.run", *{LIBRARIES!r}) if name in sys.modules)
"""


async def imported(gateway: Gateway) -> str:
    """What a handler inside of it finds."""
    client = await gateway.client()
    asked = {"sessionKey": "webchat:default:main", "message": "look", "idempotencyKey": f"{len(gateway.boots)}"}
    before = len((await client.request("chat.history", {"sessionKey": asked["sessionKey"]}))["messages"])
    await client.request("chat.send", asked)
    while True:
        lines = (await client.request("chat.history", {"sessionKey": asked["sessionKey"]}))["messages"]
        if len(lines) == before + 2:
            return str(lines[-1]["text"])
        await asyncio.sleep(0.02)


async def test_a_gateway_that_runs_has_none_of_the_libraries_of_the_command_line(tmp_path: Path) -> None:
    """Neither as it was started nor as the next image of a restart."""
    (tmp_path / "look.py").write_text(LOOK)
    text = config_text(restart="{delay_ms: 0, cooldown_ms: 0}").replace(
        "echo: {type: echo}", "echo: {type: python, target: 'look:look'}"
    )
    async with Gateway(tmp_path, text) as gateway:
        assert await imported(gateway) == "gateway.cli.run"
        await gateway.http("POST", "/api/v1/restart", json={})
        await gateway.ready(2)
        assert await imported(gateway) == "gateway.cli.run"
