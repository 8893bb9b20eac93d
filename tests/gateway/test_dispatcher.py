"""One inbox, one loop: what is true of every event, whatever its machine."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.journal import Entry
from statemachine import Channel, Effect, Event, Machine, Refusal, Step
from tests.gateway.toy import Burnt, Click, Crack, Doubt, House, Lamp, LampState, SwitchOff, SwitchOn
from tests.virtual import run_virtual


def test_events_are_handled_one_at_a_time_in_the_order_in_which_they_came() -> None:
    async def main() -> None:
        house = House("one", "two")
        events = [("one", SwitchOn()), ("two", SwitchOn()), ("one", SwitchOff()), ("two", SwitchOff())] * 25
        answers = [house.dispatcher.post(name, event, str(number)) for number, (name, event) in enumerate(events)]
        done: list[int] = []
        for number, answer in enumerate(answers):
            answer.add_done_callback(partial(_note, done, number))
        async with house.turning():
            await asyncio.gather(*answers)
        entries = house.journal.page(0, 1000)
        assert [entry.cause for entry in entries] == [str(number) for number in range(100)]
        assert [(entry.machine, entry.trigger) for entry in entries] == [(n, e.trigger) for n, e in events]
        assert done == list(range(100))

    run_virtual(main())


def _note(done: list[int], number: int, _: object) -> None:
    done.append(number)


def test_the_submitter_gets_the_true_step_or_the_true_refusal() -> None:
    async def main() -> None:
        house = House()
        async with house.turning():
            step = await house.dispatcher.post("lamp", SwitchOn("dark"), "me")
            refusal = await house.dispatcher.post("lamp", SwitchOn("darker"), "me")
        assert isinstance(step, Step)
        assert (step.before, step.after, step.event, step.effects) == ("off", "on", SwitchOn("dark"), (Click(1),))
        assert isinstance(refusal, Refusal)
        assert (refusal.state, refusal.event, refusal.guards) == ("on", SwitchOn("darker"), ())
        assert "switch_off" in refusal.allowed
        assert "switch_on" not in refusal.allowed
        assert refusal.why == "lamp cannot switch_on in state on"

    run_virtual(main())


def test_case_70_of_a_hundred_concurrent_starts_one_is_a_step() -> None:
    async def main() -> None:
        house = House()

        async def submit(number: int) -> Step | Refusal:
            return await house.dispatcher.post("lamp", SwitchOn(str(number)), f"caller {number}")

        async with house.turning():
            results = await asyncio.gather(*(submit(number) for number in range(100)))
        steps = [result for result in results if isinstance(result, Step)]
        assert len(steps) == 1
        assert len([result for result in results if isinstance(result, Refusal)]) == 99
        # Each was given the answer to its own event, not to somebody else's.
        assert [result.event for result in results] == [SwitchOn(str(number)) for number in range(100)]
        assert house.data().turned == 1
        assert house.clicks == [("lamp", 1)]

    run_virtual(main())


def test_case_70_a_submitter_that_is_cancelled_cancels_nothing() -> None:
    async def main() -> None:
        house = House()
        house.dispatcher.post("lamp", SwitchOn(), "gone").cancel()

        async def submit() -> None:
            await house.dispatcher.post("lamp", SwitchOff(), "gone too")

        submitting = asyncio.ensure_future(submit())
        await asyncio.sleep(0)
        submitting.cancel()
        await asyncio.wait({submitting})
        assert submitting.cancelled()
        last = house.dispatcher.post("lamp", SwitchOn(), "stayed")
        async with house.turning():
            answer = await last
        assert isinstance(answer, Step)
        assert [entry.cause for entry in house.journal.page()] == ["gone", "gone too", "stayed"]
        assert [entry.kind for entry in house.journal.page()] == ["step"] * 3
        assert house.data().turned == 3

    run_virtual(main())


def test_case_70_an_illegal_event_loses_no_other() -> None:
    async def main() -> None:
        house = House()
        events = [SwitchOn(), SwitchOn(), SwitchOff(), SwitchOff(), SwitchOn(), Crack(), SwitchOff()]
        answers = [house.dispatcher.post("lamp", event, "test") for event in events]
        async with house.turning():
            results = await asyncio.gather(*answers)
        kinds = [type(result) for result in results]
        assert kinds == [Step, Refusal, Step, Refusal, Step, Refusal, Step]
        assert house.state() is LampState.OFF

    run_virtual(main())


@pytest.mark.parametrize("event", [Crack(), Doubt()], ids=["action", "guard"])
def test_a_broken_action_becomes_a_refusal_and_the_machine_has_not_moved(event: Event) -> None:
    async def main() -> None:
        house = House()
        before = house.data()
        with capture_logs() as lines:
            async with house.turning():
                refusal = await house.dispatcher.post("lamp", event, "test")
                after = await house.dispatcher.post("lamp", SwitchOn(), "test")
        assert isinstance(refusal, Refusal)
        assert refusal.guards == ("defect",)
        assert refusal.state == "off"
        # Unmoved: what the broken action had set is gone, and the next event finds the machine as it was.
        assert isinstance(after, Step)
        assert (after.before, house.data().turned) == ("off", before.turned + 1)
        assert house.clicks == [("lamp", 1)]
        broken = next(line for line in lines if line["event"] == "broken_action")
        assert (broken["machine"], broken["trigger"]) == ("lamp", event.trigger)
        assert broken["exc_info"], "without its traceback nobody can mend it"

    run_virtual(main())


def test_an_event_for_a_machine_that_does_not_exist_is_refused() -> None:
    async def main() -> None:
        house = House()
        async with house.turning():
            refusal = await house.dispatcher.post("nobody", SwitchOn(), "test")
        assert isinstance(refusal, Refusal)
        assert (refusal.machine, refusal.state, refusal.guards) == ("nobody", "absent", ("machine_exists",))
        assert [entry.machine for entry in house.journal.page()] == ["nobody"]

    run_virtual(main())


def test_journalled_first_then_answered_then_performed() -> None:
    async def main() -> None:
        house = House()
        order: list[Any] = []
        house.journal.listen(lambda entry: order.append(("journal", entry.seq, answer.done())))

        def perform(machine: str, effects: tuple[Effect, ...], cause: str) -> None:
            newest: Entry = house.journal.newest(1)[0]
            order.append(("perform", machine, effects, cause, newest.seq, answer.done()))

        house.dispatcher.connect(perform)
        answer = house.dispatcher.post("lamp", SwitchOn(), "test")
        async with house.turning():
            await answer
        assert order == [("journal", 1, False), ("perform", "lamp", (Click(1),), "step:1", 1, True)]

    run_virtual(main())


def test_a_refusal_performs_nothing_and_is_journalled_all_the_same() -> None:
    async def main() -> None:
        house = House()
        async with house.turning():
            await house.dispatcher.post("lamp", SwitchOff(), "test")
        (entry,) = house.journal.page()
        assert (entry.kind, entry.outcome, entry.before, entry.after) == ("refusal", "refused", "off", "off")
        assert house.clicks == []

    run_virtual(main())


def test_what_is_posted_while_an_effect_is_performed_waits_its_turn() -> None:
    async def main() -> None:
        house = House()
        inside: list[str] = []

        def click(machine: str, effect: Click) -> None:
            house.dispatcher.post(machine, Burnt("posted inside"), "click")
            inside.append(house.journal.newest(1)[0].trigger)

        house.runner.command(Click, click)
        house.dispatcher.post("lamp", SwitchOn(), "test")
        house.dispatcher.post("lamp", SwitchOff(), "test")
        async with house.turning():
            await house.dispatcher.until("lamp", lambda machine: bool(machine.data.ended))
        assert inside == ["switch_on"]
        assert [entry.trigger for entry in house.journal.page()] == ["switch_on", "switch_off", "burnt"]

    run_virtual(main())


# Being told


def test_what_it_is_told_is_handled_and_recorded_as_what_is_posted_is() -> None:
    async def main() -> None:
        house = House()
        async with house.turning():
            house.dispatcher.tell("lamp", SwitchOn("told"), "first")
            answer = house.dispatcher.post("lamp", SwitchOff(), "second")
            house.dispatcher.tell("lamp", SwitchOff(), "third")
            house.dispatcher.tell("nobody", SwitchOn(), "fourth")
            house.dispatcher.tell("lamp", Crack(), "fifth")
            assert isinstance(await answer, Step), "it came second"
            with capture_logs():
                assert isinstance(await house.dispatcher.post("lamp", SwitchOff(), "sixth"), Refusal)
        assert [(entry.cause, entry.kind, entry.trigger) for entry in house.journal.page()] == [
            ("first", "step", "switch_on"), ("second", "step", "switch_off"), ("third", "refusal", "switch_off"),
            ("fourth", "refusal", "switch_on"), ("fifth", "refusal", "crack"), ("sixth", "refusal", "switch_off"),
        ]  # fmt: skip
        assert house.clicks == [("lamp", 1)], "effects are set going"

    run_virtual(main())


# Waiting


def _is_on(machine: Machine[Any, Any]) -> bool:
    return machine.state is LampState.ON


def test_until_returns_at_once_or_with_the_step_that_makes_it_true() -> None:
    async def main() -> None:
        house = House()
        async with house.turning():
            await house.dispatcher.until("lamp", lambda machine: not _is_on(machine))
            waiting = asyncio.ensure_future(house.dispatcher.until("lamp", _is_on))
            await house.dispatcher.post("lamp", Burnt("not yet"), "test")
            await asyncio.sleep(1)
            assert not waiting.done()
            await house.dispatcher.post("lamp", SwitchOn(), "test")
            await house.dispatcher.post("lamp", SwitchOff(), "test")
            # It was true for the length of one step: who waited for it was told.
            await waiting

    run_virtual(main())


def test_a_waiter_that_is_cancelled_is_forgotten_and_disturbs_no_other() -> None:
    async def main() -> None:
        house = House()
        async with house.turning():
            gone, stays = (asyncio.ensure_future(house.dispatcher.until("lamp", _is_on)) for _ in range(2))
            await asyncio.sleep(0)
            gone.cancel()
            await house.dispatcher.post("lamp", SwitchOn(), "test")
            await stays
            assert gone.cancelled()
        assert not any(house.dispatcher._waiters.values())

    run_virtual(main())


def test_looking_at_a_machine_that_does_not_exist_raises() -> None:
    async def main() -> None:
        house = House()
        with pytest.raises(KeyError):
            house.dispatcher.machine("nobody")
        with pytest.raises(KeyError):
            await house.dispatcher.until("nobody", lambda _: True)

    run_virtual(main())


def test_machines_can_be_added_and_removed() -> None:
    async def main() -> None:
        house = House("one", "two")
        assert list(house.dispatcher.machines(Lamp)) == ["one", "two"]
        assert house.dispatcher.machines(Channel) == {}, "of another kind"
        house.dispatcher.machines(Lamp).clear()
        house.dispatcher.remove("one")
        assert list(house.dispatcher.machines(Lamp)) == ["two"]
        assert house.dispatcher.find("one") is None
        with pytest.raises(KeyError):
            house.dispatcher.remove("one")
        async with house.turning():
            assert isinstance(await house.dispatcher.post("one", SwitchOn(), "test"), Refusal)

    run_virtual(main())
