"""The one place that builds and connects everything. Read it to learn what there is and how it hangs together."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any, NoReturn

import structlog

from gateway.boot import new_boot
from gateway.channels.base import Adapter
from gateway.channels.hooks import Hooks
from gateway.channels.receivers import FENCE_TIMEOUT
from gateway.channels.telegram import TelegramAdapter
from gateway.channels.webchat import WebchatAdapter, WebchatHub
from gateway.clock import Clock
from gateway.config.file import Reader, Revision
from gateway.config.history import History
from gateway.config.ledger import Ledger
from gateway.config.model import Config, build_config_model
from gateway.config.secrets import secrets_of, secrets_of_environment
from gateway.config.standing import Standing
from gateway.dispatcher import Dispatcher
from gateway.journal import Journal, log_entry
from gateway.log import LevelFilter, Lines, configure, tell_of_crashes
from gateway.logtail import LogTail
from gateway.metrics import Tally
from gateway.plugins import Plugins
from gateway.process import address as address_file
from gateway.process import signals
from gateway.process.accounts import Accounts
from gateway.process.budget import REMEDY, Stage, shortfall
from gateway.process.changes import LIFECYCLE, Changes
from gateway.process.claims import Claims
from gateway.process.conflicts import Conflicts
from gateway.process.first import FirstRevision
from gateway.process.host import watch_host
from gateway.process.image import Carried, Image, choose, collect, leave
from gateway.process.leases import Leases
from gateway.process.loopwatch import LoopWatch
from gateway.process.messages import Messages
from gateway.process.operations import ControlPlane, Operations, Reports, policy_of
from gateway.process.reaper import reap
from gateway.process.shutdown import Shutdown
from gateway.process.succession import Succession
from gateway.process.supervisor import Supervisor, handed_over
from gateway.process.watcher import OFF, Watcher, signature_of
from gateway.redact import Redactor
from gateway.requests import Requests, new_id
from gateway.runner import Runner
from gateway.traces import UNTRACED, traces_for
from statemachine.channel_events import (
    Cause,
    CloseReceiver,
    FenceFailed,
    FenceReceiver,
    OpenReceiver,
    ReceiverEnded,
    WatchReceiver,
)
from statemachine.lifecycle import Lifecycle, handover_of
from statemachine.lifecycle_actions import EXIT_RESTART
from statemachine.lifecycle_data import LifecycleData
from statemachine.lifecycle_events import (
    Boot,
    CloseTicket,
    Exit,
    Handover,
    Origin,
    RestartRequested,
    StopRequested,
    Ticket,
    TicketOpened,
)

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(frozen=True)
class Options:
    """What the command line says, and the image of the process that it is said to."""

    config: Path
    state_dir: Path
    image: Image = field(default_factory=Image)


class App:
    """A gateway: built by the constructor, run by `run`, which returns the exit code."""

    def __init__(
        self,
        options: Options,
        extra_adapters: Mapping[str, Adapter] | None = None,
        ending: Callable[[float, int], None] = lambda *_: None,
        *,
        own_process: bool = False,
    ) -> None:
        """`ending` is told, when the end begins, within how many seconds the process must be gone, and its exit code.

        `own_process`: it is alone in it, in the time of this world. A thread looks at what blocks the loop, and children that
        nobody waits for are let go.
        """
        self._own_process = own_process
        self._options = options
        self._ending = ending
        self._clock = Clock()
        self._redactor = Redactor()
        self._redactor.learn(secrets_of_environment(os.environ))
        self._tail = LogTail()
        self._hub = WebchatHub(self._clock)
        self._hooks = Hooks()
        self._adapters: dict[str, Adapter] = {
            "telegram": TelegramAdapter(self._hooks),
            "webchat": WebchatAdapter(self._hub),
        }
        self._adapters.update(extra_adapters or {})
        self._plugins = Plugins(self._adapters, build_config_model)
        self._boot = new_boot(self._clock)
        self._traces = UNTRACED
        carried = options.image.carried
        self._claims = Claims(carried.tokens if carried is not None else -1)

    async def run(self) -> int:
        """Boot, serve until told to stop, and return the exit code. Raises ConfigError when there is no usable config."""
        self._exit: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        # Looked at before it is read: an edit between the two is then seen as one.
        self._looked_at = signature_of(self._options.config)
        first = self._load_first()
        self._level = self._configure_log(first.config)
        self._traces = traces_for(os.environ, self._redactor, self._boot.id)
        self._build(first)
        signals.install(self._on_signal)
        turning = asyncio.get_running_loop().create_task(self._dispatcher.run(), name="dispatcher")
        feeding = asyncio.get_running_loop().create_task(self._supervisor.feed(), name="watchdog")
        ticking = asyncio.get_running_loop().create_task(self._loop_watch.run(), name="loopwatch")
        watching = asyncio.get_running_loop().create_task(watch_host(self._clock, self._accounts.woke), name="host")
        beside = [feeding, ticking, watching]
        if self._own_process:
            beside.append(asyncio.get_running_loop().create_task(reap(), name="reaper"))
        policy = policy_of(first.config, self._supervisor.stop_limit, self._choice.by)
        self._dispatcher.post(LIFECYCLE, Boot(first.id, policy, self._handover()), "boot")
        try:
            # The dispatcher turns for ever: if it ends, nothing is decided any more, and only an end is honest.
            ends: set[asyncio.Future[Any]] = {self._exit, turning}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            return self._exit.result() if self._exit.done() else self._report_standstill(turning)
        finally:
            # From here on a signal ends the process as it would end any other.
            signals.remove()
            turning.cancel()
            for task in beside:
                task.cancel()
            await self._tear_down()

    @property
    def last_moments(self) -> float:
        """Seconds that threads have to end in, when `run` has returned."""
        return self._shutdown.left(Stage.THREADS)

    def _handover(self) -> Handover:
        """What the process before this one has left to it, or this one's image before."""
        left = collect(self._options.state_dir, self._clock.monotonic())
        carried = self._options.image.carried
        return left if carried is None else carried.handover

    def _report_standstill(self, turning: asyncio.Task[None]) -> int:
        log.critical("dispatcher_ended", exc_info=turning.exception())
        return 1

    def _load_first(self) -> Revision:
        """What it begins with: the file, or what stands in its place. Raises ConfigError when there is neither."""
        self._standing = Standing(self._options.state_dir)
        self._history = History(self._options.state_dir / "config-history", self._clock, self._standing.pinned)
        carried = self._options.image.carried
        boot = FirstRevision(
            self._options.config, self._reader(), self._standing, self._history, self._clock,
            carried.revisions if carried is not None else (),
        )  # fmt: skip
        self._first = boot.choose()
        self._redactor.learn(secrets_of(self._first.revision.config))
        return self._first.revision

    def _reader(self) -> Reader:
        return Reader(self._plugins.model_for, os.environ, self._options.config.parent)

    def _configure_log(self, config: Config) -> LevelFilter:
        level = configure(config.gateway.log.level, config.gateway.log.format, self._redactor, self._tail)
        if self._own_process:
            tell_of_crashes()
        return level

    # Building

    def _build(self, first: Revision) -> None:
        """Make every part and tie them together; nothing runs yet."""
        self._build_turning(first)
        self._build_work()
        self._register()

    def _build_turning(self, first: Revision) -> None:
        """What decides, and what listens to that."""
        self._journal = Journal(self._clock)
        self._journal.listen(log_entry, ordinary=False)
        carried = self._options.image.carried
        self._tally = Tally(carried.restarts if carried is not None else None)
        self._journal.listen(self._tally.note)
        self._loop_watch = LoopWatch(self._tally.lag.observe, self._clock.wall_ms, look=self._own_process)
        self._supervisor = Supervisor(os.environ)
        self._journal.listen(self._supervisor.note, ordinary=False)
        self._journal.listen(Conflicts(self._clock).note, ordinary=False)
        self._requests = Requests(self._clock)
        self._dispatcher = Dispatcher(self._journal)
        self._dispatcher.add(Lifecycle(LIFECYCLE, LifecycleData()))
        self._runner = Runner(self._dispatcher, self._clock, Random())  # noqa: S311 - jitter is no secret
        self._dispatcher.connect(self._runner.perform)
        self._choice = choose(first.config.gateway.restart.mode, replaceable=self._options.image.replace is not None)
        self._ledger = Ledger(first)

    def _build_work(self) -> None:
        """What does what is decided."""
        carried = self._options.image.carried
        self._leases = Leases(lambda: self._ledger.applied, self._dispatcher, self._options.state_dir, self._clock)
        self._messages = Messages(
            self._options.state_dir, lambda: self._ledger.applied, self._adapters, self._dispatcher, self._journal,
            self._requests, self._tally, self._clock, self._options.config.parent, self._plugins.handlers, self._claims.take,
            self._traces, self._redactor.text, self._leases,
        )  # fmt: skip
        self._receivers = self._messages.receivers
        self._journal.listen(lambda entry: self._claims.note(entry, self._ledger.applied), ordinary=False)
        self._journal.listen(lambda entry: self._leases.note(entry, self._ledger.applied), ordinary=False)
        self._accounts = Accounts(self._dispatcher, self._adapters, carried.generations if carried is not None else {})
        self._changes = Changes(
            self._options.config, self._first, self._reader(), self._ledger, self._standing, self._history, self._dispatcher,
            self._requests, self._redactor, self._clock,
        )  # fmt: skip
        self._watcher = Watcher(
            self._options.config,
            self._looked_at,
            lambda: self._ledger.applied.gateway.reload.debounce_ms / 1000,
            lambda: self._changes.notice(Origin.FILE, "watcher"),
        )
        self._shutdown = Shutdown(self._clock, self._ending)
        self._operations = Operations(
            self._ledger, self._changes, self._accounts, self._messages, self._make_control_plane,
            Reports(self._on_applied, self._on_ready), self._clock, self._shutdown, self._supervisor.stop_limit,
            self._find_listener, self._claims.take_all, self._choice.by, self._leases.give_up_all,
        )  # fmt: skip
        self._succession = Succession(
            self._operations, self._accounts, self._changes, self._messages, self._ledger, self._dispatcher,
            self._follow, self._traces, self._options.state_dir, self._clock,
        )  # fmt: skip
        self._changes.transactions.connect(
            self._changes.restore, lambda: self._changes.notice(Origin.FILE, "watcher"), self._accounts.try_out
        )

    def _register(self) -> None:
        """Who performs which effect."""
        runner, receivers = self._runner, self._receivers
        self._operations.register(runner)
        self._succession.register(runner)
        self._changes.transactions.register(runner)
        self._messages.register(runner)
        self._leases.register(runner)
        runner.work(
            OpenReceiver,
            receivers.open,
            lambda e, why: ReceiverEnded(e.generation, Cause.CRASHED, why, self._clock.monotonic()),
        )
        runner.work(FenceReceiver, receivers.fence, lambda e, why: FenceFailed(e.generation, why), FENCE_TIMEOUT)
        runner.command(CloseReceiver, receivers.close)
        runner.command(WatchReceiver, receivers.watch)
        runner.command(TicketOpened, lambda _, e: self._open_request(e.ticket))
        runner.command(CloseTicket, lambda _, e: self._requests.close(e.id, e.outcome, e.why))
        runner.command(Exit, lambda _, e: self._end(e.code))

    def _find_listener(self) -> socket.socket | None:
        """What the image before this one listened on, or what a supervisor has opened."""
        admin = self._ledger.applied.gateway.admin
        return self._options.image.listener(admin.host, admin.port) or handed_over(os.environ)

    def _follow(self, listener: socket.socket, revision: Revision) -> NoReturn:
        """The next image takes the place of this one. Raises OSError."""
        image = self._options.image
        assert image.replace is not None, "or another way to restart was chosen"
        handover = handover_of(self._dispatcher.machine(LIFECYCLE))
        descriptors = (listener.fileno(), image.lock, self._claims.descriptor)
        admin, known = revision.config.gateway.admin, (revision.id, self._ledger.accepted.id, self._ledger.applied_id)
        generations, address = self._accounts.generations, (admin.host, admin.port)
        image.replace(Carried(handover, generations, dict(self._tally.restarts), known, address, *descriptors))

    def _end(self, code: int) -> None:
        if self._exit.done():
            return
        if code == EXIT_RESTART:
            leave(self._options.state_dir, handover_of(self._dispatcher.machine(LIFECYCLE)))
        self._exit.set_result(code)

    def _open_request(self, ticket: Ticket) -> None:
        self._requests.open("restart", ticket.requester, ticket.id)

    async def _make_control_plane(self) -> ControlPlane:
        """Imported in a thread, while the first polls are on their way: the server's library is large."""
        server = await asyncio.to_thread(import_module, "gateway.admin.server")
        services = server.Services(
            dispatcher=self._dispatcher, journal=self._journal, changes=self._changes, ledger=self._ledger,
            model=lambda: self._plugins.model, accounts=self._accounts, receivers=self._receivers, messages=self._messages,
            leases=self._leases, standing=self._standing, reader=self._reader(), history=self._history, hub=self._hub,
            hooks=self._hooks, requests=self._requests,
            redactor=self._redactor, tail=self._tail, clock=self._clock,
            state_dir=self._options.state_dir, boot=lambda: self._boot, watching=lambda: self._watcher.kind,
            tally=self._tally, choice=self._choice, stop_shortfall=self._stop_shortfall, runner=self._runner,
            loop_watch=self._loop_watch,
        )  # fmt: skip
        return server.AdminServer(services)  # type: ignore[no-any-return]

    # While it runs

    def _on_applied(self, config: Config) -> None:
        """A config runs from now on."""
        self._level.level = config.gateway.log.level
        self._messages.handlers.apply(config)

    async def _on_ready(self, address: str) -> None:
        """A boot or a restart is complete."""
        if self._watcher.kind == OFF:
            await self._watcher.start()
            gc.freeze()
            gc.enable()
            # A message leaves hundreds of objects behind, and none of them in a circle: looked for less often, it costs 4 % less.
            gc.set_threshold(20_000, 20, 50)
        else:
            self._boot = new_boot(self._clock)
        address_file.publish(self._options.state_dir, address)
        # The one line of standard output: for supervisors, tests, and whoever waits for it in a script.
        Lines(sys.stdout).msg(f"gateway ready {address} pid={os.getpid()} boot={self._boot.id}")
        if short := self._stop_shortfall():
            log.warning("stop_budget_cut", why=short, remedy=REMEDY)
        token = self._options.state_dir / "admin-token"
        log.info("page_ready", page=address, sign_in=f"by `python -m gateway open`, or with the token in {token}")

    def _stop_shortfall(self) -> str:
        """Why a stop has less time than the config gives it; "" where it has not."""
        return shortfall(self._ledger.applied.gateway.restart.drain_timeout_ms / 1000, self._supervisor.stop_limit)

    def _on_signal(self, number: signal.Signals) -> None:
        """A signal is an event like any other."""
        name = signal.Signals(number).name
        log.info("signal", name=name)
        if number in (signal.SIGTERM, signal.SIGINT):
            self._dispatcher.post(LIFECYCLE, StopRequested(name), name)
        elif number == signal.SIGHUP:
            self._noticing = asyncio.ensure_future(self._reload(name))
        else:
            delay = self._ledger.applied.gateway.restart.delay_ms / 1000
            ticket = Ticket(new_id("restart"), name, "signal", None, self._clock.monotonic() + delay)
            self._dispatcher.post(LIFECYCLE, RestartRequested(ticket), name)

    async def _reload(self, name: str) -> None:
        """Read the config now. Whoever supervises waits for an answer, whatever comes of it."""
        self._supervisor.reload_asked()
        try:
            await self._changes.notice(Origin.CALL, name)
        finally:
            self._supervisor.reload_answered(self._dispatcher.machine(LIFECYCLE).state.value)

    async def _tear_down(self) -> None:
        """What still runs is ended, and what waits is written. An end that nobody asked for has a stop's time, too."""
        address_file.withdraw(self._options.state_dir)
        self._watcher.stop()
        code = self._exit.result() if self._exit.done() else 1
        self._shutdown.begin(policy_of(self._ledger.applied, self._supervisor.stop_limit).stop_timeout, code)
        await self._shutdown.stage(Stage.WORK, self._end_work(), lambda: ", ".join(self._runner.unfinished))
        left = self._shutdown.left(Stage.STORE)
        writing = asyncio.gather(self._messages.close(left), self._traces.close(left), self._leases.close())
        await self._shutdown.stage(Stage.STORE, writing, lambda: "what waited for the store may not be written")
        self._succession.close()
        self._claims.close()
        self._supervisor.close()
        self._shutdown.report(code)

    async def _end_work(self) -> None:
        await asyncio.gather(self._runner.close(), self._changes.transactions.close(), self._receivers.aclose())
