"""Where the log goes, and who reads the ready line, may be gone or full: lines are lost then, and nothing else."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.real.process import Gateway, config_text

QUICK = "{delay_ms: 0, cooldown_ms: 0}"


class Unheard(Gateway):
    """Its log goes to a full disk, to a pipe that nobody reads any more, or nowhere: it has no standard error."""

    def __init__(self, folder: Path, kind: str) -> None:
        super().__init__(folder, config_text(restart=QUICK))
        self.kind = kind

    async def spawn(self) -> None:
        if self.kind == "nothing at all":
            self._command = ["sh", "-c", f"exec {sys.executable} -m gateway 2>&-"]
            await self.launch()
            return
        if self.kind == "a full disk":
            with Path("/dev/full").open("wb") as log:
                await self.launch(stderr=log)
            return
        reader = subprocess.Popen(["true"], stdin=subprocess.PIPE)
        assert reader.stdin is not None
        with reader.stdin as log:
            reader.wait()
            await self.launch(stderr=log)


async def lives_on(gateway: Gateway) -> None:
    """Writes, restarts and refuses as ever."""
    await gateway.until(lambda s: s["state"] == "running")
    client = await gateway.client()
    for name in ("one", "two"):
        assert (await client.patch(f"gateway: {{name: {name}}}"))["ok"]
    code, _ = await gateway.http("POST", "/api/v1/restart", json={"delay_ms": 0})
    assert code == 202
    await gateway.until(lambda s: s["restarts"] == 1 and s["state"] == "running")
    client = await gateway.client()
    assert (await client.patch("gateway: {name: three}"))["ok"]
    code, _ = await gateway.http("DELETE", "/api/v1/restart/none")
    assert code == 404
    # What could not be written can be asked for.
    lines: dict[str, Any] = await client.request("logs.tail", {})
    assert any("three" in line or "config_written" in line for line in lines["lines"])


@pytest.mark.parametrize("kind", ["a full disk", "a pipe without a reader", "nothing at all"])
async def test_a_log_that_cannot_be_written_stops_nothing(tmp_path: Path, kind: str) -> None:
    """And the end is a clean one: exit code 0."""
    async with Unheard(tmp_path, kind) as gateway:
        await lives_on(gateway)


async def test_a_ready_line_that_nobody_reads_stops_nothing(tmp_path: Path) -> None:
    """Whoever started it has read the first, and has gone; the second is that of a restart."""
    async with Gateway(tmp_path, config_text(restart=QUICK)) as gateway:
        assert gateway.process is not None
        pipe = gateway.process._transport.get_pipe_transport(1)  # type: ignore[attr-defined]
        pipe.close()
        await asyncio.sleep(0.1)
        await lives_on(gateway)
