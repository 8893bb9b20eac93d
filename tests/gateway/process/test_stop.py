"""The work of a stop: who is told, what still goes out, and that it ends in its time whatever hangs."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.errors import UnavailableError
from gateway.process.budget import MOST, Stage
from statemachine import Refusal, Step
from statemachine.channel_events import By, Stop
from statemachine.lifecycle import LifecycleState
from statemachine.lifecycle_events import StopRequested
from tests.gateway.fakes import NEVER, Script
from tests.gateway.process.house import House
from tests.gateway.process.two_accounts import MAIN, ONE, both_run, busy, run

S = LifecycleState
HOURS = 10_000.0


def test_a_stop_tells_the_clients_then_ends_the_receivers_then_the_server(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            house.network.live(MAIN)[0].script.closes_in = 2.0
            await house.end()
            told = [("shutdown", ("stop", None)), ("stop listening", None), ("close", None)]
            assert house.control.told[1:] == told
            assert house.exit_code == 0
            assert [receiver.confirmed for receiver in house.network.receivers] == [1, 1]

    run(main())


def test_replies_that_are_under_way_go_out_before_the_end(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            busy(house, 2)
            await asyncio.sleep(0.1)
            await house.end()
            assert [text for _, _, text in house.network.sent] == ["hello"]

    run(main())


def test_case_25_a_second_stop_is_sooner_and_a_third_is_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            house.network.live(MAIN)[0].script.lingers = 4.0
            before = house.now()
            await house.post(StopRequested("SIGTERM"))
            await asyncio.sleep(1)
            assert house.exit_code is None
            await house.post(StopRequested("SIGTERM"))
            await house._exit
            # The receiver's share of a tenth of what there was.
            assert house.now() - before == pytest.approx(1 + 3 * 0.6 / 0.98, abs=0.1)
            assert house.exit_code == 0

    run(main())


def test_a_third_stop_asks_nobody(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            house.control.close = _never_closed  # type: ignore[method-assign]
            before = house.now()
            for _ in range(3):
                await house.post(StopRequested("SIGTERM"))
            await house._exit
            assert house.now() - before < 0.1

    run(main())


async def _never_closed() -> None:
    await asyncio.Event().wait()


def test_case_25_a_stop_ends_within_its_budget_whatever_hangs(tmp_path: Path) -> None:
    text = ONE.replace("gateway:\n", "gateway:\n  restart: {drain_timeout_ms: 20000}\n")

    async def main() -> None:
        async with House(tmp_path, text) as house:
            await both_run(house)
            stuck = house.network.live(MAIN)[0]
            stuck.script.lingers, stuck.script.fence_hangs = NEVER, True
            before = house.now()
            await house.end()
            assert house.now() - before == pytest.approx(20 * 0.62, abs=0.1)
            assert house.exit_code == 0
            house.network.leave(stuck)

    run(main())


def test_case_65_clients_that_do_not_close_are_left_and_counted(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            house.control.close, house.control.clients = _never_closed, 3  # type: ignore[method-assign]
            before = house.now()
            await house.end()
            assert house.now() - before == pytest.approx(MOST[Stage.CLIENTS], abs=0.1)
            assert house.exit_code == 0

    (line,) = [line for line in run(main()) if line["event"] == "stage_cut"]
    assert (line["stage"], line["undone"]) == ("clients", "3 clients have not closed")


@pytest.mark.parametrize("takes", [10.0, HOURS])
def test_a_reply_that_is_being_sent_outlives_its_receiver_for_a_while(tmp_path: Path, takes: float) -> None:
    """The account's own goodbye waits 3 s for it. What is on its way then is waited for, and no longer than its share."""

    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            house.network.sends.append(takes)
            busy(house, 0)
            await asyncio.sleep(0.1)
            await house.end()
            assert [text for _, _, text in house.network.sent] == (["hello"] if takes < HOURS else [])

    cut = [(line["stage"], line["undone"]) for line in run(main()) if line["event"] == "stage_cut"]
    assert cut == ([] if takes < HOURS else [("replies", "1 messages are being sent")])


@pytest.mark.parametrize("state", [S.HOT_RELOADING, S.RESTART_PENDING, S.RESTARTING])
def test_a_stop_wins_over_everything(tmp_path: Path, state: LifecycleState) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            if state is S.HOT_RELOADING:
                house.network.script(MAIN, Script(ready_after=20))
                writing = asyncio.ensure_future(house.write(ONE.replace("one-token", "new-token")))
                await house.until(state)
                await house.end()
                assert isinstance((await asyncio.gather(writing, return_exceptions=True))[0], UnavailableError)
            else:
                house.control.drain_takes = 20
                await house.ticket("restart", 5 if state is S.RESTART_PENDING else 0)
                await house.until(state)
                await house.end()
                assert house.outcome("restart") in ("refused", "failed")
            assert house.exit_code == 0

    run(main())


def test_what_is_stopped_asks_for_nothing_more(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await house.end()
            assert isinstance(await house.ticket("late", 0), Refusal)
            answer = await house.post(Stop(By.PERSON), MAIN)
            assert isinstance(answer, Step)
            assert house._requests.get("late") is None

    run(main())
