"""Hosts that share an account, as whole gateways on one virtual clock: at no moment do two of them receive."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from random import Random

import pytest
from structlog.testing import capture_logs

from gateway.errors import ConnectionLostError
from gateway.journal import Entry
from gateway.process.lease_store import Holder
from gateway.process.leases import CUT_OFF
from statemachine.channel_events import By, Start, Stop
from statemachine.lease import HoldLease, LeaseDenied, LeasePolicy, LeaseTaken, ReleaseLease, StoreFailed
from statemachine.lease_record import Record
from statemachine.lifecycle import LifecycleState
from tests.gateway.fake_leases import FakeLeases
from tests.gateway.fakes import FakeNetwork, Script
from tests.gateway.process.house import House
from tests.gateway.process.lease_rows import LEASE, MAIN, SHARED, TTL, Shared, shared_by_hosts
from tests.virtual import run_virtual

SEEDS, EVENTS = int(os.environ.get("SEEDS", "12")), 30
POLICY = LeasePolicy()


class Host:
    """One of several gateways, over its lives: the network and the leases are everybody's."""

    def __init__(self, folder: Path, network: FakeNetwork, leases: FakeLeases, seed: int) -> None:
        folder.mkdir()
        self.folder, self.network, self.seed = folder, network, seed
        self.line = leases.line()
        self.house: House | None = None

    async def begin(self) -> None:
        self.house = House(self.folder, SHARED, self.seed, self.network, leases=self.line)
        await self.house.begin()

    async def die(self) -> None:
        """As by SIGKILL: its lease is told nothing."""
        if self.house is not None:
            house, self.house = self.house, None
            house.turning.cancel()
            await asyncio.wait({house.turning})
            house._messages.store._writer._rows.clear()
            await house._tear_down()
            house.control.listener.close()

    async def end(self) -> None:
        if self.house is not None:
            house, self.house = self.house, None
            await house.end()
            house.turning.cancel()
            await asyncio.wait({house.turning})
            await house._tear_down()
            house.control.listener.close()

    def tell(self, event: Start | Stop) -> None:
        assert self.house is not None
        if self.house._dispatcher.find(MAIN) is not None:
            self.house._dispatcher.tell(MAIN, event, "test")

    def start(self) -> None:
        house = self.house
        assert house is not None
        run = house._accounts.run_of(MAIN, house._ledger.applied.accounts()[MAIN], house._ledger.applied_id)
        self.tell(Start(run, By.PERSON))


async def wander(folder: Path, seed: int) -> FakeNetwork:
    """Anything may happen to three hosts, at any time; then nothing more, and one of them receives.

    One in the middle of a restart is left alone: the socket that it is about to listen on would be the test's to close.
    """
    random, network, leases = Random(seed), FakeNetwork(), FakeLeases()
    network.policy = {"conflict_wait": 6.0}
    network.script(MAIN, *[_script(random) for _ in range(40)])
    hosts = [Host(folder / name, network, leases, seed) for name in ("one", "two", "three")]
    for host in hosts:
        await host.begin()
    for _ in range(EVENTS):
        await asyncio.sleep(random.choice((0.0, 0.5, 3.0, 12.0, 30.0)))
        await _something(random, random.choice(hosts))
        assert network.violations == []
    for host in hosts:
        host.line.cut, host.line.takes = False, 0.001
        if host.house is None:
            await host.begin()
    await asyncio.sleep(5)
    for host in hosts:
        host.start()  # a person may have stopped it, in this life or an earlier one
    network._scripts.clear()
    await asyncio.sleep(300)
    assert len(network.live(MAIN)) == 1, "one receives in the end"
    for host in hosts:
        await host.end()
    assert network.violations == []
    return network


def _script(random: Random) -> Script:
    return (
        Script(
            ready_after=random.choice((0.01, 2.0)),
            fails_after=random.choice((-1.0, -1.0, -1.0, 20.0)),
            error=ConnectionLostError("the line broke"),
            lingers=random.choice((0.0, 0.0, 1.0, 60.0)),
            fence_fails=0,
        )
        if random.random() < 0.7
        else Script()
    )


async def _something(random: Random, host: Host) -> None:
    what = random.choice(("cut", "slow", "well", "die", "end", "begin", "stop", "start", "restart"))
    house = host.house
    if house is not None and house.state is not LifecycleState.RUNNING:
        return
    if what in ("cut", "slow", "well"):
        host.line.cut, host.line.takes = what == "cut", 2.0 if what == "slow" else 0.001
    elif what == "begin" and house is None:
        await host.begin()
    elif what == "die":
        await host.die()
    elif what == "end":
        await host.end()
    elif house is not None and what == "stop":
        host.tell(Stop(By.PERSON, confirm=random.random() < 0.5))
    elif house is not None and what == "start":
        host.start()
    elif house is not None and what == "restart":
        house.ticket(f"restart-{random.random()}", 0)


def test_case_69_whatever_happens_to_three_hosts_no_two_of_them_receive(tmp_path: Path) -> None:
    """`run_virtual(wander(folder, seed))` is a run again, by its seed; `SEEDS=500` are more of them."""
    receivers = 0
    for seed in range(SEEDS):
        folder = tmp_path / str(seed)
        folder.mkdir()
        with capture_logs():
            try:
                receivers += len(run_virtual(wander(folder, seed)).receivers)
            except BaseException as error:
                error.add_note(f"seed {seed}")
                raise
    print(f"{SEEDS} seeds from 0 on, {receivers} receivers")
    assert receivers > SEEDS * 5


# One host


def test_before_each_receive_it_is_looked_at_the_time_also_of_a_host_that_has_slept(tmp_path: Path) -> None:
    """The clock that timers run by stands still in a suspended host: none of them has noticed anything."""

    async def main() -> None:
        shared = Shared(tmp_path)
        async with shared.house as house:
            await shared.runs()
            generation, slept = house.channel(MAIN).data.generation, 0.0
            monotonic = house._clock.boottime
            house._clock.boottime = lambda: monotonic() + slept  # type: ignore[method-assign]
            slept = TTL - CUT_OFF - 5.1
            house.network.push(MAIN, "in time")
            await asyncio.sleep(0.1)
            assert house.channel(MAIN).data.generation == generation
            slept = TTL
            taken = len(house.network.queue(MAIN)._queue)  # type: ignore[attr-defined]
            house.network.push(MAIN, "too late")
            await asyncio.sleep(0.1)
            assert taken == 0
            assert [entry.trigger for entry in house._journal.page(0, 10_000, LEASE)].count("lease_ends") == 1
            slept = 0.0
            await shared.runs()
            assert house.channel(MAIN).data.generation > generation

    run_virtual(main())


def test_a_lease_is_given_up_at_the_end_when_no_receiver_is_left_and_never_before(tmp_path: Path) -> None:
    async def main() -> None:
        shared = Shared(tmp_path)
        shared.house.network.script(MAIN, Script(), Script(lingers=3.0))
        async with shared.house as house:
            await shared.runs()
            key, seen = shared.key, []
            write = shared.line.write

            async def watched(key: str, record: Record, revision: int) -> None:
                seen.append((record.released, len(house.network.live(MAIN))))
                await write(key, record, revision)

            shared.line.write = watched  # type: ignore[method-assign]
        assert seen[-1] == (True, 0)
        assert [live for released, live in seen if released] == [0]
        assert shared.leases.records[key][0].released
        assert shared.line.closed == 1

    run_virtual(main())


def test_a_receiver_that_outlives_the_stop_keeps_its_lease_until_that_runs_out(tmp_path: Path) -> None:
    async def main() -> None:
        text = SHARED.replace("gateway:\n", "gateway:\n  restart: {drain_timeout_ms: 3000}\n", 1)
        shared = Shared(tmp_path, text.replace("token: one-token", "token: one-token, stop_timeout_ms: 60000"))
        house = shared.house
        house.network.script(MAIN, *[Script(lingers=60.0)] * 3)
        await house.begin()
        await house.until(LifecycleState.RUNNING)
        await shared.runs()
        key = shared.key
        await house.end()
        assert not shared.leases.records[key][0].released
        house.network.release()
        house.turning.cancel()
        await asyncio.wait({house.turning})
        await house._tear_down()
        house.control.listener.close()

    run_virtual(main())


def test_where_nothing_is_shared_no_store_is_asked(tmp_path: Path) -> None:
    """Not without an address, and not for a web chat."""

    async def main() -> None:
        leases = FakeLeases()
        async with House(
            tmp_path, SHARED.replace("  lease: {url: 'nats://fake'}\n", ""), leases=leases.line()
        ) as house:
            await house.until_account(MAIN, "running", 1.0)
            assert house._leases.of(MAIN) is None
        assert leases.records == {}

    run_virtual(main())


def test_what_is_no_longer_shared_is_given_up(tmp_path: Path) -> None:
    """By a restart in the process, since the setting is the gateway's."""

    async def main() -> None:
        shared = Shared(tmp_path)
        async with shared.house as house:
            await shared.runs()
            key = shared.key
            await house.write(SHARED.replace("  lease: {url: 'nats://fake'}\n", ""), delay=0)
            await asyncio.sleep(60)
            assert house.lifecycle.data.restarts == 1
            await house.until_account(MAIN, "running")
            await shared.until("free")
            assert shared.leases.records[key][0].released
            house.network.push(MAIN, "hello")
            await house.drain()

    run_virtual(main())


def test_of_an_account_that_is_taken_away_nothing_is_left(tmp_path: Path) -> None:
    async def main() -> None:
        shared = Shared(tmp_path)
        async with shared.house as house:
            await shared.runs()
            key = shared.key
            for _ in range(3):
                await house.write(shared_by_hosts(other="token: two-token"))
                await asyncio.sleep(1)
                assert house._leases.of(MAIN) is None
                assert shared.leases.records[key][0].released
                await house.write(SHARED)
                await shared.runs(within=200.0)

    run_virtual(main())


def test_that_a_lease_is_renewed_is_no_news(tmp_path: Path) -> None:
    """Neither in the log nor in the store: but that it moved is."""

    async def main() -> None:
        shared = Shared(tmp_path)
        told: list[Entry] = []
        async with shared.house as house:
            house._journal.listen(told.append, ordinary=False)
            await shared.runs()
            del told[:]
            await asyncio.sleep(10_000)
            assert [entry.trigger for entry in told if entry.machine == LEASE] == []
            assert len(house._journal.page(0, 100_000, LEASE)) > 1_000
            shared.line.cut = True
            await shared.until("fenced")
            await asyncio.sleep(0)
            first = next(entry for entry in told if entry.machine == LEASE and entry.row is not None)
            assert (first.before, first.after) == ("held", "fenced")

    run_virtual(main())


# The records


async def test_a_record_is_taken_over_when_it_was_seen_unchanged_for_as_long_as_its_holder_gave_it() -> None:
    """By the own clock, from after it was first seen; each change begins that anew."""
    leases, now = FakeLeases(), 0.0
    holder = Holder(leases.line(), "me", "host-a, PID 1", lambda: now)
    leases.seize("bot")
    ask = HoldLease(1, "bot", POLICY, 0, 0.0)
    assert await holder.hold(ask) == LeaseDenied(1, "host-b, PID 7")
    now = 14.9
    assert await holder.hold(ask) == LeaseDenied(1, "host-b, PID 7")
    leases.seize("bot")
    now = 15.0
    assert await holder.hold(ask) == LeaseDenied(1, "host-b, PID 7")
    now = 29.9
    assert isinstance(await holder.hold(ask), LeaseDenied)
    now = 30.0
    assert await holder.hold(ask) == LeaseTaken(1, 30.0, 3, POLICY.linger)
    assert leases.records["bot"][0] == Record("me", "host-a, PID 1", 3, 15.0, settled=False)


async def test_of_two_who_write_at_the_same_moment_one_has_it() -> None:
    leases = FakeLeases()
    leases.seize("bot")
    leases.release("bot")
    holders = [Holder(leases.line(), name, name, lambda: 0.0) for name in ("a", "b", "c")]
    answers = await asyncio.gather(*(holder.hold(HoldLease(1, "bot", POLICY, 0, 0.0)) for holder in holders))
    assert sorted(type(answer).__name__ for answer in answers) == ["LeaseTaken", "StoreFailed", "StoreFailed"]


async def test_what_was_taken_since_is_not_released() -> None:
    leases = FakeLeases()
    holder = Holder(leases.line(), "me", "me", lambda: 0.0)
    leases.seize("bot")
    before = leases.records["bot"]
    assert type(await holder.release(ReleaseLease(1, "bot", 1))).__name__ == "LeaseReleased"
    assert leases.records["bot"] == before
    leases.release("bot")
    taken = await holder.hold(HoldLease(2, "bot", POLICY, 0, 0.0))
    assert isinstance(taken, LeaseTaken)
    await holder.release(ReleaseLease(3, "bot", taken.term - 1))
    assert not leases.records["bot"][0].released, "it is another account's of this gateway by now"


async def test_a_store_that_cannot_be_asked_is_said_to_be_none() -> None:
    line = FakeLeases().line()
    line.cut = True
    holder = Holder(line, "me", "me", lambda: 7.0)
    for answer in (
        await holder.hold(HoldLease(1, "bot", POLICY, 0, 0.0)),
        await holder.release(ReleaseLease(1, "bot", 1)),
    ):
        assert answer == StoreFailed(1, 7.0, "nats://fake: no answer")


@pytest.mark.parametrize("host", ["here", "there"])
def test_a_copy_of_a_state_folder_on_another_host_is_another_holder(
    host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gateway.process import leases as module

    first = module._myself(tmp_path)
    monkeypatch.setattr("gateway.process.leases.socket.gethostname", lambda: host)
    assert module._myself(tmp_path) == module._myself(tmp_path)
    assert (module._myself(tmp_path).split(":")[1], module._myself(tmp_path) != first) == (first.split(":")[1], True)
    assert (tmp_path / "lease-holder").stat().st_mode & 0o777 == 0o600
