"""What a supervisor like systemd is told, and the listening socket that it may hand over.

Its words are those of sd_notify(3), its reload is that of `Type=notify-reload` in systemd.service(5), its watchdog that of
sd_watchdog_enabled(3), and its socket that of sd_listen_fds(3). Where nobody supervises, nothing is said to anybody.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import time
from collections.abc import Mapping

import structlog

from gateway.dispatcher import LIFECYCLE
from gateway.journal import Entry
from gateway.process.budget import limit_of
from statemachine.lifecycle import Phase, phase_of

log: structlog.stdlib.BoundLogger = structlog.get_logger()

FIRST_HANDED_OVER = 3
"""Descriptors come after the three standard ones."""


class Supervisor:
    """Made from the environment of the process; `note` listens to the journal, `feed` runs as long as the gateway does."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        self._every = _feed_every(environ) if self._address else 0.0
        self._socket: socket.socket | None = None
        self.stop_limit = _stop_limit(environ)
        """Seconds that a stop may take before the process is killed; None where nobody says."""

    def note(self, entry: Entry) -> None:
        """A journal listener: where the gateway is, and each time that it is ready, begins to reload or to end."""
        if not self._address or entry.machine != LIFECYCLE or entry.before == entry.after:
            return
        phase = phase_of(entry.after)
        words = {"STATUS": entry.after}
        if phase is not phase_of(entry.before):
            words = _words(phase) | words
        self._tell(words)

    def reload_asked(self) -> None:
        """It waits for these words since it has sent SIGHUP, also where nothing has changed."""
        self._tell(_words(Phase.RELOADING))

    def reload_answered(self, state: str) -> None:
        """What SIGHUP has led to is under way, and says so itself when it ends; or there was nothing to do."""
        if phase_of(state) is Phase.READY:
            self._tell(_words(Phase.READY) | {"STATUS": state})

    async def feed(self) -> None:
        """The watchdog, where there is one: a loop that does not turn does not feed it, and is ended by who waits for that."""
        while self._every:
            await asyncio.sleep(self._every)
            self._tell({"WATCHDOG": "1"})

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()

    def _tell(self, words: Mapping[str, str]) -> None:
        """A gateway goes on without a supervisor that does not listen."""
        if not self._address:
            return
        try:
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                self._socket.setblocking(False)
            address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
            self._socket.sendto("\n".join(f"{name}={value}" for name, value in words.items()).encode(), address)
        except OSError as error:
            log.warning("supervisor_not_told", why=error.strerror, words=dict(words))


def _words(phase: Phase) -> dict[str, str]:
    """What is said on coming into a phase."""
    if phase is Phase.READY:
        return {"READY": "1", "MAINPID": str(os.getpid())}
    if phase is Phase.RELOADING:
        # It compares this with the time of its own signal, by the same clock of the kernel.
        return {"RELOADING": "1", "MONOTONIC_USEC": str(time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1_000)}
    return {"STOPPING": "1"} if phase is Phase.ENDING else {}


def _stop_limit(environ: Mapping[str, str]) -> float | None:
    try:
        return limit_of(environ)
    except ValueError as error:
        log.warning("stop_limit_unknown", why=str(error))
        return None


def _feed_every(environ: Mapping[str, str]) -> float:
    """Seconds: half of what the watchdog waits, as its manual asks; 0 where there is none, or it is another process's."""
    with contextlib.suppress(ValueError):
        if int(environ.get("WATCHDOG_PID", os.getpid())) == os.getpid():
            return max(0, int(environ.get("WATCHDOG_USEC", "0"))) / 2_000_000
    return 0.0


def handed_over(environ: Mapping[str, str]) -> socket.socket | None:
    """The listening socket that whoever started this process has opened for it, if it has.

    Raises OSError when what it has handed over is no socket that listens.
    """
    if environ.get("LISTEN_PID") != str(os.getpid()) or not environ.get("LISTEN_FDS", "0").isdecimal():
        return None
    if int(environ["LISTEN_FDS"]) < 1:
        return None
    listener = socket.socket(fileno=FIRST_HANDED_OVER)
    if not listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        listener.detach()
        raise OSError(
            errno.EINVAL, f"descriptor {FIRST_HANDED_OVER}, of which LISTEN_FDS tells, is no listening socket"
        )
    listener.set_inheritable(False)
    listener.setblocking(False)
    return listener
