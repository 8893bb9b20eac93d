"""The product that is explored: one gateway process, N accounts, a file, a network, and an outside that does its worst.

The machines are the real tables; what surrounds them (timers, work in flight, receivers, writers) is told in moves.
The outside is bounded by budgets, since it can always do one thing more: what is explored is every order of that many.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from statemachine._machine import Machine
from statemachine.change import Change
from statemachine.channel import Channel
from statemachine.explore import Move
from statemachine.lifecycle import Lifecycle, LifecycleState
from statemachine.lifecycle_events import Impact, RestartBy
from statemachine.promises import CHANGE_KEPT, CONFIRMED, ENDS, ONE_OUTCOME, STOP_ARRIVES
from statemachine.world.account import NAP, NIGHT, OFF, Account, AccountModel, View
from statemachine.world.account import Change as AccountChange
from statemachine.world.config import BAD, FIRST, impact, settings_of
from statemachine.world.hosts import HostWorld
from statemachine.world.messages import MessageWorld
from statemachine.world.process import ProcessModel
from statemachine.world.state import Asks, Process
from statemachine.world.state import Change as ProcessChange

__all__ = ["HostWorld", "MessageWorld", "World", "Worlds"]

T = TypeVar("T")


Worlds = tuple[int, ...]
"""The number of a process, how much the outside has left, and the number of each account; the accounts that nobody edits are in order, since they are alike."""


class World:
    """A model for `statemachine.explore`, over the machine classes; with `confirm` changes that must be confirmed are written, too.

    `restart_by` says how the process restarts, by the value of a `RestartBy`; with `rivals` there is another gateway on
    the machine, which wants the same accounts; with `shared` there are other hosts, and leases that come and go.
    """

    def __init__(
        self,
        channels: int = 1,
        lifecycle: type[Machine[Any, Any]] = Lifecycle,
        channel: type[Machine[Any, Any]] = Channel,
        budget: int = 2,
        *,
        reload: bool = True,
        change: type[Machine[Any, Any]] = Change,
        confirm: bool = False,
        restart_by: str = RestartBy.IN_PROCESS.value,
        rivals: bool = False,
        shared: bool = False,
    ) -> None:
        self._channels = channels
        self._process_model = ProcessModel(
            lifecycle, change, reload=reload, confirm=confirm, restart_by=RestartBy(restart_by)
        )
        self._account_model = AccountModel(channel, rivals=rivals, shared=shared)
        self._processes: _Numbered[Process] = _Numbered()
        self._accounts: _Numbered[Account] = _Numbered()
        self._budget = budget
        self._process_moves: dict[int, tuple[_Step, ...]] = {}
        self._work_moves: dict[tuple[int, tuple[View, ...]], tuple[_Step, ...]] = {}
        self._account_moves: dict[tuple[int, str | None], tuple[_Step, ...]] = {}
        self._followers: dict[tuple[int, bool], int] = {}
        self._begun: dict[tuple[int, bool], int] = {}
        self._views: dict[int, View] = {}
        self._told: dict[tuple[int, Any], tuple[int, tuple[str, ...]]] = {}

    # What `explore` asks

    def start(self) -> Worlds:
        process = self._processes.number(self._process_model.begin(FIRST))
        return _ordered(process, self._budget, [self._accounts.number(self._account_model.begin())] * self._channels)

    def moves(self, world: Worlds) -> Iterator[Move[Worlds]]:
        process_number, budget, *accounts = world
        process = self._processes[process_number]
        views = tuple(self._view(number) for number in accounts)
        for change in (*self._changes(process_number), *self._changes_of_work(process_number, views)):
            if change.cost <= budget:
                yield self._tell_accounts(change, budget - change.cost, accounts)
        followed = self._process_model.is_followed(process)
        if followed is not None:
            yield self._tell_accounts(self._step(followed), budget, accounts)
        if process.ended:
            return
        if budget:
            yield from self._kills(process_number, budget - 1, accounts)
            yield from self._sleeps(process_number, budget - 1, accounts)
        calls = self._process_model.takes_calls(process)
        for place, number in enumerate(accounts):
            settings = settings_of(process.ledger, place) if calls else None
            yield from self._account_moves_of(world, place, number, settings)

    def outstanding(self, world: Worlds) -> Iterator[str]:
        process_number, _, *accounts = world
        process = self._processes[process_number]
        if process.asked or process.data.tickets or process.data.served:
            yield ONE_OUTCOME
        if process.ended:
            return
        if process.state is LifecycleState.STOPPING:
            yield STOP_ARRIVES
        elif process.state is not LifecycleState.RUNNING or process.unread or process.posted or process.reviewing:
            yield ENDS
        elif self._is_dropped(process, accounts):
            yield CHANGE_KEPT
        if process.change is not None or process.standing.window is not None or process.restoring:
            yield CONFIRMED
        if any(self._account_model.is_under_way(self._accounts[number]) for number in accounts):
            yield ENDS

    def tell(self, world: Worlds) -> str:
        process_number, _, *accounts = world
        process = self._processes[process_number]
        tickets = ", ".join(f"{t.id} ({t.revision or 'a person'})" for t in process.data.tickets)
        parts = [
            "ended" if process.ended else f"gateway {process.state.value}",
            f"runs {process.ledger}, file {process.disk}",
            *([f"open: {tickets}"] if tickets else []),
            *([f"{process.change.data.revision} {process.change.state.value}"] if process.change else []),
            *(self._tell_account(place, number) for place, number in enumerate(accounts)),
        ]
        return "; ".join(parts)

    def _tell_account(self, place: int, number: int) -> str:
        account = self._accounts[number]
        receiver = f", receiver {account.receiver.value}" + (" and hanging" if account.hangs else "")
        return f"account {place} {account.state.value}{receiver}"

    # Inside

    def _kills(self, number: int, budget: int, accounts: list[int]) -> Iterator[Move[Worlds]]:
        """A new process, and no receiver of an older one: the kernel has closed them."""
        begun = self._anew(accounts)
        again = _ordered(self._follower(number), budget, begun)
        yield Move("the process is killed and started again", again, owed=False)
        window = self._processes[number].standing.window
        if window is not None and window.runs:
            late = _ordered(self._follower(number, overdue=True), budget, begun)
            yield Move("the process is killed, and started again too late", late, owed=False)

    def _sleeps(self, process: int, budget: int, accounts: list[int]) -> Iterator[Move[Worlds]]:
        """The host sleeps, for a while or for long, and each account is told. What changes nothing is no move."""
        for slept in (NAP, NIGHT):
            told = [self._wake(number, slept) for number in accounts]
            broken = tuple(promise for _, wrong in told for promise in wrong)
            woken = [number for number, _ in told]
            if woken != accounts or broken:
                yield Move("the host slept", _ordered(process, budget, woken), owed=False, broken=broken)

    def _wake(self, number: int, slept: float) -> tuple[int, tuple[str, ...]]:
        key = number, slept
        if key not in self._told:
            after, broken = self._account_model.woken(self._accounts[number], slept)
            self._told[key] = self._accounts.number(after), broken
        return self._told[key]

    def _follower(self, number: int, *, overdue: bool = False) -> int:
        key = number, overdue
        if key not in self._followers:
            killed = self._processes[number]
            again = self._process_model.begin(killed.disk, killed.standing, overdue=overdue)
            self._followers[key] = self._processes.number(again)
        return self._followers[key]

    def _anew(self, accounts: Sequence[int], *, image: bool = False) -> list[int]:
        """The accounts in a process that begins, or in another image of it."""
        return [self._begin(number, image) for number in accounts]

    def _begin(self, number: int, image: bool) -> int:
        key = number, image
        if key not in self._begun:
            again = self._account_model.begin(self._accounts[number], anew=image)
            self._begun[key] = self._accounts.number(again)
        return self._begun[key]

    def _changes(self, number: int) -> tuple[_Step, ...]:
        if number not in self._process_moves:
            changes = self._process_model.changes(self._processes[number])
            self._process_moves[number] = tuple(map(self._step, changes))
        return self._process_moves[number]

    def _changes_of_work(self, number: int, views: tuple[View, ...]) -> tuple[_Step, ...]:
        key = number, views
        if key not in self._work_moves:
            changes = self._process_model.changes_of_work(self._processes[number], views)
            self._work_moves[key] = tuple(map(self._step, changes))
        return self._work_moves[key]

    def _step(self, change: ProcessChange) -> _Step:
        number, renews = self._processes.number(change.after), change.after.ended or change.anew
        return _Step(change.label, number, change.owed, change.cost, change.broken, change.asks, renews, change.anew)

    def _tell_accounts(self, step: _Step, budget: int, accounts: list[int]) -> Move[Worlds]:
        broken = step.broken
        if step.renews:
            accounts = self._anew(accounts, image=step.anew)
        elif step.asks:
            told = [self._ask(number, ask) for number, ask in zip(accounts, step.asks, strict=True)]
            accounts = [number for number, _ in told]
            broken = (*broken, *(promise for _, wrong in told for promise in wrong))
        return Move(step.label, _ordered(step.after, budget, accounts), step.owed, broken)

    def _ask(self, number: int, event: Any) -> tuple[int, tuple[str, ...]]:
        if event is None:
            return number, ()
        key = number, event
        if key not in self._told:
            after, broken = self._account_model.tell(self._accounts[number], event)
            self._told[key] = self._accounts.number(after), broken
        return self._told[key]

    def _account_moves_of(self, world: Worlds, place: int, number: int, settings: str | None) -> Iterator[Move[Worlds]]:
        process, budget, *accounts = world
        if place > 1 and accounts[place - 1] == number:
            return  # its twin has made the same moves
        for step in self._changes_of(number, settings):
            if step.cost <= budget:
                moved = accounts.copy()
                moved[place] = step.after
                label = f"account {place}: {step.label}"
                yield Move(label, _ordered(process, budget - step.cost, moved), step.owed, step.broken)

    def _changes_of(self, number: int, settings: str | None) -> tuple[_Step, ...]:
        key = number, settings
        if key not in self._account_moves:
            account, model = self._accounts[number], self._account_model
            asked = [] if settings is None else model.asked_by_person(account, settings)
            self._account_moves[key] = tuple(map(self._step_of_account, (*model.changes(account), *asked)))
        return self._account_moves[key]

    def _step_of_account(self, change: AccountChange) -> _Step:
        return _Step(change.label, self._accounts.number(change.after), change.owed, change.cost, change.broken)

    def _view(self, number: int) -> View:
        if number not in self._views:
            self._views[number] = self._account_model.view(self._accounts[number])
        return self._views[number]

    def _is_dropped(self, process: Process, accounts: list[int]) -> bool:
        """Everything rests, and what is in the file does not run although nobody said no."""
        if process.excused or process.wanted == BAD:
            return False
        wanted = [settings_of(process.ledger, place) for place in range(len(accounts))]
        astray = any(_is_astray(view, some) for view, some in zip(map(self._view, accounts), wanted, strict=True))
        return astray or impact(process.ledger, process.wanted) is not Impact.NONE


def _is_astray(view: View, wanted: str) -> bool:
    """It runs and should not, or should and does not, or runs with other settings than it should."""
    if view.stopped:
        return wanted != OFF and not view.held
    return wanted == OFF or view.settings != wanted


def _ordered(process: int, budget: int, accounts: list[int]) -> Worlds:
    return (process, budget, *accounts[:1], *sorted(accounts[1:]))


class _Step(msgspec.Struct, frozen=True):
    """A change of a process or of an account, worked out once: `after` is the number of what it is then."""

    label: str
    after: int
    owed: bool
    cost: int
    broken: tuple[str, ...]
    asks: Asks = ()
    renews: bool = False
    """The receivers end with the process."""
    anew: bool = False


class _Numbered(Generic[T]):
    """Things that are looked up by number: a world is then a few small integers, quick to compare and to keep."""

    def __init__(self) -> None:
        self._things: list[T] = []
        self._numbers: dict[T, int] = {}

    def number(self, thing: T) -> int:
        found = self._numbers.setdefault(thing, len(self._things))
        if found == len(self._things):
            self._things.append(thing)
        return found

    def __getitem__(self, number: int) -> T:
        return self._things[number]
