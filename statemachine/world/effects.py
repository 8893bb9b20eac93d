"""What the effects of the lifecycle do to what surrounds it, and which promises they break by being asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec.structs import replace

from statemachine import lifecycle_events as events
from statemachine._machine import Effect, Step
from statemachine.effects import ArmTimer, DisarmTimer
from statemachine.lifecycle_data import LifecycleData
from statemachine.lifecycle_events import Impact
from statemachine.promises import APPLIED_ONCE, ONE_OUTCOME, ONE_WORK, OPEN_TICKETS, STAYS_AWAY
from statemachine.world.config import BAD, Proposal, config_of, impact
from statemachine.world.state import APPLY, OPEN, REPLACE, RESTART, STOP, VACATE, Process, Work

Performed = tuple[Process, tuple[str, ...]]
"""The process after an effect, and the promises that were broken by it."""

_WORKS: Mapping[type[Effect], str] = {
    events.OpenGateway: OPEN,
    events.ApplyPlan: APPLY,
    events.RestartGateway: RESTART,
    events.VacateGateway: VACATE,
    events.ReplaceProcess: REPLACE,
    events.StopGateway: STOP,
}


def perform(process: Process, effect: Effect, before: LifecycleData, proposal: Proposal | None) -> Performed:
    """An effect of a step, taken at its word. `before` is what the machine knew before the step."""
    kind = type(effect)
    if kind in _WORKS:
        return _start_work(process, effect, proposal)
    if kind is events.CloseTicket:
        assert isinstance(effect, events.CloseTicket)
        return replace(process, excused=process.excused or _gives_up(before, effect)), ()
    act = _COMMANDS.get(kind)
    return (process if act is None else act(process, effect)), ()


def _arm(process: Process, effect: ArmTimer) -> Process:
    """A timer that carries another token than the machine's present one rings in vain."""
    current = getattr(effect.then, "token", None) == process.data.timer
    return replace(process, timer=type(effect.then) if current else None)


def _check(process: Process, effect: events.CheckReadiness) -> Process:
    return replace(process, checking=effect.token == process.data.timer)


def _hurry(process: Process, _: Effect) -> Process:
    return process if process.work is None else replace(process, work=replace(process.work, hurried=True))


def _exit(process: Process, _: Effect) -> Process:
    return replace(process, ended=True, timer=None, work=None)


def note(process: Process, revision: str, outcome: str) -> Process:
    """The ledger's part of it."""
    known = revision in dict(process.origins)
    origins = tuple(item for item in process.origins if item[0] != revision)
    process = replace(process, origins=origins, astray=process.astray and outcome != "applied")
    if outcome == "noop" and known:
        process = replace(process, ledger=revision)
    if outcome == "restart_pending" and known:
        return replace(process, waiting=revision)
    return replace(process, waiting=None) if outcome in ("applied", "noop") else process


def put_back(process: Process, revision: str) -> Process:
    if process.before is None or process.before[0] != revision:
        return process
    return replace(process, ledger=process.before[1], before=None, astray=True)


def _settle(process: Process, effect: events.SettleRevision) -> Process:
    """The machine's word on a revision, as `gateway.process.changes` takes it."""
    noted = note(process, effect.revision, effect.outcome)
    asked = noted.asked - {effect.revision}
    if effect.outcome == "superseded" and effect.revision in noted.asked:
        asked |= {effect.why}
    return replace(noted, asked=asked, excused=noted.excused or effect.outcome == "noted")


def _gives_up(before: LifecycleData, effect: events.CloseTicket) -> bool:
    """Whether closing this ticket says no to what a revision asked for."""
    return effect.outcome in ("cancelled", "refused", "failed") and any(
        ticket.id == effect.id for ticket in (*before.tickets, *before.served)
    )


def _start_work(process: Process, effect: Effect, proposal: Proposal | None) -> Performed:
    broken: tuple[str, ...] = (ONE_WORK,) if process.work is not None else ()
    if isinstance(effect, events.ApplyPlan):
        assert proposal is not None, "a plan comes with its revision"
        runs_already = config_of(proposal.identity) == config_of(process.ledger) and not process.astray
        broken += (APPLIED_ONCE,) if runs_already or proposal.revision != effect.revision else ()
        aside = process.standing.aside
        back = aside is not None and aside.revision == process.disk == effect.revision and process.change is None
        broken += (STAYS_AWAY,) if back and not process.restoring else ()
    if isinstance(effect, (events.RestartGateway, events.VacateGateway)) and _is_needless(process, effect):
        broken += (APPLIED_ONCE,)
    kind = _WORKS[type(effect)]
    return replace(process, work=Work(kind, proposal=proposal if kind == APPLY else None)), broken


def _is_needless(process: Process, effect: events.RestartGateway | events.VacateGateway) -> bool:
    """A restart that only revisions ask for, and what is in the file runs already, and the machine has heard of it."""
    on_its_way = bool(process.unread or process.posted or process.reviewing or process.restoring)
    wanted = process.wanted
    heard = process.data.known in ("", wanted) and not on_its_way
    runs_already = wanted != BAD and impact(process.ledger, wanted) is Impact.NONE and not process.astray
    return heard and runs_already and all(ticket.revision is not None for ticket in effect.tickets)


_COMMANDS: Mapping[type[Effect], Callable[[Process, Any], Process]] = {
    ArmTimer: _arm,
    DisarmTimer: lambda process, _: replace(process, timer=None),
    events.CheckReadiness: _check,
    events.ReviewConfig: lambda process, effect: replace(process, reviewing=effect.revision),
    events.CancelWork: lambda process, _: replace(process, work=None),
    events.HurryStop: _hurry,
    events.AbandonPlan: lambda process, effect: put_back(process, effect.revision),
    events.SettleRevision: _settle,
    events.Exit: _exit,
}


def hold_tickets(before: LifecycleData, after: LifecycleData, step: Step) -> tuple[str, ...]:
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
            case events.RestartGateway(tickets=tickets) | events.VacateGateway(tickets=tickets):
                broken += (OPEN_TICKETS,) if not tickets or set(tickets) != set(before.tickets) else ()
    kept = {ticket.id for ticket in (*after.tickets, *after.served)}
    return broken + ((ONE_OUTCOME,) if kept != open_ids else ())


def hold_known(before: LifecycleData, after: LifecycleData, step: Step) -> tuple[str, ...]:
    """What is known of a revision moves nothing; one that was only noted is news once a call asks for it."""
    event = step.event
    if not isinstance(event, events.ConfigChanged) or event.revision != before.known:
        return ()
    news = before.drift and event.origin is events.Origin.CALL
    moved = step.before != step.after or len(after.tickets) > len(before.tickets)
    return (APPLIED_ONCE,) if moved and not news else ()
