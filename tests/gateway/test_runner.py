"""From effect to completion: exactly one each, whatever happens; and each machine's one timer."""

from __future__ import annotations

import asyncio
import contextvars
from random import Random

import pytest
from structlog.testing import capture_logs

from statemachine import Event, Step
from statemachine.effects import ArmTimer
from tests.gateway.toy import Burn, Burnt, Heat, House, Rang, Set, SwitchOn, Unset
from tests.virtual import run_virtual

requester: contextvars.ContextVar[str] = contextvars.ContextVar("requester", default="nobody")


async def heat(_: str, effect: Heat) -> Event:
    if effect.how == "badly":
        raise ValueError("too hot")
    if effect.how == "for ever":
        await asyncio.Event().wait()
    if effect.how == "slowly":
        await asyncio.sleep(5)
    return Burnt(effect.how)


def house_with_heat(timeout: float | None = None) -> House:
    house = House()
    house.runner.work(Heat, heat, lambda effect, why: Burnt(f"{effect.how}: {why}"), timeout)
    return house


# Work


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("well", "well"),
        ("slowly", "slowly"),
        ("badly", "badly: ValueError: too hot"),
        ("for ever", "for ever: TimeoutError: "),
    ],
)
def test_work_ends_in_exactly_one_completion(how: str, said: str) -> None:
    async def main() -> None:
        house = house_with_heat(timeout=30)
        async with house.turning():
            await house.dispatcher.post("lamp", Burn(how), "test")
            await asyncio.sleep(120)
            assert house.data().ended == (said,)
            assert house.runner.busy == 0

    run_virtual(main())


def test_of_a_machine_whose_work_has_ended_nothing_is_remembered() -> None:
    """There is one for each message."""

    async def main() -> None:
        house = house_with_heat()
        async with house.turning():
            for how in ("well", "slowly", "badly"):
                await house.dispatcher.post("lamp", Burn(how), "test")
            await asyncio.sleep(1)
            assert list(house.runner._tasks) == ["lamp"]
            await asyncio.sleep(10)
            assert house.runner._tasks == {}
            await house.dispatcher.post("lamp", Burn("slowly"), "test")
            await asyncio.sleep(10)
            assert sorted(house.data().ended) == ["badly: ValueError: too hot", "slowly", "slowly", "well"]
            assert house.runner._tasks == {}

    run_virtual(main())


def test_cancelled_work_ends_in_exactly_one_completion() -> None:
    async def main() -> None:
        house = house_with_heat()
        async with house.turning():
            await house.dispatcher.post("lamp", Burn("for ever"), "test")
            await asyncio.sleep(1)
            assert house.runner.busy == 1
            house.runner.cancel("lamp")
            await asyncio.sleep(1)
            assert house.data().ended == ("for ever: it was cancelled",)
            assert house.runner.busy == 0

    run_virtual(main())


def test_work_that_is_cancelled_before_it_began_ends_in_exactly_one_completion() -> None:
    """The step that cancels may come in the same turn of the loop as the one that asked for the work."""

    async def main() -> None:
        house = house_with_heat()
        house.runner.perform("lamp", (Heat("well"),), "test")
        house.runner.cancel("lamp")
        async with house.turning():
            await asyncio.sleep(1)
            assert house.data().ended == ("well: it was cancelled",)
            assert house.runner.busy == 0

    run_virtual(main())


def test_a_completion_that_comes_in_the_turn_of_the_cancel_is_the_only_one() -> None:
    async def main() -> None:
        house = House()
        begun = asyncio.Event()

        async def stubborn(_: str, effect: Heat) -> Event:
            """Ends with a result although it was cancelled."""
            begun.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                return Burnt("done nevertheless")
            raise AssertionError

        house.runner.work(Heat, stubborn, lambda effect, why: Burnt(why))
        async with house.turning():
            await house.dispatcher.post("lamp", Burn(), "test")
            await begun.wait()
            house.runner.cancel("lamp")
            house.runner.cancel("lamp")
            await asyncio.sleep(1)
            assert house.data().ended == ("done nevertheless",)

    run_virtual(main())


def test_only_the_work_of_that_machine_is_cancelled() -> None:
    async def main() -> None:
        house = House("one", "two")
        house.runner.work(Heat, heat, lambda effect, why: Burnt(why))
        async with house.turning():
            for name in ("one", "two"):
                await house.dispatcher.post(name, Burn("slowly"), "test")
            house.runner.cancel("one")
            await asyncio.sleep(60)
            assert (house.data("one").ended, house.data("two").ended) == (("it was cancelled",), ("slowly",))

    run_virtual(main())


def test_a_completion_names_the_step_that_asked_for_it_as_its_cause() -> None:
    async def main() -> None:
        house = house_with_heat()
        async with house.turning():
            await house.dispatcher.post("lamp", SwitchOn(), "somebody")
            await house.dispatcher.post("lamp", Burn("well"), "somebody")
            await asyncio.sleep(1)
        assert [(entry.trigger, entry.cause) for entry in house.journal.page()] == [
            ("switch_on", "somebody"),
            ("burn", "somebody"),
            ("burnt", "step:2"),
        ]

    run_virtual(main())


def test_every_task_has_a_fresh_context_and_a_name() -> None:
    async def main() -> None:
        house = House()
        seen: list[tuple[str, str]] = []

        async def look(_: str, effect: Heat) -> Event:
            task = asyncio.current_task()
            assert task is not None
            seen.append((requester.get(), task.get_name()))
            requester.set(effect.how)
            return Burnt("")

        house.runner.work(Heat, look, lambda effect, why: Burnt(why))
        requester.set("somebody")
        async with house.turning():
            await house.dispatcher.post("lamp", Burn("first"), "test")
            await house.dispatcher.post("lamp", Burn("second"), "test")
            await asyncio.sleep(1)
        # Neither the submitter's context nor an earlier task's came along.
        assert [who for who, _ in seen] == ["nobody", "nobody"]
        assert seen[0][1] == "lamp:Heat:step:1"

    run_virtual(main())


def test_failed_work_is_logged_with_its_traceback() -> None:
    async def main() -> None:
        house = house_with_heat()
        with capture_logs() as lines:
            async with house.turning():
                await house.dispatcher.post("lamp", Burn("badly"), "test")
                await asyncio.sleep(1)
        failed = [line for line in lines if line["event"] == "work_failed"]
        assert [(line["machine"], line["effect"], line["exc_info"]) for line in failed] == [("lamp", "Heat", True)]

    run_virtual(main())


def test_effects_are_set_going_in_their_order_and_commands_in_the_turn_itself() -> None:
    async def main() -> None:
        house = house_with_heat()
        async with house.turning():
            answer = await house.dispatcher.post("lamp", Burn("well"), "test")
            assert isinstance(answer, Step)
            # Both clicks are done, the work between them has not even begun.
            assert house.clicks == [("lamp", 0), ("lamp", 1)]
            assert house.data().ended == ()

    run_virtual(main())


def test_closing_ends_all_work_and_forgets_all_timers() -> None:
    async def main() -> None:
        house = house_with_heat()
        house.dispatcher.post("lamp", Burn("for ever"), "test")
        house.dispatcher.post("lamp", Set(ArmTimer(Rang(), after=1)), "test")
        async with house.turning():
            await asyncio.sleep(0.5)
        await asyncio.sleep(10)
        assert house.data().rung == ()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run_virtual(main())


# Timers


async def ring(house: House, timer: ArmTimer, wait: float = 1000) -> float:
    """Arm the lamp's timer, and return after how many seconds it rang."""
    before = house.clock.monotonic()
    await house.dispatcher.post("lamp", Set(timer), "test")
    rung = house.data().rung
    async with asyncio.timeout(wait):
        await house.dispatcher.until("lamp", lambda machine: machine.data.rung != rung)
    return house.clock.monotonic() - before


def test_a_timer_is_due_after_or_at() -> None:
    async def main() -> None:
        house = House()
        async with house.turning():
            assert await ring(house, ArmTimer(Rang(), after=7)) == pytest.approx(7)
            # `at` is absolute: how late it was armed does not matter.
            due = house.clock.monotonic() + 10
            await asyncio.sleep(4)
            assert await ring(house, ArmTimer(Rang(), at=due)) == pytest.approx(6)
            assert await ring(house, ArmTimer(Rang(), at=house.clock.monotonic() - 5)) == pytest.approx(0)
            assert await ring(house, ArmTimer(Rang())) == pytest.approx(0)

    run_virtual(main())


def test_arming_again_replaces_and_disarming_forgets() -> None:
    async def main() -> None:
        house = House()
        async with house.turning():
            await house.dispatcher.post("lamp", Set(ArmTimer(Rang("first"), after=5)), "test")
            await house.dispatcher.post("lamp", Set(ArmTimer(Rang("second"), after=9)), "test")
            await asyncio.sleep(100)
            assert house.data().rung == ("second",)
            await house.dispatcher.post("lamp", Set(ArmTimer(Rang("third"), after=5)), "test")
            await house.dispatcher.post("lamp", Unset(), "test")
            await house.dispatcher.post("lamp", Unset(), "test")
            await asyncio.sleep(100)
            assert house.data().rung == ("second",)
            assert house.runner._timers == {}

    run_virtual(main())


def test_each_machine_has_its_own_timer() -> None:
    async def main() -> None:
        house = House("one", "two")
        async with house.turning():
            await house.dispatcher.post("one", Set(ArmTimer(Rang("one"), after=5)), "test")
            await house.dispatcher.post("two", Set(ArmTimer(Rang("two"), after=5)), "test")
            await house.dispatcher.post("one", Unset(), "test")
            await asyncio.sleep(10)
            assert (house.data("one").rung, house.data("two").rung) == ((), ("two",))

    run_virtual(main())


def test_a_timer_names_the_step_that_armed_it_as_its_cause() -> None:
    async def main() -> None:
        house = House()
        async with house.turning():
            await ring(house, ArmTimer(Rang(), after=7))
        assert [(entry.trigger, entry.cause) for entry in house.journal.page()] == [
            ("set", "test"),
            ("rang", "timer of step:1"),
        ]

    run_virtual(main())


def test_jitter_is_drawn_evenly_between_nothing_and_the_whole() -> None:
    async def main() -> list[float]:
        house = House(random=Random(7))
        async with house.turning():
            return [await ring(house, ArmTimer(Rang(), after=30, jitter=True)) for _ in range(300)]

    waits, expected = run_virtual(main()), Random(7)
    assert waits == pytest.approx([expected.uniform(0, 30) for _ in range(300)])
    assert all(0 <= wait <= 30 for wait in waits)
    assert min(waits) < 3
    assert max(waits) > 27
    assert sum(waits) / 300 == pytest.approx(15, abs=2)


def test_jitter_never_goes_below_what_was_asked_for() -> None:
    async def main() -> list[float]:
        house = House(random=Random(7))
        async with house.turning():
            return [await ring(house, ArmTimer(Rang(), after=8, jitter=True, at_least=5)) for _ in range(100)]

    waits = run_virtual(main())
    assert min(waits) == pytest.approx(5)
    assert max(waits) > 7


def test_the_least_wait_holds_without_jitter_too() -> None:
    async def main() -> None:
        house = House()
        async with house.turning():
            assert await ring(house, ArmTimer(Rang(), after=2, at_least=60)) == pytest.approx(60)

    run_virtual(main())
