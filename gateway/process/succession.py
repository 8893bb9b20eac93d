"""From one image of the process to the next: everything of this one ends first, and comes back where the next cannot be had."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import structlog

from gateway.clock import Clock
from gateway.config.file import Revision
from gateway.config.ledger import Ledger
from gateway.dispatcher import Dispatcher
from gateway.errors import ConfigError
from gateway.process import signals
from gateway.process.accounts import Accounts
from gateway.process.changes import Changes
from gateway.process.image import check_room
from gateway.process.messages import Messages
from gateway.process.operations import Operations
from gateway.runner import Runner
from gateway.traces import Traces
from statemachine import Event
from statemachine import lifecycle_events as events

log: structlog.stdlib.BoundLogger = structlog.get_logger()

WRITE_PATIENCE = 2.0
"""Seconds for what is being written. What is not written by then is what a power cut would lose: nothing that was confirmed."""

FLUSH_PATIENCE = 1.0
"""Seconds for the spans of traces: the accounts are without a poll meanwhile."""

Follow = Callable[[socket.socket, Revision], NoReturn]
"""Hands the listener, and the revision that asks for it, to the next image. Raises OSError where there can be none."""


class Succession:
    """Performs the lifecycle's work where a restart replaces the process."""

    def __init__(
        self,
        operations: Operations,
        accounts: Accounts,
        changes: Changes,
        messages: Messages,
        ledger: Ledger,
        dispatcher: Dispatcher,
        follow: Follow,
        traces: Traces,
        state_dir: Path,
        clock: Clock,
    ) -> None:
        self._operations = operations
        self._accounts = accounts
        self._changes = changes
        self._messages = messages
        self._ledger = ledger
        self._dispatcher = dispatcher
        self._follow = follow
        self._traces = traces
        self._state_dir = state_dir
        self._clock = clock
        self._listener: socket.socket | None = None
        self._revision: Revision | None = None

    def register(self, runner: Runner) -> None:
        """Tell the runner who performs what, and which completion an exception becomes."""
        runner.work(events.VacateGateway, self.vacate, lambda e, why: self._failed(e.work, why, recovered=False))
        runner.work(events.ReplaceProcess, self.replace, lambda e, why: self._failed(e.work, why, recovered=False))

    def close(self) -> None:
        """Nothing follows in this process: what was kept for it is closed."""
        if self._listener is not None:
            self._listener.close()

    async def vacate(self, _: str, effect: events.VacateGateway) -> Event:
        """Receivers and clients side by side. New connections wait in the backlog of the socket that is handed on."""
        try:
            await asyncio.to_thread(check_room, self._state_dir)
            self._revision, self._listener = await self._operations.next_run()
        except (ConfigError, OSError) as error:
            return self._failed(effect.work, str(error), recovered=True)
        control = self._operations.announce(effect.tickets)
        # The last poll that confirms is left out: the first of the next image says the same.
        await asyncio.gather(control.vacate(), self._accounts.end_all())
        await self._write_down()
        return events.Vacated(effect.work)

    async def replace(self, _: str, effect: events.ReplaceProcess) -> Event:
        """What has come before the signals were blocked is decided here; what comes later, by the next image."""
        assert self._listener is not None, "vacated first"
        assert self._revision is not None, "it came with the listener"
        await asyncio.gather(self._write_down(), self._traces.flush(FLUSH_PATIENCE))
        with signals.held():
            await self._dispatcher.quiet()
            try:
                self._follow(self._listener, self._revision)
            except OSError as error:
                why = f"the program cannot be started anew: {error.strerror}"
        log.error("not_replaced", why=why)
        await self._operations.control.resume(self._listener)
        self._listener = None
        await self._accounts.restart_all(self._ledger.applied, self._ledger.applied_id)
        return self._failed(effect.work, why, recovered=True)

    async def _write_down(self) -> None:
        try:
            async with asyncio.timeout(WRITE_PATIENCE):
                await self._changes.at_rest()
                await self._messages.written_down()
        except TimeoutError:
            log.warning("not_written_down", why="the disk is slow, or full", seconds=WRITE_PATIENCE)

    def _failed(self, work: int, why: str, *, recovered: bool) -> Event:
        return events.RestartFailed(work, why, self._clock.monotonic(), recovered)
