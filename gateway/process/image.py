"""The image of the process: what it was handed by the one before it, and how it is replaced by the next.

A restart by `exec` keeps the process and changes the program in it: the same PID, new code, and what is open stays open
where it is handed on: the listening socket, whose backlog waits meanwhile, and the locks. All else is closed by the kernel.
What the next image must know beside what is on disk is in an anonymous file in memory; `GATEWAY_HANDOVER` names it.
A restart by `exit` leaves the same in the state folder, for whichever process comes next.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, NoReturn

import msgspec
import structlog
from msgspec.structs import replace

from gateway.config.file import write
from gateway.errors import ConfigWriteError
from statemachine.lifecycle_events import Handover, RestartBy

log: structlog.stdlib.BoundLogger = structlog.get_logger()

VARIABLE = "GATEWAY_HANDOVER"
"""Its value is the PID and the descriptor, as with LISTEN_PID: an environment is inherited by others, too."""
LONGEST_DELAY = 60.0
"""Seconds: no ticket is due later than that after it was asked for."""
ROOM = 256 * 1024
"""Bytes that a start may write before it can say anything: the store's log and its index, and what stands."""


class Carried(msgspec.Struct, frozen=True):
    """What one image hands to the next. The last three are numbers of descriptors; -1 is none.

    `address` is what the config said that the listener listens on: another one needs another socket. `generations` says how
    far each account had come: the numbers go on, so that none is used twice; and so does the count of `restarts`, by reason.
    `revisions` can be used, and are kept: the one that the restart was begun with, and the one that ran; for a file that was
    spoilt in the moment between the images.
    """

    handover: Handover
    generations: dict[str, int]
    restarts: dict[str, int]
    revisions: tuple[str, ...]
    address: tuple[str, int]
    listener: int
    lock: int
    tokens: int = -1

    @property
    def descriptors(self) -> tuple[int, ...]:
        return tuple(number for number in (self.listener, self.lock, self.tokens) if number >= 0)


class Choice(NamedTuple):
    """How restarts are done, and why that way; `mode` is what the config says of it."""

    mode: str
    by: RestartBy
    why: str

    def as_dict(self) -> dict[str, str]:
        return {"mode": self.mode, "by": self.by.value, "why": self.why}


@dataclass(frozen=True)
class Image:
    """This image of the process: what it was handed, the lock that it holds, and how the next takes its place.

    `replace` raises OSError where it cannot; None says that there is no way.
    """

    carried: Carried | None = None
    lock: int = -1
    replace: Callable[[Carried], NoReturn] | None = None

    def listener(self, host: str, port: int) -> socket.socket | None:
        """The listening socket that was handed on, if it is the one that this config wants; else it is closed."""
        if self.carried is None or self.carried.listener < 0:
            return None
        listener = socket.socket(fileno=self.carried.listener)
        listener.setblocking(False)
        if self.carried.address == (host, port):
            return listener
        listener.close()
        return None


def choose(mode: str, *, replaceable: bool) -> Choice:
    """What a config's `gateway.restart.mode` comes to here. `replaceable`: this program can be started anew in its process."""
    if mode == "auto":
        if replaceable:
            return Choice(mode, RestartBy.EXEC, "auto: the process is kept, and new code is picked up")
        return Choice(mode, RestartBy.IN_PROCESS, "auto: this program cannot be started anew in its own process")
    if mode == RestartBy.EXEC.value and not replaceable:
        return Choice(
            mode, RestartBy.IN_PROCESS, "exec was asked for, and this program cannot be started anew in its own process"
        )
    return Choice(mode, RestartBy(mode), "as gateway.restart.mode says")


def is_replaceable() -> bool:
    """Whether the command that began this process is known, and a file can be kept in memory."""
    return bool(sys.executable) and bool(sys.orig_argv) and hasattr(os, "memfd_create")


def check_room(state_dir: Path) -> None:
    """Blocks. Raises OSError where a start could not write what it needs: a full disk, a quota, a folder that was locked."""
    try:
        with tempfile.TemporaryFile(dir=state_dir) as probe:
            probe.write(bytes(ROOM))
    except OSError as error:
        raise OSError(
            f"{state_dir} has no room for what a start writes ({error.strerror}): make room there, and restart again"
        ) from error


def replace_image(carried: Carried) -> NoReturn:
    """Become the next image. Raises OSError, and then everything is as before.

    Signals must be blocked by now: the mask and what waits behind it pass to the next image.
    """
    memory = os.memfd_create("gateway-handover", os.MFD_CLOEXEC)
    handed_on = (*carried.descriptors, memory)
    try:
        os.write(memory, msgspec.json.encode(carried))
        _close_on_exec()
        for number in handed_on:
            os.set_inheritable(number, True)
        for stream in (sys.stdout, sys.stderr):
            # Where nobody reads, or there is none, nothing is lost by it but what nobody reads.
            with contextlib.suppress(AttributeError, OSError, ValueError):
                stream.flush()
        environ = os.environ | {VARIABLE: f"{os.getpid()}:{memory}"}
        os.execve(sys.executable, sys.orig_argv, environ)  # noqa: S606 - itself, as it was started
    except OSError:
        for number in handed_on:
            os.set_inheritable(number, False)
        os.close(memory)
        raise


def _close_on_exec() -> None:
    """Some libraries open descriptors that would outlive the image: a watch of the kernel for one."""
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            if int(path.name) > 2:
                os.set_inheritable(int(path.name), False)


def stand_in_for_closed() -> None:
    """Standard streams that whoever started us has closed: or the first file that is opened takes their number, and the
    next image takes that for its own error output.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def receive(environ: MutableMapping[str, str]) -> Carried | None:
    """What the image before this one has handed on; None for a process that begins. Children do not see it."""
    said = environ.pop(VARIABLE, "")
    owner, _, number = said.partition(":")
    if owner != str(os.getpid()) or not number.isdecimal():
        return None
    try:
        with os.fdopen(int(number), "rb") as memory:
            memory.seek(0)
            carried = msgspec.json.decode(memory.read(), type=Carried)
        for each in carried.descriptors:
            os.set_inheritable(each, False)
    except (OSError, msgspec.MsgspecError) as error:
        # Then it begins as any process does: the port and the locks are free when their descriptors are.
        log.error("handover_unreadable", why=str(error))
        return None
    _reap()
    return carried


def _reap() -> None:
    """What handlers of the image before this one had started is this process's child still, and nobody waits for it any more.

    Each leads a session of its own, with all that it has started. Any other child is somebody else's, who became us or was let
    in by us: it goes on, and is let go when it has ended (see `reaper`).
    """
    try:
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii").split()
    except OSError:
        return
    for child in map(int, children):
        with contextlib.suppress(OSError):
            if os.getsid(child) == child:
                os.killpg(child, signal.SIGKILL)
                os.waitpid(child, 0)


# By way of the state folder


def leave(state_dir: Path, handover: Handover) -> None:
    """For the process that whoever supervises this one will start. Without it those who asked are told of a failure."""
    try:
        write(_file(state_dir), msgspec.json.encode(handover))
    except ConfigWriteError as error:
        log.warning("handover_not_written", folder=str(state_dir), why=str(error))


def collect(state_dir: Path, now: float) -> Handover:
    """What a process has left that ended to be followed by this one; it is there once.

    `now` is monotonic: a clock that began anew with the machine must not put a ticket off for days.
    """
    try:
        raw = _file(state_dir).read_bytes()
        _file(state_dir).unlink()
        left = msgspec.json.decode(raw, type=Handover)
    except FileNotFoundError:
        return Handover()
    except (OSError, msgspec.MsgspecError) as error:
        log.warning("handover_unreadable", folder=str(state_dir), why=str(error))
        return Handover()
    latest = now + LONGEST_DELAY
    return replace(left, tickets=tuple(replace(each, due_at=min(each.due_at, latest)) for each in left.tickets))


def _file(state_dir: Path) -> Path:
    return state_dir / "handover.json"
