"""What travels between the fake Telegram and its clients: answers, faults, connections, polls."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from aiohttp import web

LONGEST_POLL = 50
MOST_UPDATES = 100

CLOCK_MONOTONIC_COARSE = 6
"""Linux's name for `time.monotonic()` as of the kernel's latest tick."""
TCP_LAST_DATA_RECV, TCP_LAST_ACK_RECV = 52, 56
"""Where Linux's `struct tcp_info` has the milliseconds since the peer was last heard."""
KERNEL_TICK = time.clock_getres(CLOCK_MONOTONIC_COARSE)
TELLING_DIFFERENCE = 1.5 * KERNEL_TICK
"""By how much two kernel times must differ to tell an order: each can be a tick off."""
OVERLAP_RESOLUTION = 2.5 * KERNEL_TICK
"""Seconds of overlap that are always seen; two events closer than this may look simultaneous."""

PROBED = 0.1
"""Seconds after which a close may be said again: twice the longest round trip that a late acknowledgement (40 ms) makes, and
two ticks."""

ONE_RECEIVER = "make sure that only one bot instance is running"
TERMINATED_BY_POLL = f"Conflict: terminated by other getUpdates request; {ONE_RECEIVER}"
TERMINATED_BY_WEBHOOK = "Conflict: terminated by setWebhook request"
NO_WEBHOOK = "use deleteWebhook to delete the webhook first"
WEBHOOK_ACTIVE = f"Conflict: can't use getUpdates method while webhook is active; {NO_WEBHOOK}"
FAULT_TEXTS = {
    401: "Unauthorized",
    409: TERMINATED_BY_POLL,
    429: "Too Many Requests: retry after {retry_after}",
    500: "Internal Server Error",
    502: "Bad Gateway",
}


@dataclass(frozen=True)
class Reply:
    """One answer, the name the poll log gives it, and the updates it carries."""

    status: int
    body: bytes
    outcome: str
    update_ids: tuple[int, ...] = ()


def success(result: object, description: str = "") -> Reply:
    """A call that worked, in Telegram's envelope."""
    envelope: dict[str, Any] = {"ok": True, "result": result}
    if description:
        envelope["description"] = description
    return Reply(200, json.dumps(envelope).encode(), "ok")


def failure(status: int, description: str, outcome: str = "", **hints: int) -> Reply:
    """A call that failed, in Telegram's envelope; the hints go to its `parameters`."""
    envelope: dict[str, Any] = {"ok": False, "error_code": status, "description": description}
    if hints:
        envelope["parameters"] = hints
    return Reply(status, json.dumps(envelope).encode(), outcome or str(status))


UNAUTHORIZED = failure(401, "Unauthorized")
NOT_FOUND = failure(404, "Not Found")
NOT_JSON = failure(400, "Bad Request: can't parse JSON object")
NO_METHOD = failure(404, "Not Found: method not found")
CONFLICT_SELF = failure(409, TERMINATED_BY_POLL, "conflict_self")
CONFLICT_FOREIGN = failure(409, TERMINATED_BY_POLL, "conflict_foreign")
CONFLICT_WEBHOOK = failure(409, TERMINATED_BY_WEBHOOK, "conflict_webhook")
REFUSED_WEBHOOK = failure(409, WEBHOOK_ACTIVE, "conflict_webhook")


@dataclass
class Fault:
    """A scripted misbehaviour for the next `times` calls of `method` (None: of any method)."""

    method: str | None = None
    times: int = 0
    status: int | None = None
    retry_after: int | None = None
    hang: float = 0.0
    reset: bool = False
    half: bool = False
    garbage: bool = False

    @property
    def reply(self) -> Reply | None:
        """What is answered without running the method; None when the method runs."""
        if self.reset:
            return Reply(0, b"", "reset")
        if self.garbage:
            return Reply(200, b"<html>not what was expected</html>", "garbage")
        if self.status is None:
            return None
        if self.status == 429:
            wait = 1 if self.retry_after is None else self.retry_after
            return failure(429, FAULT_TEXTS[429].format(retry_after=wait), retry_after=wait)
        return failure(self.status, FAULT_TEXTS.get(self.status, "Scripted error"))


NO_FAULT = Fault()


def kernel_time() -> float:
    """Now, in the kernel's ticks: the clock its records of a connection are kept by."""
    return time.clock_gettime(CLOCK_MONOTONIC_COARSE)


class Presence(NamedTuple):
    """From when to when a client was waiting for its answer, in the kernel's time."""

    came: float
    left: float

    def met(self, other: Presence) -> bool:
        """Whether the two were surely there at one moment, in whatever order they were noticed."""
        together = min(self.left - other.came, other.left - self.came)
        return together > TELLING_DIFFERENCE


class Peer:
    """The client's end of one connection, asked of the kernel and not of aiohttp's memory.

    It keeps the connection open until `close`, so that the kernel can still be asked afterwards.

    A request that was not acknowledged when its client closes makes the client's kernel say the close
    again after some 10 ms, as if it had only then been there last (RFC 8985, section 7: a tail loss
    probe). So the request is acknowledged here at once; and a client that was gone before may have
    left by `PROBED` earlier than the kernel says.
    """

    def __init__(self, transport: asyncio.BaseTransport | None) -> None:
        self._transport = transport
        sock = None if transport is None else transport.get_extra_info("socket")
        self._probe: socket.socket | None = None
        if sock is not None and sock.fileno() >= 0:
            self._probe = sock.dup()
            self._probe.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        self._came = self._last_heard(TCP_LAST_DATA_RECV)
        self._gone_before = self.gone()

    def close(self) -> None:
        """Let go of the connection."""
        if self._probe is not None:
            self._probe.close()
            self._probe = None

    def gone(self) -> bool:
        """Whether the client has closed or reset the connection."""
        if self._probe is None or self._transport is None or self._transport.is_closing():
            return True
        try:
            return not self._probe.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def presence(self) -> Presence:
        """Since when the request is there, and until when its client was (`inf`: it still is).

        After a reset the kernel does not know when that came, and the end is too early.
        """
        if not self.gone():
            return Presence(self._came, math.inf)
        left = self._last_heard(TCP_LAST_ACK_RECV)
        return Presence(self._came, max(self._came, left - PROBED) if self._gone_before else left)

    def _last_heard(self, field: int) -> float:
        if self._probe is None:
            return -math.inf
        now, info = -math.inf, b""
        while now != kernel_time():  # Both must be read within one tick, whoever interrupts.
            now = kernel_time()
            info = self._probe.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
        milliseconds: int = struct.unpack_from("I", info, field)[0]
        return now - milliseconds / 1000

    def abort(self, *, reset: bool) -> None:
        """End the connection now: with a TCP reset, or as a server does that exits."""
        if not isinstance(self._transport, asyncio.Transport) or self._transport.is_closing():
            return
        if reset and self._probe is not None:
            linger_not = struct.pack("ii", 1, 0)
            self._probe.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_not)
        self._transport.abort()


class CutShortError(Exception):
    """A poll was ended from outside, and `reply` is what its client gets."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.outcome)
        self.reply = reply


class Poll:
    """One getUpdates of the gateway that is being held."""

    def __init__(self, params: dict[str, Any], peer: Peer) -> None:
        self.peer = peer
        self.offset = integer(params, "offset", 0)
        self.limit = min(max(integer(params, "limit", MOST_UPDATES), 1), MOST_UPDATES)
        self.asked_timeout = integer(params, "timeout", 0)
        self.timeout = min(max(self.asked_timeout, 0), LONGEST_POLL)
        self.place = -1
        """Where its record is in the poll log."""
        self._news = asyncio.Event()
        self._cut: Reply | None = None

    def wake(self) -> None:
        """Let a pause look again at what it waits for."""
        self._news.set()

    def cut_short(self, reply: Reply) -> None:
        """End the poll with this reply, wherever it waits."""
        self._cut = reply
        self._news.set()

    async def pause(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        """Wait for `seconds` or for `until`; CutShortError when the poll is ended from outside."""
        deadline = time.monotonic() + seconds
        while self._cut is None and not until() and (left := deadline - time.monotonic()) > 0:
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._news.wait()
        if self._cut is not None:
            raise CutShortError(self._cut)


class ForeignPoll:
    """Another program's getUpdates for the same bot, held until something ends it.

    Its `outcome`, None while in flight, becomes "conflict" (a later poll ended it), "updates" (it
    was shown pending updates, and confirmed none), "timeout" or "closed" (by `end` or the `with`).
    """

    def __init__(self, timeout: float) -> None:
        self.outcome: str | None = None
        self.ended = asyncio.Event()
        self._timer = asyncio.get_running_loop().call_later(timeout, self.end, "timeout")

    @property
    def in_flight(self) -> bool:
        """Whether the foreign program is receiving now."""
        return self.outcome is None

    def end(self, outcome: str = "closed") -> None:
        """End it; only the first end counts."""
        if self.outcome is None:
            self.outcome = outcome
            self._timer.cancel()
            self.ended.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


async def parameters(request: web.Request) -> dict[str, Any] | None:
    """The parameters of a call from query, form or JSON body; None for a body that is not JSON."""
    params: dict[str, Any] = dict(request.query)
    if request.content_type == "application/json":
        try:
            body = json.loads(await request.read() or b"{}")
        except ValueError:
            return None
        if not isinstance(body, dict):
            return None
        return params | body
    return params | dict(await request.post())


def integer(params: dict[str, Any], name: str, otherwise: Any) -> Any:
    """A parameter as an integer, or `otherwise` when it is missing or is none."""
    try:
        return int(params[name])
    except (KeyError, TypeError, ValueError):
        return otherwise
