"""Random schedules on virtual time: whatever happens in whatever order, the promises hold.

A schedule comes from its seed alone. The message of a failure names the seed; `run_virtual(schedule(seed, folder))` is that run again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.errors import (
    AccountRefusedError,
    ConfigError,
    ConflictError,
    ConnectionLostError,
    GatewayError,
    StaleHashError,
    UnavailableError,
)
from gateway.process.changes import LIFECYCLE
from statemachine import Refusal
from statemachine.change import Change, is_watched
from statemachine.channel import Channel
from statemachine.channel_events import By, Restart, Start, Stop
from statemachine.lifecycle import LifecycleState
from statemachine.lifecycle_events import Origin
from tests.gateway.fakes import NEVER, Script
from tests.gateway.process.house import House
from tests.virtual import run_virtual

SEEDS = 300
BATCH = 20
STEPS = 22
ACCOUNTS = ("one", "two", "three")
PAUSES = (0.0, 0.0, 0.0, 0.01, 0.1, 0.3, 1.0, 2.0, 2.5, 7.0, 31.0, 50.0)
BROKEN = ("channels: [", "", "gateway: {nme: x}\n", "routes: [{handler: nobody}]\n")
ERRORS: tuple[Callable[[], Exception | None], ...] = (
    lambda: ConnectionLostError("the line broke"),
    lambda: ConnectionLostError("too many requests", retry_after=20.0),
    lambda: ConflictError("somebody else receives"),
    lambda: AccountRefusedError("the token is revoked"),
    lambda: RuntimeError("a defect"),
    lambda: None,
)


class Wish:
    """A config that somebody wishes for, and the ways in which the next one differs."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self.accounts: dict[str, dict[str, Any]] = {name: {"token": f"token-{name}-0"} for name in ACCOUNTS[:2]}
        self.drain_ms = 30_000
        self.cooldown = 0
        self.name = "home"
        self._number = 0

    def change(self) -> None:
        self._number += 1
        self._random.choice((self._token, self._live, self._account, self._switch, self._gateway, self._nothing))()
        if self._random.random() < 0.2:
            self.change()

    def _some(self) -> dict[str, Any]:
        return self.accounts[self._random.choice(list(self.accounts))]

    def _token(self) -> None:
        self._some()["token"] = f"token-{self._number}"

    def _live(self) -> None:
        self.name = f"home-{self._random.randrange(3)}"
        self._some()["allow_from"] = ["*", self._random.randrange(3)]

    def _account(self) -> None:
        name = self._random.choice(ACCOUNTS)
        if name not in self.accounts:
            self.accounts[name] = {"token": f"token-{name}-{self._number}"}
        elif len(self.accounts) > 1:
            del self.accounts[name]

    def _switch(self) -> None:
        account = self._some()
        account["enabled"] = not account.get("enabled", True)

    def _gateway(self) -> None:
        self.drain_ms = 29_000 if self.drain_ms == 30_000 else 30_000
        self.cooldown = self._random.choice((0, 5_000))

    def _nothing(self) -> None:
        """Only a comment."""

    @property
    def text(self) -> str:
        accounts = "".join(f"      {name}: {settings}\n" for name, settings in self.accounts.items())
        return (
            (
                f"# wish {self._number}\n"
                f"gateway:\n  name: {self.name}\n  admin: {{port: 0, token: the-admin-token}}\n"
                f"  restart: {{delay_ms: 2000, cooldown_ms: {self.cooldown}, drain_timeout_ms: {self.drain_ms}}}\n"
                f"handlers: {{echo: {{type: echo}}}}\nroutes: [{{handler: echo}}]\n"
                f"channels:\n  telegram:\n    accounts:\n{accounts}"
            )
            .replace("True", "true")
            .replace("False", "false")
        )


class Schedule:
    """What is done to a gateway, and what it must have answered in the end."""

    def __init__(self, house: House, random: Random, wish: Wish) -> None:
        self.house = house
        self.random = random
        self.wish = wish
        self.tasks: list[asyncio.Task[Any]] = []
        self.answers: list[str] = []
        self.writes = 0
        self.tickets: list[str] = []
        self.asked: list[asyncio.Future[Any]] = []
        self.dropped = False
        """A revision's need for a restart was cancelled by a person, or refused with an unfit file."""

    async def run(self) -> None:
        doings = (
            *[self.write] * 5, *[self.edit] * 3, self.stale_write, self.notice, self.spoil, self.ask, self.ask, self.cancel,
            self.call, self.call, *[self.fail] * 3, *[self.hang] * 2, self.slow, self.say, self.hup, self.wake,
        )  # fmt: skip
        for _ in range(STEPS):
            await asyncio.sleep(self.random.choice(PAUSES))
            self.random.choice(doings)()

    # Doings

    def _begin(self, doing: Awaitable[Any]) -> None:
        self.tasks.append(asyncio.ensure_future(doing))

    def write(self) -> None:
        self.wish.change()
        self.writes += 1
        self._begin(self._write(self.wish.text, self.house.hash))

    def stale_write(self) -> None:
        self.writes += 1
        self._begin(self._write(self.wish.text, "0" * 64))

    async def _write(self, text: str, base: str | None) -> None:
        try:
            receipt = await self.house.write(text, base, self.random.choice((None, 0.0, 1.0)))
        except StaleHashError:
            self.answers.append("stale")
        except (ConfigError, UnavailableError) as error:
            self.answers.append(type(error).__name__)
        else:
            assert receipt["outcome"] in ("noop", "applied", "restart_pending"), receipt
            assert self.house.outcome(receipt["request"]) == "done"
            self.answers.append(receipt["outcome"])

    def edit(self) -> None:
        """A person saves the file; the watcher may tell of it twice."""
        self.wish.change()
        self.house.save(self.wish.text)
        self._begin(self._tell(self.random.choice((1, 1, 2))))

    async def _tell(self, times: int) -> None:
        await asyncio.sleep(0.3)
        for _ in range(times):
            await self.house._changes.notice(Origin.FILE, "watcher")

    def notice(self) -> None:
        self._begin(self.house._changes.notice(Origin.FILE, "watcher"))

    def wake(self) -> None:
        self.house._accounts.woke(self.random.choice((45.0, 3600.0)))

    def hup(self) -> None:
        self._begin(self.house._changes.notice(Origin.CALL, "SIGHUP"))

    def spoil(self) -> None:
        """The file is broken, or gone, and may be mended before anybody has looked."""
        broken = self.random.choice((*BROKEN, None))
        if broken is None:
            self.house.path.unlink(missing_ok=True)
        else:
            self.house.path.write_text(broken)
        self._begin(self._tell(1))
        self._begin(self._mend(self.random.choice((0.05, 0.2, 1.0, 20.0))))

    async def _mend(self, after: float) -> None:
        await asyncio.sleep(after)
        self.house.save(self.wish.text)
        await self._tell(1)

    def ask(self) -> None:
        name = f"restart-{len(self.tickets)}"
        self.tickets.append(name)
        delay, force = self.random.choice((0.0, 1.0, 2.0, 30.0)), self.random.random() < 0.2
        self.asked.append(self.house.ticket(name, delay, force=force))

    def cancel(self) -> None:
        tickets = self.house.lifecycle.data.tickets
        if tickets:
            ticket = self.random.choice(tickets)
            self.dropped |= ticket.revision is not None
            self.asked.append(self.house.cancel(ticket.id))

    def call(self) -> None:
        name = f"telegram/{self.random.choice(ACCOUNTS)}"
        account = self.house._ledger.applied.accounts().get(name)
        if account is None:
            self.asked.append(self.house.post(Stop(By.PERSON, confirm=True), name))
            return
        run = self.house._accounts.run_of(name, account, self.house._ledger.applied_id)
        event = self.random.choice((Start(run, By.PERSON), Stop(By.PERSON, confirm=True), Restart(run, By.PERSON)))
        self.asked.append(self.house.post(event, name))

    def fail(self) -> None:
        """A receiver that lives ends by itself, or the next one does not come up."""
        error = self.random.choice(ERRORS)()
        live = self.house.network.all_live()
        if live and self.random.random() < 0.7:
            self.random.choice(live).fail(error)
        else:
            self._script(Script(error=error, fails_after=self.random.choice((NEVER, 0.5))))

    def hang(self) -> None:
        """A receiver will not end when it is told to, or the network will not answer."""
        live = self.house.network.all_live()
        if live and self.random.random() < 0.7:
            script = self.random.choice(live).script
            script.lingers = self.random.choice((NEVER, 1.0, 4.9, 5.1, 8.0))
            script.fence_fails = self.random.choice((0, 0, 1, 2))
        else:
            self._script(Script(ready_after=self.random.choice((NEVER, 29.0, 31.0))))

    def slow(self) -> None:
        self._script(Script(ready_after=self.random.choice((1.0, 10.0)), closes_in=self.random.choice((0.0, 1.0, 6.0))))

    def _script(self, script: Script) -> None:
        self.house.network.script(f"telegram/{self.random.choice(ACCOUNTS)}", script)

    def say(self) -> None:
        live = self.house.network.all_live()
        if live:
            self.house.network.push(self.random.choice(live).name, "hello")

    # In the end

    async def settle(self) -> None:
        """Nothing more is done to it: it comes to rest by itself."""
        for receiver in self.house.network.all_live():
            receiver.script.fence_fails = 0
        async with asyncio.timeout(3_600):
            await asyncio.wait(self.tasks)
            self.house.save(self.wish.text)
            await self.house._changes.notice(Origin.FILE, "watcher")
            rested = 0
            while rested < 10:
                await asyncio.sleep(1)
                assert not self.house.turning.done(), self.house.turning.exception()
                rested = rested + 1 if self.is_at_rest() else 0

    def is_at_rest(self) -> bool:
        house = self.house
        data = house.lifecycle.data
        return (
            house.state is LifecycleState.RUNNING
            and not (data.tickets or data.served or data.kept or data.reviewed or data.carried)
            and all(self._rests(name) for name in self.machines())
        )

    def _rests(self, name: str) -> bool:
        return self.house.account(name) in ("running", "stopped", "failed")

    def machines(self) -> list[str]:
        return [name for name, machine in self.house._dispatcher.machines(Channel).items()]

    def check(self) -> None:
        house = self.house
        for task in self.tasks:
            error = None if task.cancelled() else task.exception()
            assert error is None or isinstance(error, GatewayError), f"{error!r} out of {task}"
            assert error is None, repr(error)
        assert len(self.answers) == self.writes, "a write was not answered"
        assert all(answer.done() for answer in self.asked)
        self._check_tickets()
        self._check_config()
        for name in self.machines():
            self._check_account(name)
        assert house.network.violations == []
        watched = {name for name, machine in house._dispatcher.machines(Change).items()}
        assert all(is_watched(house._dispatcher.machine(name)) for name in watched), "a change did not come to its end"
        waiting = {name for name in self.machines() if house.account(name) != "running"}
        outbox = house._messages.outbox
        for outgoing in outbox._open.values():
            assert outgoing.name in waiting or house.account(outgoing.name) == "absent", "it could be sent, and is not"
        in_conflict = {n for n in self.machines() if house.channel(n).data.conflict_since is not None}
        assert set(house._runner._timers) <= waiting | in_conflict | watched | set(outbox._open)
        assert house._changes._waiters == {}, "somebody waits for what becomes of a revision"

    def _check_tickets(self) -> None:
        opened = [n for n, a in zip(self.tickets, self.asked_for_restart(), strict=True) if not isinstance(a, Refusal)]
        for name in opened:
            assert self.house.outcome(name) in ("done", "cancelled", "refused", "failed"), name

    def asked_for_restart(self) -> list[Any]:
        results = [answer.result() for answer in self.asked]
        return [result for result in results if result.trigger == "restart_requested"]

    def _check_config(self) -> None:
        house = self.house
        entries = house._journal.page(0, 100_000, LIFECYCLE)
        refused = any(e.trigger in ("config_unfit", "restart_failed") and e.kind == "step" for e in entries)
        on_disk = house._reader().load(house.on_disk())
        if house._ledger.applied != on_disk.config:
            assert self.dropped or refused, "what is on disk does not run, and nobody said no"
            assert house.lifecycle.data.known != house.lifecycle.data.applied, "and it is not even shown as drift"
        else:
            assert house.lifecycle.data.applied == house._ledger.applied_id

    def _check_account(self, name: str) -> None:
        house = self.house
        settings: Any = house._ledger.applied.accounts().get(name)
        machine, live = house.channel(name), house.network.live(name)
        state = house.account(name)
        assert len(live) == (state == "running"), f"{name} is {state} with {len(live)} receivers"
        if self.dropped:
            return  # a person took back the restart that was to mend what a failed reload had left
        if settings is None:
            # It could not be ended while the reload or the restart waited for it, and is forgotten with the next one.
            assert state == "stopped", f"{name} is in no config, and is {state}"
            return
        if settings.enabled and not machine.data.held:
            assert state == "running" or (state == "failed" and "revoked" in machine.data.last_error), (
                f"{name} is {state}"
            )
        if machine.data.held or not settings.enabled:
            assert state in ("stopped", "failed"), f"{name} is {state}"
        if live:
            assert live[0].settings.token == settings.token, f"{name} runs with settings that are not applied"


class Disk:
    """Stands in for `asyncio.to_thread`: a job takes its time, and it is not known when in that time it is done."""

    def __init__(self, random: Random) -> None:
        self._random = random

    async def __call__(self, job: Callable[..., Any], *args: Any) -> Any:
        before, after = (self._random.choice((0.0, 0.0, 0.0, 0.002, 0.05, 0.4)) for _ in range(2))
        await asyncio.sleep(before)
        try:
            return job(*args)
        finally:
            await asyncio.sleep(after)


async def schedule(seed: int, folder: Path) -> list[tuple[str, str, str]]:
    """Run one schedule; what was decided in it, in its order."""
    random = Random(seed)
    wish = Wish(random)
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio, "to_thread", Disk(Random(seed)))
        patch.setattr("os.fsync", lambda _: None)
        async with House(folder, wish.text, seed) as house:
            course = Schedule(house, random, wish)
            await course.run()
            await course.settle()
            course.check()
            await house.end()
            assert house.exit_code == 0
            return [(entry.machine, entry.trigger, entry.after) for entry in house._journal.page(0, 100_000)]


@pytest.mark.parametrize("first", range(0, SEEDS, BATCH))
def test_whatever_happens_the_promises_hold(first: int, tmp_path: Path) -> None:
    for seed in range(first, first + BATCH):
        with capture_logs():
            try:
                run_virtual(schedule(seed, tmp_path / str(seed)))
            except BaseException as error:
                raise AssertionError(f"seed {seed}: {error!r}") from error


def test_a_seed_is_a_schedule(tmp_path: Path) -> None:
    with capture_logs():
        one, two, other = (
            run_virtual(schedule(seed, tmp_path / name)) for seed, name in ((5, "a"), (5, "b"), (6, "c"))
        )
    assert one == two
    assert one != other
