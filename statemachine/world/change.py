"""A change that must be confirmed, in the product: the real machine, its promise on disk, and what the shell does for it.

A plain change only follows what the lifecycle says; one that must be confirmed decides what is *wanted* in the place of the
file, so that is what is told here. At most one is open at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec.structs import replace

from statemachine import change_events as events
from statemachine._machine import Effect, Event, Machine, Refusal, Step
from statemachine.change import Change, ChangeState, awaited_of, awaits_word_on, has_ended, is_watched, restores
from statemachine.change_events import ChangeData, Settlement
from statemachine.effects import ArmTimer
from statemachine.promises import CONFIRMED
from statemachine.world.account import CURRENT, OLD

SECONDS = 1.0
"""A window's length; time is gone, so any will do."""

SETTLEMENTS = {
    "applied": Settlement.RUNS,
    "noop": Settlement.RUNS,
    "restart_pending": Settlement.WAITS,
    "failed": Settlement.BROKE,
}


class Window(msgspec.Struct, frozen=True):
    """The promise on disk. `runs`: its deadline is on disk, too, so that a boot may come too late."""

    revision: str
    base: str
    runs: bool = False


class Aside(msgspec.Struct, frozen=True):
    """What was rolled back, and what is wanted as long as the file holds it."""

    revision: str
    base: str


class Standing(msgspec.Struct, frozen=True, cache_hash=True):
    """What outlives the process beside the file."""

    window: Window | None = None
    aside: Aside | None = None

    def wanted(self, disk: str) -> str:
        """As `gateway.config.standing` has it."""
        if self.window is not None:
            return self.window.revision
        return self.aside.base if self.aside is not None and self.aside.revision == disk else disk


NOTHING_STANDS = Standing()


class Open(msgspec.Struct, frozen=True, cache_hash=True):
    """The change that is open. `promised`: the promise to roll it back is on disk, and the file is not written yet."""

    state: Any
    data: ChangeData
    old: str = ""
    """What the file held when it was proposed."""
    promised: bool = False
    timer: bool = False


class Told(msgspec.Struct, frozen=True):
    """What came of an event: the change (None: it has ended), what stands, whether the lifecycle is to be told, and broken promises."""

    change: Open | None
    standing: Standing
    submits: bool = False
    looks_again: bool = False
    restores: str = ""
    """A base of which the lifecycle is to be told."""
    broken: tuple[str, ...] = ()


class ChangeModel:
    """Fires events at a change machine class, and performs what it asks for."""

    def __init__(self, change: type[Machine[Any, Any]] = Change) -> None:
        self._machine = change("change", ChangeData())
        self._initial = change.initial
        self._fired: dict[tuple[Any, ChangeData, Event], tuple[Step | Refusal, Any, ChangeData]] = {}

    def may_begin(self, standing: Standing, *, confirm: bool) -> bool:
        """Whether a call is taken up."""
        return self._propose(standing, confirm=confirm) is not None

    def _propose(self, standing: Standing, *, confirm: bool) -> Open | None:
        seconds = SECONDS if confirm else None
        proposed = events.ChangeProposed(writes=True, confirm=seconds, window=standing.window is not None)
        return self.tell(Open(self._initial, _blank(ChangeData())), standing, proposed).change

    def begin(self, revision: str, base: str, disk: str, standing: Standing) -> Open | None:
        """A call that must be confirmed, read and planned: about to be written."""
        change = self._propose(standing, confirm=True)
        for event in (events.ChangeValidated(CURRENT, revision, base), events.ChangeProvisioned(CURRENT)):
            change = None if change is None else self.tell(change, standing, event).change
        return None if change is None else replace(change, old=disk)

    def resume(self, standing: Standing, *, overdue: bool) -> Told:
        """What a boot finds."""
        window = standing.window
        assert window is not None, "a boot resumes what is on disk"
        event = events.ChangeResumed(window.revision, window.base, SECONDS, overdue)
        return self.tell(Open(self._initial, _blank(ChangeData())), standing, event)

    def may_take(self, change: Open | None, revision: str) -> bool:
        return change is not None and awaits_word_on(self._at(change), revision)

    def awaits_other(self, change: Open | None, revision: str) -> bool:
        return change is not None and awaited_of(self._at(change)) not in (None, revision)

    def settled(self, change: Open | None, standing: Standing, revision: str, word: str, *, ends: bool) -> Told:
        """The lifecycle's word on a revision."""
        if change is None or not self.may_take(change, revision):
            return Told(change, standing)
        settlement = SETTLEMENTS.get(word, Settlement.PASSED)
        if settlement is Settlement.BROKE and ends:
            settlement = Settlement.ENDS
        return self.tell(change, standing, events.RevisionSettled(revision, settlement, word, "", ""))

    def tell(self, change: Open, standing: Standing, event: Event) -> Told:
        """Fire an event at it. A refusal leaves everything as it is."""
        step, state, data = self._fire(change, event)
        if isinstance(step, Refusal):
            return Told(change, standing)
        renumbered = data.timer != change.data.timer
        after = replace(change, state=state, data=_blank(data), timer=change.timer and not renumbered)
        told = Told(after, standing)
        for effect in step.effects:
            told = _perform(told, effect, event, data.timer)
        return replace(told, change=None) if has_ended(self._at(after)) else told

    def _fire(self, change: Open, event: Event) -> tuple[Step | Refusal, Any, ChangeData]:
        """The machine's answer, and where it is then. Many worlds have the same change: each step of it is taken once."""
        key = change.state, change.data, event
        if key not in self._fired:
            machine = self._at(change)
            self._fired[key] = machine.fire(event), machine.state, machine.data
        return self._fired[key]

    def decisions(self, change: Open) -> Iterator[tuple[str, Event, bool]]:
        """What may be said to it: a label, the event, and whether it comes by itself."""
        machine = self._at(change)
        yield "somebody confirms", events.ChangeConfirmed(""), False
        yield "somebody cancels the change", events.ChangeCancelled(""), False
        if change.timer:
            yield "the time to confirm is over", events.ProbationOver(CURRENT), True
        if is_watched(machine):
            yield "an account that ran fails", events.AccountLost("", ""), False

    def takes_stale(self, change: Open) -> bool:
        """Whether it would take what older work or an older timer says."""
        stale = (
            events.ChangeValidated(OLD, "", ""), events.ChangeProvisioned(OLD), events.ChangeWritten(OLD),
            events.ProbationOver(OLD), events.StageOverdue(OLD), events.HealthChecked(OLD, healthy=True),
        )  # fmt: skip
        return any(not isinstance(self._fire(change, event)[0], Refusal) for event in stale)

    def writes(self, change: Open | None) -> bool:
        """Its file is being written: nobody else reads or writes meanwhile."""
        return change is not None and change.state is ChangeState.WRITING

    def is_going_back(self, change: Open | None) -> bool:
        """What ran before is being put back in its place; when it is, the file is looked at again."""
        return change is not None and restores(self._at(change)) is not None

    def _at(self, change: Open) -> Machine[Any, Any]:
        self._machine.state, self._machine.data = change.state, change.data
        return self._machine


def _blank(data: ChangeData) -> ChangeData:
    return replace(data, timer=CURRENT, work=CURRENT)


def _perform(told: Told, effect: Effect, event: Event, timer: int) -> Told:
    change, standing = told.change, told.standing
    assert change is not None, "effects come of a change that was there"
    match effect:
        case events.SubmitRevision():
            return replace(told, submits=True)
        case events.OpenWindow(revision=revision):
            return replace(told, standing=Standing(Window(revision, change.data.base, runs=True)))
        case events.CloseWindow(revision=revision):
            stays = not isinstance(event, events.ChangeConfirmed) and change.state is ChangeState.COMMITTED
            left = replace(standing, window=None)
            return replace(told, standing=left, looks_again=True, broken=told.broken + ((CONFIRMED,) if stays else ()))
        case events.RestoreBase(revision=revision, base=base):
            aside = Standing(None, Aside(revision, base))
            return replace(told, standing=aside, restores=base)
        case ArmTimer(then=then):
            return replace(told, change=replace(change, timer=getattr(then, "token", None) == timer))
    return told
