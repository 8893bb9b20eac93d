"""One run of the real gateway, from boot to its end: the real `App.run`, with stand-ins for the outside alone."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, NoReturn

from gateway.app import App, Options
from gateway.config.model import Config
from gateway.dispatcher import Dispatcher
from gateway.errors import ClaimedError, ConfigError, HandlerError
from gateway.handlers.registry import Handlers
from gateway.journal import Entry, log_entry
from gateway.log import LevelFilter
from gateway.messages.model import Message, Reply
from gateway.messages.pipeline import Pipeline
from gateway.process.changes import LIFECYCLE
from gateway.process.claims import Claims
from gateway.process.image import Carried, Image
from gateway.requests import PENDING
from statemachine.change import Change, is_watched
from statemachine.channel import Channel
from statemachine.delivery import Delivery, DeliveryState
from tests.simulation.clock import Crash, ProcessLoop, Time
from tests.simulation.monitor import Monitor
from tests.simulation.network import Line

if TYPE_CHECKING:
    from tests.simulation.play import Play

LAST_MOMENTS = 1.0
"""Seconds that what is left gets to end when `run` has returned, as the command line gives it."""
BURIAL = 600.0
BURIALS = 5
EXIT_CONFIG = 78
HANDLER_ATTEMPTS, HANDLER_PATIENCE = 2, 5.0
HANDLING = (0.0, 0.0, 0.0, 0.01, 0.3)
"""Seconds that a handler takes."""
ILLS = ("fails", "may be tried again", "is away", "hangs", "breaks")
CRASHED, REPLACED = -9, -1
EXIT_HELD, NEIGHBOUR = 76, 4711


class Replaced(Crash):
    """Another image of the program has taken the place of this one, in the same process."""

    def __init__(self, carried: Carried) -> None:
        super().__init__("another image")
        self.carried = carried


class WatchedDispatcher(Dispatcher):
    """The real one, with the monitor looking on."""

    monitor: Monitor

    def _fire(self, posted: Any) -> Any:
        machine = self._machines.get(posted.machine)
        before = machine.data if machine is not None else None
        result = super()._fire(posted)
        self.monitor.see(posted.machine, before, posted.event, result)
        return result


class WatchedPipeline(Pipeline):
    """The real one; whoever delivers must have a session that is open."""

    line: Line
    blame: Callable[[str, str], None]

    async def accept(self, identity: str, offset: int, messages: list[Message], first: int | None = None) -> int:
        task = asyncio.current_task()
        owner = task.get_name() if task else ""
        if not any(session.owner == owner and not session.over for session in self.line.sessions):
            self.blame("nothing stale has an effect", f"{owner} delivered, and its connection was closed before")
        return await super().accept(identity, offset, messages, first)


class WatchedHandlers(Handlers):
    """The real ones, which take their time; now and then one fails, hangs or cannot be asked, as the schedule says."""

    play: Play

    def policy(self, handler: str) -> tuple[int, float]:
        return HANDLER_ATTEMPTS, HANDLER_PATIENCE

    def acts_outside(self, handler: str) -> bool:
        """Half of the schedules have handlers that do more than answer."""
        return self.play.schedule.seed % 2 == 0

    async def handle(self, handler: str, message: Message) -> tuple[Reply, ...]:
        process = self.play.alive
        letter = self.play.letters.given(message, process, outside=self.acts_outside(handler))
        await asyncio.sleep(self.play.handling.choice(HANDLING))
        if self.play.ills:
            await self._suffer(self.play.ills.pop(0))
        replies = await super().handle(handler, message)
        letter.answered_by = process
        return replies

    async def _suffer(self, ill: str) -> None:
        self.play.faults[f"handler {ill}"] += 1
        if ill == "hangs":
            await asyncio.Event().wait()
        elif ill == "breaks":
            raise RuntimeError("a defect of a handler")
        raise HandlerError("not now", retryable=ill != "fails", after=1.0, counts=ill != "is away")


class Listener:
    """A listening socket, as far as it is handed around."""

    def fileno(self) -> int:
        return -1

    def dup(self) -> Listener:
        return self

    def close(self) -> None:
        """Nothing is open."""


class Control:
    """A control plane without clients."""

    address = "http://127.0.0.1:1"

    def __init__(self) -> None:
        self.listener: Any = Listener()

    async def open(self, listener: Any) -> None:
        self.listener = listener

    async def replace(self, listener: Any) -> Callable[[], Awaitable[None]]:
        self.listener = listener

        async def drain() -> None:
            await asyncio.sleep(0.05)

        return drain

    async def vacate(self) -> None:
        await asyncio.sleep(0.05)

    async def resume(self, listener: Any) -> None:
        self.listener = listener

    def announce_shutdown(self, reason: str, restart_expected_ms: int | None) -> None:
        """There is nobody to tell."""

    async def stop_listening(self) -> None:
        await asyncio.sleep(0)

    clients = 0

    async def close(self) -> None:
        await asyncio.sleep(0.05)


class SimulatedClaims(Claims):
    """The kernel's locks of a machine that has one other gateway, which sometimes wants an account, too."""

    def __init__(self, play: Play) -> None:
        super().__init__(folders=())
        self._play = play

    def _lock(self, account: str, claim: str) -> None:
        self._play.wanted_claims[account] = claim
        if claim in self._play.neighbours:
            raise ClaimedError(account, NEIGHBOUR)
        self._play.claimed.add(claim)

    def _unlock(self, start: int, length: int) -> None:
        places = {claim: int(claim, 16) for claim in self._play.claimed}
        self._play.claimed -= {
            c for c, place in places.items() if start <= place and (not length or place < start + length)
        }


class SimulatedApp(App):
    """The real `App`, but for its log, its control plane, and the eyes on it."""

    process: Process

    def _configure_log(self, config: Config) -> LevelFilter:
        return LevelFilter(config.gateway.log.level)

    def _build(self, first: Any) -> None:
        super()._build(first)
        self._journal.ignore(log_entry)
        self._journal.listen(self.process.decided)
        self.process.built = True

    async def _make_control_plane(self) -> Any:
        self.process.listens = True
        return Control()

    def _on_applied(self, config: Config) -> None:
        super()._on_applied(config)
        intents = self.process.monitor.intents
        for name in set(intents) - set(config.accounts()):
            del intents[name]


class Process:
    """Runs an app in a loop of its own, until it ends, or is gone."""

    def __init__(self, play: Play, carried: Carried | None = None) -> None:
        self._play = play
        self.carried: Carried | None = None
        """What it has left to the image that takes its place."""
        self.monitor = Monitor(play.referee)
        self.line = Line()
        self.loop = ProcessLoop(play.time)
        self.built = self.listens = self.returned = False
        self.ready = 0
        self.entries: list[Entry] = []
        self.clients: dict[asyncio.Task[Any], str] = {}
        self.crash_in = 0
        """It is gone right after the n-th decision from now, before anything follows from that; 0 is never."""
        # Half of the schedules restart in the process.
        image = Image(carried, -1, None if play.schedule.seed // 2 % 2 else self._replace)
        self.app = SimulatedApp(Options(play.disk.path, play.disk.state_dir, image))
        self.app._claims = SimulatedClaims(play)
        self.app.process = self
        self.monitor.wanted = lambda name: self.app._ledger.applied.accounts().get(name)

    def _replace(self, carried: Carried) -> NoReturn:
        """What the kernel does where the program can be had, and then nothing of this image runs again."""
        if self._play.program_gone:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        raise Replaced(carried)

    def run(self) -> int:
        """The exit code; CRASHED when it was gone at once, REPLACED when another image has taken its place."""
        play = self._play
        play.network.line, play.disk.owner = self.line, self
        code = CRASHED
        try:
            code = self.loop.run_until_complete(self.app.run())
            self.returned = True
            self.loop.run_until_complete(asyncio.sleep(LAST_MOMENTS))
        except ConfigError:
            code = EXIT_CONFIG
        except Replaced as replaced:
            code, self.carried = REPLACED, replaced.carried
        except Crash:
            pass
        finally:
            self.line.dead = True
            play.disk.lose_owner()
        return code

    def leftovers(self) -> list[str]:
        """The tasks that still are, as nobody's but the loop's."""
        return sorted(task.get_name() for task in asyncio.all_tasks(self.loop) if task not in self.clients)

    def bury(self) -> None:
        """Nothing of it is run any more, but for what Python needs to let go of it; in a time of its own."""
        self.loop.attach(Time(self._play.time.monotonic()))
        for _ in range(BURIALS):
            tasks = asyncio.all_tasks(self.loop)
            for task in tasks:
                task.cancel()
            if not tasks:
                break
            # What is cancelled may still begin something, or hear of the crash: that is buried with the next.
            with contextlib.suppress(Crash):
                self.loop.run_until_complete(asyncio.wait(tasks, timeout=BURIAL))
            for task in tasks:
                if task.done() and not task.cancelled():
                    task.exception()
        self.loop.close()

    # What it shows

    def decided(self, entry: Entry) -> None:
        """A journal listener."""
        self.entries.append(entry)
        self._play.witness.look(self)
        if self.crash_in > 0:
            self.crash_in -= 1
            if self.crash_in == 0:
                raise Crash("between a decision and what follows from it")

    def printed(self) -> None:
        """The ready line: a boot, or a restart that was decided."""
        self.ready += 1
        self._play.referee.expect(
            self.ready <= 1 + self.monitor.restarts,
            "a restart serves the open tickets",
            "the gateway was built anew without a decision of its machine",
        )

    @property
    def lifecycle(self) -> Any:
        return self.app._dispatcher.machine(LIFECYCLE)

    def channels(self) -> dict[str, Any]:
        return self.app._dispatcher.machines(Channel)

    def unsettled(self) -> list[str]:
        """The changes of which it is not known what becomes of them; one that runs, and is only watched, is settled."""
        changes = self.app._dispatcher.machines(Change)
        return [n for n, m in changes.items() if not is_watched(m) or m.data.confirm is not None]

    def unsent(self) -> list[str]:
        """The replies that are under way; one whose account does not run waits for that, and one for a person."""
        app = self.app
        open_ones = app._dispatcher.machines(Delivery)
        return [
            name
            for name, outgoing in app._messages.outbox._open.items()
            if app._receivers.is_up(outgoing.name) and not _is_a_persons(open_ones[name])
        ]

    def pending(self) -> list[str]:
        return [r.id for r in self.app._requests._requests.values() if r.outcome == PENDING] if self.built else []

    def at_rest(self) -> bool:
        if not self.built:
            return False
        data = self.lifecycle.data
        return (
            self.lifecycle.state.value == "running"
            and not (data.tickets or data.served or data.kept or data.reviewed or data.carried)
            and all(machine.state.value in ("running", "stopped", "failed") for machine in self.channels().values())
            and not self.unsettled()
            and not self._play.disk.is_slow
            and self.app._messages.pipeline.in_flight == 0
            and not self.unsent()
            and not self.app._messages.trouble
            and self.app._runner.busy == len(self.line_open())
            and all(task.done() for task in self.clients)
        )

    def line_open(self) -> list[Any]:
        return [session for session in self.line.sessions if session.bot and not session.over]

    def receives(self, account: str) -> bool:
        """Whether a receiver of it has a connection."""
        return any(session.owner.startswith(f"{account}:receiver:") for session in self.line_open())

    # What is done to it

    def signal(self, number: int, heard: Callable[[], object] = lambda: None) -> None:
        """A signal; one that nobody handles yet ends nothing here, since it is blocked until the handlers stand."""
        handler = self.loop.signals.get(number)
        if handler is None:
            heard()
            return
        callback, args = handler
        self.loop.call_soon(heard)
        self.loop.call_soon(callback, *args)

    def call(self, doing: Any, name: str) -> None:
        """A client's call."""
        task = self.loop.create_task(doing, name=name)
        self.clients[task] = name


def _is_a_persons(machine: Any) -> bool:
    """Nobody knows whether it was sent, and only a person says what follows."""
    return machine.state is DeliveryState.UNKNOWN and (machine.data.marked or not machine.data.resend)
