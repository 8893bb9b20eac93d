"""A real NATS server with JetStream, and lines to it that can be cut: what several hosts share."""

from __future__ import annotations

import asyncio
import contextlib
import sysconfig
from pathlib import Path
from typing import Any, Self

from gateway.config.lease import LeaseSettings
from gateway.config.model import TelegramAccount
from gateway.process.nats import NatsStore
from gateway.redact import Secret
from statemachine.lease_record import Record
from tests.ports import free_port

PROGRAM = Path(sysconfig.get_path("scripts")) / "nats-server"
PATIENCE = 10.0


class NatsServer:
    """`async with NatsServer(folder) as server:`; what it was told outlives `stop` and `start`."""

    def __init__(self, folder: Path, *arguments: str, jetstream: bool = True) -> None:
        self.port = free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        kept = ["-js", "-sd", str(folder)] if jetstream else []
        self._command = [str(PROGRAM), "-a", "127.0.0.1", "-p", str(self.port), *kept, *arguments]
        self._process: asyncio.subprocess.Process | None = None
        self._lines: list[Line] = []

    async def start(self) -> None:
        """Return when it takes connections."""
        silent = asyncio.subprocess.DEVNULL
        self._process = await asyncio.create_subprocess_exec(*self._command, stdout=silent, stderr=silent)
        async with asyncio.timeout(PATIENCE):
            while True:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                    writer.close()
                    return
                await asyncio.sleep(0.02)

    async def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            await self._process.wait()
            self._process = None

    async def line(self) -> Line:
        """A way to it that somebody may cut."""
        line = Line(self.port)
        await line.open()
        self._lines.append(line)
        return line

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        for line in self._lines:
            await line.close()
        await self.stop()


async def was_let_go(url: str, bot: str, api_base: str, **settings: Any) -> None:
    """An earlier host had the bot's lease, and has released it: or the first one ever would wait, to be sure that it is alone."""
    store = NatsStore(LeaseSettings(url=url, **settings))
    account = TelegramAccount(token=Secret(bot), api_base=api_base)
    assert account.claim is not None
    record = Record("an earlier host", "an earlier host", 0, 15.0, settled=True, released=True)
    await store.write(account.claim, record, 0)
    await store.close()


class Line:
    """Carries bytes both ways, to whatever listens at a port. Cut, it takes them and carries none, as a network that is parted does."""

    def __init__(self, port: int) -> None:
        self.cut = False
        self.port = free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        self.target = port
        """Where new connections go."""
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._carry_both, "127.0.0.1", self.port)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in self._writers:
            writer.transport.abort()

    def mend(self) -> None:
        """What was said meanwhile is lost with its connections."""
        self.cut = False
        for writer in tuple(self._writers):
            writer.transport.abort()

    async def _carry_both(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            there_reader, there = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        self._writers.add(there)
        ways = [self._carry(reader, there), self._carry(there_reader, writer)]
        await asyncio.gather(*ways)
        self._writers -= {writer, there}

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                if not self.cut:
                    writer.write(data)
                    await writer.drain()
        writer.close()
