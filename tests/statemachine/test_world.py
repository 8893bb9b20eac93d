"""The product: every promise is kept in it, and a table with a fault in it is found out, by the promise that it breaks."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from statemachine import Change, Channel, Lifecycle, Machine
from statemachine import lifecycle_events as events
from statemachine.__main__ import main
from statemachine.change_events import (
    ChangeCancelled,
    ChangeConfirmed,
    ChangeProposed,
    ProbationOver,
)
from statemachine.channel_events import (
    ConflictOver,
    HostWoke,
    LeaseGained,
    LeaseLost,
    ReceiverEnded,
    ReceiverFenced,
    ReceiverReady,
    ReceiverStalled,
    Restart,
    Start,
    StopOverdue,
)
from statemachine.explore import Report, explore, follow
from statemachine.explore_command import product, run
from statemachine.promises import (
    APPLIED_ONCE,
    BESIDE,
    CHANGE_KEPT,
    CONFIRMED,
    ENDS,
    LEASED,
    ONE_OUTCOME,
    ONE_RECEIVER,
    ONE_WORK,
    OPEN_TICKETS,
    STALE,
    STAYS_STOPPED,
    STOP_ARRIVES,
    WAKES,
)
from statemachine.story import as_test, story
from statemachine.world import World, Worlds

AnyMachine = type[Machine[Any, Any]]


def holds(world: World) -> Report[Worlds]:
    report = explore(world)
    assert report.complete
    assert not report.violations, "\n\n".join(story(world, violation) for violation in report.violations)
    return report


def test_one_account_and_whatever_two_things_the_outside_may_do() -> None:
    assert holds(World(1, budget=2)).states > 40_000


def test_three_accounts_and_whatever_two_things_the_outside_may_do() -> None:
    assert holds(World(3, budget=2)).states > 200_000


@pytest.mark.parametrize("by", ["exec", "exit"])
def test_restarts_that_replace_the_process(by: str) -> None:
    assert holds(World(1, budget=2, restart_by=by)).states > 40_000


@pytest.mark.parametrize("by", ["in_process", "exec"])
def test_another_gateway_on_the_machine_that_wants_the_same_accounts(by: str) -> None:
    assert holds(World(1, budget=2, restart_by=by, rivals=True)).states > 50_000


def test_other_hosts_that_want_the_same_account() -> None:
    """Two things are some 150,000 worlds: `python -m statemachine explore --channels 1 --shared`."""
    assert holds(World(1, budget=1, shared=True)).states > 1_000


def test_reload_mode_off() -> None:
    assert holds(World(1, budget=2, reload=False)).states > 25_000


def test_a_change_that_must_be_confirmed_and_whatever_one_thing_more_the_outside_may_do() -> None:
    assert holds(World(1, budget=1, confirm=True)).states > 3_000


# Faults that must be found


def mutant(machine: AnyMachine, number: int, **changes: Any) -> AnyMachine:
    """The class with one row changed; without changes, with that row removed."""
    rows = list(machine.table)
    rows[number : number + 1] = [replace(rows[number], **changes)] if changes else []
    return type(f"{machine.__name__}Mutant", (machine,), {"__module__": machine.__module__, "table": tuple(rows)})


def rows_on(machine: AnyMachine, event: type, state: Any = None) -> list[int]:
    return [n for n, row in enumerate(machine.table) if row.on is event and (state is None or state in row.sources)]


def without(machine: AnyMachine, event: type, guard: str, nth: int = 0) -> AnyMachine:
    """The class in which the nth row on this event with this guard has lost it."""
    number = [n for n in rows_on(machine, event) if guard in machine.table[n].guards][nth]
    return mutant(machine, number, guards=tuple(name for name in machine.table[number].guards if name != guard))


def idle(machine: AnyMachine, event: type, action: str, nth: int = 0) -> AnyMachine:
    """The class in which the nth row on this event with this action does not do it."""
    number = [n for n in rows_on(machine, event) if action in machine.table[n].effects][nth]
    return mutant(machine, number, effects=tuple(name for name in machine.table[number].effects if name != action))


STATES = Channel.states
STARTS_WHILE_STOPPING = type(
    "Hasty",
    (Channel,),
    {
        "__module__": Channel.__module__,
        "table": (
            replace(Channel.table[0], source=(STATES.STOPPED, STATES.STOPPING)),
            *Channel.table[1:],
        ),
    },
)

FAULTS: dict[str, tuple[AnyMachine, str]] = {
    "a start while the old receiver is stopping": (STARTS_WHILE_STOPPING, ONE_RECEIVER),
    "a restart that does not wait for the old receiver": (
        mutant(
            Channel, rows_on(Channel, Restart, STATES.RUNNING)[0], dest=STATES.STARTING,
            effects=("adopt_run", "open_receiver", "arm_start_deadline"),
        ),
        ONE_RECEIVER,
    ),
    "an old receiver's end is believed": (without(Channel, ReceiverEnded, "generation_is_current"), STALE),
    "an old receiver's first word is believed": (without(Channel, ReceiverReady, "generation_is_current"), STALE),
    "an old fence is believed": (without(Channel, ReceiverFenced, "generation_is_current", 1), STALE),
    "an old deadline is believed": (without(Channel, StopOverdue, "timer_is_current"), STALE),
    "a reload starts what a person stopped": (without(Channel, Restart, "may_start"), STAYS_STOPPED),
    "a receiver that hangs is waited for": (mutant(Channel, rows_on(Channel, StopOverdue)[0]), ENDS),
    "nobody looks at a receiver that runs": (idle(Channel, ReceiverReady, "watch_receiver", 1), ENDS),
    "nor after a conflict": (idle(Channel, ReceiverReady, "watch_receiver"), ENDS),
    "a stall moves nothing": (mutant(Channel, rows_on(Channel, ReceiverStalled)[0]), ENDS),
    "an older receiver's stall is believed": (without(Channel, ReceiverStalled, "generation_is_current"), STALE),
    "a conflict is never over": (mutant(Channel, rows_on(Channel, ConflictOver)[0]), ENDS),
    "an older wait ends a conflict": (without(Channel, ConflictOver, "timer_is_current"), STALE),
    "a sleep is slept through": (mutant(Channel, rows_on(Channel, HostWoke, STATES.RUNNING)[0]), WAKES),
    "a sleep ends what ran, and nothing follows": (idle(Channel, HostWoke, "run_again"), CHANGE_KEPT),
    "a sleep opens a receiver beside the old": (
        mutant(
            Channel, rows_on(Channel, HostWoke, STATES.RUNNING)[0], dest=STATES.STARTING,
            effects=("open_receiver", "arm_start_deadline"),
        ),
        ONE_RECEIVER,
    ),
    "a sleep wakes what a person stopped": (
        mutant(
            Channel, rows_on(Channel, HostWoke, STATES.STOPPED)[0], source=STATES.STOPPED, dest=STATES.STARTING,
            effects=("open_receiver", "arm_start_deadline"),
        ),
        STAYS_STOPPED,
    ),
    "a start that the gateway asks for is refused": (mutant(Channel, rows_on(Channel, Start)[0]), CHANGE_KEPT),
    "a known revision is handled again": (without(Lifecycle, events.ConfigChanged, "nothing_differs"), CHANGE_KEPT),
    "the file event of a write is not absorbed": (mutant(Lifecycle, rows_on(Lifecycle, events.ConfigChanged)[0]), APPLIED_ONCE),
    "what came during work is forgotten": (idle(Lifecycle, events.ConfigChanged, "keep_revision"), CHANGE_KEPT),
    "what was kept is never read again": (idle(Lifecycle, events.Started, "review_kept", 1), ONE_OUTCOME),
    "a plan against what ran before is carried out": (without(Lifecycle, events.ConfigChanged, "plan_is_stale"), ENDS),
    "a reload's ticket outlives it": (idle(Lifecycle, events.PlanApplied, "commit", 1), ONE_OUTCOME),
    "an older reload's end is believed": (without(Lifecycle, events.PlanApplied, "work_is_current", 1), STALE),
    "a restart forgets its tickets": (idle(Lifecycle, events.Restarted, "finish_restart", 1), ONE_OUTCOME),
    "a failed reload's need is forgotten": (
        mutant(
            Lifecycle, rows_on(Lifecycle, events.PlanFailed)[0], dest=Lifecycle.states.RUNNING,
            effects=("give_up_plan", "close_revision_tickets", "disarm", "review_kept"),
        ),
        CHANGE_KEPT,
    ),
    "a stop is refused": (mutant(Lifecycle, rows_on(Lifecycle, events.StopRequested)[0]), STOP_ARRIVES),
    "a stop leaves its work running": (idle(Lifecycle, events.StopRequested, "cancel_work"), ONE_WORK),
    "a stop tells nobody": (idle(Lifecycle, events.StopRequested, "refuse_all"), ONE_OUTCOME),
    "a restart without a ticket": (
        mutant(
            Lifecycle, rows_on(Lifecycle, events.PlanApplied)[1], dest=Lifecycle.states.RESTARTING,
            effects=("commit", "begin_restart", "arm_restart_deadline"),
        ),
        OPEN_TICKETS,
    ),
    "a reload that hangs is waited for": (mutant(Lifecycle, rows_on(Lifecycle, events.StartOverdue)[0]), ENDS),
    "a call is begun beside a trial": (mutant(Change, rows_on(Change, ChangeProposed)[0]), BESIDE),
    "what nobody confirms stays": (mutant(Change, rows_on(Change, ProbationOver)[0]), CONFIRMED),
    "a trial that is over restores nothing": (idle(Change, ProbationOver, "roll_back"), CONFIRMED),
    "a cancelled change restores nothing": (idle(Change, ChangeCancelled, "roll_back"), CONFIRMED),
    "a confirmation closes no window": (idle(Change, ChangeConfirmed, "close_window"), CONFIRMED),
    "an older trial's end is believed": (without(Change, ProbationOver, "timer_is_current"), STALE),
}  # fmt: skip


OF_LEASES: dict[str, tuple[AnyMachine, str]] = {
    "a lost lease changes nothing": (mutant(Channel, rows_on(Channel, LeaseLost, STATES.RUNNING)[0]), LEASED),
    "a lease is waited for that has come": (
        mutant(Channel, next(n for n, row in enumerate(Channel.table) if "lease_has_come" in row.guards)),
        ENDS,
    ),
    "nothing follows when a lease comes": (mutant(Channel, rows_on(Channel, LeaseGained, STATES.CONFLICT)[0]), ENDS),
    "a receiver is opened beside the one whose lease is lost": (
        mutant(
            Channel, rows_on(Channel, LeaseLost, STATES.RUNNING)[0], dest=STATES.STARTING,
            effects=("open_receiver", "arm_start_deadline"),
        ),
        ONE_RECEIVER,
    ),
}  # fmt: skip


def product_of(machine: AnyMachine, budget: int) -> World:
    if issubclass(machine, Channel):
        return World(1, channel=machine, budget=budget)
    if issubclass(machine, Change):
        return World(1, change=machine, budget=budget, confirm=True)
    return World(1, lifecycle=machine, budget=budget)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_a_table_breaks_a_promise(fault: str) -> None:
    machine, promise = FAULTS[fault]
    for budget in (1, 2):
        broken = explore(product_of(machine, budget), until={promise}).promises_broken
        if promise in broken:
            return
    pytest.fail(f"{promise!r} is not broken by it, only {sorted(broken)}")


@pytest.mark.parametrize("fault", OF_LEASES)
def test_a_fault_of_a_table_breaks_a_promise_where_hosts_share_the_account(fault: str) -> None:
    machine, promise = OF_LEASES[fault]
    assert promise in explore(World(1, channel=machine, budget=1, shared=True), until={promise}).promises_broken


# What a broken promise is told by


def test_its_story_can_be_followed_and_kept_as_a_test() -> None:
    world = product_of(STARTS_WHILE_STOPPING, 2)
    violation = next(v for v in explore(world, until={ONE_RECEIVER}).violations if v.promise == ONE_RECEIVER)
    labels = [move.label for move in violation.story]
    assert ONE_RECEIVER in follow(world, labels)
    assert "receiver" in story(world, violation)
    names: dict[str, Any] = {}
    exec(as_test(violation, "World(1, budget=2)", "explore"), names)
    assert names["WAY"] == tuple(labels)


def test_the_command_says_what_it_found(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(1, 1, reload=True, confirm=False, limit=None, test=tmp_path / "test_found.py", as_json=False) == 0
    assert "every promise kept" in capsys.readouterr().out
    assert not (tmp_path / "test_found.py").exists()
    assert run(1, 1, reload=True, confirm=False, limit=10, test=None, as_json=True) == 2
    assert json.loads(capsys.readouterr().out)["complete"] is False


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"reload": False},
        {"confirm": True},
        {"restart_by": "exec", "rivals": True},
        {"reload": False, "shared": True},
    ],
)
def test_a_found_test_names_the_world_and_the_command_that_explores_it(
    capsys: pytest.CaptureFixture[str], given: dict[str, Any]
) -> None:
    usual = {"reload": True, "confirm": False, "restart_by": "in_process", "rivals": False, "shared": False}
    world, made, options = product(1, 2, **(usual | given))
    assert world.start() == eval(made).start()
    assert main(["explore", *options.split(), "--limit", "10"]) == 2
    assert capsys.readouterr().out.startswith(f"{made}: ")


def test_the_command_line_is_the_same() -> None:
    command = [sys.executable, "-m", "statemachine", "explore", "--channels", "1", "--budget", "1", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert (found["complete"], found["broken"]) == (True, [])
    assert found["states"] > 1_000
