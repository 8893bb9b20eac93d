"""What befalls a gateway from outside: deaths, halts, broken connections, a Bot API that misbehaves, a disk that is full."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Awaitable, Callable

from tests.chaos.process import Caller, now
from tests.chaos.world import World
from tests.fakes.telegram import Bot

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER of no time: closing is then a reset."""
HALF_FRAME = b"\x81\xfe\x01\x00" + bytes(4) + b'{"type":"req"'
"""The beginning of a masked text frame of 256 bytes."""
IDLE = 300


class Faults:
    """`weights` says how often each comes; `deaths` are those that end the process."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.deaths: dict[Callable[[], Awaitable[None]], int] = {self.kill_9: 8, self.sigterm: 5}
        self.weights: dict[Callable[[], Awaitable[None]], int] = {
            self.halt: 5,
            self.break_off_in_a_frame: 5,
            self.break_off_before_the_answer: 6,
            self.break_off_in_the_answer: 5,
            self.idle_connections: 2,
            self.api_reset: 5,
            self.api_black_hole: 2,
            self.api_slow: 2,
            self.api_5xx: 4,
            self.api_429: 4,
            self.api_401: 2,
            self.api_half_answer: 3,
            self.api_garbage: 3,
            self.foreign_poller: 3,
            self.full_disk: 3,
        }
        if world.obeys:
            self.weights[self.no_permission] = 3

    # The process

    async def kill_9(self) -> None:
        self.world.kill()

    async def sigterm(self) -> None:
        await self.world.terminate(self.world.random.choice((1, 1, 1, 2, 3)))

    async def halt(self) -> None:
        if not self.world.is_halted:
            async with self.world.halted():
                await self.world.pause(self.world.random.choice((0.1, 0.3, 0.5, 1.0, 2.0, 5.0)))

    # Connections

    async def break_off_in_a_frame(self) -> None:
        """A reset in the middle of a frame that others' calls share the connection of."""
        caller = self.world.any_caller()
        if caller is not None and caller.descriptor() >= 0:
            caller.broken = True
            with contextlib.suppress(OSError):
                os.write(caller.descriptor(), HALF_FRAME)
            _reset(caller)

    async def break_off_before_the_answer(self) -> None:
        """A call, and a reset at about the time when its answer comes."""
        caller = self.world.any_caller()
        if caller is not None:
            caller.broken = True
            asking = asyncio.ensure_future(caller.request("config.get"))
            await asyncio.wait({asking}, timeout=self.world.random.choice((0.0, 0.001, 0.005, 0.02)))
            _reset(caller)
            asking.cancel()
            await asyncio.wait({asking})
            with contextlib.suppress(asyncio.CancelledError, Exception):
                asking.result()

    async def break_off_in_the_answer(self) -> None:
        """Half a request, or a few bytes of a long answer, then a reset."""
        request = f"GET /api/v1/config/schema HTTP/1.1\r\nHost: 127.0.0.1:{self.world.port}\r\n"
        request += f"Authorization: Bearer {self.world.gateway.token}\r\n\r\n"
        half = self.world.random.random() < 0.5
        with contextlib.suppress(OSError), socket.socket() as sock:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            loop = asyncio.get_running_loop()
            async with asyncio.timeout(2):
                await loop.sock_connect(sock, ("127.0.0.1", self.world.port))
                await loop.sock_sendall(sock, request[: len(request) // 2 if half else None].encode())
                if half:
                    await asyncio.sleep(0.05)
                else:
                    await loop.sock_recv(sock, 100)

    async def idle_connections(self) -> None:
        """Hundreds that say nothing, for a while; then they are all reset, or all closed."""
        socks, loop = [], asyncio.get_running_loop()
        reset = self.world.random.random() < 0.5
        try:
            for _ in range(IDLE):
                sock = socket.socket()
                socks.append(sock)
                sock.setblocking(False)
                with contextlib.suppress(OSError):
                    async with asyncio.timeout(2):
                        await loop.sock_connect(sock, ("127.0.0.1", self.world.port))
            await self.world.pause(self.world.random.uniform(0.5, 6.0))
        finally:
            for sock in socks:
                if reset:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                sock.close()

    # The Bot API

    def _bot(self) -> Bot:
        return self.world.random.choice(list(self.world.bots.values()))

    def _times(self) -> int:
        return self.world.random.choice((1, 1, 2, 4))

    async def api_reset(self) -> None:
        await self.world.telegram.drop_connections()

    async def api_black_hole(self) -> None:
        self.world.telegram.blackhole = True
        await self.world.pause(self.world.random.uniform(0.2, 4.0))
        self.world.telegram.blackhole = False

    async def api_slow(self) -> None:
        self.world.telegram.latency = self.world.random.uniform(0.05, 1.0)
        await self.world.pause(self.world.random.uniform(0.5, 4.0))
        self.world.telegram.latency = 0.0

    async def api_5xx(self) -> None:
        status = self.world.random.choice((500, 502, 503))
        method = self.world.random.choice(("getUpdates", "getMe", "sendMessage", None))
        self._bot().fail_next(status=status, method=method, times=self._times())

    async def api_429(self) -> None:
        method = self.world.random.choice(("getUpdates", "sendMessage"))
        self._bot().fail_next(status=429, retry_after=self.world.random.choice((1, 2)), method=method)

    async def api_401(self) -> None:
        bot = self._bot()
        bot.revoke()
        await self.world.pause(self.world.random.uniform(0.5, 3.0))
        bot.revoked = False

    async def api_half_answer(self) -> None:
        self._bot().fail_next(half=True, method=self.world.random.choice(("getUpdates", "sendMessage", None)))

    async def api_garbage(self) -> None:
        self._bot().fail_next(garbage=True, method=None, times=self._times())

    async def foreign_poller(self) -> None:
        """Another program polls the same bot for a while, and does not give way."""
        bot, until = self._bot(), now() + self.world.random.uniform(0.2, 5.0)
        while now() < until and not self.world.calm.is_set():
            with bot.foreign_poll(timeout=2.0) as foreign, contextlib.suppress(TimeoutError):
                await asyncio.wait_for(foreign.ended.wait(), 2.5)
            await asyncio.sleep(0.05)

    # The disk

    async def full_disk(self) -> None:
        pid = self.world.life.pid
        self.world.disk.fill(pid)
        try:
            await self.world.pause(self.world.random.uniform(0.3, 5.0))
        finally:
            self.world.disk.free(pid)

    async def no_permission(self) -> None:
        """The file cannot be read, or the folder cannot be written to, for a while."""
        config, folder = self.world.gateway.config, self.world.folder
        with self.world.spoiling():
            if self.world.random.random() < 0.5:
                with contextlib.suppress(OSError):
                    config.chmod(0)
            else:
                folder.chmod(0o500)
            await self.world.pause(self.world.random.uniform(0.3, 3.0))
            folder.chmod(0o700)
            with contextlib.suppress(OSError):
                config.chmod(0o600)


def _reset(caller: Caller) -> None:
    """Close the connection as the kernel does for a program that died with something unread."""
    connection = caller.socket._response.connection
    transport = None if connection is None else connection.transport
    if transport is not None:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        transport.abort()
