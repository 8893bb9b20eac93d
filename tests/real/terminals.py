"""A command on a terminal of its own: what it draws there, and what is left to be read of it."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import re
import signal
import struct
import sys
import termios
from functools import partial
from pathlib import Path
from typing import NamedTuple, Self

from tests.real.process import PATIENCE, ROOT

STEERING = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
"""What colours and redraws are made of; nothing else may steer the terminal."""


class Drawn(NamedTuple):
    """A command that has ended, and all that it wrote to its terminal."""

    code: int
    raw: str

    @property
    def text(self) -> str:
        """What a person reads, every redraw of it; no line ends in spaces."""
        return "\n".join(line.rstrip() for line in STEERING.sub("", self.raw).splitlines())


class Terminal:
    """`async with Terminal(folder, "status") as terminal:` a command on a terminal of so many columns."""

    def __init__(self, folder: Path, *arguments: str, columns: int = 80, **environ: str) -> None:
        self._folder, self._arguments, self._columns = folder, arguments, columns
        unset = {"NO_COLOR", "COLUMNS", "LINES", "FORCE_COLOR", "GITHUB_ACTIONS", "PY_COLORS"}
        clean = {name: value for name, value in os.environ.items() if name not in unset}
        self._environ = {**clean, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", **environ}
        self.raw = b""
        self.more, self._over = asyncio.Event(), asyncio.Event()

    async def __aenter__(self) -> Self:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, self._columns, 0, 0))
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "gateway", *self._arguments, cwd=self._folder, env=self._environ,
            stdin=theirs, stdout=theirs, stderr=theirs,
            # Whoever runs the tests in the background has it ignored, and a child inherits that.
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip
        os.close(theirs)
        asyncio.get_running_loop().add_reader(self._ours, self._read)
        return self

    def _read(self) -> None:
        try:
            read = os.read(self._ours, 65_536)
        except OSError:  # the other end is closed
            read = b""
        self.raw += read
        self.more.set()
        if not read:
            self._over.set()
            asyncio.get_running_loop().remove_reader(self._ours)

    async def shows(self, words: str) -> None:
        """Wait until it has drawn this."""
        async with asyncio.timeout(PATIENCE):
            while words not in self.raw.decode(errors="replace"):
                self.more.clear()
                await self.more.wait()

    async def ended(self) -> Drawn:
        """Wait for its end."""
        code = await asyncio.wait_for(self.process.wait(), PATIENCE)
        await asyncio.wait_for(self._over.wait(), PATIENCE)
        return Drawn(code, self.raw.decode())

    async def __aexit__(self, *error: object) -> None:
        asyncio.get_running_loop().remove_reader(self._ours)
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()
        os.close(self._ours)


async def drawn(folder: Path, *arguments: str, columns: int = 80, **environ: str) -> Drawn:
    """A command that ends by itself."""
    async with Terminal(folder, *arguments, columns=columns, **environ) as terminal:
        return await terminal.ended()
