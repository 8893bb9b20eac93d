"""Runs what stands in a console block, beside a gateway that the docs' config has started."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from gateway.cli.init import starter
from tests.docs.pages import Block
from tests.real.process import ROOT, Gateway

PATIENCE = 60.0
ADDRESS = "http://127.0.0.1:18790"
"""As the pages say it: a gateway of a test has a port of its own."""


def starter_text() -> str:
    """The starter config, with a free port, since another gateway may run on this machine, and restarts that do not wait."""
    return starter({}).replace("port: 18790", "port: 0\n  restart: {delay_ms: 0, cooldown_ms: 0}")


class Here(Gateway):
    """A gateway that was started as a user starts it: with a token that it has made itself."""

    async def start(self) -> None:
        await super().start()
        self.token = (self.folder / ".gateway" / "admin-token").read_text().strip()


async def shell(block: Block | str, folder: Path, url: str = ADDRESS, **environ: str) -> str:
    """Run all lines of a block in one shell, which ends with the first that fails; what they wrote.

    `python` is the one that runs the tests, and a refusal by HTTP is a failure of curl.
    """
    text = block.text if isinstance(block, Block) else block
    here = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "CURL_HOME": str(Path(__file__).parent),
        **environ,
    }
    run = await asyncio.create_subprocess_exec(
        "sh", "-exc", text.replace(ADDRESS, url), cwd=folder, env=here, stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        said, complaint = await asyncio.wait_for(run.communicate(), PATIENCE)
    finally:
        if run.returncode is None:
            run.kill()
            await run.wait()
    assert run.returncode == 0, f"{block}\n{said.decode()}\n{complaint.decode()}"
    return said.decode()
