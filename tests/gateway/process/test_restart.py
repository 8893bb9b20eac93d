"""The work of a restart inside the process: whether it may begin, what it replaces, and what comes of one that breaks; and a hot reload that becomes one."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.messages.model import Message
from gateway.process.changes import LIFECYCLE
from gateway.process.operations import RESTART_EXPECTED_MS
from statemachine import Step
from statemachine.lifecycle import LifecycleState
from statemachine.lifecycle_data import Waiting
from statemachine.lifecycle_events import Origin
from tests.gateway.configs import telegram
from tests.gateway.fakes import NEVER
from tests.gateway.process.house import House
from tests.gateway.process.two_accounts import MAIN, ONE, OTHER, both_run, busy, on_port, run
from tests.ports import free_port, taken_port

S = LifecycleState


# Whether a restart may begin


def test_case_57_a_restart_into_an_invalid_file_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
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
            house.save(ONE)

    run(main())


def test_case_17_a_restart_waits_for_work_that_is_in_flight(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
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
        async with House(tmp_path, ONE) as house:
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
        async with House(tmp_path, ONE) as house:
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
        async with House(tmp_path, ONE) as house:
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
    text = ONE.replace("gateway:\n", "gateway:\n  restart: {defer_timeout_ms: 60000, cooldown_ms: 0}\n")

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
        async with House(tmp_path, ONE) as house:
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
        async with House(tmp_path, ONE) as house:
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
        async with House(tmp_path, ONE) as house:
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
        async with House(tmp_path, ONE) as house:
            port = free_port()
            await house.write(on_port(port))
            await house.until(S.RUNNING)
            assert house.control.address == f"http://127.0.0.1:{port}"
            assert house.boots[-1] == house.control.address

    run(main())


def test_a_restart_to_a_port_that_is_taken_leaves_everything_as_it_was(tmp_path: Path) -> None:
    async def main() -> None:
        with taken_port() as taken:
            async with House(tmp_path, ONE) as house:
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
                await house.write(ONE)

    run(main())


def test_a_restart_that_breaks_in_the_middle_is_the_end(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
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
        async with House(tmp_path, ONE) as house:
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
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            house.network.live(MAIN)[0].script.lingers = NEVER
            await house.ticket("restart", 0)
            await house.until(S.RUNNING)
            await both_run(house)
            assert house.network.refused_late == 1

    run(main())


def test_case_15_a_restart_soon_after_one_waits_for_the_cooldown(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
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
    text = ONE.replace("gateway:\n", "gateway:\n  restart: {cooldown_ms: 0}\n")

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
    text = ONE.replace("gateway:\n", "gateway:\n  restart: {cooldown_ms: 5000}\n")

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
        async with House(tmp_path, ONE) as house:
            await both_run(house)
            house._accounts.carry_out = _never_carried_out  # type: ignore[assignment, method-assign]
            before = house.now()
            receipt = await house.write(telegram(main="token: new-token"))
            assert receipt["outcome"] == "restart_pending"
            assert house.now() - before == pytest.approx(house.lifecycle.data.policy.reload_timeout)
            assert house._ledger.applied == house._reader().load(ONE.encode()).config, (
                "what was not applied is not called so"
            )
            await house.until(S.RUNNING)
            assert (house.account(OTHER), len(house.network.live(MAIN))) == ("absent", 1)

    run(main())


async def _never_carried_out(*_: Any) -> Any:
    await asyncio.Event().wait()


def test_a_live_change_reaches_who_must_know(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            await house.write(ONE.replace("gateway:\n", "gateway:\n  log: {level: debug}\n"))
            assert house._level.level == "debug"
            assert house.ran[-1] == house._ledger.applied

    run(main())
