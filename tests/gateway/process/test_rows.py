"""Every row of every table is taken by the running service: what no running gateway can do has no place in a table.

Each scenario drives the whole gateway, as `app` builds it, by what can happen to one: files, calls, signals, and a network that misbehaves.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, NoReturn

import pytest
from structlog.testing import capture_logs

from gateway.errors import AccountRefusedError, ConflictError, ConnectionLostError
from gateway.messages.model import Message
from gateway.process.budget import Stage
from gateway.process.changes import LIFECYCLE
from gateway.process.image import Carried
from gateway.process.operations import bind
from statemachine import MACHINES
from statemachine.channel_events import By, Restart, Run, Start, Stop
from statemachine.lifecycle import LifecycleState
from statemachine.lifecycle_events import Origin, StopRequested
from tests.gateway.configs import telegram
from tests.gateway.fakes import NEVER, Script
from tests.gateway.process import change_rows, channel_rows, handler_rows, lease_rows, message_rows
from tests.gateway.process.house import House
from tests.machine_coverage import Tally, missing
from tests.virtual import run_virtual

MAIN = "telegram/main"
S = LifecycleState
LOST = ConnectionLostError("the line broke")


def text(token: str = "one-token", *, restart: str = "cooldown_ms: 0", account: str = "", more: str = "") -> str:
    config = telegram(main=f"token: {token}{account}")
    return config.replace("gateway:\n", f"gateway:\n  restart: {{{restart}}}\n{more}")


ONE = text()
LATER = text(restart="cooldown_ms: 1")
"""Needs a restart of the gateway."""


def run_of(house: House) -> Run:
    return house._accounts.run_of(MAIN, house._ledger.applied.accounts()[MAIN], house._ledger.applied_id)


def busy(house: House, seconds: float) -> None:
    """A message is being handled for that long."""

    async def handle(_: Message) -> str:
        await asyncio.sleep(seconds)
        return "done"

    house.answer_with(handle)
    house.network.push(MAIN, "hello")


async def runs(house: House) -> None:
    """Nothing is pending, and the account runs."""
    await house.until(S.RUNNING)
    await house.until_account(MAIN, "running")


# The lifecycle


async def asked_while_it_starts(folder: Path) -> House:
    house = House(folder, ONE)
    house.control.open_takes = 5
    await house.begin()
    for name in ("early", "taken back"):
        await house.ticket(name, 0)
    await house.cancel("taken back")
    await house.until(S.RESTART_PENDING)
    await runs(house)
    assert [house.outcome(name) for name in ("early", "taken back")] == ["done", "cancelled"]
    await house.__aexit__(None)
    return house


async def cannot_start(folder: Path) -> House:
    """And is told to stop when it has given up already."""
    house = House(folder, ONE)
    house.control.open_error = RuntimeError("a defect")
    await house.begin()
    assert await house._exit == 1
    await house.post(StopRequested("SIGTERM"))
    assert house.state is S.STOPPED
    await house.__aexit__(None)
    return house


async def starts_for_ever(folder: Path) -> House:
    house = House(folder, ONE)
    house.control.open_takes = 1_000
    await house.begin()
    assert await house._exit == 1
    await house.__aexit__(None)
    return house


async def edits(folder: Path) -> House:
    """One that is known, one of a comment, one while another is carried out, one that cannot be used, and that one again."""
    async with House(folder, ONE) as house:
        await runs(house)
        await house.write(text("two-token"))
        await house._changes.notice(Origin.FILE, "watcher")
        await house.edit(text("two-token") + "# a comment\n")
        house.network.script(MAIN, Script(ready_after=10))
        writing = asyncio.ensure_future(house.write(text("three-token")))
        await house.until(S.HOT_RELOADING)
        await house.edit(text("four-token"))
        await writing
        await runs(house)
        for _ in range(2):
            await house.edit("channels: [")
        await house.edit(ONE)
        await house.until(S.HOT_RELOADING)
        await runs(house)
        assert house.network.live(MAIN)[0].settings.token.reveal() == "one-token"
    return house


async def drift(folder: Path) -> House:
    off = text(more="  reload: {mode: 'off'}\n")
    async with House(folder, off) as house:
        await runs(house)
        await house.edit(off.replace("one-token", "two-token"))
        await asyncio.sleep(1)
        assert house.lifecycle.data.drift
        assert len(house.network.of(MAIN)) == 1
    return house


async def tickets(folder: Path) -> House:
    """By revisions and by people; joined, pulled in, taken back, and standing while a reload is carried out."""
    async with House(folder, ONE) as house:
        await runs(house)
        await house.write(LATER, delay=60)
        await house.write(text(restart="cooldown_ms: 2"), delay=60)
        await house.write(ONE)  # nothing differs any more, and only revisions asked
        assert house.lifecycle.data.tickets == ()
        await house.write(LATER, delay=60)
        await house.write(text("two-token", restart="cooldown_ms: 1"))  # its restart waits, and the token is applied
        assert len(house.lifecycle.data.tickets) == 1
        assert house.network.live(MAIN)[0].settings.token.reveal() == "two-token"
        await house.ticket("far", 50)
        await house.write(text("two-token"))  # a person still asks
        assert [ticket.id for ticket in house.lifecycle.data.tickets] == ["far"]
        await house.ticket("near", 10)
        await house.ticket("farther", 55)
        for name in ("near", "far", "farther"):
            await house.cancel(name)
        assert house.state is S.RUNNING
        await asyncio.sleep(70)
        assert house.lifecycle.data.restarts == 0
    return house


# Reloads that fail


async def breaks(folder: Path) -> House:
    """The new receiver breaks; the first time its ticket stands, the second time a person had cancelled it meanwhile."""
    async with House(folder, ONE) as house:
        await runs(house)
        house.network.script(MAIN, Script(error=RuntimeError("a defect")))
        assert (await house.write(text("two-token")))["outcome"] == "restart_pending"
        await runs(house)
        assert house.lifecycle.data.restarts == 1
        house.network.script(MAIN, Script(ready_after=5, error=RuntimeError("a defect")))
        writing = asyncio.ensure_future(house.write(text("three-token")))
        await house.until(S.HOT_RELOADING)
        await house.cancel(house.lifecycle.data.tickets[0].id)
        receipt = await writing
        assert (receipt["outcome"], receipt["stage"]) == ("rolled_back", "swap")
        assert house.state is S.RUNNING
        await house.edit(text("four-token"))
        await house.until(S.HOT_RELOADING)
        await runs(house)
        assert house.lifecycle.data.restarts == 1
    return house


SLOW = ", stop_timeout_ms: 20000"


async def reload_without_end(folder: Path, *, cancelled: bool) -> House:
    """The old receiver takes its time to end, and the new one does not come up: the deadline of the reload is first."""
    async with House(folder, text(account=SLOW)) as house:
        await runs(house)
        house.network.live(MAIN)[0].script.lingers = 19.0
        house.network.script(MAIN, Script(ready_after=NEVER, lingers=19.0))
        writing = asyncio.ensure_future(house.write(text("two-token", account=SLOW)))
        await house.until(S.HOT_RELOADING)
        if cancelled:
            await house.cancel(house.lifecycle.data.tickets[0].id)
            receipt = await writing
            assert (receipt["outcome"], receipt["stage"]) == ("rolled_back", "swap")
            assert receipt["why"] == "the reload did not end in time"
            assert house.state is S.RUNNING
        else:
            assert (await writing)["outcome"] == "restart_pending"
            await runs(house)
            assert house.lifecycle.data.restarts == 1
    return house


async def reload_is_overdue(folder: Path) -> House:
    return await reload_without_end(folder, cancelled=False)


async def reload_is_overdue_and_its_ticket_cancelled(folder: Path) -> House:
    return await reload_without_end(folder, cancelled=True)


async def a_plan_against_what_does_not_run(folder: Path) -> House:
    """The disk answers in the very moment in which a reload is given up: what was planned then was planned against the reload's config."""
    async with House(folder, text(account=SLOW)) as house:
        await runs(house)
        house.network.live(MAIN)[0].script.lingers = 19.0
        house.network.script(MAIN, Script(ready_after=NEVER, lingers=19.0))
        writing = asyncio.ensure_future(house.write(text("two-token", account=SLOW)))
        await house.until(S.HOT_RELOADING)
        await house.cancel(house.lifecycle.data.tickets[0].id)
        await asyncio.sleep(1)
        moment = house._runner._timers[LIFECYCLE].when() - 1e-10

        async def slow_disk(job: Callable[..., Any], *args: Any) -> Any:
            found = job(*args)
            await asyncio.sleep(moment - house.now())
            return found

        house.save(text("three-token", account=SLOW))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(asyncio, "to_thread", slow_disk)
            await house._changes.notice(Origin.FILE, "watcher")
        await writing
        await runs(house)
        assert house.network.live(MAIN)[0].settings.token.reveal() == "three-token"
    return house


# Restarts


async def work_in_flight(folder: Path) -> House:
    """One restart waits until it has waited long enough, one is forced, and one finds a file that it cannot use."""
    async with House(folder, text(restart="cooldown_ms: 0, defer_timeout_ms: 60000")) as house:
        await runs(house)
        busy(house, 70)
        await house.ticket("patient", 0)
        await runs(house)
        await house.drain()
        busy(house, 30)
        await house.ticket("forced", 3, force=True)
        await runs(house)
        await house.drain()
        assert house.lifecycle.data.restarts == 2
        await house.ticket("unfit", 1)
        house.path.write_text("channels: [")
        await house.until(S.RUNNING)
        assert [house.outcome(name) for name in ("patient", "forced", "unfit")] == ["done", "done", "refused"]
    return house


async def restarts(folder: Path) -> House:
    """One while which another is asked for; then to a port that is taken, asked for twice."""
    async with House(folder, ONE) as house:
        await runs(house)
        house.control.drain_takes = 10
        await house.ticket("first", 0)
        await house.until(S.RESTARTING)
        await house.ticket("second", 0)
        await house.until(S.RESTART_PENDING)
        await runs(house)
        assert house.lifecycle.data.restarts == 2
        with bind("127.0.0.1", 0) as taken:
            await house.write(ONE.replace("port: 0", f"port: {taken.getsockname()[1]}"), delay=0)
            await house.until(S.RESTARTING)
            await house.ticket("third", 0)
            await house.until(S.RESTART_PENDING)
            await house.until(S.RUNNING)
        assert (house.outcome("third"), house.lifecycle.data.restarts) == ("failed", 2)
        await house.write(ONE)
    return house


async def restart_breaks(folder: Path) -> House:
    async with House(folder, ONE) as house:
        await runs(house)

        async def broken(listener: socket.socket) -> Any:
            listener.close()
            raise RuntimeError("a defect")

        house.control.replace = broken  # type: ignore[method-assign]
        await house.ticket("restart", 0)
        await house.until(S.FAILED)
    return house


async def restart_by_an_image_that_cannot_be_had(folder: Path) -> House:
    def replace(carried: Carried) -> NoReturn:
        assert [ticket.id for ticket in carried.handover.served] == ["restart"]
        assert house.network.all_live() == [], "an image is left when nothing of it receives"
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))

    async with House(folder, ONE, replace=replace) as house:
        await runs(house)
        await house.ticket("restart", 0)
        await house.until(S.RESTARTING)
        await house.until(S.RUNNING)
        await runs(house)
        assert (house.outcome("restart"), house.lifecycle.data.restarts) == ("failed", 0)
    return house


async def restart_by_another_process(folder: Path) -> House:
    first = House(folder, text(restart="cooldown_ms: 0, mode: exit"))
    await first.begin()
    await runs(first)
    await first.ticket("restart", 0)
    assert await first._exit == 75
    assert first.outcome("restart") == "pending"
    await first.kill()
    async with House(folder, first.path.read_text()) as second:
        await runs(second)
        assert (second.outcome("restart"), second.lifecycle.data.restarts) == ("done", 1)
    return first


async def restart_is_overdue(folder: Path) -> House:
    async with House(folder, ONE) as house:
        await runs(house)
        house.control.drain_takes = 1_000
        await house.ticket("restart", 0)
        await house.until(S.FAILED)
    return house


# Stops


async def stopped_three_times(folder: Path) -> House:
    async with House(folder, ONE) as house:
        await runs(house)
        house.control.close = never  # type: ignore[assignment, method-assign]
        for _ in range(3):
            await house.post(StopRequested("SIGTERM"))
        assert house.exit_code == 0
    return house


async def never(_: float) -> None:
    await asyncio.Event().wait()


async def stop_breaks(folder: Path) -> House:
    async with House(folder, ONE) as house:
        await runs(house)

        async def broken() -> None:
            raise RuntimeError("a defect")

        house.control.stop_listening = broken  # type: ignore[method-assign]
        await house.end()
        assert house.exit_code == 1
    return house


async def stop_is_overdue(folder: Path) -> House:
    async with House(folder, text(restart="drain_timeout_ms: 20000")) as house:
        await runs(house)
        in_time, house._shutdown.stage = house._shutdown.stage, never_ends  # type: ignore[method-assign, assignment]
        await house.end()
        assert house.exit_code == 0
        house._shutdown.stage = in_time  # type: ignore[method-assign]
    return house


async def never_ends(_: Stage, work: Coroutine[Any, Any, None], undone: object) -> None:
    """A stage that does not keep its time."""
    work.close()
    await asyncio.Event().wait()


# An account


async def called_by_a_person(folder: Path) -> House:
    """Stopped twice, restarted while it is stopped, while it runs and while it ends, and stopped while it ends."""
    async with House(folder, ONE) as house:
        await runs(house)
        for _ in range(2):
            await house.post(Stop(By.PERSON), MAIN)
            await house.until_account(MAIN, "stopped")
        await house.post(Restart(run_of(house), By.PERSON), MAIN)
        await house.until_account(MAIN, "running")
        house.network.live(MAIN)[0].script.lingers = 1.0
        await house.post(Restart(run_of(house), By.PERSON), MAIN)
        await house.post(Restart(run_of(house), By.PERSON), MAIN)
        await house.post(Stop(By.PERSON), MAIN)
        await house.until_account(MAIN, "stopped")
        await house.post(Start(run_of(house), By.PERSON), MAIN)
        await runs(house)
        await house.write(text(account=", allow_from: ['*', 5]"))  # read at its next use: adjusted in passing
    return house


async def lost_refused_and_in_conflict(folder: Path) -> House:
    async with House(folder, ONE) as house:
        await runs(house)
        for leave in (Start, Stop):
            house.network.live(MAIN)[0].fail(LOST)
            await house.until_account(MAIN, "backoff")
            await house.post(Start(run_of(house), By.PERSON) if leave is Start else Stop(By.PERSON), MAIN)
            await house.post(Start(run_of(house), By.PERSON), MAIN)
            await house.until_account(MAIN, "running")
        house.network.live(MAIN)[0].fail(AccountRefusedError("the token is revoked"))
        await house.until_account(MAIN, "failed")
        await house.write(text("two-token"))
        await runs(house)
        house.network.live(MAIN)[0].fail(ConflictError("somebody else receives"))
        await house.until_account(MAIN, "conflict")
        await house.ticket("restart", 0)  # the same settings are no reason to try before the wait is over
        await house.until(S.RUNNING)
        assert house.account(MAIN) == "conflict"
        await house.until_account(MAIN, "running")
    return house


async def suppressed(folder: Path) -> House:
    """The intensity is spent: by one that ends by itself, and by one that had to be cut off."""
    house = House(folder, ONE)
    house.network.policy = {"intensity": 2}
    async with house:
        await runs(house)
        for state in ("backoff", "suppressed"):
            await house.until_account(MAIN, "running")
            house.network.live(MAIN)[0].fail(LOST)
            await house.until_account(MAIN, state)
        await house.until_account(MAIN, "running")  # the single attempt succeeded
        await house.post(Stop(By.PERSON), MAIN)
        await house.until_account(MAIN, "stopped")
        house.network.script(MAIN, *[Script(ready_after=NEVER, lingers=NEVER)] * 2)
        await house.post(Start(run_of(house), By.PERSON), MAIN)
        for state in ("stop_overdue", "backoff", "stop_overdue", "suppressed", "running"):
            await house.until_account(MAIN, state)
    return house


async def cut_off(folder: Path) -> House:
    """It does not end, and cannot be cut off at once: for the next generation, and for good."""
    async with House(folder, ONE) as house:
        await runs(house)
        for ask, state in ((Restart(run_of(house), By.PERSON), "running"), (Stop(By.PERSON), "stopped")):
            script = house.network.live(MAIN)[0].script
            script.lingers, script.fence_fails = NEVER, 1
            await house.post(ask, MAIN)
            await house.until_account(MAIN, "stop_overdue")
            await house.until_account(MAIN, state)
    return house


SCENARIOS: tuple[Callable[[Path], Coroutine[Any, Any, House]], ...] = (
    asked_while_it_starts, cannot_start, starts_for_ever, edits, drift, tickets, breaks, reload_is_overdue,
    reload_is_overdue_and_its_ticket_cancelled, a_plan_against_what_does_not_run, work_in_flight, restarts, restart_breaks,
    restart_by_an_image_that_cannot_be_had, restart_by_another_process,
    restart_is_overdue, stopped_three_times, stop_breaks, stop_is_overdue, called_by_a_person, lost_refused_and_in_conflict,
    suppressed, cut_off, *channel_rows.SCENARIOS, *change_rows.SCENARIOS, *message_rows.SCENARIOS, *handler_rows.SCENARIOS,
    *lease_rows.SCENARIOS,
)  # fmt: skip


def test_every_row_is_taken_by_the_running_service(tmp_path: Path) -> None:
    tally = Tally()
    for scenario in SCENARIOS:
        folder = tmp_path / scenario.__name__
        folder.mkdir()
        with capture_logs():
            try:
                house = run_virtual(scenario(folder))
            except BaseException as error:
                error.add_note(f"in the scenario: {scenario.__name__}")
                raise
        for entry in house._journal.page(0, 10_000):
            if entry.row is not None:
                assert entry.standing is not None
                tally.rows[entry.standing.machine.kind, entry.row] += 1
    assert [line for machine in MACHINES for line in missing(machine, tally)] == [], "no running gateway takes them"
