"""The real gateway, as `app` ties it together, on virtual time: with a fake network, and no server on its socket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any, NoReturn, Self

from gateway.app import App, Options
from gateway.config import file
from gateway.config.edit import replacement
from gateway.config.model import Config
from gateway.journal import log_entry
from gateway.log import LevelFilter
from gateway.messages.model import Message
from gateway.process.changes import LIFECYCLE, Write
from gateway.process.claims import Claims
from gateway.process.image import Carried, Image
from gateway.process.lease_store import LeaseStore
from gateway.process.operations import policy_of
from gateway.requests import PENDING
from statemachine import Event, Machine, Refusal, Step
from statemachine.lifecycle import LifecycleState
from statemachine.lifecycle_events import Boot, Origin, RestartCancelled, RestartRequested, StopRequested, Ticket
from tests.gateway.fakes import FakeHandlers, FakeNetwork
from tests.replay.again import replay_again
from tests.virtual import VirtualClock

AnyMachine = Machine[Any, Any]
S = LifecycleState
Replace = Callable[[Carried], NoReturn]


class _Inline(ThreadPoolExecutor):
    """Does a job at once: what a seed leads to must not hang on the speed of a thread."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - as an executor does
            future.set_exception(error)
        return future


def late(seconds: float, name: str) -> Callable[..., Any]:
    """In the place of `asyncio.to_thread`: a job of this name takes that long, and is not ended with who waits for it."""

    def to_thread(job: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        loop = asyncio.get_running_loop()
        answer = loop.create_future()

        def work() -> None:
            done = _Inline().submit(job, *args)
            if answer.cancelled():
                return
            if error := done.exception():
                answer.set_exception(error)
            else:
                answer.set_result(done.result())

        loop.call_later(seconds if job.__name__ == name else 0, work)
        return answer

    return to_thread


class FakeControl:
    """A control plane that only remembers what it was told."""

    def __init__(self) -> None:
        self.listener: socket.socket = socket.socket()
        self.told: list[tuple[str, Any]] = []
        self.drains = 0
        self.drain_takes = 0.0
        self.open_takes = 0.0
        self.open_error: Exception | None = None

    async def open(self, listener: socket.socket) -> None:
        self.listener.close()
        self.listener = listener
        self.told.append(("open", listener.getsockname()))
        await asyncio.sleep(self.open_takes)
        if self.open_error is not None:
            raise self.open_error

    async def replace(self, listener: socket.socket) -> Callable[[], Awaitable[None]]:
        old, self.listener = self.listener, listener
        self.told.append(("replace", listener.getsockname()))

        async def drain() -> None:
            try:
                await asyncio.sleep(self.drain_takes)
                self.drains += 1
            finally:
                old.close()

        return drain

    async def vacate(self) -> None:
        self.told.append(("vacate", self.listener.getsockname()))
        await asyncio.sleep(self.drain_takes)
        self.listener.close()

    async def resume(self, listener: socket.socket) -> None:
        self.told.append(("resume", listener.getsockname()))
        self.listener = listener

    def announce_shutdown(self, reason: str, restart_expected_ms: int | None) -> None:
        self.told.append(("shutdown", (reason, restart_expected_ms)))

    async def stop_listening(self) -> None:
        self.told.append(("stop listening", None))

    clients = 0

    async def close(self) -> None:
        self.told.append(("close", None))
        self.listener.close()

    @property
    def address(self) -> str:
        host, port = self.listener.getsockname()
        return f"http://{host}:{port}"


class House(App):
    """`async with House(folder, text) as house:` is a gateway that runs; at the end it is stopped, and nothing is left."""

    def __init__(
        self,
        folder: Path,
        text: str,
        seed: int = 1,
        network: FakeNetwork | None = None,
        replace: Replace | None = None,
        leases: LeaseStore | None = None,
    ) -> None:
        """`replace` is what puts another image of the program in the place of this one; without it there is no way.

        `leases` is where those of accounts that hosts share are.
        """
        self.path = folder / "gateway.yaml"
        self.path.write_text(text)
        self.network = network or FakeNetwork()
        self.control = FakeControl()
        self._lease_store = leases
        self.boots: list[str] = []
        self.ran: list[Config] = []
        self.seed = seed
        state = folder / "state"
        state.mkdir(mode=0o700, exist_ok=True)
        super().__init__(Options(self.path, state, Image(replace=replace)), {"telegram": self.network.adapter})
        # Of the machine that this runs on, which has other tests beside it.
        self._claims = Claims(folders=())
        self._clock = VirtualClock()

    async def _make_control_plane(self) -> FakeControl:
        return self.control

    async def _on_ready(self, address: str) -> None:
        self.boots.append(address)

    def _on_applied(self, config: Config) -> None:
        self.ran.append(config)
        super()._on_applied(config)

    async def begin(self) -> None:
        """Boot; returns when the first event is posted."""
        loop = asyncio.get_running_loop()
        loop.set_default_executor(_Inline())
        self._exit = loop.create_future()
        self._looked_at = None
        self._level = LevelFilter("info")
        first = self._load_first()
        self._build(first)
        if self._lease_store is not None:
            store = self._lease_store
            self._leases._connect = lambda _: store
        self._journal.ignore(log_entry)
        self._runner._random = Random(self.seed)
        self.turning = loop.create_task(self._dispatcher.run())
        policy = policy_of(first.config, None, self._choice.by)
        self._dispatcher.post(LIFECYCLE, Boot(first.id, policy, self._handover()), "boot")

    async def __aenter__(self) -> Self:
        await self.begin()
        await self.until(S.RUNNING)
        return self

    async def __aexit__(self, *error: object) -> None:
        try:
            if error[0] is None:
                await self.end()
        finally:
            self.network.release()
            self.turning.cancel()
            await asyncio.wait({self.turning})
            await self._tear_down()
            self.control.listener.close()
        if error[0] is None:
            self.check_nothing_is_left()

    async def end(self) -> None:
        """Stop, unless it has ended; the dispatcher must still turn."""
        assert not self.turning.done(), self.turning.exception()
        if not self._exit.done():
            self.post(StopRequested("test"))
            await self._exit

    async def kill(self) -> None:
        """As SIGKILL: nothing of its end runs, and what is not on the disk by now never will be."""
        self.turning.cancel()
        await asyncio.wait({self.turning})
        self._messages.store._writer._rows.clear()
        await self._tear_down()
        self.network.release()
        self.control.listener.close()

    def check_nothing_is_left(self) -> None:
        assert self.network.violations == []
        assert self.network.all_live() == [], "a receiver outlived the gateway"
        pending = [request.id for request in self._requests._requests.values() if request.outcome == PENDING]
        assert pending == [], "an accepted request has no outcome"
        assert self._runner.busy == 0
        names = {task.get_name() for task in asyncio.all_tasks()} - {_own_name()}
        assert names == set(), "a task outlived the gateway"
        replay_again(self._journal, self._dispatcher)

    # Asking it

    @property
    def lifecycle(self) -> AnyMachine:
        return self._dispatcher.machine(LIFECYCLE)

    @property
    def state(self) -> LifecycleState:
        found = self.lifecycle.state
        assert isinstance(found, LifecycleState)
        return found

    @property
    def exit_code(self) -> int | None:
        return self._exit.result() if self._exit.done() else None

    def now(self) -> float:
        return self._clock.monotonic()

    def channel(self, name: str) -> AnyMachine:
        return self._dispatcher.machine(name)

    def account(self, name: str) -> str:
        """The state of an account, "absent" where there is none."""
        machine = self._dispatcher.find(name)
        return "absent" if machine is None else str(machine.state.value)

    def triggers(self, machine: str = LIFECYCLE) -> list[str]:
        """What was accepted."""
        return [e.trigger for e in self._journal.page(0, 100_000, machine) if e.kind == "step"]

    def on_disk(self) -> bytes:
        return self.path.read_bytes()

    @property
    def hash(self) -> str | None:
        return file.revision_of(self.on_disk()) if self.path.exists() else None

    # Doing something to it

    async def until(self, *states: LifecycleState, within: float = 600.0) -> None:
        async with asyncio.timeout(within):
            await self._dispatcher.until(LIFECYCLE, lambda machine: machine.state in states)

    async def until_account(self, name: str, state: str, within: float = 600.0) -> None:
        async with asyncio.timeout(within):
            await self._dispatcher.until(name, lambda machine: machine.state.value == state)

    def answer_with(self, answer: Callable[[Message], Awaitable[str | None]], **policy: Any) -> None:
        """In the place of every handler."""
        self._messages.pipeline._handlers = FakeHandlers(answer, **policy)

    async def drain(self) -> None:
        """Return when every message is handled and every reply is sent."""
        await self._messages.pipeline.drain()
        await self._messages.outbox.drain()

    def post(self, event: Event, machine: str = LIFECYCLE) -> asyncio.Future[Step | Refusal]:
        return self._dispatcher.post(machine, event, "test")

    async def write(
        self, text: str, base: str | None = "", delay: float | None = None, confirm: float | None = None
    ) -> dict[str, Any]:
        """A call that writes; its receipt. Without a base it has the present one."""
        base = self.hash if base == "" else base
        return await self._changes.write(Write(replacement(text), base, "test", delay=delay, confirm=confirm))

    def outcomes(self) -> list[str]:
        """What the history says became of each change, newest first."""
        return [entry.outcome for entry in self._history.entries(100)]

    async def edit(self, text: str) -> None:
        """Somebody saves the file, and the watcher tells of it."""
        self.save(text)
        await asyncio.sleep(0.3)
        await self._changes.notice(Origin.FILE, "watcher")

    def save(self, text: str) -> None:
        fresh = self.path.with_name("editor.tmp")
        fresh.write_text(text)
        fresh.replace(self.path)

    def ticket(self, name: str, delay: float = 2.0, *, force: bool = False) -> asyncio.Future[Step | Refusal]:
        """A person asks for a restart."""
        return self.post(RestartRequested(Ticket(name, "test", "asked for", None, self.now() + delay, force)))

    def cancel(self, name: str) -> asyncio.Future[Step | Refusal]:
        return self.post(RestartCancelled(name))

    def outcome(self, request: str) -> str:
        found = self._requests.get(request)
        assert found is not None, f"{request} was never opened"
        return found.outcome


def _own_name() -> str:
    task = asyncio.current_task()
    assert task is not None
    return task.get_name()
