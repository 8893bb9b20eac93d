"""The gateway under a supervisor: started again at once whenever it has ended, its log heard line by line and not kept."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.record import Footprint
from tests.real.process import Client, Gateway

LONGEST_LINE = 8 * 1024 * 1024
ANSWER_LIMIT = 24 * 3600.0
"""The client itself waits for ever: how long an answer may take is the referee's to say."""
TCP_STATES = dict(
    zip(
        (f"{number:02X}" for number in range(1, 12)),
        [
            "established",
            "syn_sent",
            "syn_recv",
            "fin_wait1",
            "fin_wait2",
            "time_wait",
            "close",
            "close_wait",
            "last_ack",
            "listen",
            "closing",
        ],
        strict=True,
    )
)
LAST_WORDS = 12
LATE_SIGNALS = {-signal.SIGTERM, -signal.SIGUSR1, -signal.SIGHUP}
"""A process that has not set its handlers yet, or has removed them at its end, ends by a signal as any other would."""


@dataclass
class Life:
    """One process from its start to its end, and what is known of it."""

    pid: int
    began: float = field(default_factory=time.monotonic)
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    told_to_end: float | None = None
    """When we ended it, or told it to end."""
    how: str = ""
    over: bool = False
    baseline: Footprint | None = None
    tickets: dict[str, str] = field(default_factory=dict)
    """Requests for a restart that it accepted, each with the outcome it must have, "" when any will do."""
    changes: set[str] = field(default_factory=set)
    """Requests of writes that its lifecycle heard of."""
    outcomes: dict[str, str] = field(default_factory=dict)
    """The outcomes that it has told so far."""
    restarting_since: float | None = None
    restarted_at: float = 0.0
    said: deque[str] = field(default_factory=lambda: deque(maxlen=LAST_WORDS))
    """The latest lines of its log: why a process has ended is asked when it is gone."""

    def disturbed(self, since: float) -> bool:
        """Whether a restart or an end, which close connections, fell into the time from then until now."""
        restarted = self.restarting_since is not None or self.restarted_at + AFTERMATH > since
        return self.over or self.told_to_end is not None or restarted


AFTERMATH = 4.0
"""Seconds after a restart in which the old server may still be closing its connections."""


class Supervised(Gateway):
    """A gateway that may be started again and again; `heard` is called with each line of its log."""

    def __init__(self, folder: Path, text: str, command: list[str], heard: Callable[[bytes], None]) -> None:
        super().__init__(folder, text, command=command)
        self._heard = heard
        self._listening: asyncio.Task[None] | None = None

    async def live(self) -> Life:
        """Start a process."""
        await self.launch(stderr=asyncio.subprocess.PIPE, limit=LONGEST_LINE)
        assert self.process is not None
        life = Life(self.process.pid)
        self._listening = asyncio.ensure_future(self._hear(self.process))
        return life

    async def wait_ready(self) -> None:
        await self._ready.wait()

    async def _hear(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        async for line in process.stderr:
            self._heard(line)

    async def ended(self) -> int:
        """Wait for the end of the process, and of what it said; the exit code."""
        assert self.process is not None
        code = await self.process.wait()
        if self._listening is not None:
            await self._listening
        return code


class Caller(Client):
    """A client that keeps no events, shows everything it hears to `look`, and knows whether we broke its connection."""

    broken = False

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.events = deque(maxlen=1)  # type: ignore[assignment]  # of hours of events only the newest is of use
        self.patience = ANSWER_LIMIT
        self.look: Callable[[str], object] = lambda _: None

    def hear(self, text: str) -> dict[str, Any]:
        self.look(text)
        frame: dict[str, Any] = json.loads(text)
        return frame

    @property
    def alive(self) -> bool:
        return self._reading is not None and not self._reading.done()

    def descriptor(self) -> int:
        """The connection's, to do to it what no well-behaved client would; -1 when it is closed."""
        sock = self.socket.get_extra_info("socket")
        return -1 if sock is None else int(sock.fileno())

    async def leave(self) -> None:
        """Close, however little the other side answers."""
        with contextlib.suppress(Exception):
            await asyncio.wait_for(self.close(), 5)
        with contextlib.suppress(Exception):
            await self._session.close()


def footprint(pid: int, tasks: int) -> Footprint:
    """What a process holds now, by /proc; the tasks it has told itself."""
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.count(":") >= 1
    )
    fds = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return Footprint(fds, int(status["Threads"]), tasks, int(status["VmRSS"].split()[0]))


def what_is_open(pid: int) -> str:
    """What a process has open, for whoever looks for a leak: its connections with port, other's port and state."""
    lines = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    connections = {
        f"socket:[{line[9]}]": f"tcp {_port(line[1])}-{_port(line[2])} {TCP_STATES[line[3]]}" for line in lines
    }
    found: list[str] = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            name = str(link.readlink())
            found.append(connections.get(name, name))
    return ", ".join(sorted(found))


def _port(address: str) -> int:
    return int(address.partition(":")[2], 16)


def now() -> float:
    return time.monotonic()
