"""The work behind the lifecycle's effects: open, apply, check, restart, stop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.errors import UnavailableError
from gateway.messages.model import Message
from gateway.process.budget import MOST, Stage
from gateway.process.changes import LIFECYCLE
from gateway.process.operations import RESTART_EXPECTED_MS, bind, policy_of
from statemachine import Refusal, Step
from statemachine.channel_events import By, Stop
from statemachine.lifecycle import LifecycleState
from statemachine.lifecycle_data import Waiting
from statemachine.lifecycle_events import LifecyclePolicy, Origin, StopRequested
from tests.gateway.configs import config, telegram
from tests.gateway.fakes import NEVER, Script
from tests.gateway.process.house import House
from tests.virtual import run_virtual

MAIN, OTHER = "telegram/main", "telegram/other"
BOTH = telegram(main="token: one-token", other="token: two-token")
S = LifecycleState
HOURS = 10_000.0


def run(main: Coroutine[Any, Any, None]) -> list[dict[str, Any]]:
    with capture_logs() as lines:
        run_virtual(main)
    return [dict(line) for line in lines]


async def both_run(house: House) -> None:
    for name in (MAIN, OTHER):
        await house.until_account(name, "running")


@pytest.fixture
def taken() -> Any:
    """A port that somebody listens on."""
    with bind("127.0.0.1", 0) as listener:
        yield listener.getsockname()[1]


def on_port(port: int) -> str:
    return BOTH.replace("port: 0", f"port: {port}")


def free_port() -> int:
    with bind("127.0.0.1", 0) as listener:
        found: int = listener.getsockname()[1]
        return found


# Boot


def test_a_boot_opens_the_port_then_the_accounts_then_the_server(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, BOTH) as house:
            assert [what for what, _ in house.control.told] == ["open"]
            assert house.boots == [house.control.address]
            assert house.triggers() == ["boot", "started"]
            causes = {
                entry.machine: entry.seq for entry in house._journal.page() if entry.trigger in ("start", "started")
            }
            assert causes[MAIN] < causes[LIFECYCLE]

    run(main())


def test_a_port_that_is_taken_is_told_of_and_nobody_receives(tmp_path: Path, taken: int) -> None:
    async def main() -> None:
        house = House(tmp_path, on_port(taken))
        await house.begin()
        assert await house._exit == 1
        assert house.network.receivers == []
        assert house.triggers() == ["boot", "start_failed"]
        await house.__aexit__(None)

    lines = run(main())
    (line,) = [line for line in lines if line["event"] == "cannot_listen"]
    assert f"127.0.0.1:{taken}: Address already in use; choose another port" in line["why"]


def test_a_server_that_cannot_be_opened_ends_the_process_and_every_receiver(tmp_path: Path) -> None:
    async def main() -> None:
        house = House(tmp_path, BOTH)
        house.control.open_error = RuntimeError("a defect")
        await house.begin()
        assert await house._exit == 1
        assert house.state is S.FAILED
        await house.__aexit__(None)

    run(main())


def test_a_boot_that_does_not_end_is_ended(tmp_path: Path) -> None:
    async def main() -> None:
        house = House(tmp_path, BOTH)
        house.control.open_takes = 1_000
        await house.begin()
        before = house.now()
        assert await house._exit == 1
        assert house.now() - before == pytest.approx(LifecyclePolicy().start_timeout)
        await house.__aexit__(None)

    run(main())


def test_case_24_what_comes_while_it_boots_is_kept(tmp_path: Path) -> None:
    async def main() -> None:
        house = House(tmp_path, BOTH)
        await house.begin()
        house.ticket("early", 0)
        house.post(StopRequested("SIGTERM"))
        assert await house._exit == 0
        assert house.outcome("early") == "refused"
        await house.__aexit__(None)

    run(main())


# Whether a restart may begin


def test_case_57_a_restart_into_an_invalid_file_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, BOTH) as house:
            await both_run(house)
            await house.ticket("restart", 1)
            house.path.write_text("gateway: {nme: x}\n")
            await house.until(S.RUNNING)
            assert house.outcome("restart") == "refused"
            request = house._requests.get("restart")
            assert request is not None
            assert "did you mean 'name'" in request.why
            assert house.account(MAIN) == "running"
            assert "restarting" not in [entry.after for entry in house._journal.page()]
            house.save(BOTH)

    run(main())


def busy(house: House, seconds: float) -> None:
    """A message is being handled for that long."""

    async def handle(message: Message) -> str:
        await asyncio.sleep(seconds)
        return message.text

    house.answer_with(handle)
    house.network.push(MAIN, "hello")


def test_case_17_a_restart_waits_for_work_that_is_in_flight(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, BOTH) as house:
            await both_run(house)
            busy(house, 20)
            before = house.now()
            await house.ticket("restart", 1)
            await asyncio.sleep(5)
            assert (house.state, house.lifecycle.data.waiting) == (S.RESTART_PENDING, Waiting.IDLE)
            await house.until(S.RUNNING)
            assert house.now() - before == pytest.approx(20, abs=1)
            assert house.outcome("restart") == "done"
            await asyncio.sleep(5)
            assert [text for _, _, text in house.network.sent] == ["hello"]

    run(main())


def test_a_forced_restart_waits_for_no_work_but_for_its_time(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, BOTH) as house:
            await both_run(house)
            busy(house, 20)
            before = house.now()
            await house.ticket("restart", 3, force=True)
            await house._dispatcher.until(LIFECYCLE, lambda machine: machine.data.restarts == 1)
            assert house.now() - before == pytest.approx(3, abs=1)
            await house.drain()

    run(main())


def test_case_17_who_waits_long_is_told_of_every_thirty_seconds(tmp_path: Path) -> None:
    """With how many messages it waits for and how long, and with what was told to end and has not: that holds up nobody."""

    async def main() -> None:
        async with House(tmp_path, BOTH) as house:
            await both_run(house)
            busy(house, 100)
            with capture_logs() as logs:
                await house.ticket("restart", 0)
                await house._dispatcher.until(LIFECYCLE, lambda machine: machine.data.restarts == 1)
            said = [line for line in logs if line["event"] == "restart_waits_for_work"]
            assert [(line["messages"], line["seconds"], line["zombies"]) for line in said] == [
                (1, 30, 0), (1, 60, 0), (1, 90, 0),
            ]  # fmt: skip
            await house.drain()

    run(main())


def test_case_18_work_that_was_told_to_end_and_does_not_holds_up_no_restart(tmp_path: Path) -> None:
    release = asyncio.Event()

    async def deaf(message: Message) -> str:
        while not release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await release.wait()
        return message.text

    async def main() -> None:
        async with House(tmp_path, BOTH) as house:
            await both_run(house)
            house.answer_with(deaf, patience=5.0, attempts=1)
            house.network.push(MAIN, "hello")
            await asyncio.sleep(10)
            assert house._runner.lingering == 1
            await house.ticket("restart", 0)
            async with asyncio.timeout(5):
                await house._dispatcher.until(LIFECYCLE, lambda machine: machine.data.restarts == 1)
            release.set()

    run(main())


def test_case_18_the_wait_for_work_has_an_end(tmp_path: Path) -> None:
    text = BOTH.replace("gateway:\n", "gateway:\n  restart: {defer_timeout_ms: 60000, cooldown_ms: 0}\n")

    async def main() -> None:
        async with House(tmp_path, text) as house:
            await both_run(house)
            busy(house, 200)
            before = house.now()
            await house.ticket("restart", 0)
            await house._dispatcher.until(LIFECYCLE, lambda machine: machine.data.restarts == 1)
            assert house.now() - before == pytest.approx(60, abs=2)
            await house.drain()

    run(main())


def test_case_19_what_cannot_be_counted_is_not_idle(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, BOTH) as house:
            await both_run(house)
            counting, house._operations._messages = house._operations._messages, None  # type: ignore[assignment]
            await house.ticket("restart", 0)
            await asyncio.sleep(30)
            assert (house.state, house.lifecycle.data.waiting) == (S.RESTART_PENDING, Waiting.IDLE)
            house._operations._messages = counting
            await house.until(S.RUNNING)
            assert house.outcome("restart") == "done"

    run(main())


# Restart


def test_a_restart_replaces_everything_and_answers_everybody(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, BOTH) as house:
            await both_run(house)
            address = house.control.address
            for name in ("first", "second"):
                await house.ticket(name, 1)
            await house.until(S.RUNNING)
            await both_run(house)
            assert [house.outcome(name) for name in ("first", "second")] == ["done", "done"]
            assert [what for what, _ in house.control.told] == ["open", "shutdown", "replace"]
            assert house.control.told[1][1] == ("restart: asked for", RESTART_EXPECTED_MS)
            assert house.control.drains == 1
            assert house.boots == [address, address], "it listens where it did"
            assert [len(house.network.of(name)) for name in (MAIN, OTHER)] == [2, 2]
            assert house.lifecycle.data.restarts == 1

    run(main())


def test_a_restart_reads_the_file_that_is_there_then(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, BOTH) as house:
            await both_run(house)
            await house.ticket("restart", 1)
            house.save(telegram(main="token: new-token"))  # and nobody has told of it yet
            await house.until(S.RUNNING)
            assert house.account(OTHER) == "absent"
            assert house.network.live(MAIN)[0].settings.token.reveal() == "new-token"
            assert house._ledger.applied_id == house.hash
            await house._changes.notice(Origin.FILE, "watcher")
            await asyncio.sleep(10)
            assert house.triggers().count("restarted") == 1
            assert len(house.network.of(MAIN)) == 2

    run(main())


def test_a_restart_moves_to_another_port(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, BOTH) as house:
            port = free_port()
            await house.write(on_port(port))
            await house.until(S.RUNNING)
            assert house.control.address == f"http://127.0.0.1:{port}"
            assert house.boots[-1] == house.control.address

    run(main())


def test_a_restart_to_a_port_that_is_taken_leaves_everything_as_it_was(tmp_path: Path, taken: int) -> None:
    async def main() -> None:
        async with House(tmp_path, BOTH) as house:
            await both_run(house)
            ticket = (await house.write(on_port(taken)))["restart"]["id"]
            await house.until(S.RUNNING)
            request = house._requests.get(ticket)
            assert request is not None
            assert (request.outcome, "Address already in use" in request.why) == ("failed", True)
            assert [len(house.network.of(name)) for name in (MAIN, OTHER)] == [1, 1]
            assert [what for what, _ in house.control.told] == ["open"]
            assert house._ledger.applied.gateway.admin.port == 0
            assert house.lifecycle.data.known != house.lifecycle.data.applied, "it is shown as drift"
            await house.write(BOTH)

    run(main())


def test_a_restart_that_breaks_in_the_middle_is_the_end(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, BOTH) as house:
            await both_run(house)
            house.control.replace = _broken_replace  # type: ignore[method-assign]
            await house.ticket("restart", 0)
            await house.until(S.FAILED)
            assert (house.exit_code, house.outcome("restart")) == (1, "failed")

    run(main())


async def _broken_replace(listener: socket.socket) -> Any:
    listener.close()
    raise RuntimeError("a defect")


def test_a_restart_that_does_not_end_is_the_end(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, BOTH) as house:
            await both_run(house)
            house.control.drain_takes = 1_000
            before = house.now()
            await house.ticket("restart", 0)
            await house.until(S.FAILED)
            assert house.now() - before == pytest.approx(house.lifecycle.data.policy.restart_timeout)
            assert (house.exit_code, house.outcome("restart")) == (1, "failed")

    run(main())


def test_case_6_a_restart_waits_for_the_death_of_every_receiver(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, BOTH) as house:
            await both_run(house)
            house.network.live(MAIN)[0].script.lingers = NEVER
            await house.ticket("restart", 0)
            await house.until(S.RUNNING)
            await both_run(house)
            assert house.network.refused_late == 1

    run(main())


def test_case_15_a_restart_soon_after_one_waits_for_the_cooldown(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, BOTH) as house:
            await both_run(house)
            await house.ticket("first", 0)
            await house.until(S.RUNNING)
            before = house.now()
            await house.ticket("second", 0)
            await asyncio.sleep(1)
            assert house.lifecycle.data.waiting is Waiting.COOLDOWN
            await house.until(S.RUNNING)
            assert house.now() - before == pytest.approx(30, abs=1)

    run(main())


def test_case_9_many_restarts_in_a_row(tmp_path: Path) -> None:
    text = BOTH.replace("gateway:\n", "gateway:\n  restart: {cooldown_ms: 0}\n")

    async def main() -> None:
        async with House(tmp_path, text) as house:
            await both_run(house)
            for number in range(20):
                await house.ticket(f"restart-{number}", 0)
                await house.until(S.RUNNING)
                await both_run(house)
            assert [len(house.network.of(name)) for name in (MAIN, OTHER)] == [21, 21]
            assert house.control.drains == 20

    run(main())


def test_a_request_while_it_restarts_is_for_the_next_one(tmp_path: Path) -> None:
    text = BOTH.replace("gateway:\n", "gateway:\n  restart: {cooldown_ms: 5000}\n")

    async def main() -> None:
        async with House(tmp_path, text) as house:
            await both_run(house)
            house.control.drain_takes = 10
            await house.ticket("first", 0)
            await asyncio.sleep(5)
            assert house.state is S.RESTARTING
            answer = await house.ticket("second", 0)
            assert isinstance(answer, Step)
            assert answer.outcome.value == "deferred"
            await asyncio.sleep(60)
            assert [house.outcome(name) for name in ("first", "second")] == ["done", "done"]
            assert house.lifecycle.data.restarts == 2

    run(main())


# Hot reload


def test_a_reload_that_does_not_end_is_given_up_for_a_restart(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, BOTH) as house:
            await both_run(house)
            house._accounts.carry_out = _never_carried_out  # type: ignore[assignment, method-assign]
            before = house.now()
            receipt = await house.write(telegram(main="token: new-token"))
            assert receipt["outcome"] == "restart_pending"
            assert house.now() - before == pytest.approx(house.lifecycle.data.policy.reload_timeout)
            assert house._ledger.applied == house._reader().load(BOTH.encode()).config, (
                "what was not applied is not called so"
            )
            await house.until(S.RUNNING)
            assert (house.account(OTHER), len(house.network.live(MAIN))) == ("absent", 1)

    run(main())


async def _never_carried_out(*_: Any) -> Any:
    await asyncio.Event().wait()


def test_a_live_change_reaches_who_must_know(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, BOTH) as house:
            await house.write(BOTH.replace("gateway:\n", "gateway:\n  log: {level: debug}\n"))
            assert house._level.level == "debug"
            assert house.ran[-1] == house._ledger.applied

    run(main())


# Stop


def test_a_stop_tells_the_clients_then_ends_the_receivers_then_the_server(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, BOTH) as house:
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
        async with House(tmp_path, BOTH) as house:
            await both_run(house)
            busy(house, 2)
            await asyncio.sleep(0.1)
            await house.end()
            assert [text for _, _, text in house.network.sent] == ["hello"]

    run(main())


def test_case_25_a_second_stop_is_sooner_and_a_third_is_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, BOTH) as house:
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
        async with House(tmp_path, BOTH) as house:
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
    text = BOTH.replace("gateway:\n", "gateway:\n  restart: {drain_timeout_ms: 20000}\n")

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
        async with House(tmp_path, BOTH) as house:
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
        async with House(tmp_path, BOTH) as house:
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
        async with House(tmp_path, BOTH) as house:
            await both_run(house)
            if state is S.HOT_RELOADING:
                house.network.script(MAIN, Script(ready_after=20))
                writing = asyncio.ensure_future(house.write(BOTH.replace("one-token", "new-token")))
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
        async with House(tmp_path, BOTH) as house:
            await house.end()
            assert isinstance(await house.ticket("late", 0), Refusal)
            answer = await house.post(Stop(By.PERSON), MAIN)
            assert isinstance(answer, Step)
            assert house._requests.get("late") is None

    run(main())


# Small parts


def test_a_listener() -> None:
    with bind("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        assert port > 0
        assert not listener.getblocking()
        with socket.create_connection(("127.0.0.1", port), 1), pytest.raises(OSError, match="Address already in use"):
            bind("127.0.0.1", port)
    with bind("127.0.0.1", port) as again:
        assert again.getsockname()[1] == port


def test_a_listener_of_the_other_family() -> None:
    try:
        with bind("::1", 0) as listener:
            assert listener.family is socket.AF_INET6
    except OSError:
        pytest.skip("this machine has no IPv6")


def test_the_budgets_of_a_config() -> None:
    text = "gateway: {restart: {cooldown_ms: 1500, defer_timeout_ms: 2500, drain_timeout_ms: 3500}}"
    policy = policy_of(config(text))
    assert (policy.cooldown, policy.defer_timeout, policy.stop_timeout) == (1.5, 2.5, 3.5)


def test_case_65_a_stop_has_less_than_its_supervisor_allows() -> None:
    text = "gateway: {restart: {drain_timeout_ms: 30000}}"
    assert policy_of(config(text), 45.0).stop_timeout == 30.0
    assert policy_of(config(text), 10.0).stop_timeout == 9.0
