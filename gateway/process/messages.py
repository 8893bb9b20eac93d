"""All that messages pass through, tied together: receivers, pipeline, handlers, outbox, store. And what of them outlives the process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import msgspec
import structlog

from gateway.channels.base import Adapter, Offsets
from gateway.channels.receivers import Receivers
from gateway.clock import Clock
from gateway.config.model import Config
from gateway.dispatcher import Dispatcher
from gateway.handlers.registry import Handlers
from gateway.journal import Entry, Journal, is_ordinary
from gateway.messages.outbox import Outbox
from gateway.messages.pipeline import Pipeline
from gateway.process.errands import Errands
from gateway.runner import Runner
from gateway.store.store import Store
from statemachine import Event, delivery, incoming
from statemachine.channel import By, Restart, Start, Stop

log: structlog.stdlib.BoundLogger = structlog.get_logger()

DAY_MS = 86_400_000
HOUSEKEEPING = 3_600.0
JOURNAL_KEPT = 200_000
"""Entries of the journal that are kept at the most, however young."""


class Messages:
    """Built with the app; `open` before the first receiver, `close` after the last."""

    def __init__(
        self,
        state_dir: Path,
        config: Callable[[], Config],
        adapters: Mapping[str, Adapter],
        dispatcher: Dispatcher,
        journal: Journal,
        clock: Clock,
    ) -> None:
        self._config = config
        self._journal = journal
        self._dispatcher = dispatcher
        self._clock = clock
        self._errands = Errands()
        self._offsets = Offsets()
        self.store = Store(state_dir, lambda: config().store.durability, clock)
        self.receivers = Receivers(
            adapters, lambda name: config().accounts().get(name), self._offsets, self._post_from_receiver, clock
        )
        self.handlers = Handlers(config)
        self.outbox = Outbox(config, self.store, self.receivers, dispatcher, clock)
        self.pipeline = Pipeline(config, self.store, self.handlers, self.outbox, dispatcher, self._offsets)
        self.receivers.connect(self.pipeline, self._drain, self.outbox.wake)

    def register(self, runner: Runner) -> None:
        """Who performs which effect."""
        runner.work(
            incoming.Handle,
            self.pipeline.handle,
            lambda e, why: incoming.HandlerFailed(e.attempt, why),
        )
        runner.command(incoming.CancelHandling, lambda name, _: runner.cancel(name))
        runner.command(incoming.Finish, self.pipeline.finish)
        # What broke off may have been sent.
        runner.work(delivery.Send, self.outbox.send, lambda e, why: delivery.AnswerLost(e.attempt, why))
        runner.command(delivery.CancelSend, lambda name, _: runner.cancel(name))
        runner.command(delivery.Keep, self.outbox.keep)
        runner.command(delivery.MakeWay, lambda name, _: self.outbox.make_way(name))
        runner.command(delivery.LineUp, lambda name, _: self.outbox.line_up(name))

    async def open(self) -> Collection[str]:
        """Open the store and take up what an earlier life has left. The accounts that a person has stopped.

        Raises StoreError.
        """
        beginning = await self.store.open()
        self._offsets.restore(beginning.offsets)
        self._journal.go_on_from(beginning.last_seq)
        self._journal.listen(self._keep)
        self.outbox.resume(await self.store.unsent())
        self._errands.run(self.pipeline.resume(beginning))
        self._errands.run(self._keep_house())
        return [account for account, intent in beginning.intents.items() if intent == "stopped"]

    # What is shown

    @property
    def in_flight(self) -> int:
        """How many messages are being handled, wait for that, or are being sent: what an end would break off."""
        return self.pipeline.in_flight + self.outbox.under_way

    def pending(self) -> dict[str, Any]:
        """What waits, for the status."""
        return {
            "messages": self.in_flight,
            "full": self.pipeline.full,
            "outbox": self.outbox.depth,
            "unmatched": self.pipeline.outcomes.get("unmatched", 0),
        }

    @property
    def trouble(self) -> str:
        """Why nothing can be written to the store now; empty while all is well."""
        return self.store.trouble

    # What is kept

    def _post_from_receiver(self, name: str, event: Event) -> None:
        self._dispatcher.tell(name, event, f"receiver {name}")

    def _keep(self, entry: Entry) -> None:
        """A journal listener: every step and refusal, and what a person wants of an account.

        Of a message's ordinary steps there is nothing in the store but where they led: its own row says that.
        """
        if is_ordinary(entry):
            return
        self.store.journal(entry.seq, entry.at, entry.machine, msgspec.json.encode(self._journal.full(entry)))
        event = entry.event
        if entry.row is not None and isinstance(event, (Start, Stop, Restart)) and event.by is By.PERSON:
            machine = self._dispatcher.find(entry.machine)
            if machine is not None:
                self.store.intend(entry.machine, "stopped" if machine.data.held else None)

    async def _keep_house(self) -> None:
        """Once an hour what is too old is forgotten."""
        while True:
            before = self._clock.wall_ms() - self._config().store.keep_days * DAY_MS
            await self.store.forget(before, self._journal.last - JOURNAL_KEPT)
            await asyncio.sleep(HOUSEKEEPING)

    # Ending

    async def _drain(self, account: str) -> None:
        """What was received is handled, and what was produced is sent, as far as it can be."""
        await self.pipeline.drain(account)
        await self.outbox.drain(account)

    async def close(self) -> None:
        await self.pipeline.close()
        await self.outbox.close()
        await self._errands.close()
        if not await self.store.close():
            log.warning(
                "store_not_written", why="it could not be in time; what was received is sent again by its network"
            )
