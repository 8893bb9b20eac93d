"""The gateway process in the product: the real lifecycle machine, its timer, its work, the file, and who waits for an answer.

What `gateway.process` does for an effect is told here in a few moves each: begin, come to an end, or fail.
Time is gone and numbers are relative, as with the accounts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from statemachine import lifecycle_events as events
from statemachine._machine import Effect, Event, Machine, Refusal, Step
from statemachine.channel import By, Restart, Start, Stop
from statemachine.effects import ArmTimer, DisarmTimer
from statemachine.lifecycle import is_ending
from statemachine.lifecycle_data import LifecycleData, Waiting
from statemachine.lifecycle_events import ConfigChanged, ConfigRejected, LifecyclePolicy, Origin, Ticket
from statemachine.world.account import CURRENT, OFF, OLD, STALE, View, run_with
from statemachine.world.config import BAD, FIRST, REVISIONS, Proposal, config_of, impact, propose, settings_of

APPLIED_ONCE = "a revision is applied once"
ONE_OUTCOME = "a request has one outcome"
OPEN_TICKETS = "a restart serves open tickets"
ONE_WORK = "one piece of work at a time"

POLICY = LifecyclePolicy(cooldown=0.0)
SOON, LATER, LATEST = 1.0, 2.0, 3.0
"""When tickets are due: a person's hasty one, a revision's, a person's patient one."""
NOW = 5.0
MUCH_LATER = 500.0
"""Past the budget for waiting."""
OVERDUE = (events.StartOverdue, events.ReloadOverdue, events.RestartOverdue, events.StopOverdue)

Asks = tuple[Event | None, ...]


class Work(NamedTuple):
    """Work under way: of which kind, whether it has begun, what it applies, and which accounts it waits for."""

    kind: str
    begun: bool = False
    proposal: Proposal | None = None
    touched: tuple[bool, ...] = ()
    hurried: bool = False


class Process(NamedTuple):
    """One gateway process and its file."""

    state: Any
    data: LifecycleData
    disk: str
    ledger: str
    """The identity that runs by the shell's own book; the machine's `applied` follows it."""
    timer: type[Event] | None = None
    work: Work | None = None
    checking: bool = False
    reviewing: str | None = None
    unread: bool = False
    """The file has changed, and its event has not been read."""
    posted: Proposal | str | None = None
    """A reading that is on its way to the machine: a proposal, or BAD."""
    origins: tuple[tuple[str, Origin], ...] = ()
    """By which road revisions came that are not settled."""
    before: tuple[str, str] | None = None
    waiting: str | None = None
    astray: bool = False
    """A reload broke off, and accounts may run with what it wanted."""
    asked: frozenset[str] = frozenset()
    """Revisions whose writers wait for an answer."""
    excused: bool = False
    """Somebody has cancelled or refused what the file asks for."""
    busy: bool = False
    """A message in flight does not end."""
    ended: bool = False


class Change(NamedTuple):
    """A move of the process; `asks` are events for the accounts, `cost` is what it takes from the outside's budget."""

    label: str
    after: Process
    owed: bool = True
    cost: int = 0
    broken: tuple[str, ...] = ()
    asks: Asks = ()


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
        process = Process(self._initial, _blank(LifecycleData()), disk, disk, ended=disk == BAD)
        return process if process.ended else self._change("", process, events.Boot(disk, POLICY)).after

    def changes(self, process: Process) -> Iterator[Change]:
        """All that can happen to it next, whatever its accounts do; but for a crash."""
        if process.ended:
            return
        yield from self._file_changes(process)
        yield from self._request_changes(process)
        yield from self._check_changes(process)
        if process.timer is not None and process.timer is not events.StopOverdue:
            yield self._ring(process, rare=process.timer in OVERDUE)

    def changes_of_work(self, process: Process, accounts: tuple[View, ...]) -> Iterator[Change]:
        """How its work goes on, which hangs on what it sees of the accounts."""
        if process.ended or process.work is None:
            return
        yield from _WORKS[process.work.kind](self, process, process.work, accounts)
        if process.timer is events.StopOverdue:
            yield self._ring(process, rare=not any(account.hangs for account in accounts))

    def _ring(self, process: Process, *, rare: bool) -> Change:
        assert process.timer is not None
        event = process.timer(CURRENT)  # type: ignore[call-arg]
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
        yield self._change("somebody asks for a stop", process, events.StopRequested(""), owed=False)

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

    # Work: each kind in its moves

    def _opening(self, process: Process, work: Work, accounts: tuple[View, ...]) -> Iterator[Change]:
        settings = [settings_of(process.ledger, number) for number in range(len(accounts))]
        if not work.begun:
            asks = tuple(Start(run_with(some), By.GATEWAY) if some != OFF else None for some in settings)
            yield Change("the accounts are asked to start", _begun(process, work), asks=asks)
        else:
            yield self._end("the gateway is open", process, events.Started(CURRENT, process.ledger))
        failed = events.StartFailed(CURRENT, "", 1)
        yield self._end("it cannot be opened", process, failed, owed=False, cost=1)

    def _applying(self, process: Process, work: Work, accounts: tuple[View, ...]) -> Iterator[Change]:
        assert work.proposal is not None
        revision, identity, complete = work.proposal.revision, work.proposal.identity, work.proposal.complete
        if not work.begun:
            asks = tuple(
                _bring(view, settings_of(process.ledger, number), settings_of(identity, number))
                for number, view in enumerate(accounts)
            )
            begun = _begun(process, work, tuple(ask is not None for ask in asks))
            yield Change(
                f"the plan of {revision} is begun",
                begun._replace(before=(revision, process.ledger), ledger=identity, astray=False), asks=asks,
            )  # fmt: skip
        put_back = _put_back(process, revision)
        waited_for = [view for view, touched in zip(accounts, work.touched, strict=False) if touched]
        if work.begun and all(view.settled for view in waited_for):
            if any(view.broken for view in waited_for):
                yield self._end("an account broke", put_back, events.PlanFailed(CURRENT, ""))
            else:
                applied = events.PlanApplied(CURRENT, identity, complete)
                yield self._end(f"{revision} is applied", process, applied)
        failed = events.PlanFailed(CURRENT, "")
        yield self._end("the plan cannot be carried out", put_back, failed, owed=False, cost=1)

    def _restarting(self, process: Process, work: Work, accounts: tuple[View, ...]) -> Iterator[Change]:
        if not work.begun and process.disk == BAD:
            yield self._end("the file cannot be used", process, events.RestartFailed(CURRENT, "", NOW, recovered=True))
            return
        if not work.begun:
            settings = [settings_of(process.disk, number) for number in range(len(accounts))]
            asks = tuple(Restart(run_with(x), By.GATEWAY) if x != OFF else Stop(By.GATEWAY) for x in settings)
            swapped = _begun(process, work)._replace(ledger=process.disk)
            yield Change(f"the restart reads {process.disk}", _note(swapped, process.disk, "applied"), asks=asks)
        elif all(view.settled for view in accounts) or any(view.hangs for view in accounts):
            restarted = events.Restarted(CURRENT, process.ledger, NOW, POLICY)
            yield self._end("the restart is complete", process, restarted)
        for recovered in (False,) if work.begun else (False, True):
            failed = events.RestartFailed(CURRENT, "", NOW, recovered)
            label = "the restart fails" + (", and the old run is back" if recovered else "")
            yield self._end(label, process, failed, owed=False, cost=1)

    def _stopping(self, process: Process, work: Work, accounts: tuple[View, ...]) -> Iterator[Change]:
        if not work.begun:
            asks = tuple(Stop(By.GATEWAY, confirm=True) for _ in accounts)
            yield Change("the accounts are asked to stop", _begun(process, work), asks=asks)
        elif work.hurried or all(view.stopped for view in accounts):
            yield self._end("everything has ended", process, events.StopFinished(CURRENT))
        yield self._end("the stop breaks", process, events.StopFailed(CURRENT, ""), owed=False, cost=1)

    # The machine

    def _at(self, process: Process) -> Machine[Any, Any]:
        self._machine.state, self._machine.data = process.state, process.data
        return self._machine

    def _end(self, label: str, process: Process, completion: Event, *, owed: bool = True, cost: int = 0) -> Change:
        return self._change(label, process._replace(work=None), completion, owed=owed, cost=cost)

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
        broken = _hold_tickets(before, after.data, step)
        for effect in step.effects:
            after, wrong = _perform(after, effect, proposal, before)
            broken += wrong
        after = _forget(after._replace(data=_blank(after.data)))
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


_WORKS = {
    "open": ProcessModel._opening,
    "apply": ProcessModel._applying,
    "restart": ProcessModel._restarting,
    "stop": ProcessModel._stopping,
}

_STALE_WORDS: tuple[Event, ...] = (
    events.Started(OLD, "0a"),
    events.StartFailed(OLD, "", 1),
    events.PlanApplied(OLD, "0a", complete=True),
    events.PlanFailed(OLD, ""),
    events.Restarted(OLD, "0a", NOW, POLICY),
    events.RestartFailed(OLD, "", NOW, recovered=True),
    events.StopFinished(OLD),
    events.StopFailed(OLD, ""),
    events.RestartReady(OLD),
    events.WorkInFlight(OLD, 1, MUCH_LATER),
    events.ConfigUnfit(OLD, ""),
    *(ring(OLD) for ring in (*OVERDUE, events.RestartDue)),
)


def _perform(
    process: Process, effect: Effect, proposal: Proposal | None, before: LifecycleData
) -> tuple[Process, tuple[str, ...]]:
    match effect:
        case ArmTimer(then=then):
            return process._replace(timer=type(then) if then.token == process.data.timer else None), ()  # type: ignore[attr-defined]
        case DisarmTimer():
            return process._replace(timer=None), ()
        case events.CheckReadiness(token=token):
            return process._replace(checking=token == process.data.timer), ()
        case events.ReviewConfig(revision=revision):
            return process._replace(reviewing=revision), ()
        case events.CancelWork():
            return process._replace(work=None), ()
        case events.HurryStop() if process.work is not None:
            return process._replace(work=process.work._replace(hurried=True)), ()
        case events.AbandonPlan(revision=revision):
            return _put_back(process, revision), ()
        case events.SettleRevision(revision=revision, outcome=outcome, why=why):
            return _settle(process, revision, outcome, why), ()
        case events.CloseTicket(outcome=outcome, id=id_):
            return process._replace(excused=process.excused or _gives_up(before, id_, outcome)), ()
        case events.Exit():
            return process._replace(ended=True, timer=None, work=None), ()
        case events.OpenGateway() | events.ApplyPlan() | events.RestartGateway() | events.StopGateway():
            return _start_work(process, effect, proposal)
    return process, ()


def _start_work(process: Process, effect: Any, proposal: Proposal | None) -> tuple[Process, tuple[str, ...]]:
    broken: tuple[str, ...] = (ONE_WORK,) if process.work is not None else ()
    match effect:
        case events.ApplyPlan(revision=revision):
            assert proposal is not None, "a plan comes with its revision"
            runs_already = config_of(proposal.identity) == config_of(process.ledger) and not process.astray
            broken += (APPLIED_ONCE,) if runs_already or proposal.revision != revision else ()
            return process._replace(work=Work("apply", proposal=proposal)), broken
        case events.RestartGateway(tickets=tickets):
            heard = process.data.known in ("", process.disk) and not process.unread and process.posted is None
            runs_already = process.disk != BAD and impact(process.ledger, process.disk) == 0
            needless = heard and runs_already and all(ticket.revision is not None for ticket in tickets)
            return process._replace(work=Work("restart")), broken + ((APPLIED_ONCE,) if needless else ())
        case events.OpenGateway():
            return process._replace(work=Work("open")), broken
    return process._replace(work=Work("stop")), broken


def _hold_tickets(before: LifecycleData, after: LifecycleData, step: Step) -> tuple[str, ...]:
    """Each ticket is opened once and closed once, and a restart takes all that are open."""
    broken: tuple[str, ...] = ()
    open_ids = {ticket.id for ticket in (*before.tickets, *before.served)}
    served = {ticket.id for ticket in before.served}
    for effect in step.effects:
        match effect:
            case events.TicketOpened(ticket=ticket):
                broken += (ONE_OUTCOME,) if ticket.id in open_ids else ()
                open_ids.add(ticket.id)
            case events.CloseTicket(id=id_, outcome=outcome):
                broken += (ONE_OUTCOME,) if id_ not in open_ids else ()
                broken += (OPEN_TICKETS,) if outcome == "done" and id_ not in served else ()
                open_ids.discard(id_)
            case events.RestartGateway(tickets=tickets):
                broken += (OPEN_TICKETS,) if not tickets or set(tickets) != set(before.tickets) else ()
    kept = {ticket.id for ticket in (*after.tickets, *after.served)}
    return broken + ((ONE_OUTCOME,) if kept != open_ids else ())


def _settle(process: Process, revision: str, outcome: str, why: str) -> Process:
    """The machine's word on a revision, as `gateway.process.changes` takes it."""
    noted = _note(process, revision, outcome)
    asked = noted.asked - {revision}
    if outcome == "superseded" and revision in noted.asked:
        asked |= {why}
    return noted._replace(asked=asked, excused=noted.excused or outcome == "noted")


def _note(process: Process, revision: str, outcome: str) -> Process:
    """The ledger's part of it."""
    known = revision in dict(process.origins)
    origins = tuple(item for item in process.origins if item[0] != revision)
    process = process._replace(origins=origins, astray=process.astray and outcome != "applied")
    if outcome == "noop" and known:
        process = process._replace(ledger=revision)
    if outcome == "restart_pending" and known:
        return process._replace(waiting=revision)
    return process._replace(waiting=None) if outcome in ("applied", "noop") else process


def _put_back(process: Process, revision: str) -> Process:
    if process.before is None or process.before[0] != revision:
        return process
    return process._replace(ledger=process.before[1], before=None, astray=True)


def _gives_up(before: LifecycleData, ticket_id: str, outcome: str) -> bool:
    """Whether closing this ticket says no to what a revision asked for."""
    if outcome not in ("cancelled", "refused", "failed"):
        return False
    return any(ticket.id == ticket_id for ticket in (*before.tickets, *before.served))


def _forget(process: Process) -> Process:
    """What nothing will ask for any more is forgotten, so that equal futures are equal worlds."""
    kind = process.work.kind if process.work is not None else ""
    if kind == "restart":
        # Who waits for an answer when a restart begins is told so: the connection ends with it.
        process = process._replace(asked=frozenset())
    if kind != "apply":
        process = process._replace(before=None)
    if process.ended or kind == "stop":
        on_its_way = process.posted.revision if isinstance(process.posted, Proposal) else ""
        data = replace(process.data, known="", applied="", rejected=None, drift=False)
        process = process._replace(
            data=data, ledger=FIRST, unread=False, posted=None, origins=(), waiting=None, astray=False,
            asked=process.asked - {on_its_way}, excused=False, busy=False,
        )  # fmt: skip
    return process


def _begun(process: Process, work: Work, touched: tuple[bool, ...] = ()) -> Process:
    return process._replace(work=work._replace(begun=True, touched=touched))


def _bring(view: View, old: str, new: str) -> Event | None:
    """What a plan does to one account, and what an earlier one left behind with it."""
    if new == OFF:
        return Stop(By.GATEWAY) if old != OFF or not view.stopped else None
    left_behind = not view.stopped and view.settings != new
    return Restart(run_with(new), By.GATEWAY) if old != new or left_behind else None


def _free_id(data: LifecycleData) -> str:
    taken = {ticket.id for ticket in (*data.tickets, *data.served)}
    return next(name for number in range(100) if (name := f"ticket {number}") not in taken)


def _first(item: tuple[str, Origin]) -> str:
    return item[0]


def _blank(data: LifecycleData) -> LifecycleData:
    """Numbers made relative, and what no guard reads made equal."""
    return replace(
        data, policy=POLICY, work=CURRENT, timer=CURRENT, restarts=0, cooled_at=0.0, waiting=Waiting.NOTHING,
        deferred_since=None if data.deferred_since is None else NOW,
    )  # fmt: skip
