"""The world of messages: every promise is kept in it, and each is broken where the code around the tables has the fault it is there for."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace as changed

from statemachine import Delivery, Effect, Incoming, Machine
from statemachine.delivery import AnswerLost, DeliverySent, Keep, Resumed, RetryRequested, Send
from statemachine.explore import Report, explore
from statemachine.explore_command import run
from statemachine.incoming import Finish, HandlerAnswered, HandlingDue
from statemachine.promises import (
    CONFIRMED_IS_KEPT,
    ENDS,
    HANDLED,
    IN_ORDER,
    OF_MESSAGES,
    REPLIED,
    SENT_ONCE,
    STALE,
)
from statemachine.story import as_test, story
from statemachine.world import MessageWorld
from statemachine.world.messages import Accept, Messages
from statemachine.world.outgoing import Out, Stage
from statemachine.world.store import Image

AnyMachine = type[Machine[Any, Any]]


def test_every_promise_is_kept_whatever_one_thing_the_outside_may_do() -> None:
    """Two things are some 265,000 worlds: `python -m statemachine explore --messages`."""
    world = MessageWorld(budget=1)
    report: Report[Messages] = explore(world)
    assert report.complete
    assert not report.violations, "\n\n".join(story(world, violation) for violation in report.violations)
    assert report.states > 10_000


# Around the tables: each fault of the code there breaks its promise


class ConfirmsEarly(MessageWorld):
    """The offset is moved on before the messages are on the disk."""

    def accept(self, world: Messages, offset: int) -> Messages:
        accepting = changed(super().accept(world, offset), offset=offset)
        return changed(accepting, accepts=tuple(changed(accept, live=False) for accept in accepting.accepts))


class KeepsNothing(MessageWorld):
    """The offset is written down without its messages."""

    def accept(self, world: Messages, offset: int) -> Messages:
        accepting = super().accept(world, offset)
        memory = changed(world.store.memory, offset=offset)
        return changed(accepting, store=changed(accepting.store, memory=memory), accepts=(Accept(offset, frozenset()),))


class TakesTwice(MessageWorld):
    """What the store has already is taken for new."""

    def accept(self, world: Messages, offset: int) -> Messages:
        accepting = super().accept(world, offset)
        again = changed(accepting.accepts[-1], fresh=frozenset(range(offset)))
        return changed(accepting, accepts=(*accepting.accepts[:-1], again))


class ForgetsAtBoot(MessageWorld):
    """What an earlier life has left is not taken up."""

    def boot(self, world: Messages) -> Messages:
        return changed(super().boot(world), incoming=(None, None))


class FinishesWithoutReplies(MessageWorld):
    """The end of a message is written down, and its reply only sent."""

    def finish(self, world: Messages, place: int, effect: Finish) -> Messages:
        finished = super().finish(world, place, effect)
        outbox = world.store.memory.outbox
        return changed(finished, store=changed(finished.store, memory=changed(finished.store.memory, outbox=outbox)))


class SendsBeforeMarking(MessageWorld):
    """The network hears of it before the disk."""

    def perform(self, world: Messages, place: int, one: Out, effect: Effect) -> Messages:
        world = super().perform(world, place, one, effect)
        sending = world.outgoing[place]
        if not isinstance(effect, Send) or sending is None:
            return world
        early = changed(sending, sendings=tuple(changed(s, stage=Stage.DURABLE) for s in sending.sendings))
        return changed(world, outgoing=(*world.outgoing[:place], early, *world.outgoing[place + 1 :]))


class MarksNothing(MessageWorld):
    """What comes of the sending is not written down."""

    def perform(self, world: Messages, place: int, one: Out, effect: Effect) -> Messages:
        return world if isinstance(effect, Keep) else super().perform(world, place, one, effect)


class HandlesSideBySide(MessageWorld):
    """A message does not wait for the one before it."""

    def has_turn(self, world: Messages, place: int) -> bool:
        return True


class SendsSideBySide(MessageWorld):
    """A reply does not wait for the one before it."""

    def may_go(self, world: Messages, place: int) -> bool:
        return True


FAULTY: tuple[tuple[type[MessageWorld], str], ...] = (
    (ConfirmsEarly, CONFIRMED_IS_KEPT),
    (KeepsNothing, CONFIRMED_IS_KEPT),
    (TakesTwice, SENT_ONCE),
    (ForgetsAtBoot, HANDLED),
    (FinishesWithoutReplies, REPLIED),
    (SendsBeforeMarking, SENT_ONCE),
    (MarksNothing, REPLIED),
    (HandlesSideBySide, IN_ORDER),
    (SendsSideBySide, IN_ORDER),
)


@pytest.mark.parametrize(("faulty", "promise"), FAULTY, ids=[faulty.__name__ for faulty, _ in FAULTY])
def test_a_fault_around_the_tables_breaks_its_promise(faulty: type[MessageWorld], promise: str) -> None:
    """The shortest story of it is told."""
    world = faulty(budget=1)
    report = explore(world, until={promise})
    assert promise in report.promises_broken
    told = story(world, next(found for found in report.violations if found.promise == promise))
    assert told.startswith(f"BROKEN: {promise}")


def test_every_promise_about_messages_can_be_broken() -> None:
    """By a fault of this file: one that nothing breaks would hold whatever the tables say."""
    assert {promise for _, promise in FAULTY} == OF_MESSAGES


# The tables: a fault in one is found out


def spoilt(machine: AnyMachine, on: Any, **changes: Any) -> AnyMachine:
    """The machine with something else in its rows for an event; without changes it has no such row."""
    table = [replace(row, **changes) if row.on is on else row for row in machine.table if changes or row.on is not on]
    return type(machine.__name__, (machine,), {"__module__": machine.__module__, "table": tuple(table)})


@pytest.mark.parametrize(
    ("world", "promise"),
    [
        (MessageWorld(1, incoming=spoilt(Incoming, HandlerAnswered, effects=("disarm",))), HANDLED),
        (MessageWorld(1, incoming=spoilt(Incoming, HandlingDue)), HANDLED),
        (MessageWorld(1, incoming=spoilt(Incoming, HandlingDue, guards=())), STALE),
        (MessageWorld(1, delivery=spoilt(Delivery, AnswerLost)), REPLIED),
        (MessageWorld(1, delivery=spoilt(Delivery, DeliverySent, guards=())), STALE),
        (MessageWorld(1, delivery=spoilt(Delivery, DeliverySent, effects=("disarm", "make_way"))), REPLIED),
        (MessageWorld(2, delivery=spoilt(Delivery, RetryRequested, effects=("line_up",))), SENT_ONCE),
        (MessageWorld(1, delivery=spoilt(Delivery, Resumed)), REPLIED),
    ],
    ids=[
        "an answered message is not finished", "a wait has no end", "a wait that is over is believed", "a lost answer is nothing",
        "an old success is believed", "a success is not written down", "a person's wish is not marked", "a boot goes on with nothing",
    ],
)  # fmt: skip
def test_a_fault_in_a_table_breaks_a_promise(world: MessageWorld, promise: str) -> None:
    assert promise in explore(world, until={promise}, limit=60_000).promises_broken


def test_what_hangs_and_is_not_cancelled_never_ends() -> None:
    rows = [replace(r, effects=tuple(e for e in r.effects if e != "cancel")) for r in Delivery.table]
    lazy = type("Delivery", (Delivery,), {"__module__": Delivery.__module__, "table": tuple(rows)})
    assert ENDS in explore(MessageWorld(1, delivery=lazy)).promises_broken


# The store


def test_an_image_takes_over_what_it_had_not_and_says_which() -> None:
    image, fresh = Image().receive(1)
    assert fresh == {0}
    image, fresh = image.finish(0, "handled", 1, replies=True).receive(2)
    assert fresh == {1}
    assert (image.unfinished(), image.unsent(), image.offset) == ([1], [0], 2)


# The command


def test_the_command_tells_and_writes_a_test(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(1, 0, messages=True, as_json=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["complete"], told["broken"]) == (True, [])
    (violation, *_) = explore(ConfirmsEarly(1)).violations
    text = as_test(violation, "MessageWorld(1)", "a command")
    assert "from statemachine.world import MessageWorld" in text
    written = tmp_path / "test_found.py"
    written.write_text(text)
    names: dict[str, Any] = {}
    exec(text, names)
    with pytest.raises(ValueError, match="cannot happen"):
        next(thing for name, thing in names.items() if name.startswith("test_"))()
