"""What `gateway.process.operations` does for the lifecycle, in a few moves each: begin, come to an end, or fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import msgspec
from msgspec.structs import replace

from statemachine import lifecycle_events as events
from statemachine._machine import Event
from statemachine.channel_events import By, Restart, Start, Stop
from statemachine.world.account import CURRENT, OFF, View, run_with
from statemachine.world.config import BAD, settings_of
from statemachine.world.effects import note
from statemachine.world.state import APPLY, NOW, OPEN, REPLACE, RESTART, STOP, VACATE, Asks, Process, Work

Accounts = tuple[View, ...]


class Turn(msgspec.Struct, frozen=True):
    """A move of a piece of work. With a `completion` it is its last; a rare one takes from the outside's budget."""

    label: str
    process: Process
    completion: Event | None = None
    asks: Asks = ()
    rare: bool = False
    replaces: bool = False
    """Its last as well: the next image takes the place of this one."""


def turns(process: Process, accounts: Accounts) -> Iterator[Turn]:
    """How the work that is under way can go on."""
    work = process.work
    # A reading that is on its way has its turn before anything is begun: it was posted first.
    comes_first = process.posted is not None and work is not None and not work.begun
    if work is not None and not work.hangs and not comes_first:
        yield from _KINDS[work.kind](process, work, accounts)
        yield Turn("the work hangs", replace(process, work=replace(work, hangs=True)), rare=True)


def _opening(process: Process, work: Work, accounts: Accounts) -> Iterator[Turn]:
    settings = [settings_of(process.ledger, number) for number in range(len(accounts))]
    barred = [view.rival and some != OFF for view, some in zip(accounts, settings, strict=True)]
    if not work.begun and any(barred):
        yield Turn("another gateway has an account of it", process, events.StartFailed(CURRENT, "", 76))
    elif not work.begun:
        asks = tuple(Start(run_with(some), By.GATEWAY) if some != OFF else None for some in settings)
        yield Turn("the accounts are asked to start", _begun(process, work), asks=asks)
    else:
        yield Turn("the gateway is open", process, events.Started(CURRENT, process.ledger))
    yield Turn("it cannot be opened", process, events.StartFailed(CURRENT, "", 1), rare=True)


def _applying(process: Process, work: Work, accounts: Accounts) -> Iterator[Turn]:
    assert work.proposal is not None
    revision, identity = work.proposal.revision, work.proposal.identity
    waited_for = [view for view, touched in zip(accounts, work.touched, strict=False) if touched]
    if not work.begun:
        asks = tuple(
            _bring(view, settings_of(process.ledger, number), settings_of(identity, number))
            for number, view in enumerate(accounts)
        )
        begun = _begun(process, work, tuple(ask is not None for ask in asks))
        swapped = replace(begun, before=(revision, process.ledger), ledger=identity, astray=False)
        yield Turn(f"the plan of {revision} is begun", swapped, asks=asks)
    elif all(view.settled for view in waited_for):
        if any(view.broken for view in waited_for):
            yield Turn("an account broke", process, events.PlanFailed(CURRENT, ""))
        else:
            applied = events.PlanApplied(CURRENT, identity, work.proposal.complete)
            yield Turn(f"{revision} is applied", process, applied)
    yield Turn("the plan cannot be carried out", process, events.PlanFailed(CURRENT, ""), rare=True)


def _restarting(process: Process, work: Work, accounts: Accounts) -> Iterator[Turn]:
    wanted = process.wanted
    if not work.begun and wanted == BAD:
        yield Turn("the file cannot be used", process, events.RestartFailed(CURRENT, "", NOW, recovered=True))
        return
    if not work.begun:
        settings = [settings_of(wanted, number) for number in range(len(accounts))]
        asks = tuple(Restart(run_with(some), By.GATEWAY) if some != OFF else Stop(By.GATEWAY) for some in settings)
        swapped = note(replace(_begun(process, work), ledger=wanted), wanted, "applied")
        yield Turn(f"the restart reads {wanted}", swapped, asks=asks)
    elif all(view.settled for view in accounts) or any(view.hangs for view in accounts):
        yield Turn(
            "the restart is complete", process, events.Restarted(CURRENT, process.ledger, NOW, process.data.policy)
        )
    for recovered in (False,) if work.begun else (False, True):
        failed = events.RestartFailed(CURRENT, "", NOW, recovered)
        yield Turn("the restart fails" + (", and the old run is back" if recovered else ""), process, failed, rare=True)


def _vacating(process: Process, work: Work, accounts: Accounts) -> Iterator[Turn]:
    if not work.begun and process.wanted == BAD:
        yield Turn("the file cannot be used", process, events.RestartFailed(CURRENT, "", NOW, recovered=True))
        return
    if not work.begun:
        asks = tuple(Stop(By.GATEWAY) for _ in accounts)
        yield Turn("the accounts are asked to stop, for what follows", _begun(process, work), asks=asks)
    elif all(view.stopped or view.hangs for view in accounts):
        yield Turn("nothing of it receives or serves", process, events.Vacated(CURRENT))
    failed = events.RestartFailed(CURRENT, "", NOW, recovered=False)
    yield Turn("the restart fails", process, failed, rare=True)


def _replacing(process: Process, work: Work, accounts: Accounts) -> Iterator[Turn]:
    if not work.begun:
        yield Turn("the next image takes its place", process, replaces=True)
        settings = [settings_of(process.ledger, number) for number in range(len(accounts))]
        asks = tuple(Restart(run_with(some), By.GATEWAY) if some != OFF else Stop(By.GATEWAY) for some in settings)
        yield Turn("the program cannot be started anew", _begun(process, work), asks=asks, rare=True)
    elif all(view.settled for view in accounts) or any(view.hangs for view in accounts):
        yield Turn("the old run is back", process, events.RestartFailed(CURRENT, "", NOW, recovered=True))


def _stopping(process: Process, work: Work, accounts: Accounts) -> Iterator[Turn]:
    if not work.begun:
        asks = tuple(Stop(By.GATEWAY, confirm=True) for _ in accounts)
        yield Turn("the accounts are asked to stop", _begun(process, work), asks=asks)
    elif work.hurried or all(view.stopped for view in accounts):
        yield Turn("everything has ended", process, events.StopFinished(CURRENT))
    yield Turn("the stop breaks", process, events.StopFailed(CURRENT, ""), rare=True)


def _begun(process: Process, work: Work, touched: tuple[bool, ...] = ()) -> Process:
    return replace(process, work=replace(work, begun=True, touched=touched))


def _bring(view: View, old: str, new: str) -> Event | None:
    """What a plan does to one account, and what an earlier one left behind with it."""
    if new == OFF:
        return Stop(By.GATEWAY) if old != OFF or not view.stopped else None
    left_behind = not view.held if view.rests else view.settings != new
    return Restart(run_with(new), By.GATEWAY) if old != new or left_behind else None


_KINDS: Mapping[str, Callable[[Process, Work, Accounts], Iterator[Turn]]] = {
    OPEN: _opening,
    APPLY: _applying,
    RESTART: _restarting,
    VACATE: _vacating,
    REPLACE: _replacing,
    STOP: _stopping,
}
