"""The record of every step and refusal."""

from __future__ import annotations

import json
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway import journal as journal_module
from gateway.clock import Clock
from gateway.journal import Before, Entry, Journal, log_entry
from statemachine import Channel, Event, Lifecycle, Refusal, Step
from statemachine.channel import ChannelData
from statemachine.channel_events import By, Cause, ReceiverEnded, Run, Start
from statemachine.lifecycle_data import LifecycleData
from statemachine.lifecycle_events import Boot, ConfigRejected, LifecyclePolicy, Started, StartFailed
from tests.gateway.toy import Burnt, Lamp, LampData, SwitchOff, SwitchOn


class StillClock(Clock):
    """Says what it is told to say."""

    now = 5_000

    def wall_ms(self) -> int:
        return self.now


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture
def journal(clock: StillClock) -> Journal:
    return Journal(clock)


def fired(*events: Event, lamp: Lamp | None = None) -> list[Step | Refusal]:
    lamp = lamp or Lamp("lamp", LampData())
    return [lamp.fire(event) for event in events]


def record(journal: Journal, *events: Event, cause: str = "test") -> list[Entry]:
    return [journal.record(result, cause) for result in fired(*events)]


def test_every_entry_has_the_next_number_its_cause_and_its_time(journal: Journal, clock: StillClock) -> None:
    first, second = record(journal, SwitchOn(), SwitchOn())
    clock.now = 6_000
    third = journal.record(fired(SwitchOn())[0], "step:1")
    assert [entry.seq for entry in (first, second, third)] == [1, 2, 3]
    assert [entry.cause for entry in (first, second, third)] == ["test", "test", "step:1"]
    assert [entry.at for entry in (first, second, third)] == [5_000, 5_000, 6_000]


def test_a_step_and_a_refusal_say_what_became_of_the_machine(journal: Journal) -> None:
    step, refusal = record(journal, SwitchOn("dark"), SwitchOn())
    assert (step.kind, step.before, step.after, step.outcome, step.why) == ("step", "off", "on", "done", "dark")
    assert (refusal.kind, refusal.before, refusal.after, refusal.outcome) == ("refusal", "on", "on", "refused")
    assert refusal.why == "lamp cannot switch_on in state on"


def test_revision_and_generation_are_taken_from_the_event(journal: Journal) -> None:
    lifecycle = Lifecycle("gateway", LifecycleData())
    boot = journal.record(lifecycle.fire(Boot("a" * 64, LifecyclePolicy())), "boot")
    started = journal.record(lifecycle.fire(Started(1, "b" * 64)), "step:1")
    channel = Channel("webchat/default", ChannelData())
    journal.record(channel.fire(Start(Run("a", None), By.GATEWAY)), "boot")
    ended = journal.record(channel.fire(ReceiverEnded(1, Cause.LOST, "no network", 0.0)), "receiver")
    assert (boot.revision, boot.generation) == ("a" * 64, None)
    assert started.revision == "b" * 64
    assert (ended.generation, ended.revision, ended.why) == (1, None, "no network")


def test_when_a_machine_came_into_its_state(journal: Journal, clock: StillClock) -> None:
    assert journal.moved_at("lamp") is None
    lamp = Lamp("lamp", LampData())
    journal.record(lamp.fire(SwitchOn()), "test")
    clock.now = 9_000
    journal.record(lamp.fire(SwitchOn()), "test")
    journal.record(lamp.fire(Burnt("")), "test")
    assert journal.moved_at("lamp") == 5_000, "neither a refusal nor a step that keeps the state moves it"
    journal.record(lamp.fire(SwitchOff()), "test")
    assert journal.moved_at("lamp") == 9_000


def test_pages(journal: Journal) -> None:
    record(journal, SwitchOn(), SwitchOff(), SwitchOn(), SwitchOff())
    journal.record(fired(SwitchOn(), lamp=Lamp("other", LampData()))[0], "test")
    assert [entry.seq for entry in journal.page()] == [1, 2, 3, 4, 5]
    assert [entry.seq for entry in journal.page(after=2, limit=2)] == [3, 4]
    assert [entry.seq for entry in journal.page(machine="other")] == [5]
    assert [entry.seq for entry in journal.page(after=5)] == []
    assert [entry.seq for entry in journal.newest(2)] == [4, 5]
    assert [entry.seq for entry in journal.newest(2, before=4)] == [2, 3]
    assert [entry.seq for entry in journal.newest(9, before=5, machine="lamp")] == [1, 2, 3, 4]
    assert [entry.seq for entry in journal.newest(9, before=1)] == []


def test_it_does_not_grow_for_ever(monkeypatch: pytest.MonkeyPatch, clock: StillClock) -> None:
    monkeypatch.setattr(journal_module, "KEPT", 3)
    journal = Journal(clock)
    record(journal, *[SwitchOn()] * 10)
    assert [entry.seq for entry in journal.page()] == [8, 9, 10]


# Machines of which there is one a message


class Spark(Lamp):
    """One of thousands."""

    frequent = True


def spark(journal: Journal, name: str = "spark", *events: Event) -> list[Entry]:
    machine = Spark(name, LampData())
    found = []
    for event in events or (SwitchOn(), SwitchOff()):
        before = Before(machine, machine.data)
        found.append(journal.record(machine.fire(event), "test", before))
    return found


def test_the_steps_of_messages_do_not_push_out_those_of_others(
    monkeypatch: pytest.MonkeyPatch, clock: StillClock
) -> None:
    monkeypatch.setattr(journal_module, "KEPT", 4)
    journal = Journal(clock)
    record(journal, SwitchOn(), SwitchOff())
    for number in range(10):
        spark(journal, f"spark/{number}")
    record(journal, SwitchOn())
    assert [(entry.seq, entry.machine) for entry in journal.page()] == [
        (1, "lamp"), (2, "lamp"), (19, "spark/8"), (20, "spark/8"), (21, "spark/9"), (22, "spark/9"), (23, "lamp"),
    ]  # fmt: skip
    assert [entry.seq for entry in journal.page(after=2, limit=2)] == [19, 20]
    assert [entry.seq for entry in journal.page(machine="spark/9")] == [21, 22]
    assert [entry.seq for entry in journal.newest(2)] == [2, 23]
    assert journal.last == 23


def test_of_messages_it_is_not_remembered_when_they_moved(journal: Journal) -> None:
    """There are thousands, and nobody would ever forget them."""
    spark(journal)
    assert journal.moved_at("spark") is None
    assert journal._moved_at == {}


def test_an_ordinary_step_of_a_message_is_no_line_and_a_refusal_is(journal: Journal) -> None:
    journal.listen(log_entry, ordinary=False)
    with capture_logs() as lines:
        spark(journal, "spark", SwitchOn(), SwitchOn())
    assert [(line["event"], line["machine"]) for line in lines] == [("refused", "spark")]


def test_whoever_wants_them_is_told_of_the_steps_of_messages(journal: Journal) -> None:
    spared: list[Entry] = []
    told: list[Entry] = []
    journal.listen(spared.append, ordinary=False)
    journal.listen(told.append)
    step, refusal = spark(journal, "spark", SwitchOn(), SwitchOn())
    (other,) = record(journal, SwitchOn())
    assert told == [step, refusal, other]
    assert spared == [refusal, other]


# Going on from an earlier life


def test_numbers_go_on_where_an_earlier_life_has_left_off(journal: Journal) -> None:
    record(journal, SwitchOn(), SwitchOff())
    spark(journal)
    journal.go_on_from(100)
    assert [entry.seq for entry in journal.page()] == [101, 102, 103, 104]
    (entry,) = record(journal, SwitchOn())
    assert (entry.seq, journal.last) == (105, 105)
    assert [entry.seq for entry in journal.page(after=102)] == [103, 104, 105]


@pytest.mark.parametrize("earlier", [0, 100])
def test_it_is_whole_until_it_has_forgotten_something(
    monkeypatch: pytest.MonkeyPatch, clock: StillClock, earlier: int
) -> None:
    monkeypatch.setattr(journal_module, "KEPT", 4)
    journal = Journal(clock)
    assert journal.is_whole()
    record(journal, SwitchOn(), SwitchOff())
    journal.go_on_from(earlier)
    record(journal, SwitchOn(), SwitchOff())
    assert journal.is_whole()
    assert journal.is_whole(earlier)
    assert not journal.is_whole(earlier + 1), "the beginning is before that"
    spark(journal, "a spark")
    spark(journal, "another")
    assert journal.is_whole()
    spark(journal, "one too many")
    assert not journal.is_whole()


def test_it_is_not_whole_either_when_it_has_forgotten_the_steps_of_others(
    monkeypatch: pytest.MonkeyPatch, clock: StillClock
) -> None:
    monkeypatch.setattr(journal_module, "KEPT", 4)
    journal = Journal(clock)
    record(journal, SwitchOn(), SwitchOff(), SwitchOn(), SwitchOff())
    assert journal.is_whole()
    record(journal, SwitchOn())
    assert not journal.is_whole()


def test_listeners_are_told_of_each_entry_until_they_leave(journal: Journal) -> None:
    told: list[tuple[str, int]] = []

    def once(entry: Entry) -> None:
        told.append(("once", entry.seq))
        journal.ignore(once)

    journal.listen(once)
    journal.listen(lambda entry: told.append(("always", entry.seq)))
    record(journal, SwitchOn(), SwitchOff())
    assert told == [("once", 1), ("always", 1), ("always", 2)]


def test_an_entry_is_json(journal: Journal) -> None:
    (entry,) = record(journal, SwitchOn())
    assert json.loads(json.dumps(entry.as_dict()))["trigger"] == "switch_on"


# The log line of an entry


def logged(*results: Step | Refusal) -> list[dict[str, Any]]:
    journal = Journal(StillClock())
    journal.listen(log_entry)
    with capture_logs() as lines:
        for result in results:
            journal.record(result, "test")
    return [dict(line) for line in lines]


def test_one_line_for_each_entry() -> None:
    move, refusal, kept = logged(*fired(SwitchOn(), SwitchOn(), Burnt("")))
    context = {"machine": "lamp", "cause": "test"}
    assert move == context | {
        "event": "transition", "log_level": "info", "source": "off", "dest": "on", "trigger": "switch_on", "seq": 1,
        "row": 0,
    }  # fmt: skip
    assert refusal == context | {
        "event": "refused", "log_level": "warning", "state": "on", "trigger": "switch_on", "seq": 2,
        "why": "lamp cannot switch_on in state on",
    }  # fmt: skip
    assert kept == context | {
        "event": "handled", "log_level": "info", "state": "on", "outcome": "done", "trigger": "burnt", "seq": 3,
        "row": 3,
    }  # fmt: skip


def test_entering_a_failed_state_is_an_error() -> None:
    lifecycle = Lifecycle("gateway", LifecycleData())
    boot, failed = lifecycle.fire(Boot("a" * 64, LifecyclePolicy())), lifecycle.fire(StartFailed(1, "no port", 1))
    lines = logged(boot, failed)
    assert [(line["log_level"], line.get("why")) for line in lines] == [("info", None), ("error", "no port")]
    assert lines[0]["revision"] == "a" * 12


def test_a_missing_file_is_named_as_it_is() -> None:
    lifecycle = Lifecycle("gateway", LifecycleData())
    lifecycle.fire(Boot("a" * 64, LifecyclePolicy()))
    (line,) = logged(lifecycle.fire(ConfigRejected("missing", "there is no file")))
    assert (line["revision"], line["why"]) == ("missing", "there is no file")
