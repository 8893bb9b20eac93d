"""All that messages pass through, tied together: receivers, pipeline, handlers, outbox, store. And what of them outlives the process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import msgspec
import structlog

from gateway.channels.base import Adapter, Lease, Offsets
from gateway.channels.receivers import Receivers
from gateway.channels.sessions import Sessions
from gateway.clock import Clock
from gateway.config.model import Config
from gateway.dispatcher import Dispatcher
from gateway.handlers.base import Make, Tools
from gateway.handlers.registry import Handlers
from gateway.journal import Entry, Journal
from gateway.messages.model import Message
from gateway.messages.outbox import Outbox
from gateway.messages.pipeline import Pipeline
from gateway.metrics import Tally
from gateway.process.commands import Commands
from gateway.process.errands import Errands
from gateway.requests import Request, Requests
from gateway.runner import Runner
from gateway.store.store import Store
from gateway.traces import UNTRACED, Traces
from statemachine import Event, delivery, incoming
from statemachine.channel_events import By, Restart, Start, Stop

log: structlog.stdlib.BoundLogger = structlog.get_logger()

DAY_MS = 86_400_000
HOUSEKEEPING = 20.0
"""Seconds between two rounds of forgetting."""
REQUESTS_RESTORED = 1_000
"""Requests of earlier lives whose outcome can be asked for."""
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
        requests: Requests,
        tally: Tally,
        clock: Clock,
        folder: Path,
        plugins: Mapping[str, Make],
        claim: Callable[[str, Any], None] = lambda *_: None,
        traces: Traces = UNTRACED,
        redact: Callable[[str], str] = str,
        lease: Lease | None = None,
    ) -> None:
        self._config = config
        self._journal = journal
        self._requests = requests
        self._tally = tally
        self._dispatcher = dispatcher
        self._clock = clock
        self._errands = Errands()
        self._offsets = Offsets()
        self.store = Store(state_dir, lambda: config().store.durability, clock, tally.commits.observe, redact)
        self._sessions = Sessions(clock, self.store)
        self.receivers = Receivers(
            adapters, lambda name: config().accounts().get(name), self._offsets, self._post_from_receiver, clock, claim,
            lease, self._sessions,
        )  # fmt: skip
        self.handlers = Handlers(config, self._tools(folder), dispatcher, plugins, self._observe, clock, traces)
        self.outbox = Outbox(self.store, self.receivers, dispatcher, clock, traces)
        self.commands = Commands(config, dispatcher, requests, self.outbox, self.store, self._errands, clock)
        self.pipeline = Pipeline(
            config, self.store, self.handlers, self.outbox, self.commands, dispatcher, self._offsets, self._received,
            traces,
        )  # fmt: skip
        self.receivers.connect(self.pipeline, self._drain, self.outbox.wake)

    def _tools(self, folder: Path) -> Tools:
        async def typing(message: Message) -> None:
            await self.receivers.typing(message.name, message.conversation)

        async def said(message: Message, limit: int) -> list[tuple[str, str]]:
            rows = await self.store.conversation(message.name, message.conversation, limit + 1)
            return [(role, text) for role, text, _, name in rows if name != message.id][-limit:]

        return Tools(folder, typing, said)

    def _observe(self, handler: str, seconds: float) -> None:
        self._tally.handlers[handler].observe(seconds)

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
        runner.work(delivery.Send, self.outbox.traced_send, lambda e, why: delivery.AnswerLost(e.attempt, why))
        runner.command(delivery.CancelSend, lambda name, _: runner.cancel(name))
        runner.command(delivery.Keep, self.outbox.keep)
        runner.command(delivery.MakeWay, lambda name, _: self.outbox.make_way(name))
        runner.command(delivery.LineUp, lambda name, _: self.outbox.line_up(name))

    async def open(self) -> Collection[str]:
        """Open the store, and read what an earlier life has left. The accounts that a person has stopped.

        Raises StoreError.
        """
        beginning = await self.store.open()
        self._offsets.restore(beginning.offsets)
        self._sessions.restore(beginning.sessions)
        self._journal.go_on_from(beginning.last_seq)
        for entry in self._journal.page():
            self._keep(entry)  # there was no store yet when it came
        self._journal.listen(self._keep, ordinary=False)
        self._requests.keep_with(self._keep_request)
        self._requests.restore(await self.store.requests(REQUESTS_RESTORED))
        self.handlers.apply(self._config())
        self._left = beginning, await self.store.notices(), await self.store.unsent()
        self._errands.run(self._keep_house())
        return [account for account, intent in beginning.intents.items() if intent == "stopped"]

    def resume(self) -> None:
        """Take up what an earlier life has left."""
        beginning, notices, unsent = self._left
        self.commands.resume(notices)
        self.outbox.resume(unsent)
        self._errands.run(self.pipeline.resume(beginning))

    # What is shown

    @property
    def in_flight(self) -> int:
        """How many messages are being handled, wait for that, or are being sent."""
        return self.pipeline.in_flight + self.outbox.under_way

    @property
    def at_work(self) -> int:
        """How many conversations are being handled, and messages sent, at this moment: what an end would break off."""
        return self.pipeline.at_work() + self.outbox.under_way

    def pending(self) -> dict[str, Any]:
        """What waits, for the status."""
        return {
            "messages": self.in_flight,
            "full": self.pipeline.full,
            "outbox": self.outbox.depth,
            "unmatched": self._tally.incoming["unmatched"],
        }

    def traceparent(self, machine: str) -> str | None:
        """The trace of a message that is not at its end; None where it has none, or the machine is none of a message."""
        return self.pipeline.traceparent(machine) or self.outbox.traceparent(machine)

    @property
    def trouble(self) -> str:
        """Why nothing can be written to the store now; empty while all is well."""
        return self.store.trouble

    # What is kept

    def _received(self, count: int) -> None:
        self._tally.received += count

    def _post_from_receiver(self, name: str, event: Event) -> None:
        self._dispatcher.tell(name, event, f"receiver {name}")

    def _keep(self, entry: Entry) -> None:
        """A journal listener: every step and refusal but those of messages, and what a person wants of an account."""
        self.store.journal(entry.seq, entry.at, entry.machine, msgspec.json.encode(self._journal.full(entry)))
        by_person = isinstance(entry.event, (Start, Stop, Restart)) and entry.event.by is By.PERSON
        if by_person and entry.row is not None and entry.standing is not None:
            self.store.intend(entry.machine, "stopped" if entry.standing.machine.data.held else None)

    def _keep_request(self, request: Request) -> None:
        self.store.request(request.id, request.at, request.outcome, request.as_dict())
        self.commands.learn(request)

    async def _keep_house(self) -> None:
        """From time to time what is too old, or too much, is forgotten."""
        while True:
            await asyncio.sleep(HOUSEKEEPING)
            kept = self._config().store
            before = self._clock.wall_ms() - kept.keep_days * DAY_MS
            await self.store.forget(before, kept.keep_messages, self._journal.last - JOURNAL_KEPT)

    async def written_down(self) -> None:
        """Return when all that there is to keep is kept."""
        await self.store.committed()

    # Ending

    async def _drain(self, account: str) -> None:
        """What was received is handled, and what was produced is sent, as far as it can be."""
        await self.pipeline.drain(account)
        await self.outbox.drain(account)

    async def close(self, patience: float) -> None:
        """What waits is written, for at most so many seconds."""
        await self.pipeline.close()
        await self.outbox.close()
        await self.handlers.close()
        await self._errands.close()
        self._sessions.flush()
        if not await self.store.close(patience):
            log.warning(
                "store_not_written", why="it could not be in time; what was received is sent again by its network"
            )
