"""The world around one gateway: its supervisor, the Bot API, the disk, the clients; and how its answers are waited for."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import aiohttp

from gateway.cli.exits import EXIT_CONFIG, EXIT_FAILED
from tests.chaos.disk import Disk, obedient
from tests.chaos.ear import Ear
from tests.chaos.lag import Lag
from tests.chaos.process import LATE_SIGNALS, Caller, Life, Supervised, now
from tests.chaos.record import Record
from tests.chaos.settings import BOTS, SECRETS, STOP_BUDGET, first_text, is_sound
from tests.fakes.telegram import Bot, FakeTelegram
from tests.ports import free_port
from tests.real.process import RpcError

PATIENCE = 150.0
"""Seconds for an answer: a write may wait for the reload before it and then for its own, each with a deadline of its own."""
READY_PATIENCE = 30.0
STOP_ROOM = 8.0
"""Seconds beyond the drain budget for what follows it (tear-down 2, last moments 1) and for a loaded machine."""
RETRY_AFTER = 0.3
"""Seconds after which a supervisor tries again to start what found no usable config."""
SETTLING = 2.0
"""Seconds after which what explains a closed connection has been heard of."""
SLOTS = 3
"""WebSocket clients that many calls share."""


@dataclass(frozen=True)
class Answer:
    """How a call ended: `ok`, `refused` (with a code), `closed` without an answer, `cut` (that was us), or `never`."""

    kind: str
    body: Any = None
    code: str = ""


class World:
    """`async with World(...) as world:` a gateway that is kept alive until the end."""

    def __init__(
        self, seed: int, folder: Path, telegram: FakeTelegram, disk: Disk, command: list[str], restart: str
    ) -> None:
        self.random = Random(seed)
        self.record = Record(seed)
        self.lag = Lag()
        self.telegram = telegram
        self.disk = disk
        self.folder = folder
        self.bots: dict[str, Bot] = {name: telegram.add_bot(token, f"{name}_bot") for name, token in BOTS.items()}
        self.patience = PATIENCE
        self.obeys = obedient(command) is not None
        self.port = free_port()
        self.base_text = first_text(telegram.url, self.port, restart)
        self.ear = Ear(self.record, lambda: self.life, self.is_secret)
        self.gateway = Supervised(folder, self.base_text, obedient(command) or command, self.ear.hear)
        self.life = Life(0)
        self.calm = asyncio.Event()
        """Set while what goes on must come to its end."""
        self.editing = asyncio.Lock()
        self._stopped_at: float | None = None
        self._stopped = 0.0
        self._active = 0
        self._touches = 0
        self._lost_at = -LOST_FOR
        self.taken = 0
        """Writes that were not refused: they may have changed the file."""
        self.confirmed: dict[str, float] = {}
        """Revisions that somebody was told are confirmed, and when."""
        self.asked_at: dict[str, float] = {}
        """When somebody asked for an earlier revision."""
        self.adopted_at = 0.0
        """When somebody last asked for whatever the file holds, in wall-clock seconds."""
        self.good: str | None = None
        """What the next process must fall back to."""
        self._numbers = 0
        self._spoiling = 0
        self._spoilt_at = 0.0
        self._ending = False
        self._callers: list[Caller | None] = [None] * SLOTS
        self._connecting = [asyncio.Lock() for _ in range(SLOTS)]
        self._owned: list[asyncio.Task[Any]] = []

    async def __aenter__(self) -> World:
        self.gateway.url = f"http://127.0.0.1:{self.port}"
        self._owned = [asyncio.ensure_future(self.lag.measure()), asyncio.ensure_future(self._keep_alive())]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.hang_up()
        self._ending = True
        for task in self._owned:
            task.cancel()
        await asyncio.gather(*self._owned, return_exceptions=True)
        await self.gateway.close()

    async def life_ready(self) -> bool:
        """Wait until a process that lives is ready; False, and a violation, when none gets so far."""
        began, excuse = now(), self.excuse()
        while not self.life.ready.is_set() or self.life.over:
            await asyncio.sleep(0.05)
            if now() - began - (self.excuse() - excuse) > 2 * READY_PATIENCE:
                self.record.violation(f"no process was ready in {2 * READY_PATIENCE} s")
                return False
        return True

    def number(self) -> int:
        self._numbers += 1
        return self._numbers

    def is_secret(self, text: str) -> bool:
        return any(secret in text for secret in SECRETS)

    async def pause(self, seconds: float) -> None:
        """Wait, but not into the calm."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.calm.wait(), seconds)

    # The process

    async def _keep_alive(self) -> None:
        """Start it, wait for its end, and start it again at once, as a supervisor does."""
        while not self._ending:
            self.life = life = await self.gateway.live()
            self.record.counts["processes"] += 1
            watching = asyncio.ensure_future(self._watch_start(life))
            code = await self.gateway.ended()
            life.over = True
            watching.cancel()
            self._judge_end(life, code)
            if code == EXIT_CONFIG:
                await asyncio.sleep(RETRY_AFTER)

    async def _watch_start(self, life: Life) -> None:
        began, excuse = now(), self.excuse()
        waiting = asyncio.ensure_future(self.gateway.wait_ready())
        try:
            while not waiting.done():
                await asyncio.wait({waiting}, timeout=1)
                if now() - began - (self.excuse() - excuse) > READY_PATIENCE:
                    self.record.violation(f"process {life.pid} was not ready after {READY_PATIENCE} s")
                    began = now()
            life.ready.set()
        finally:
            waiting.cancel()

    def _judge_end(self, life: Life, code: int) -> None:
        self.record.note(f"process {life.pid} ended with {code} ({life.how or 'by itself'})")
        lost = sum(1 for ticket in life.tickets if life.outcomes.get(ticket, "pending") == "pending")
        self.record.requests["gone with their process"] += lost
        spoilt = self._spoiling > 0 or self._spoilt_at >= life.began
        if code == EXIT_CONFIG and spoilt and not life.ready.is_set():
            self.record.counts["boots refused, for the file was spoilt"] += 1
            self.record.expect(self.good is None, f"process {life.pid} refused to boot, and {self.good} was good")
        elif code == EXIT_FAILED and not life.ready.is_set() and self.disk.was_full(life.began):
            # After a clean stop the store has no log, and where there is no room for one it cannot be opened.
            self.record.counts["boots refused, for the disk was full"] += 1
        elif life.told_to_end is None:
            for line in life.said:
                self.record.note(f"  it had said: {line}")
            self.record.violation(f"process {life.pid} ended by itself with {code}")
        elif life.how == "SIGTERM" and code != 0 and code not in LATE_SIGNALS:
            self.record.violation(f"process {life.pid} was told to stop and ended with {code}")

    def signal(self, number: signal.Signals) -> None:
        """Send it, if there is a process that has set its handlers."""
        process = self.gateway.process
        if number == signal.SIGHUP:
            self.adopted_at = time.time()
        if self.life.ready.is_set() and process is not None and process.returncode is None:
            process.send_signal(number)

    def kill(self) -> None:
        life, process = self.life, self.gateway.process
        if process is not None and process.returncode is None:
            life.told_to_end, life.how = life.told_to_end or now(), "SIGKILL"
            process.kill()

    async def terminate(self, times: int = 1) -> None:
        """SIGTERM, perhaps more than once, and see that it is gone in time."""
        life, process = self.life, self.gateway.process
        if process is None or process.returncode is not None or life.told_to_end is not None:
            return
        life.told_to_end, life.how = now(), "SIGTERM"
        excuse = self.excuse()
        for _ in range(times):
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            await asyncio.sleep(0.2 if times > 1 else 0)
        while process.returncode is None and life.how == "SIGTERM":
            await asyncio.sleep(0.02)
            took = now() - life.told_to_end - (self.excuse() - excuse)
            if took > STOP_BUDGET + STOP_ROOM:
                self.record.violation(f"process {life.pid} did not stop in {took:.1f} s")
                self.kill()
        self.record.counts["stops"] += 1

    async def end(self) -> None:
        """The last stop: nothing is started after it."""
        self._ending = True
        await self.life_ready()
        await self.terminate()
        await asyncio.wait(self._owned[1:], timeout=5)

    @contextlib.asynccontextmanager
    async def halted(self) -> AsyncIterator[None]:
        """SIGSTOP until the end of the block. What is measured meanwhile is not the gateway's doing."""
        process, self._stopped_at = self.gateway.process, now()
        assert process is not None
        try:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGSTOP)
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
            self._stopped += now() - self._stopped_at
            self._stopped_at = None

    @property
    def is_halted(self) -> bool:
        return self._stopped_at is not None

    def excuse(self) -> float:
        """Seconds so far in which it was us, or the machine, who kept it from answering."""
        running = 0.0 if self._stopped_at is None else now() - self._stopped_at
        return self._stopped + running + self.lag.stalled

    # Calls

    async def patiently(self, what: str, call: Awaitable[Answer]) -> Answer:
        """Wait for the answer, but not for ever: one that a living gateway does not give is a violation."""
        life, began, excuse = self.life, now(), self.excuse()
        ready = life.ready.is_set()
        task = asyncio.ensure_future(call)
        while not task.done():
            left = began + self.patience + self.excuse() - excuse - now()
            if left <= 0:
                break
            await asyncio.wait({task}, timeout=min(left, 1.0))
        if not task.done():
            task.cancel()
            # A restart is no excuse: it would have closed the connection, and that is an end of the call.
            if not life.over and life.told_to_end is None:
                self.record.violation(f"not answered in {self.patience} s: {what}")
            return Answer("never")
        try:
            answer = task.result()
        except (aiohttp.ClientError, ConnectionError, TypeError, AssertionError) as error:
            answer = Answer("cut" if getattr(error, "cut", False) else "closed", code=type(error).__name__)
            if answer.kind == "closed" and ready:
                await self._judge_closed(what, life, began, excuse, error)
        self.record.calls[answer.kind] += 1
        return answer

    async def _judge_closed(self, what: str, life: Life, began: float, excuse: float, error: Exception) -> None:
        """A connection that a living gateway closed without an answer, or did not take, is a violation."""
        await asyncio.sleep(SETTLING)
        if not life.disturbed(began) and self.excuse() == excuse:
            self.record.violation(f"closed without an answer by a living gateway: {what}: {error!r}")

    async def http(self, method: str, path: str, **more: Any) -> Answer:
        """One request on a connection of its own."""
        return await self.patiently(f"{method} {path}", self._http(method, path, **more))

    async def _http(self, method: str, path: str, **more: Any) -> Answer:
        headers = {"Authorization": f"Bearer {self.gateway.token}"} | more.pop("headers", {})
        connector = aiohttp.TCPConnector(force_close=True)
        timeout = aiohttp.ClientTimeout(total=None)
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
            session.request(method, self.gateway.url + path, headers=headers, **more) as response,
        ):
            text = await response.text()
            self.look(text)
            body = await response.json(content_type=None)
        if response.status < 400:
            return Answer("ok", body)
        self.record.expect(response.status != 500, f"an internal error: {method} {path}: {text[:500]}")
        return Answer("refused", body, body["error"]["code"])

    def look(self, text: str) -> None:
        """Everything that the gateway says to anyone."""
        if self.is_secret(text):
            self.record.violation(f"a secret is in an answer: {text[:300]}")

    async def ask(self, method: str, params: dict[str, Any] | None = None) -> Answer:
        """One request on a WebSocket that others use as well."""
        return await self.patiently(method, self._ask(method, params))

    async def _ask(self, method: str, params: dict[str, Any] | None) -> Answer:
        caller = await self._caller(self.random.randrange(SLOTS))
        try:
            return Answer("ok", await caller.request(method, params))
        except RpcError as error:
            self.record.expect("an internal error" not in str(error), f"an internal error: {method}")
            return Answer("refused", error.error, str(error.error["code"]))
        except (aiohttp.ClientError, ConnectionError) as error:
            error.cut = caller.broken  # type: ignore[union-attr]
            raise

    async def _caller(self, slot: int) -> Caller:
        async with self._connecting[slot]:
            caller = self._callers[slot]
            if caller is None or not caller.alive:
                if caller is not None:
                    await caller.leave()
                caller = await Caller.connect(self.gateway.url, self.gateway.token)
                caller.look = self.look
                self._callers[slot] = caller
            return caller

    def any_caller(self) -> Caller | None:
        """One of the connections that are open."""
        alive = [caller for caller in self._callers if caller is not None and caller.alive]
        return self.random.choice(alive) if alive else None

    async def hang_up(self) -> None:
        """Close every connection of ours."""
        for slot, caller in enumerate(self._callers):
            if caller is not None:
                caller.broken = True
                await caller.leave()
            self._callers[slot] = None

    # The file

    @property
    def is_whole(self) -> bool:
        """Nobody of ours has it missing, cut off or unreadable."""
        return self._spoiling == 0

    @property
    def nobody_writes(self) -> bool:
        """No write is on its way, and none is left that lost its caller and may still land."""
        return self._active == 0 and now() - self._lost_at > LOST_FOR

    @contextlib.contextmanager
    def spoiling(self) -> Iterator[None]:
        """While the file may be missing, cut off or unreadable, a process that is started then is right to refuse it."""
        self._spoiling += 1
        try:
            yield
        finally:
            self._spoiling -= 1
            self._spoilt_at = now()

    @contextlib.contextmanager
    def touching(self) -> Iterator[Touch]:
        """Whoever may change the file says so, so that it can be known who was alone with it."""
        touch = Touch(self, alone=self.nobody_writes)
        self._active += 1
        self._touches += 1
        touch.seen = self._touches
        try:
            yield touch
        finally:
            self._active -= 1
            self._touches += 1

    def lose_a_write(self) -> None:
        """A writer's connection has gone: the gateway sees its write through all the same, and nobody knows when."""
        self._lost_at = now()

    def text(self) -> str:
        """What an editor begins with: the file, or the first text where it is of no use."""
        try:
            text = self.gateway.config.read_text()
        except (OSError, UnicodeDecodeError):
            return self.base_text
        return text if is_sound(text) else self.base_text


@dataclass
class Touch:
    """One change of the file, from before it is made until it is judged."""

    world: World
    alone: bool
    seen: int = 0

    def still_alone(self) -> bool:
        """Nobody else has had to do with the file since this began."""
        return self.alone and self.world._active == 1 and self.world._touches == self.seen


LOST_FOR = 60.0
"""Seconds for which a write whose caller has lost its connection may still change the file."""
