"""Carries a schedule out: boots the gateway, does to it and to its outside what the schedule says, and in the end judges."""

from __future__ import annotations

import gc
import signal
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

from gateway.journal import Entry
from gateway.process.changes import LIFECYCLE
from gateway.process.host import LATE, TICK
from gateway.process.image import Carried
from statemachine import Refusal
from statemachine.channel_events import By, Restart, Start, Stop
from statemachine.delivery import DiscardRequested, RetryRequested
from statemachine.lifecycle import is_leaving
from statemachine.lifecycle_events import RestartCancelled, RestartRequested, Ticket
from tests.simulation.botapi import BotApi
from tests.simulation.clock import Crash, StandstillError, Time
from tests.simulation.disk import Disk
from tests.simulation.judgement import QUIET, Judge
from tests.simulation.letters import Letters
from tests.simulation.network import Fault, Network, Quirk
from tests.simulation.process import CRASHED, EXIT_CONFIG, EXIT_HELD, REPLACED, Process
from tests.simulation.referee import Referee, Violation
from tests.simulation.schedule import Action, Schedule
from tests.simulation.stage import staged
from tests.simulation.witness import Witness
from tests.simulation.writers import Writers

PATIENCE = 3_600.0
"""Virtual seconds of calm in which everything must come to rest."""
TEAR_DOWN = 0.8
"""Seconds beyond a stop's own budget until `run` has returned: the moment that each stage has at the least, and a little."""
REBOOT = 0.2
NEIGHBOUR_PAUSE = 1.0
"""Seconds until a gateway that found another one with its accounts is started again."""
IMAGE = 0.3
"""Seconds from one image's end to the first line of the next that matters."""
HALF = 0.05
"""Seconds between the halves of a careless write: over before the calm."""
MOST_BOOTS = 60
SUSPENDED = 600.0
"""Seconds from which a stall is the host's, whose monotonic clock stands still, and not the process' alone."""
SLEEP = TICK + LATE
"""Seconds of a stall that no tick can miss."""


@dataclass
class Result:
    """What came of one schedule."""

    seed: int
    violations: list[Violation]
    counts: Counter[str]
    faults: Counter[str]
    entries: list[Entry] = field(default_factory=list)

    @property
    def promises(self) -> set[str]:
        return {violation.promise for violation in self.violations}


class Play(Writers):
    """One schedule, once."""

    def __init__(self, schedule: Schedule, folder: Path) -> None:
        self.schedule = schedule
        self.time = Time()
        self.referee = Referee(self.time)
        self.letters = Letters(folder / "state", self.referee)
        self.api = BotApi(self.time, self.referee, self.letters)
        self.network = Network(self.time, self.api, self.referee, Random(schedule.seed + 1))
        self.witness = Witness(self)
        self.disk = Disk(self.time, folder, self.referee, self.witness, Random(schedule.seed + 2))
        self.handling = Random(schedule.seed + 3)
        self.ills: list[str] = []
        """What the next handlers that are asked suffer from."""
        self.judge = Judge(self)
        self.process: Process | None = None
        self.port_taken_until = 0.0
        self.program_gone = False
        """Somebody has removed the interpreter: no other image can be had."""
        self.carried: Carried | None = None
        """What the image before has left to the next."""
        self.claimed: set[str] = set()
        """What the gateway holds among the processes of its machine; its end releases it, another image of it keeps it."""
        self.neighbours: set[str] = set()
        """What another gateway of that machine holds."""
        self.wanted_claims: dict[str, str] = {}
        """By account: what the gateway last wanted for it."""
        self.counts = self.referee.counts
        self.faults: Counter[str] = Counter()
        self.entries: list[Entry] = []
        self.stalled = 0.0
        self.frozen = 0
        """How many stalls are under way: one may fall into another."""
        self.next_boot = REBOOT
        self.cut_after = 0.005
        """Seconds after which the kernel has closed what a process that is gone had open."""
        self.rested = 0
        self.calm_since: float | None = None
        self.over = False

    def run(self) -> Result:
        with staged(self):
            self.disk.save(self.schedule.first)
            for action in self.schedule.actions:
                self.time.after(action.at, lambda action=action: self.do(action))  # type: ignore[misc]
            last = max((action.at for action in self.schedule.actions), default=0.0)
            self.time.after(last + 1.0, self.calm_down)
            try:
                while not self.over:
                    self._live()
            except StandstillError as error:
                self.referee.blame("comes to rest", str(error))
            except Exception as error:  # noqa: BLE001 - whatever breaks a schedule is a finding, and has a seed
                self.referee.blame("no defect", f"it broke down: {error!r}")
            finally:
                self.disk.let_go()
                self.letters.close()
        self.counts["violations"] += len(self.referee.violations)
        faults = self.faults + self.network.met + self.disk.met
        return Result(self.schedule.seed, self.referee.violations, self.counts, faults, self.entries)

    # Lives

    def _live(self) -> None:
        """From a boot to an end, of whatever kind, and the pause until the supervisor boots the next one."""
        self.counts["boots"] += 1
        process = self.process = Process(self, self.carried)
        self.carried = None
        process.monitor.on_dropped = self.witness.restarts_dropped
        process.monitor.on_stop = lambda budget: self._watch_stop(process, budget + TEAR_DOWN, self.stalled)
        try:
            code = process.run()
            if code == REPLACED:
                self.judge.replaced(process)
            elif code != CRASHED:
                self.judge.ended(process, code)
            self.judge.standing()
        finally:
            self.process = None
            self.entries += process.entries
            self.referee.expect(self.disk.hash in self.disk.whole, "a write is whole or nothing", "the file is torn")
        process.bury()
        if code == CRASHED:
            self.counts["crashes"] += 1
            self.time.run_until(self.time.now + self.cut_after)
        self.network.cut(process.line)
        if code == REPLACED:
            self._go_on(process)
            return
        self.claimed.clear()
        if self.over or self.counts["boots"] >= MOST_BOOTS:
            self.referee.expect(self.over, "comes to rest", f"it was booted {MOST_BOOTS} times")
            self.over = True
            return
        if code == EXIT_CONFIG:
            self._mend_what_boots_cannot()
        boot, self.next_boot = max(self.next_boot, NEIGHBOUR_PAUSE if code == EXIT_HELD else 0.0), REBOOT
        self.time.run_until(self.time.now + boot)

    def _go_on(self, process: Process) -> None:
        """The image that has taken its place begins at once: the process was never away."""
        self.counts["images"] += 1
        self.carried = process.carried
        self.time.run_until(self.time.now + IMAGE)

    def _mend_what_boots_cannot(self) -> None:
        """Somebody looks after a gateway that does not boot."""
        raw = self.disk.raw()
        if raw is None or not self.judge.is_usable(raw):
            self.counts["mended for a boot"] += 1
            self.disk.save(self.schedule.last)

    def _watch_stop(self, process: Process, budget: float, stalled: float) -> None:
        def look() -> None:
            if self.process is not process or process.returned:
                return
            if self.stalled > stalled:
                self._watch_stop(process, self.stalled - stalled, self.stalled)
                return
            self.referee.blame(
                "a stop ends within its budget", f"{budget} s after it was asked, the process still runs"
            )
            self.over = True
            raise Crash("it would never end")

        self.time.after(budget, look)

    # Calm

    def calm_down(self) -> None:
        """Nobody does anything any more, and nothing is broken but what was broken by now."""
        self.calm_since = self.time.now
        self.network.calm()
        self.api.calm()
        self.disk.calm()
        self.ills.clear()
        if self.process is not None:
            self.process.crash_in = 0
        self.port_taken_until = 0.0
        self.program_gone = False
        self.neighbours.clear()
        self._mend_what_boots_cannot()
        self._look()

    def _look(self) -> None:
        assert self.calm_since is not None
        if self.over:
            return
        self.time.after(1.0, self._look)
        if self.frozen:
            return
        resting = self.process is not None and self.process.at_rest()
        self.rested = self.rested + 1 if resting else 0
        if self.rested == QUIET:
            self.judge.ask()
        elif self.rested == 2 * QUIET:
            self.judge.at_rest(self.alive)
            self.over = True
            self.alive.signal(signal.SIGTERM)
        elif self.time.now - self.calm_since > PATIENCE:
            self.referee.blame("comes to rest", self.judge.tell_unrest())
            self.over = True
            if self.process is not None:
                raise Crash("it would never end")

    # What is done

    def do(self, action: Action) -> None:
        self.counts["actions"] += 1
        doing: Callable[..., None] = getattr(self, "do_" + action.kind.replace(" ", "_"))
        doing(**action.args)

    def _call(self, doing: Any, name: str) -> None:
        """A client's call; where nothing listens it has no effect."""
        if self.process is None or not self.process.listens:
            doing.close()
            self.counts["calls to nobody"] += 1
        else:
            self.process.call(doing, name)

    def do_edit(self, text: str, how: str, events: tuple[float, ...]) -> None:
        if how == "replace":
            self.disk.save(text)
        elif how == "overwrite":
            self.disk.overwrite(text)
        else:
            self.disk.overwrite(text[: len(text) // 2])
            self.time.after(HALF, lambda: self.disk.overwrite(text))
        for after in events:
            self.disk.tell(after, moved=how == "replace")

    def do_spoil(self, text: str | None, events: tuple[float, ...], mend: float | None, wish: str) -> None:
        if text is None:
            self.disk.remove()
        else:
            self.disk.overwrite(text)
        for after in events:
            self.disk.tell(after)
        if mend is not None:
            self.time.after(mend, lambda: self._mend(wish))

    def _mend(self, wish: str) -> None:
        if self.calm_since is None:
            self.do_edit(wish, "replace", (0.0,))

    def do_hint(self) -> None:
        self.disk.tell(0.0)

    def do_SIGHUP(self) -> None:  # noqa: N802 - the signal's name
        if self.process is not None:
            # It is asked for when it is heard: one that comes while the host sleeps comes after what was asked meanwhile.
            self.process.signal(signal.SIGHUP, self.witness.wanted)

    def do_SIGUSR1(self) -> None:  # noqa: N802
        self._signal(signal.SIGUSR1)

    def do_SIGTERM(self, again: float | None, boot: float) -> None:  # noqa: N802
        self._signal(signal.SIGTERM)
        self.next_boot = boot
        if again is not None:
            process = self.process
            self.time.after(again, lambda: self._signal(signal.SIGTERM, process))

    def _signal(self, number: int, to: Process | None = None) -> None:
        """To the process that is, or to none if that is not the one meant."""
        if self.process is not None and to in (None, self.process):
            self.process.signal(number)

    def do_restart(self, delay: float, force: bool) -> None:
        self._call(self._ask(delay, force=force), "restart")

    async def _ask(self, delay: float, *, force: bool) -> None:
        self.counts["restart requests"] += 1
        name = f"asked-{self.counts['restart requests']}"
        ticket = Ticket(name, "client", "asked for", None, self.time.monotonic() + delay, force)
        answer = await self.alive.app._dispatcher.post(LIFECYCLE, RestartRequested(ticket), "client")
        self.counts["restart requests refused"] += isinstance(answer, Refusal)

    def do_cancel(self, pick: int) -> None:
        if self.process is not None and self.process.listens and (tickets := self.process.lifecycle.data.tickets):
            self.process.app._dispatcher.post(LIFECYCLE, RestartCancelled(tickets[pick].id), "client")

    def do_channel(self, account: str, verb: str) -> None:
        if self.process is None or not self.process.listens or is_leaving(self.process.lifecycle):
            return  # or it is refused
        app, name = self.process.app, f"telegram/{account}"
        settings = app._ledger.applied.accounts().get(name)
        if settings is None:
            return
        run = app._accounts.run_of(name, settings, app._ledger.applied_id)
        event = {
            "stop": Stop(By.PERSON, confirm=True),
            "start": Start(run, By.PERSON),
            "restart": Restart(run, By.PERSON),
        }
        app._dispatcher.post(name, event[verb], f"call {verb}")

    # What happens outside

    def do_say(self, bot: str, text: str, chat: int = 7, count: int = 1) -> None:
        for _ in range(count):
            self.api.say(bot, text, chat)

    def do_handler(self, ills: tuple[str, ...]) -> None:
        self.ills += ills

    def do_reply(self, verb: str, pick: int) -> None:
        """A person decides about a reply that is not sent."""
        if self.process is not None and self.process.listens:
            waiting = list(self.process.app._messages.outbox._open)
            if waiting:
                event = (
                    RetryRequested("Ann", self.time.monotonic() + 3_600.0)
                    if verb == "retry"
                    else DiscardRequested("Ann")
                )
                self.process.app._dispatcher.post(waiting[pick], event, "call")

    def do_fault(self, **fault: Any) -> None:
        self.network.faults.append(Fault(**fault))

    def do_quirk(self, bot: str, **quirk: Any) -> None:
        live = self.referee.live.get(bot)
        if live:
            live[0].quirk = Quirk(**quirk)
        else:
            self.network.quirks[bot] = Quirk(**quirk)

    def do_drop(self, bot: str) -> None:
        self.faults["connections dropped"] += 1
        self.network.drop(bot)

    def do_stranger(self, bot: str, seconds: float) -> None:
        self.faults["foreign poller"] += 1
        self.api.stranger(bot, seconds)

    def do_revoke(self, bot: str, seconds: float) -> None:
        self.faults["token revoked"] += 1
        self._for_a_while(bot, "revoked", seconds)

    def do_webhook(self, bot: str, seconds: float) -> None:
        self.faults["webhook set"] += 1
        self._for_a_while(bot, "webhook", seconds)

    def _for_a_while(self, bot: str, what: str, seconds: float) -> None:
        setattr(self.api.bot(bot), what, True)
        self.time.after(seconds, lambda: setattr(self.api.bot(bot), what, False))

    def do_slow_disk(self, seconds: float, *, slowest: bool) -> None:
        until = self.time.now + seconds
        if slowest:
            self.disk.slowest_until = until
        else:
            self.disk.slow_until = until

    def do_full_disk(self, seconds: float) -> None:
        self.disk.full_until = self.time.now + seconds

    def do_locked_store(self, seconds: float) -> None:
        """Another program has the database locked."""
        self.disk.locked_until = self.time.now + seconds

    def do_port_taken(self, seconds: float) -> None:
        self.faults["port taken"] += 1
        self.port_taken_until = self.time.now + seconds

    def do_stall(self, seconds: float) -> None:
        """The process is halted, or the host suspended: the outside goes on, and then everything is late at once."""
        self.faults["stall"] += 1
        self.stalled += seconds
        began = self.time.now
        ran = self._running() if seconds >= SLEEP else {}
        self.frozen += 1
        try:
            self.time.run_until(self.time.now + seconds)
        finally:
            self.frozen -= 1
        if seconds >= SUSPENDED and not self.frozen:
            slept = self.time.now - began
            self.time.slept += slept
            for trial in self.witness.trials:
                # The time to confirm runs by the clock that stood still.
                if trial.is_open and trial.deadline is not None:
                    trial.deadline += slept
            self.faults["suspended"] += 1
        process, stalled = self.process, self.stalled
        if process is not None and ran:
            self.time.after(TICK + 1.0, lambda: self._look_awake(process, ran, stalled))

    def _running(self) -> dict[str, int]:
        """Accounts that run now, and their generations."""
        if self.process is None or not self.process.built:
            return {}
        found = self.process.channels().items()
        return {name: machine.data.generation for name, machine in found if machine.state.value == "running"}

    def _look_awake(self, process: Process, ran: dict[str, int], stalled: float) -> None:
        """A tick later, whatever ran before a long sleep has begun anew; unless it slept again."""
        if self.process is not process or process.returned or self.frozen or self.stalled > stalled:
            return
        for name, generation in self._running().items():
            self.referee.expect(
                ran.get(name) != generation,
                "what ran before the host slept begins anew",
                f"{name} still runs as generation {generation}",
            )

    def do_no_program(self, seconds: float) -> None:
        """The program is being upgraded, and is not there for a while."""
        self.faults["program gone"] += 1
        self.program_gone = True
        self.time.after(seconds, self._put_program_back)

    def _put_program_back(self) -> None:
        self.program_gone = False

    def do_neighbour(self, account: str, seconds: float) -> None:
        """Another gateway on the same machine wants an account; it receives on none that it does not hold."""
        claim = self.wanted_claims.get(f"telegram/{account}")
        if claim is None or claim in self.claimed:
            self.counts["neighbours refused"] += 1
            return
        self.faults["neighbouring gateway"] += 1
        self.neighbours.add(claim)
        self._hold_neighbour(f"telegram/{account}", claim)
        self.time.after(seconds, lambda: self._hold_neighbour(f"telegram/{account}", claim))
        self.time.after(seconds, lambda: self.neighbours.discard(claim))

    def _hold_neighbour(self, account: str, claim: str) -> None:
        machine = self.process.channels().get(account) if self.process is not None and self.process.built else None
        same = (
            machine is not None and machine.data.run.settings is not None and machine.data.run.settings.claim == claim
        )
        receives = same and self.process is not None and self.process.receives(account)
        self.referee.expect(
            not (receives and claim in self.neighbours),
            "one receiver",
            f"{account} receives, and another gateway holds it",
        )

    def do_wall_clock(self, seconds: float) -> None:
        self.faults["wall clock set"] += 1
        self.time.wall_jump += seconds

    def do_crash(self, when: str, n: int, cut: float, boot: float) -> None:
        if self.process is None:
            return
        self.next_boot, self.cut_after = boot, cut
        if when == "decision":
            self.process.crash_in = n
        elif when == "write":
            self.disk.crash_in = n
        elif when in ("before", "after"):
            self.disk.crash_at_commit = n, when
        elif when == "answer":
            self.network.crash_in = n
        else:
            raise Crash("now")


def only(schedule: Schedule, kept: Collection[int]) -> Schedule:
    """The schedule with some of its actions alone."""
    return replace(schedule, actions=tuple(a for number, a in enumerate(schedule.actions) if number in kept))


def play(schedule: Schedule, folder: Path) -> Result:
    """Carry a schedule out in a folder, which is made. Collecting garbage in between would only cost time."""
    (folder / "state").mkdir(parents=True)
    collecting = gc.isenabled()
    gc.disable()
    try:
        return Play(schedule, folder).run()
    finally:
        if collecting:
            gc.enable()
