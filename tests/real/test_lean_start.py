"""What a gateway that runs has imported: nothing of the command line's libraries, which would make each start and restart slower."""

from __future__ import annotations

from pathlib import Path

from tests.real.inside import looking_text, seen_inside
from tests.real.process import Gateway

LIBRARIES = ("typer", "rich", "click", "shellingham", "gateway.cli.commands", "gateway.cli.tables")
LOOK = f"""\
import sys

def look(message):
    return ", ".join(name for name in ("gateway.cli.run", *{LIBRARIES!r}) if name in sys.modules)
"""


async def test_a_gateway_that_runs_has_none_of_the_libraries_of_the_command_line(tmp_path: Path) -> None:
    """Neither as it was started nor as the next image of a restart."""
    (tmp_path / "look.py").write_text(LOOK)
    text = looking_text(restart="{delay_ms: 0, cooldown_ms: 0}")
    async with Gateway(tmp_path, text) as gateway:
        assert await seen_inside(gateway) == "gateway.cli.run"
        await gateway.http("POST", "/api/v1/restart", json={})
        await gateway.ready(2)
        assert await seen_inside(gateway) == "gateway.cli.run"
