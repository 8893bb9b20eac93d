"""The command line of a gateway, run as a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

from tests.real.process import ROOT


class Done(NamedTuple):
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


async def command(folder: Path, *arguments: str, stdin: str = "", **environ: str) -> Done:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("GATEWAY_", "http"))}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", *arguments, cwd=folder, env={**clean, "PYTHONPATH": str(ROOT), **environ},
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate(stdin.encode())
    assert process.returncode is not None
    done = Done(process.returncode, out.decode(), err.decode())
    assert "Traceback" not in done.err
    assert "a-secret" not in done.out + done.err, "a secret was shown"
    return done
