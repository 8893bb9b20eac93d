"""Holds the promises that can be held at every single step: what the dispatcher decided, and what it set going.

It sees each event with what its machine knew before, so "stale" is judged here a second time, by other code.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from statemachine import Effect, Event, Outcome, Refusal, Step, incoming
from statemachine import channel_events as channels
from statemachine import lifecycle_events as events
from statemachine.channel_events import By
from tests.simulation.referee import Referee

NUMBERS = {"token": "timer", "timer": "timer", "work": "work", "generation": "generation", "attempt": "attempt"}
"""What an event may carry, and the field that holds the current one."""
DROPS = (events.RestartCancelled, events.ConfigUnfit, events.RestartFailed)
"""After these nothing may be left that waits for a restart."""


class Monitor:
    """One process' decisions."""

    def __init__(self, referee: Referee) -> None:
        self._referee = referee
        self.open: dict[str, str | None] = {}
        self.served: set[str] = set()
        self.receivers: dict[str, int] = {}
        self.newest: dict[str, int] = {}
        self.intents: dict[str, bool] = {}
        """By account: whether a person has stopped it, as far as a person was heard."""
        self.restarts = 0
        self.applied = ""
        self.last_change = ""
        self.turns = 0
        """How often another revision came than the one before."""
        self.opened_in: dict[str, int] = {}
        """By revision: in which of these turns a ticket was opened for it last."""
        self.astray = False
        """A reload broke off: the revision that runs by the book is applied once more, for the accounts that it lost."""
        self.dropped = False
        """Somebody cancelled or refused the restart that a revision needed."""
        self.reloading = False
        self.wanted: Callable[[str], Any] = lambda _: None
        """The settings of an account in the config that runs, or is being carried out."""
        self.stop_budget: float | None = None
        self.on_stop: Callable[[float], object] = lambda _: None
        self.on_dropped: Callable[[str | None], object] = lambda _: None
        self.finished: set[str] = set()
        """Messages that have come to their end, whether that is on the disk already or not."""
        self._effects: dict[type[Effect], Callable[[str, Any], None]] = {
            events.TicketOpened: self._opened,
            events.CloseTicket: self._closed,
            events.RestartGateway: self._restarts,
            events.VacateGateway: self._restarts,
            events.ApplyPlan: self._applies,
            events.AbandonPlan: self._abandons,
            channels.OpenReceiver: self._opens_receiver,
            incoming.Finish: lambda name, _: self.finished.add(name),
        }

    def see(self, name: str, before: Any, event: Event, result: Step | Refusal) -> None:
        if isinstance(result, Refusal):
            self._referee.counts["refusals"] += 1
            self._referee.expect("defect" not in result.guards, "no defect", result.why)
            return
        self._referee.counts["steps"] += 1
        for carried, current in NUMBERS.items():
            said = getattr(event, carried, None)
            if said is not None and said != getattr(before, current, said):
                self._referee.blame("nothing stale has an effect", f"{name} took {event.trigger} of {carried} {said}")
        self._note(name, before, event, result)
        if isinstance(event, events.Boot):
            # What the image before has left was opened there.
            self.served = {ticket.id for ticket in event.handover.served}
            self.open = {ticket.id: ticket.revision for ticket in event.handover.tickets}
            return
        if self.reloading and isinstance(event, (channels.Restart, channels.Stop)) and event.by is By.GATEWAY:
            self._hold_touch(name, before, event, result)
        for effect in result.effects:
            handle = self._effects.get(type(effect))
            if handle is not None:
                handle(name, effect)
        if isinstance(event, events.ConfigChanged):
            self.turns += event.revision != self.last_change
            self.last_change = event.revision
        elif isinstance(event, DROPS) and result.after == "running":
            self.on_dropped(before.kept)
        self._hold_needs(event, result)

    def _note(self, name: str, before: Any, event: Event, step: Step) -> None:
        """What an accepted event means to the promises."""
        if isinstance(event, (channels.ReceiverEnded, channels.ReceiverFenced)):
            self.receivers.pop(name, None)
        elif isinstance(event, (channels.Start, channels.Stop, channels.Restart)):
            if event.by is By.PERSON:
                self.intents[name] = isinstance(event, channels.Stop)
        elif isinstance(event, events.StopRequested):
            self.reloading = False
            if self.stop_budget is None:
                self.stop_budget = before.policy.stop_timeout
                self.on_stop(self.stop_budget)
        elif isinstance(event, (events.ConfigUnfit, events.RestartFailed)):
            self.dropped = True
        elif isinstance(event, events.RestartCancelled):
            self.dropped |= self.open.get(event.ticket_id) is not None
        elif isinstance(event, events.ConfigChanged):
            self._change(before, event, step)
        else:
            if isinstance(event, (events.PlanApplied, events.PlanFailed, events.ReloadOverdue)):
                self.reloading = False
            self._note_applied(before, event)

    def _hold_touch(self, name: str, before: Any, event: Any, step: Step) -> None:
        """A hot reload ends no receiver that it would begin again with the same settings."""
        settings = self.wanted(name)
        stays = settings is not None and settings.enabled and settings == before.run.settings
        self._referee.expect(
            not (stays and step.before == "running") or self.astray,
            "a reload touches what it names",
            f"{name} runs as it is to run, and was told to {event.trigger}",
        )

    def _note_applied(self, before: Any, event: Event) -> None:
        if isinstance(event, events.Boot):
            self.applied = event.revision
        elif isinstance(event, events.Restarted):
            self.applied, self.astray = event.applied, False
        elif isinstance(event, events.PlanApplied):
            self.astray = False
            self.applied = before.carried or event.applied

    def _change(self, before: Any, event: events.ConfigChanged, step: Step) -> None:
        moved_to_work = step.before != step.after and step.after in ("hot_reloading", "restart_pending")
        self._referee.expect(
            not (moved_to_work and event.revision == before.applied) or self.astray,
            "an unchanged revision changes nothing",
            f"{event.revision[:8]} runs already, and led to {step.after}",
        )
        if event.impact is events.Impact.NONE and step.outcome is Outcome.DONE:
            self.applied = event.revision

    def _hold_needs(self, event: Event, step: Step) -> None:
        """Where nothing needs a restart any more, no revision asks for one."""
        applied = isinstance(event, events.PlanApplied) and event.complete
        same = isinstance(event, events.ConfigChanged) and event.impact is events.Impact.NONE
        if applied or (same and step.outcome is Outcome.DONE):
            asking = [ticket for ticket, revision in self.open.items() if revision is not None]
            self._referee.expect(not asking, "a ticket dies with its need", f"{asking} stand after {event.trigger}")

    # Effects

    def _opened(self, _: str, effect: events.TicketOpened) -> None:
        ticket = effect.ticket
        twice = ticket.revision is not None and ticket.revision in self.open.values()
        self._referee.expect(
            not (twice and self.opened_in.get(str(ticket.revision)) == self.turns),
            "one change, one ticket",
            f"a second ticket {ticket.id} for revision {str(ticket.revision)[:8]}, which nothing has replaced",
        )
        self._referee.expect(ticket.id not in self.open, "one outcome a request", f"{ticket.id} was opened twice")
        self.open[ticket.id] = ticket.revision
        self.opened_in[str(ticket.revision)] = self.turns

    def _closed(self, _: str, effect: events.CloseTicket) -> None:
        known = effect.id in self.open or effect.id in self.served
        self._referee.expect(known, "one outcome a request", f"{effect.id} was closed and is not open")
        self.open.pop(effect.id, None)
        self.served.discard(effect.id)

    def _restarts(self, _: str, effect: events.RestartGateway | events.VacateGateway) -> None:
        asked = {ticket.id for ticket in effect.tickets}
        self._referee.expect(
            bool(asked) and asked == set(self.open),
            "a restart serves the open tickets",
            f"it serves {sorted(asked) or 'none'}, open are {sorted(self.open) or 'none'}",
        )
        self.served, self.open = asked, {}
        self.restarts += 1
        self.dropped = False
        self._referee.counts["restarts"] += 1

    def _applies(self, _: str, effect: events.ApplyPlan) -> None:
        again = effect.revision == self.applied and not self.astray
        self._referee.expect(
            not again, "one change is applied once", f"revision {effect.revision[:8]} is applied again"
        )
        self.reloading = True

    def _abandons(self, _: str, __: events.AbandonPlan) -> None:
        self.astray = True

    def _opens_receiver(self, name: str, effect: channels.OpenReceiver) -> None:
        older = self.receivers.get(name)
        self._referee.expect(
            older is None, "one receiver", f"{name}: generation {effect.generation} begins, and {older} has not ended"
        )
        newer = effect.generation > self.newest.get(name, 0)
        self._referee.expect(newer, "one receiver", f"{name}: generation {effect.generation} is used twice")
        self.receivers[name] = self.newest[name] = effect.generation
