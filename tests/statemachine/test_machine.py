"""The engine: a Step or a Refusal, and never half of one. `Lamp` is a small machine in which all can go wrong."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Any

import msgspec
import pytest
import transitions

import statemachine
from statemachine import MACHINES, BrokenActionError, Channel, ChannelState, Lifecycle, TableError, lifecycle_events
from statemachine._machine import Command, Draft, Event, Machine, Outcome, Refusal, Row, Step, action, cells, guard
from statemachine.channel import ChannelData
from statemachine.channel_events import OpenReceiver, ReceiverEnded
from statemachine.lifecycle_events import ConfigUnfit, RestartRequested, StopRequested, WorkInFlight

from .builders import channel_data, start


class LampState(Enum):
    OFF = "off"
    ON = "on"
    DIM = "dim"


S = LampState


class Press(Event, frozen=True):
    pass


class Dim(Event, frozen=True):
    pass


class Blow(Event, frozen=True):
    """Meets a guard or an action that raises `error`, if any is given."""

    error: BaseException | None = None
    in_guard: bool = False


class Unheard(Event, frozen=True):
    """In no row of the table."""


class Click(Command, frozen=True):
    count: int


class LampData(msgspec.Struct, frozen=True):
    presses: int = 0
    power: bool = True
    locked: bool = False


class Lamp(Machine[LampState, LampData]):
    kind = "lamp"
    states = LampState
    initial, final = S.OFF, frozenset({S.OFF})
    table = (
        Row(Press, S.OFF, S.ON, ("has_power", "is_unlocked"), ("count", "click")),
        Row(Press, S.OFF, S.DIM, ("is_worn",), ("count",), Outcome.COALESCED),
        Row(Press, (S.ON, S.DIM), S.OFF),
        Row(Dim, S.ON, None, ("is_unlocked",), ("click", "count", "click"), Outcome.DEFERRED),
        Row(Blow, S.ON, S.OFF, ("is_sound",), ("count", "click", "blow")),
        Row(Blow, S.ON, S.DIM, (), ("count",)),
    )

    @guard
    def has_power(data: LampData, event: Event) -> bool:
        return data.power

    @guard
    def is_unlocked(data: LampData, event: Event) -> bool:
        return not data.locked

    @guard
    def is_worn(data: LampData, event: Event) -> bool:
        return data.presses > 3

    @guard
    def is_sound(data: LampData, event: Blow) -> bool:
        if event.in_guard and event.error:
            raise event.error
        return True

    @action
    def count(draft: Draft[LampData], event: Event) -> None:
        draft.set(presses=draft.data.presses + 1)

    @action
    def click(draft: Draft[LampData], event: Event) -> None:
        draft.emit(Click(draft.data.presses))

    @action
    def blow(draft: Draft[LampData], event: Blow) -> None:
        if event.error:
            raise event.error


def lamp(state: LampState = S.OFF, **data: Any) -> Lamp:
    made = Lamp("desk", LampData(**data))
    made.state = state
    return made


def variant(**changes: Any) -> type[Machine[Any, Any]]:
    return type("Variant", (Lamp,), {"__module__": __name__, **changes})


# A step


def test_a_step_tells_what_happened():
    machine, event = lamp(presses=1), Press()
    assert machine.fire(event) == Step("desk", "off", event, "on", (Click(2),), Outcome.DONE, 0)
    assert (machine.state, machine.data) == (S.ON, LampData(presses=2))


def test_a_step_knows_its_trigger():
    step = lamp().fire(Press())
    assert step.trigger == "press"


def test_steps_and_refusals_are_records_that_nobody_can_change():
    for answer in (lamp().fire(Press()), lamp().fire(Dim())):
        with pytest.raises(AttributeError, match="immutable"):
            answer.machine = "another"  # type: ignore[misc]


def test_a_row_without_destination_keeps_the_state_and_does_the_rest():
    """Actions run in the order of the row, and each sees what the one before it has set."""
    machine = lamp(S.ON)
    step = machine.fire(Dim())
    assert isinstance(step, Step)
    assert (step.before, step.after) == ("on", "on")
    assert step.effects == (Click(0), Click(1))
    assert (machine.state, machine.data.presses) == (S.ON, 1)


def test_the_outcome_is_that_of_the_row():
    assert getattr(lamp(S.ON).fire(Dim()), "outcome", None) is Outcome.DEFERRED
    assert getattr(lamp(power=False, presses=4).fire(Press()), "outcome", None) is Outcome.COALESCED


def test_the_first_row_that_fits_is_taken():
    assert getattr(lamp(presses=4).fire(Press()), "row", None) == 0, "the second fits, too"
    assert getattr(lamp(presses=4, power=False).fire(Press()), "row", None) == 1


def test_a_row_may_have_several_sources():
    for state in (S.ON, S.DIM):
        machine = lamp(state)
        assert isinstance(machine.fire(Press()), Step)
        assert machine.state is S.OFF


def test_what_a_step_asks_for_does_not_leak_into_the_next():
    machine = lamp()
    machine.fire(Press())
    step = machine.fire(Press())
    assert isinstance(step, Step)
    assert step.effects == ()


# A refusal


def test_a_refused_guard_names_itself():
    machine, event = lamp(locked=True), Press()
    before = machine.data
    assert machine.fire(event) == Refusal("desk", "off", event, ("press",), ("is_unlocked", "is_worn"))
    assert machine.state is S.OFF
    assert machine.data is before


def test_only_the_guards_that_said_no_are_named():
    """Of each row the first one that said no: those after it were not asked."""
    refusal = lamp(power=False, locked=True).fire(Press())
    assert isinstance(refusal, Refusal)
    assert refusal.guards == ("has_power", "is_worn")


def test_a_guard_that_said_no_twice_is_named_once():
    twice = variant(table=(Row(Press, S.OFF, S.ON, ("is_worn",)), Row(Press, S.OFF, S.DIM, ("is_worn",))))
    refusal = twice("desk", LampData()).fire(Press())
    assert isinstance(refusal, Refusal)
    assert refusal.guards == ("is_worn",)


def test_a_no_from_an_earlier_refusal_is_forgotten():
    machine = lamp(power=False)
    machine.fire(Press())
    refusal = machine.fire(Dim())
    assert isinstance(refusal, Refusal)
    assert refusal.guards == ()


def test_a_trigger_without_a_row_in_this_state_is_refused_with_the_allowed_ones():
    machine, event = lamp(), Dim()
    before = machine.data
    assert machine.fire(event) == Refusal("desk", "off", event, ("press",), ())
    assert machine.state is S.OFF
    assert machine.data is before


def test_another_machines_event_of_the_same_name_is_refused():
    """Both machines have a `stop_overdue`, and its token would fit."""
    channel = Channel("telegram/main", channel_data())
    channel.state = ChannelState.STOPPING
    data = channel.data
    assert lifecycle_events.StopOverdue.trigger in channel.allowed
    refusal = channel.fire(lifecycle_events.StopOverdue(data.timer))
    assert isinstance(refusal, Refusal)
    assert refusal.guards == ()
    assert (channel.state, channel.data) == (ChannelState.STOPPING, data)


def test_an_event_that_the_machine_has_never_heard_of_is_refused_with_the_allowed_ones():
    machine, event = lamp(S.ON), Unheard()
    before = machine.data
    assert machine.fire(event) == Refusal("desk", "on", event, ("blow", "dim", "press"), ())
    assert machine.state is S.ON
    assert machine.data is before


@pytest.mark.parametrize("name", ["Aim", "Judge", "State", "Trigger", "Draft", "Row"])
def test_an_event_cannot_reach_the_engine_by_its_name(name):
    """The events' names are strings to the library; none of them is an attribute of ours."""
    event = type(name, (Event,), {})()
    assert isinstance(lamp().fire(event), Refusal)


def test_allowed_are_the_triggers_of_the_present_state_in_order():
    assert lamp(S.OFF).allowed == ("press",)
    assert lamp(S.ON).allowed == ("blow", "dim", "press")


def test_a_refusal_says_why_in_one_sentence():
    assert getattr(lamp().fire(Dim()), "why", "") == "desk cannot dim in state off"
    assert getattr(lamp(locked=True).fire(Press()), "why", "") == (
        "desk cannot press in state off: is_unlocked, is_worn"
    )


def test_a_refusal_knows_its_trigger():
    assert lamp().fire(Dim()).trigger == "dim"


def test_a_hundred_starts_are_one_step_and_ninety_nine_refusals():
    machine = Channel("telegram/main", ChannelData())
    answers = [machine.fire(start()) for _ in range(100)]
    assert [type(answer) for answer in answers] == [Step] + [Refusal] * 99
    opened = [effect for answer in answers if isinstance(answer, Step) for effect in answer.effects]
    assert sum(isinstance(effect, OpenReceiver) for effect in opened) == 1


# A defect


ERRORS = [ValueError("x"), KeyError("x"), AttributeError("x"), TypeError("x"), transitions.MachineError("x")]
"""The last kinds are what the library itself raises for triggers that it does not know or allow."""


@pytest.mark.parametrize("in_guard", [True, False], ids=["guard", "action"])
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_guard_or_an_action_that_raises_moves_nothing(error, in_guard):
    """The actions before the one that raises have set data and emitted effects already."""
    machine = lamp(S.ON)
    before = machine.data
    with pytest.raises(BrokenActionError, match=r"^desk: blow met a broken guard or action: ") as caught:
        machine.fire(Blow(error, in_guard))
    assert caught.value.__cause__ is error
    assert machine.state is S.ON
    assert machine.data is before
    assert machine.data == LampData()


@pytest.mark.parametrize("in_guard", [True, False], ids=["guard", "action"])
def test_nothing_of_a_broken_step_is_in_the_next(in_guard):
    machine = lamp(S.ON)
    with pytest.raises(BrokenActionError):
        machine.fire(Blow(ValueError("x"), in_guard))
    step = machine.fire(Dim())
    assert isinstance(step, Step)
    assert step.effects == (Click(0), Click(1))
    assert isinstance(lamp(S.ON).fire(Blow()), Step), "nor in another machine of its class"


@pytest.mark.parametrize("in_guard", [True, False], ids=["guard", "action"])
def test_a_cancellation_passes_through_and_moves_nothing(in_guard):
    machine = lamp(S.ON)
    with pytest.raises(KeyboardInterrupt):
        machine.fire(Blow(KeyboardInterrupt(), in_guard))
    assert (machine.state, machine.data) == (S.ON, LampData())


def test_an_action_that_sets_what_the_data_have_not_is_a_defect():
    def misspell(draft: Draft[LampData], event: Event) -> None:
        draft.set(preses=1)

    broken = variant(table=(Row(Press, S.OFF, S.ON, (), ("count", "misspell")),), misspell=action(misspell))
    machine = broken("desk", LampData())
    with pytest.raises(BrokenActionError):
        machine.fire(Press())
    assert (machine.state, machine.data) == (S.OFF, LampData())


# The class

VALUE: Any = S.ON.value


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (Row(Press, S.OFF, S.ON, ("has_pwoer",)), "Variant row 0 (press): no guard named 'has_pwoer'"),
        (Row(Press, S.OFF, S.ON, (), ("clik",)), "Variant row 0 (press): no action named 'clik'"),
        (Row(Press, S.OFF, S.ON, ("click",)), "Variant row 0 (press): no guard named 'click'"),
        (Row(Press, S.OFF, S.ON, (), ("has_power",)), "Variant row 0 (press): no action named 'has_power'"),
        (Row(Press, S.OFF, S.ON, ("fire",)), "Variant row 0 (press): no guard named 'fire'"),
        (Row(Press, S.OFF, ChannelState.FAILED), "Variant row 0 (press): no state <ChannelState.FAILED: 'failed'>"),
        (Row(Press, (S.OFF, ChannelState.FAILED), S.ON), "Variant row 0 (press): no state <ChannelState.FAILED: "),
        (Row(Press, S.OFF, VALUE), "Variant row 0 (press): no state 'on'"),
    ],
    ids=[
        "misspelt guard",
        "misspelt action",
        "an action as a guard",
        "a guard as an action",
        "a method as a guard",
        "a destination of another machine",
        "a source of another machine",
        "a state's value in place of the state",
    ],
)
def test_a_name_that_does_not_exist_stops_the_class(row, message):
    with pytest.raises(TableError, match=re.escape(message)):
        variant(table=(row,))


def test_guards_and_actions_are_found_in_base_classes_and_can_be_replaced():
    def never(data: LampData, event: Event) -> bool:
        return False

    refusal = variant(has_power=guard(never))("desk", LampData()).fire(Press())
    assert isinstance(refusal, Refusal)
    assert refusal.guards == ("has_power", "is_worn")
    assert isinstance(lamp().fire(Press()), Step), "the base class is as it was"


def test_two_machines_of_one_class_share_nothing():
    one, other = lamp(), Lamp("hall", LampData(power=False))
    assert isinstance(one.fire(Press()), Step)
    assert (one.state, one.data.presses) == (S.ON, 1)
    assert (other.state, other.data) == (S.OFF, LampData(power=False))
    refusal = other.fire(Press())
    assert isinstance(refusal, Refusal)
    assert (refusal.machine, refusal.guards) == ("hall", ("has_power", "is_worn"))
    step = one.fire(Dim())
    assert isinstance(step, Step)
    assert (step.machine, step.effects) == ("desk", (Click(1), Click(2)))
    assert (other.state, other.data.presses) == (S.OFF, 0)


def test_machines_of_several_classes_share_nothing():
    """The two real machines have triggers in common."""
    lifecycle, channel = Lifecycle("gateway", None), Channel("telegram/main", channel_data())  # type: ignore[arg-type]
    channel.fire(start())
    assert channel.state is ChannelState.STARTING
    assert lifecycle.state is Lifecycle.initial


def test_a_machine_begins_in_its_initial_state():
    assert [machine("m", None).state for machine in MACHINES] == [machine.initial for machine in MACHINES]


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.kind)
def test_a_machine_has_failed_in_the_states_that_its_class_calls_failed(machine):
    assert machine.failed
    for state in machine.states:
        made = machine("m", None)
        made.state = state
        assert made.has_failed == (state in machine.failed)


def test_cells_are_every_pair_of_state_and_event_with_their_rows():
    found = {(state, event): rows for state, event, rows in cells(Lamp)}
    assert len(found) == 9
    assert found[S.OFF, Press] == [0, 1]
    assert found[S.DIM, Press] == [2]
    assert found[S.ON, Blow] == [4, 5]
    assert found[S.OFF, Dim] == []


# Events


@pytest.mark.parametrize(
    ("event", "trigger"),
    [
        (Press, "press"),
        (ReceiverEnded, "receiver_ended"),
        (StopRequested, "stop_requested"),
        (RestartRequested, "restart_requested"),
        (WorkInFlight, "work_in_flight"),
        (ConfigUnfit, "config_unfit"),
    ],
)
def test_a_trigger_is_the_event_class_in_snake_case(event, trigger):
    assert event.trigger == trigger


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.kind)
def test_each_event_of_a_machine_has_a_trigger_of_its_own(machine):
    events = {row.on for row in machine.table}
    triggers = {event.trigger for event in events}
    assert len(triggers) == len(events)
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", trigger) for trigger in triggers)


def test_events_and_effects_are_values_that_nobody_can_change():
    """They are compared by what they say, and what was said stays."""
    for said, again in ((Blow(None, in_guard=True), Blow(None, in_guard=True)), (Click(1), Click(1))):
        assert said == again
        field = "in_guard" if isinstance(said, Blow) else "count"
        with pytest.raises(AttributeError):
            setattr(said, field, 0)
    assert Click(1) != Click(2)


def test_a_row_knows_its_sources_whether_one_or_several():
    row = Row(Press, S.OFF, S.ON)
    assert row.sources == (S.OFF,)
    assert replace(row, source=(S.OFF, S.DIM)).sources == (S.OFF, S.DIM)


# What the package may know

PACKAGE = Path(statemachine.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
NOWHERE = {
    "aiohttp", "asyncio", "concurrent", "contextvars", "datetime", "gateway", "http", "multiprocessing", "os", "queue",
    "random", "sched", "secrets", "select", "selectors", "signal", "socket", "ssl", "structlog", "subprocess",
    "threading", "time", "urllib", "uuid", "watchdog",
}  # fmt: skip
"""Time, chance, the network, other processes and threads, and the gateway: all that a pure table must not know."""
FILES = {"fileinput", "glob", "importlib", "io", "pathlib", "shutil", "sqlite3", "tempfile"}
TOOLS = {"__main__", "check", "diagram", "explore_command", "spin"}
"""Commands and what draws: they may read and write files."""
ALLOWED = {"explore_command": {"time"}, "spin": {"subprocess"}}
"""One says how long it took, the other calls Spin and the compiler."""
WALKERS = {"explore"}
"""They search a graph, and loop until there is nothing left to visit."""


def name_of(module: Path) -> str:
    return str(module.relative_to(PACKAGE).with_suffix(""))


def imports_of(module: Path) -> set[str]:
    """The top-level packages that a module imports, at any depth of its code."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module.name} imports relatively"
            found.add((node.module or "").partition(".")[0])
    return found


def calls_of(module: Path) -> set[str]:
    """The plain names that a module calls."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    return {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}


def test_the_package_is_all_there():
    assert {"_machine", "channel", "effects", "lifecycle", "lifecycle_events"} | TOOLS <= {m.stem for m in MODULES}


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_no_module_knows_time_chance_network_threads_or_the_gateway(module):
    assert imports_of(module) & (NOWHERE - ALLOWED.get(name_of(module), set())) == set()
    assert calls_of(module) & {"__import__", "eval", "exec"} == set()


@pytest.mark.parametrize("module", [m for m in MODULES if m.stem not in TOOLS], ids=name_of)
def test_no_module_but_the_tools_reads_or_writes_files(module):
    assert imports_of(module) & FILES == set()
    assert calls_of(module) & {"open", "print", "input"} == set()


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_only_the_engine_knows_the_library(module):
    assert ("transitions" in imports_of(module)) == (module.stem == "_machine")


@pytest.mark.parametrize("module", [m for m in MODULES if m.stem not in TOOLS | WALKERS], ids=name_of)
def test_no_module_but_the_tools_waits(module):
    """There is no coroutine and no loop that could wait: a machine is asked, and answers."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    waits = (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith, ast.While)
    assert not [node for node in ast.walk(tree) if isinstance(node, waits)]
