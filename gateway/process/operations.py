"""The work behind the lifecycle's effects: open, apply, check, restart, stop. Each ends in the completion that its table waits for."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from gateway.clock import Clock
from gateway.config.file import Revision
from gateway.config.ledger import Ledger
from gateway.config.model import Config
from gateway.errors import ClaimedError, ConfigError, StoreError
from gateway.process.accounts import Accounts
from gateway.process.budget import Stage, budget_of
from gateway.process.changes import Changes
from gateway.process.messages import Messages
from gateway.process.shutdown import Shutdown
from gateway.runner import Runner
from statemachine import Event
from statemachine import lifecycle_events as events
from statemachine.lifecycle_events import LifecyclePolicy, RestartBy, Ticket

log: structlog.stdlib.BoundLogger = structlog.get_logger()

EXIT_HELD = 76
RESTART_EXPECTED_MS = 1_000
CHECK_TIMEOUT = 10.0


class ControlPlane(Protocol):
    """The admin server as the lifecycle needs it."""

    async def open(self, listener: socket.socket) -> None:
        """Serve on this listening socket."""

    async def replace(self, listener: socket.socket) -> Callable[[], Awaitable[None]]:
        """Serve on another socket from now on; the answer drains the old server."""

    def announce_shutdown(self, reason: str, restart_expected_ms: int | None) -> None:
        """Tell the clients what is about to happen."""

    async def vacate(self) -> None:
        """Serve nobody any more: clients are closed with 1012, and what comes waits in the backlog."""

    async def resume(self, listener: socket.socket) -> None:
        """Serve again after `vacate`."""

    async def stop_listening(self) -> None:
        """Take no new connection; those that are open are served on."""

    async def close(self) -> None:
        """Close the clients with 1001, and return when they have answered; cancelled, it leaves those that have not."""

    @property
    def clients(self) -> int:
        """How many are connected."""

    @property
    def listener(self) -> socket.socket:
        """The listening socket."""

    @property
    def address(self) -> str:
        """The address of the page."""


async def _nothing_shared() -> None:
    """There is one host only."""


@dataclass(frozen=True)
class Reports:
    """Whom to tell: `applied` that a config runs from now on, `ready` that a boot or restart is complete."""

    applied: Callable[[Config], None]
    ready: Callable[[str], Awaitable[None]]


class Operations:
    """Performs the lifecycle's work with the parts that `app` hands over.

    `stop_limit` is the supervisor's, in seconds, where it has one.
    `handed_over` has the listening socket that was opened for this process, and raises OSError for what is none.
    `claim` raises ClaimedError where another process receives on an account. `restart_by` is how a run that begins restarts.
    `give_up` lets other hosts have the accounts.
    """

    def __init__(
        self,
        ledger: Ledger,
        changes: Changes,
        accounts: Accounts,
        messages: Messages,
        make_control: Callable[[], Awaitable[ControlPlane]],
        reports: Reports,
        clock: Clock,
        shutdown: Shutdown,
        stop_limit: float | None = None,
        handed_over: Callable[[], socket.socket | None] = lambda: None,
        claim: Callable[[Config, Collection[str]], None] = lambda *_: None,
        restart_by: RestartBy = RestartBy.IN_PROCESS,
        give_up: Callable[[], Awaitable[None]] = _nothing_shared,
    ) -> None:
        self._shutdown = shutdown
        self._stop_limit = stop_limit
        self._handed_over = handed_over
        self._claim = claim
        self._restart_by = restart_by
        self._give_up = give_up
        self._ledger = ledger
        self._changes = changes
        self._accounts = accounts
        self._messages = messages
        self._make_control = make_control
        self._control: ControlPlane | None = None
        self._reports = reports
        self._clock = clock
        self._lingering: Callable[[], int] = lambda: 0

    def register(self, runner: Runner) -> None:
        """Tell the runner who performs what, and which completion an exception becomes."""
        self._lingering = lambda: runner.lingering
        runner.work(events.OpenGateway, self.open, lambda e, why: events.StartFailed(e.work, why, 1))
        runner.work(events.ApplyPlan, self.apply, lambda e, why: events.PlanFailed(e.work, why))
        # Unknown is not idle: only the budget for waiting may force a restart then.
        runner.work(
            events.CheckReadiness,
            self.check,
            lambda effect, _: events.WorkInFlight(effect.token, None, self._clock.monotonic()),
            CHECK_TIMEOUT,
        )
        runner.work(
            events.RestartGateway,
            self.restart,
            lambda e, why: events.RestartFailed(e.work, why, self._clock.monotonic(), recovered=False),
        )
        runner.work(events.StopGateway, self.stop, lambda e, why: events.StopFailed(e.work, why))
        runner.work(
            events.ReviewConfig,
            lambda *_: self._changes.review_again(),
            lambda e, why: events.ConfigRejected(e.revision, why),
        )
        runner.command(events.CancelWork, lambda machine, _: runner.cancel(machine))
        runner.command(events.SettleRevision, self._changes.settle)
        runner.command(events.AbandonPlan, lambda _, effect: self._ledger.put_back(effect.revision))
        runner.command(events.WarnOfWaiting, self._warn_of_waiting)
        runner.command(events.HurryStop, lambda _, effect: self._shutdown.hurry(effect.within))

    async def open(self, _: str, effect: events.OpenGateway) -> Event:
        """Port first, so that a second gateway with it taken never polls; then the accounts; then the server on top."""
        admin = self._ledger.applied.gateway.admin
        try:
            listener = self._handed_over() or bind(admin.host, admin.port)
        except OSError as error:
            why = f"gateway.admin: cannot listen on {admin.host}:{admin.port}: {error.strerror}; choose another port"
            log.error("cannot_listen", why=why)
            return events.StartFailed(effect.work, why, 1)
        try:
            held = await self._messages.open()
            # All of them are ours before one of them polls, and before anything is done for them.
            self._claim(self._ledger.applied, held)
        except ClaimedError as error:
            listener.close()
            log.error("account_held", why=str(error), holder=error.holder)
            return events.StartFailed(effect.work, str(error), EXIT_HELD)
        except StoreError as error:
            listener.close()
            log.error("store_unusable", why=str(error))
            return events.StartFailed(effect.work, str(error), 1)
        self._messages.resume()
        self._accounts.boot(self._ledger.applied, self._ledger.applied_id, held)
        await self._changes.begin()
        # Made only now: its library is large, and the first polls are already on their way.
        self._control = await self._make_control()
        await self._control.open(listener)
        await self._changes.runs()
        await self._reports.ready(self._control.address)
        return events.Started(effect.work, self._ledger.applied_id, self._clock.monotonic())

    async def apply(self, _: str, effect: events.ApplyPlan) -> Event:
        """Swap the snapshot, then bring the accounts in line. On any fault the lifecycle abandons the plan, and the old one is put back."""
        proposal = self._ledger.proposal(effect.revision)
        self._ledger.carry_out(proposal)
        results = await self._accounts.carry_out(proposal.plan, proposal.target, proposal.identity, effect.revision)
        self._changes.report(effect.revision, results)
        self._reports.applied(proposal.target)
        return events.PlanApplied(effect.work, proposal.identity, proposal.complete)

    async def check(self, _: str, effect: events.CheckReadiness) -> Event:
        """Whether a restart may begin: the file must be valid, and no message in the middle of being handled."""
        try:
            await self._changes.load_to_run()
        except ConfigError as error:
            return events.ConfigUnfit(effect.token, f"the config cannot be used: {error}")
        if at_work := self._messages.at_work:
            return events.WorkInFlight(effect.token, at_work, self._clock.monotonic())
        return events.RestartReady(effect.token)

    def _warn_of_waiting(self, _: str, effect: events.WarnOfWaiting) -> None:
        """With what will not end: that was told to, and holds up nobody."""
        log.warning(
            "restart_waits_for_work",
            messages=effect.count,
            seconds=round(effect.seconds),
            zombies=self._lingering(),
            remedy="it restarts when they are handled, or when gateway.restart.defer_timeout_ms is over; or ask with force",
        )

    async def restart(self, _: str, effect: events.RestartGateway) -> Event:
        """In this process: read the file, build the new listener beside the old, restart the accounts, drain the old."""
        try:
            revision, listener = await self.next_run()
        except (ConfigError, OSError) as error:
            return events.RestartFailed(effect.work, str(error), self._clock.monotonic(), recovered=True)
        control = self.announce(effect.tickets)
        self._ledger.propose(revision)
        self._ledger.swap(revision.config, revision.id)
        self._ledger.note(revision.id, "applied")
        drain = await control.replace(listener)
        await asyncio.gather(drain(), self._accounts.restart_all(revision.config, revision.id))
        self._reports.applied(revision.config)
        await self._changes.runs(revision)
        await self._reports.ready(control.address)
        policy = policy_of(revision.config, self._stop_limit, self._restart_by)
        return events.Restarted(effect.work, revision.id, self._clock.monotonic(), policy)

    async def next_run(self) -> tuple[Revision, socket.socket]:
        """What the next run begins with, and its listening socket. Raises ConfigError or OSError: then this one goes on."""
        revision = await self._changes.load_to_run()
        return revision, self._next_listener(self.control, revision.config)

    def announce(self, tickets: Sequence[Ticket]) -> ControlPlane:
        """Tell the clients that a restart begins, and why."""
        reason = "; ".join(dict.fromkeys(ticket.reason for ticket in tickets))
        self.control.announce_shutdown(f"restart: {reason}", RESTART_EXPECTED_MS)
        return self.control

    @property
    def control(self) -> ControlPlane:
        assert self._control is not None, "a restart comes after the start"
        return self._control

    def _next_listener(self, control: ControlPlane, config: Config) -> socket.socket:
        """The same socket again where the address is the same: what waits in its backlog is served, not refused."""
        admin, before = config.gateway.admin, self._ledger.applied.gateway.admin
        if (admin.host, admin.port) == (before.host, before.port):
            return control.listener.dup()
        return bind(admin.host, admin.port)

    async def stop(self, _: str, effect: events.StopGateway) -> Event:
        """No new clients; receivers end, with what they owe; replies go out; clients go. Each in its time."""
        run, control, outbox = self._shutdown.stage, self._control, self._messages.outbox
        self._shutdown.begin(effect.within)
        if control is not None:
            control.announce_shutdown("stop", None)
            await run(Stage.LISTENING, control.stop_listening(), lambda: "new connections are still taken")
        await run(Stage.RECEIVERS, self._end_receivers(), self._accounts.left_running)
        await run(Stage.REPLIES, outbox.drain(), lambda: f"{outbox.under_way} messages are being sent")
        if control is not None:
            await run(Stage.CLIENTS, control.close(), lambda: f"{control.clients} clients have not closed")
        return events.StopFinished(effect.work)

    async def _end_receivers(self) -> None:
        await self._accounts.stop_all("stop", confirm=True)
        await self._give_up()


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setblocking(False)
        listener.bind((host, port))
        listener.listen(1024)
    except OSError:
        listener.close()
        raise
    return listener


def policy_of(
    config: Config, stop_limit: float | None = None, restart_by: RestartBy = RestartBy.IN_PROCESS
) -> LifecyclePolicy:
    """What a config gives to the run of the gateway that begins with it: how it restarts, and its budgets; a stop's is below
    the supervisor's.
    """
    restart = config.gateway.restart
    return LifecyclePolicy(
        stop_timeout=budget_of(restart.drain_timeout_ms / 1000, stop_limit),
        cooldown=restart.cooldown_ms / 1000,
        defer_timeout=restart.defer_timeout_ms / 1000,
        restart_by=restart_by,
    )
