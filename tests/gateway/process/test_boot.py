"""The work of a boot: the port, then the accounts, then the server; and what listens."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from gateway.process.changes import LIFECYCLE
from gateway.process.operations import bind, policy_of
from statemachine.lifecycle import LifecycleState
from statemachine.lifecycle_events import LifecyclePolicy, StopRequested
from tests.gateway.configs import config
from tests.gateway.process.house import House
from tests.gateway.process.two_accounts import MAIN, ONE, on_port, run
from tests.ports import taken_port

S = LifecycleState


def test_a_boot_opens_the_port_then_the_accounts_then_the_server(tmp_path: Path) -> None:
    async def main() -> None:
        async with House(tmp_path, ONE) as house:
            assert [what for what, _ in house.control.told] == ["open"]
            assert house.boots == [house.control.address]
            assert house.triggers() == ["boot", "started"]
            causes = {
                entry.machine: entry.seq for entry in house._journal.page() if entry.trigger in ("start", "started")
            }
            assert causes[MAIN] < causes[LIFECYCLE]

    run(main())


def test_a_port_that_is_taken_is_told_of_and_nobody_receives(tmp_path: Path) -> None:
    async def main(taken: int) -> None:
        house = House(tmp_path, on_port(taken))
        await house.begin()
        assert await house._exit == 1
        assert house.network.receivers == []
        assert house.triggers() == ["boot", "start_failed"]
        await house.__aexit__(None)

    with taken_port() as taken:
        lines = run(main(taken))
    (line,) = [line for line in lines if line["event"] == "cannot_listen"]
    assert f"127.0.0.1:{taken}: Address already in use; choose another port" in line["why"]


def test_a_server_that_cannot_be_opened_ends_the_process_and_every_receiver(tmp_path: Path) -> None:
    async def main() -> None:
        house = House(tmp_path, ONE)
        house.control.open_error = RuntimeError("a defect")
        await house.begin()
        assert await house._exit == 1
        assert house.state is S.FAILED
        await house.__aexit__(None)

    run(main())


def test_a_boot_that_does_not_end_is_ended(tmp_path: Path) -> None:
    async def main() -> None:
        house = House(tmp_path, ONE)
        house.control.open_takes = 1_000
        await house.begin()
        before = house.now()
        assert await house._exit == 1
        assert house.now() - before == pytest.approx(LifecyclePolicy().start_timeout)
        await house.__aexit__(None)

    run(main())


def test_case_24_what_comes_while_it_boots_is_kept(tmp_path: Path) -> None:
    async def main() -> None:
        house = House(tmp_path, ONE)
        await house.begin()
        house.ticket("early", 0)
        house.post(StopRequested("SIGTERM"))
        assert await house._exit == 0
        assert house.outcome("early") == "refused"
        await house.__aexit__(None)

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
