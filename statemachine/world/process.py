"""The gateway process in the product: the real lifecycle machine, its timer, its work, the file, and who waits for an answer.

As with the accounts, time is gone and numbers are relative.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from statemachine import lifecycle_events as events
from statemachine._machine import Event, Machine, Refusal, Step
from statemachine.lifecycle import is_ending
from statemachine.lifecycle_data import LifecycleData
from statemachine.lifecycle_events import ConfigChanged, ConfigRejected, Origin, Ticket
from statemachine.promises import STALE, STOP_ARRIVES
from statemachine.world.account import CURRENT, OLD, View
from statemachine.world.config import BAD, REVISIONS, Proposal, propose
from statemachine.world.effects import hold_known, hold_tickets, perform
from statemachine.world.state import (
    LATER,
    LATEST,
    MUCH_LATER,
    NOW,
    OVERDUE,
    POLICY,
    SOON,
    Change,
    Process,
    blank,
    forget,
)
from statemachine.world.work import Turn, turns


class ProcessModel:
    """The moves of a process, over a lifecycle machine class. `reload` is False in reload mode `off`."""

    def __init__(self, lifecycle: type[Machine[Any, Any]], *, reload: bool = True) -> None:
        self._machine = lifecycle("gateway", LifecycleData())
        self._initial = lifecycle.initial
        self._reload = reload
        self._stale: dict[tuple[Any, LifecycleData], tuple[str, ...]] = {}
        self._fired: dict[tuple[Any, LifecycleData, Event], tuple[Step | Refusal, Any, LifecycleData]] = {}

    def begin(self, disk: str) -> Process:
        """A process that has just been started, and has read its file; one that cannot be used ends it at once."""
        process = Process(self._initial, blank(LifecycleData()), disk, disk, ended=disk == BAD)
        return process if process.ended else self._change("", process, events.Boot(disk, POLICY)).after

    def changes(self, process: Process) -> Iterator[Change]:
        """All that can happen to it next, whatever its accounts do; but for a crash."""
        if process.ended:
            return
        yield from self._file_changes(process)
        yield from self._request_changes(process)
        yield from self._check_changes(process)
        if process.timer is not None and process.timer is not events.StopOverdue:
            hangs = process.work is not None and process.work.hangs
            yield self._ring(process, rare=process.timer in OVERDUE and not hangs)

    def changes_of_work(self, process: Process, accounts: tuple[View, ...]) -> Iterator[Change]:
        """How its work goes on, which hangs on what it sees of the accounts."""
        if process.ended:
            return
        for turn in turns(process, accounts):
            yield self._take(turn)
        if process.timer is events.StopOverdue:
            hangs = process.work is None or process.work.hangs or any(account.hangs for account in accounts)
            yield self._ring(process, rare=not hangs)

    def _ring(self, process: Process, *, rare: bool) -> Change:
        assert process.timer is not None
        event = process.timer(CURRENT)
        rung = process._replace(timer=None)
        return self._change(f"the timer rings: {event.trigger}", rung, event, owed=not rare, cost=int(rare))

    def takes_calls(self, process: Process) -> bool:
        """Whether people may still start and stop accounts."""
        return not process.ended and not is_ending(self._at(process))

    # The file, and who writes it

    def _file_changes(self, process: Process) -> Iterator[Change]:
        for revision in REVISIONS:
            if revision != process.disk:
                edited = process._replace(disk=revision, unread=True, excused=False)
                yield Change(f"somebody saves {revision}", edited, owed=False, cost=1)
        if process.posted is not None:
            yield self._deliver(process)
            return
        # Told once more of what it knows, the watcher takes from the budget; of a change it tells for nothing.
        again = not process.unread
        yield Change("the file's event is read", self._read(process._replace(unread=False)), not again, int(again))
        if process.reviewing is not None:
            reading = process._replace(reviewing=None)
            yield Change("the file is read again", self._read(reading))
        if not is_ending(self._at(process)):
            for revision in REVISIONS:
                if revision != BAD:
                    yield Change(f"a call writes {revision}", self._write(process, revision), owed=False, cost=1)

    def _read(self, process: Process) -> Process:
        if process.disk == BAD:
            return process._replace(posted=BAD)
        return self._propose(process, process.disk, Origin.FILE)

    def _write(self, process: Process, revision: str) -> Process:
        changed = process.disk != revision
        written = process._replace(
            disk=revision,
            unread=process.unread or changed,
            excused=process.excused and not changed,
            asked=process.asked | {revision},
        )
        return self._propose(written, revision, Origin.CALL)

    def _propose(self, process: Process, revision: str, origin: Origin) -> Process:
        # By which road it came matters where reloads are off; elsewhere it would only make equal worlds look different.
        origin = Origin.FILE if self._reload else origin
        proposal = propose(revision, process.ledger, process.waiting, astray=process.astray)
        roads = dict(process.origins)
        road = roads.get(revision, origin) if origin is Origin.FILE else origin
        return process._replace(posted=proposal, origins=tuple(sorted((roads | {revision: road}).items(), key=_first)))

    def _deliver(self, process: Process) -> Change:
        """What was read reaches the machine; a writer whose revision is refused is told so."""
        arrived = process._replace(posted=None)
        if not isinstance(process.posted, Proposal):
            return self._change("the gateway hears of a bad file", arrived, ConfigRejected(BAD, ""))
        proposal = process.posted
        event = ConfigChanged(
            proposal.revision, proposal.base, proposal.whole, not proposal.complete,
            dict(process.origins).get(proposal.revision, Origin.FILE), self._reload,
            Ticket(_free_id(process.data), "", "", proposal.revision, LATER),
        )  # fmt: skip
        change = self._change(f"the gateway hears of {proposal.revision}", arrived, event, proposal=proposal)
        if change.after is arrived:
            return change._replace(after=arrived._replace(asked=arrived.asked - {proposal.revision}))
        return change

    # Requests

    def _request_changes(self, process: Process) -> Iterator[Change]:
        for due, force in ((SOON, False), (LATEST, True)):
            ticket = Ticket(_free_id(process.data), "", "", None, due, force)
            label = "somebody asks for a restart" + (" by force, later" if force else "")
            yield self._change(label, process, events.RestartRequested(ticket), owed=False, cost=1)
        for ticket in process.data.tickets:
            label = f"somebody cancels {ticket.id}"
            yield self._change(label, process, events.RestartCancelled(ticket.id), owed=False)
        stop = self._change("somebody asks for a stop", process, events.StopRequested(""), owed=False)
        yield stop if stop.after is not process else stop._replace(broken=(*stop.broken, STOP_ARRIVES))

    def _check_changes(self, process: Process) -> Iterator[Change]:
        if not process.busy:
            yield Change("a message is handled for ever", process._replace(busy=True), owed=False, cost=1)
        if not process.checking:
            return
        checked = process._replace(checking=False)
        if process.disk == BAD:
            yield self._change("the next config cannot be used", checked, events.ConfigUnfit(CURRENT, ""))
            return
        for at in (NOW, MUCH_LATER):
            found = events.WorkInFlight(CURRENT, 1, at)
            label = "messages are in flight" + (" still" if at == MUCH_LATER else "")
            yield self._change(label, checked, found, owed=process.busy)
        if not process.busy:
            yield self._change("a restart may begin", checked, events.RestartReady(CURRENT))

    # The machine

    def _at(self, process: Process) -> Machine[Any, Any]:
        self._machine.state, self._machine.data = process.state, process.data
        return self._machine

    def _take(self, turn: Turn) -> Change:
        owed, cost = not turn.rare, int(turn.rare)
        if turn.completion is None:
            return Change(turn.label, turn.process, owed, cost, asks=turn.asks)
        return self._change(turn.label, turn.process._replace(work=None), turn.completion, owed=owed, cost=cost)

    def _change(
        self, label: str, process: Process, event: Event, *,
        owed: bool = True, cost: int = 0, proposal: Proposal | None = None,
    ) -> Change:  # fmt: skip
        """Fire, perform what is asked for, and hold the promises against it. A refusal leaves the process as it is."""
        before = process.data
        step, state, data = self._fire(process, event)
        if isinstance(step, Refusal):
            return Change(label, process, owed, cost, self._hold_stale(process))
        renumbered = data.timer != before.timer
        after = process._replace(
            state=state, data=data,
            checking=process.checking and not renumbered, timer=None if renumbered else process.timer,
        )  # fmt: skip
        broken = hold_tickets(before, after.data, step) + hold_known(before, after.data, step)
        for effect in step.effects:
            after, wrong = perform(after, effect, before, proposal)
            broken += wrong
        after = forget(after._replace(data=blank(after.data)))
        return Change(label, after, owed, cost, broken + self._hold_stale(after))

    def _fire(self, process: Process, event: Event) -> tuple[Step | Refusal, Any, LifecycleData]:
        """The machine's answer, and where it is then. Many worlds differ in what no table sees: each step is taken once."""
        key = process.state, process.data, event
        if key not in self._fired:
            machine = self._at(process)
            self._fired[key] = machine.fire(event), machine.state, machine.data
        return self._fired[key]

    def _hold_stale(self, process: Process) -> tuple[str, ...]:
        """Whatever older work or an older timer may still say must be refused, here and everywhere."""
        key = process.state, process.data
        if key not in self._stale:
            accepted = any(isinstance(self._at(process).fire(event), Step) for event in _STALE_WORDS)
            self._stale[key] = (STALE,) if accepted else ()
        return self._stale[key]


_STALE_WORDS: tuple[Event, ...] = (
    events.Started(OLD, "0a"),
    events.StartFailed(OLD, "", 1),
    events.PlanApplied(OLD, "0a", complete=True),
    events.PlanApplied(OLD, "0a", complete=False),
    events.PlanFailed(OLD, ""),
    events.Restarted(OLD, "0a", NOW, POLICY),
    events.RestartFailed(OLD, "", NOW, recovered=True),
    events.StopFinished(OLD),
    events.StopFailed(OLD, ""),
    events.RestartReady(OLD),
    events.WorkInFlight(OLD, 1, MUCH_LATER),
    events.ConfigUnfit(OLD, ""),
    events.RestartCancelled("never opened"),
    *(ring(OLD) for ring in (*OVERDUE, events.RestartDue)),
)


def _free_id(data: LifecycleData) -> str:
    taken = {ticket.id for ticket in (*data.tickets, *data.served)}
    return next(name for number in range(100) if (name := f"ticket {number}") not in taken)


def _first(item: tuple[str, Origin]) -> str:
    return item[0]
