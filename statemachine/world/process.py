"""The gateway process in the product: the real lifecycle machine, its timer, its work, the file, and who waits for an answer.

As with the accounts, time is gone and numbers are relative.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from statemachine import change_events
from statemachine import lifecycle_events as events
from statemachine._machine import Event, Machine, Refusal, Step
from statemachine.change_events import Stage
from statemachine.lifecycle import handover_of, is_ending, is_leaving
from statemachine.lifecycle_data import LifecycleData
from statemachine.lifecycle_events import ConfigChanged, ConfigRejected, Handover, Impact, Origin, RestartBy, Ticket
from statemachine.promises import BESIDE, LEFT_EMPTY, ONE_OUTCOME, STALE, STOP_ARRIVES
from statemachine.world.account import CURRENT, OLD, View
from statemachine.world.change import NOTHING_STANDS, ChangeModel, Standing, Told, Window
from statemachine.world.config import BAD, REVISIONS, TO_CONFIRM, Proposal, impact, propose
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
    """The moves of a process, over a lifecycle and a change machine class. `reload` is False in reload mode `off`.

    `confirm`: calls may write changes that must be confirmed. `restart_by` says how it restarts.
    """

    def __init__(
        self,
        lifecycle: type[Machine[Any, Any]],
        change: type[Machine[Any, Any]],
        *,
        reload: bool = True,
        confirm: bool = False,
        restart_by: RestartBy = RestartBy.IN_PROCESS,
    ) -> None:
        self._policy = replace(POLICY, restart_by=restart_by)
        self._confirms = confirm
        self._change_model = ChangeModel(change)
        self._machine = lifecycle("gateway", LifecycleData())
        self._initial = lifecycle.initial
        self._reload = reload
        self._stale: dict[tuple[Any, LifecycleData], tuple[str, ...]] = {}
        self._fired: dict[tuple[Any, LifecycleData, Event], _Fired] = {}

    def begin(
        self,
        disk: str,
        standing: Standing = NOTHING_STANDS,
        *,
        overdue: bool = False,
        handover: Handover = Handover(),  # noqa: B008 - frozen
    ) -> Process:
        """A process that has just been started, and has read its file, or what is held in the place of it.

        One that finds nothing to run ends at once. `overdue`: the time to confirm a change is over. `handover` is what the
        one before has left to it; who asked and is left to a process that does not run is told of that by the store.
        """
        window = standing.window
        if window is not None and not window.runs and window.revision != disk:
            standing = replace(standing, window=None)  # its write never came, or was edited since
        told = Told(None, standing)
        if standing.window is not None:
            told = self._change_model.resume(standing, overdue=overdue)
        runs = told.standing.wanted(disk)
        process = Process(
            self._initial, blank(LifecycleData()), disk, runs, ended=runs == BAD,
            change=told.change, standing=told.standing, restoring=told.restores,
        )  # fmt: skip
        return (
            forget(process)
            if process.ended
            else self._fire_at("", process, events.Boot(runs, self._policy, handover)).after
        )

    def changes(self, process: Process) -> Iterator[Change]:
        """All that can happen to it next, whatever its accounts do; but for a crash."""
        if process.ended:
            return
        yield from self._file_changes(process)
        yield from self._request_changes(process)
        yield from self._check_changes(process)
        yield from self._decisions(process)
        if process.timer is not None and process.timer is not events.StopOverdue:
            hangs = process.work is not None and process.work.hangs
            yield self._ring(process, rare=process.timer in OVERDUE and not hangs)

    def changes_of_work(self, process: Process, accounts: tuple[View, ...]) -> Iterator[Change]:
        """How its work goes on, which hangs on what it sees of the accounts."""
        if process.ended:
            return
        for turn in turns(process, accounts):
            yield self._follow(process, accounts) if turn.replaces else self._take(turn)
        if process.timer is events.StopOverdue:
            hangs = process.work is None or process.work.hangs or any(account.hangs for account in accounts)
            yield self._ring(process, rare=not hangs)

    def _follow(self, process: Process, accounts: tuple[View, ...]) -> Change:
        """Another image, or another process, takes up what this one leaves: on disk, and by its handover."""
        left = handover_of(self._at(process))
        after = self.begin(process.disk, process.standing, handover=left)
        lives = any(not view.stopped and not view.hangs for view in accounts)
        answered = after.ended or (after.data.served, after.data.tickets) == (left.served, left.tickets)
        broken = ((LEFT_EMPTY,) if lives else ()) + (() if answered else (ONE_OUTCOME,))
        return Change("the next image takes its place", after, broken=broken, anew=True)

    def is_followed(self, process: Process) -> Change | None:
        """One that has ended so that whoever supervises it starts another."""
        if not process.ended or not process.data.served:
            return None
        return replace(self._follow(process, ()), label="whoever supervises it starts another")

    def _ring(self, process: Process, *, rare: bool) -> Change:
        assert process.timer is not None
        event = process.timer(CURRENT)
        rung = replace(process, timer=None)
        return self._fire_at(f"the timer rings: {event.trigger}", rung, event, owed=not rare, cost=int(rare))

    def takes_calls(self, process: Process) -> bool:
        """Whether people may still start and stop accounts."""
        return not process.ended and not is_leaving(self._at(process))

    # The file, and who writes it

    def _file_changes(self, process: Process) -> Iterator[Change]:
        for revision in REVISIONS:
            if revision != process.disk:
                edited = replace(process, disk=revision, unread=True, excused=False)
                yield Change(f"somebody saves {revision}", edited, owed=False, cost=1)
        if process.posted is not None:
            yield self._deliver(process)
            return
        if self._change_model.writes(process.change):
            yield self._go_on_writing(process)
            return
        # Told once more of what it knows, the watcher takes from the budget; of a change it tells for nothing.
        again = not process.unread
        yield Change("the file's event is read", self._read(replace(process, unread=False)), not again, int(again))
        if process.reviewing is not None:
            reading = replace(process, reviewing=None)
            yield Change("the file is read again", self._read(reading))
        if process.restoring:
            yield self._restore(process)
        if not is_ending(self._at(process)):
            yield from self._calls(process)

    def _calls(self, process: Process) -> Iterator[Change]:
        allowed = self._change_model.may_begin(process.standing, confirm=False)
        for revision in REVISIONS:
            if revision != BAD and allowed:
                broken = (BESIDE,) if process.standing.window is not None else ()
                newer = self._pass_over(process)
                yield Change(f"a call writes {revision}", self._write(newer, revision), False, 1, broken)
        aside = process.standing.aside
        if aside is not None and aside.revision == process.disk:
            adopted = self._pass_over(replace(process, standing=replace(process.standing, aside=None)))
            yield Change(
                "somebody wants what the file holds", self._propose(adopted, process.disk, Origin.CALL), False, 1
            )
        if self._confirms and process.change is None and process.wanted != BAD:
            for revision in TO_CONFIRM:
                change = self._change_model.begin(revision, process.wanted, process.disk, process.standing)
                if revision != process.disk and change is not None:
                    begun = replace(process, change=change)
                    yield Change(f"a call writes {revision}, to be confirmed", begun, owed=False, cost=1)

    def _read(self, process: Process) -> Process:
        wanted, known = process.wanted, process.data.known
        if wanted == BAD:
            return replace(process, posted=BAD)
        return self._propose(process if wanted == known else self._pass_over(process), wanted, Origin.FILE)

    def _pass_over(self, process: Process) -> Process:
        """A newer revision goes to the lifecycle than the change's that is open, or than its base."""
        if process.change is None or process.standing.window is not None or process.restoring:
            return process
        return self._tell_change("", process, change_events.ChangeSuperseded("")).after

    def _write(self, process: Process, revision: str) -> Process:
        changed = process.disk != revision
        written = replace(
            process,
            disk=revision,
            unread=process.unread or changed,
            excused=process.excused and not changed,
            asked=process.asked | {revision},
        )
        if written.change is None or not written.change.promised:
            written = replace(written, standing=replace(written.standing, aside=None))
        return self._propose(written, revision, Origin.CALL)

    # A change that must be confirmed

    def _go_on_writing(self, process: Process) -> Change:
        """The promise first, then the file; an edit that came between is seen at the last moment."""
        change = process.change
        assert change is not None, "what is written was begun"
        revision, base = change.data.revision, change.data.base
        if not change.promised:
            promised = replace(
                process, change=replace(change, promised=True), standing=Standing(Window(revision, base))
            )
            return Change(f"the promise to roll {revision} back is kept", promised)
        if process.disk != change.old:
            return self._tell_change(
                "the file was edited meanwhile", process, change_events.ChangeUnfit(CURRENT, Stage.WRITE, "")
            )
        told = self._tell_change("the file is written", process, change_events.ChangeWritten(CURRENT))
        return replace(told, after=self._write(told.after, revision))

    def _restore(self, process: Process) -> Change:
        base, wanted = process.restoring, process.wanted
        # Where what is put back has ended the change already, it has the file looked at again; that waits in line behind this.
        ended = not self._change_model.is_going_back(process.change)
        told = replace(process, restoring="", unread=process.unread or ended)
        if wanted in (base, BAD) or impact(process.ledger, wanted) is Impact.GATEWAY:
            # What needs a restart comes after the base: what is rolled back would run on until then.
            return Change(f"{base} is wanted again", self._propose(told, base, Origin.CALL))
        settled = self._settle_change(told, base, "superseded")
        return replace(
            settled, label="the file was edited beside it", after=self._propose(settled.after, wanted, Origin.FILE)
        )

    def _decisions(self, process: Process) -> Iterator[Change]:
        """What persons, the timer and the accounts say to it."""
        if process.change is None or self._change_model.writes(process.change):
            return
        for label, event, by_itself in self._change_model.decisions(process.change):
            rare = isinstance(event, change_events.AccountLost)
            told = self._tell_change(label, process, event)
            if told.after != process:
                yield replace(told, owed=by_itself, cost=int(rare))

    def _runs(self, process: Process, revision: str) -> Change:
        """A boot or a restart is complete: what waited for it to bring another revision waits in vain."""
        if self._change_model.awaits_other(process.change, revision):
            return self._tell_change("", process, change_events.ChangeSuperseded(""))
        return self._settle_change(process, revision, "applied")

    def _settle_change(self, process: Process, revision: str, word: str) -> Change:
        told = self._change_model.settled(
            process.change, process.standing, revision, word, ends=is_ending(self._at(process))
        )
        return self._take_told("", process, told)

    def _tell_change(self, label: str, process: Process, event: Event) -> Change:
        assert process.change is not None, "there is one to be told"
        return self._take_told(label, process, self._change_model.tell(process.change, process.standing, event))

    def _take_told(self, label: str, process: Process, told: Told) -> Change:
        stale = told.change is not None and self._change_model.takes_stale(told.change)
        is_back = told.change is None and self._change_model.is_going_back(process.change)
        after = replace(
            process, change=told.change, standing=told.standing, unread=process.unread or told.looks_again or is_back,
            restoring=told.restores or process.restoring,
        )  # fmt: skip
        return Change(label, after, broken=told.broken + ((STALE,) if stale else ()))

    def _propose(self, process: Process, revision: str, origin: Origin) -> Process:
        # By which road it came matters where reloads are off; elsewhere it would only make equal worlds look different.
        origin = Origin.FILE if self._reload else origin
        proposal = propose(revision, process.ledger, process.waiting, astray=process.astray)
        roads = dict(process.origins)
        road = roads.get(revision, origin) if origin is Origin.FILE else origin
        return replace(process, posted=proposal, origins=tuple(sorted((roads | {revision: road}).items(), key=_first)))

    def _deliver(self, process: Process) -> Change:
        """What was read reaches the machine; a writer whose revision is refused is told so."""
        arrived = replace(process, posted=None)
        if not isinstance(process.posted, Proposal):
            return self._fire_at("the gateway hears of a bad file", arrived, ConfigRejected(BAD, ""))
        proposal = process.posted
        event = ConfigChanged(
            proposal.revision, proposal.base, proposal.whole, not proposal.complete,
            dict(process.origins).get(proposal.revision, Origin.FILE), self._reload,
            Ticket(_free_id(process.data), "", "", proposal.revision, LATER),
        )  # fmt: skip
        change = self._fire_at(f"the gateway hears of {proposal.revision}", arrived, event, proposal=proposal)
        if change.after is arrived:
            return replace(change, after=replace(arrived, asked=arrived.asked - {proposal.revision}))
        return change

    # Requests

    def _request_changes(self, process: Process) -> Iterator[Change]:
        for due, force in ((SOON, False), (LATEST, True)):
            ticket = Ticket(_free_id(process.data), "", "", None, due, force)
            label = "somebody asks for a restart" + (" by force, later" if force else "")
            yield self._fire_at(label, process, events.RestartRequested(ticket), owed=False, cost=1)
        for ticket in process.data.tickets:
            label = f"somebody cancels {ticket.id}"
            yield self._fire_at(label, process, events.RestartCancelled(ticket.id), owed=False)
        stop = self._fire_at("somebody asks for a stop", process, events.StopRequested(""), owed=False)
        yield stop if stop.after is not process else replace(stop, broken=(*stop.broken, STOP_ARRIVES))

    def _check_changes(self, process: Process) -> Iterator[Change]:
        if not process.busy:
            yield Change("a message is handled for ever", replace(process, busy=True), owed=False, cost=1)
        if not process.checking:
            return
        checked = replace(process, checking=False)
        if process.wanted == BAD:
            yield self._fire_at("the next config cannot be used", checked, events.ConfigUnfit(CURRENT, ""))
            return
        for at in (NOW, MUCH_LATER):
            found = events.WorkInFlight(CURRENT, 1, at)
            label = "messages are in flight" + (" still" if at == MUCH_LATER else "")
            yield self._fire_at(label, checked, found, owed=process.busy)
        if not process.busy:
            yield self._fire_at("a restart may begin", checked, events.RestartReady(CURRENT))

    # The machine

    def _at(self, process: Process) -> Machine[Any, Any]:
        self._machine.state, self._machine.data = process.state, process.data
        return self._machine

    def _take(self, turn: Turn) -> Change:
        owed, cost = not turn.rare, int(turn.rare)
        if turn.completion is None:
            return Change(turn.label, turn.process, owed, cost, asks=turn.asks)
        return self._fire_at(turn.label, replace(turn.process, work=None), turn.completion, owed=owed, cost=cost)

    def _fire_at(
        self, label: str, process: Process, event: Event, *,
        owed: bool = True, cost: int = 0, proposal: Proposal | None = None,
    ) -> Change:  # fmt: skip
        """Fire, perform what is asked for, and hold the promises against it. A refusal leaves the process as it is."""
        before = process.data
        step, state, data, blanked = self._fire(process, event)
        if isinstance(step, Refusal):
            return Change(label, process, owed, cost, self._hold_stale(process))
        renumbered = data.timer != before.timer
        after = replace(
            process, state=state, data=data,
            checking=process.checking and not renumbered, timer=None if renumbered else process.timer,
        )  # fmt: skip
        broken = hold_tickets(before, after.data, step) + hold_known(before, after.data, step)
        for effect in step.effects:
            after, wrong = perform(after, effect, before, proposal)
            broken += wrong
            if isinstance(effect, events.SettleRevision):
                told = self._settle_change(after, effect.revision, effect.outcome)
                after, broken = told.after, broken + told.broken
        if isinstance(event, (events.Started, events.Restarted)):
            told = self._runs(after, event.applied)
            after, broken = told.after, broken + told.broken
        after = forget(replace(after, data=blanked))
        return Change(label, after, owed, cost, broken + self._hold_stale(after))

    def _fire(self, process: Process, event: Event) -> _Fired:
        """The machine's answer, and where it is then. Many worlds differ in what no table sees: each step is taken once."""
        key = process.state, process.data, event
        if key not in self._fired:
            machine = self._at(process)
            self._fired[key] = machine.fire(event), machine.state, machine.data, blank(machine.data)
        return self._fired[key]

    def _hold_stale(self, process: Process) -> tuple[str, ...]:
        """Whatever older work or an older timer may still say must be refused, here and everywhere."""
        key = process.state, process.data
        if key not in self._stale:
            accepted = any(isinstance(self._at(process).fire(event), Step) for event in _STALE_WORDS)
            self._stale[key] = (STALE,) if accepted else ()
        return self._stale[key]


_Fired = tuple[Step | Refusal, Any, LifecycleData, LifecycleData]
"""The answer, the state and the data after it, and these with nothing in them that no guard reads."""

_STALE_WORDS: tuple[Event, ...] = (
    events.Started(OLD, "0a"),
    events.StartFailed(OLD, "", 1),
    events.PlanApplied(OLD, "0a", complete=True),
    events.PlanApplied(OLD, "0a", complete=False),
    events.PlanFailed(OLD, ""),
    events.Restarted(OLD, "0a", NOW, POLICY),
    events.RestartFailed(OLD, "", NOW, recovered=True),
    events.Vacated(OLD),
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
