"""A config change from whatever road: read or written, planned, posted to the lifecycle, and answered with its outcome.

Every road ends in the same event. The file event of a write that is already known is absorbed by the lifecycle's table;
nothing here ignores anything for a span of time.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import structlog

from gateway.clock import Clock
from gateway.config import file
from gateway.config.edit import Edit
from gateway.config.file import MISSING, Reader, Revision
from gateway.config.ledger import Ledger, Proposal
from gateway.config.secrets import secrets_of
from gateway.dispatcher import Dispatcher
from gateway.errors import ConfigError, ConfigWriteError, StaleHashError, UnavailableError
from gateway.process.chronicle import REFUSED, Chronicle
from gateway.redact import Redactor
from gateway.requests import Requests, new_id
from statemachine import Refusal
from statemachine.lifecycle import is_ending, is_restarting
from statemachine.lifecycle_events import ConfigChanged, ConfigRejected, Origin, SettleRevision, Ticket

log: structlog.stdlib.BoundLogger = structlog.get_logger()

LIFECYCLE = "gateway"
"""The name of the lifecycle's machine."""

REREADS = 2
REREAD_PAUSE = 0.15
"""A file that is missing or cut off is read again that often, that many seconds apart, before it counts."""


@dataclass(frozen=True)
class Write:
    """One call that wants to change the file. `base` is the hash its writer saw."""

    edit: Edit
    base: str | None
    requester: str
    note: str = ""
    delay: float | None = None
    """Seconds until the restart, if one is needed; None is the config's own."""


@dataclass(frozen=True)
class Settled:
    """What became of a revision. `revision` is another one than asked for when that was superseded."""

    revision: str
    outcome: str
    why: str
    accounts: dict[str, Any]
    """What happened to each account that the plan touched."""


class Changes:
    """Reads, plans, writes and posts. One writer at a time; what it posts comes in the order of the writes."""

    def __init__(
        self,
        path: Path,
        reader: Reader,
        ledger: Ledger,
        chronicle: Chronicle,
        dispatcher: Dispatcher,
        requests: Requests,
        redactor: Redactor,
        clock: Clock,
    ) -> None:
        self.path = path
        self._reader = reader
        self._ledger = ledger
        self.chronicle = chronicle
        self._dispatcher = dispatcher
        self._requests = requests
        self._redactor = redactor
        self._clock = clock
        self._lock = asyncio.Lock()
        self._events: dict[str, ConfigChanged] = {}
        self._waiters: dict[str, list[asyncio.Future[Settled]]] = {}
        self._results: dict[str, dict[str, Any]] = {}
        self.issues: list[dict[str, Any]] = []
        """What is wrong with the file on disk, if anything is."""

    # Reading

    async def load(self) -> Revision:
        """The file as it is now; read again a little later when it is missing or cut off. Raises ConfigError."""
        for attempt in range(REREADS + 1):
            try:
                revision = await asyncio.to_thread(self._load)
            except ConfigError:
                if attempt == REREADS:
                    raise
                await asyncio.sleep(REREAD_PAUSE)
            else:
                break
        return revision

    def _load(self) -> Revision:
        revision = self._reader.load(file.read(self.path))
        self._redactor.learn(secrets_of(revision.config))
        return revision

    async def review(self, origin: Origin, requester: str) -> ConfigChanged | ConfigRejected:
        """Read the file and say what it means to what runs now."""
        try:
            revision = await self.load()
        except ConfigError as error:
            self.issues = [vars(issue) for issue in error.issues]
            return ConfigRejected(error.revision or MISSING, self._redactor.text(str(error)))
        await self.chronicle.found(revision, requester)
        known = self._events.get(revision.id)
        if known is not None:
            origin, requester = known.origin, known.ticket.requester
        return self._event(self._ledger.propose(revision), origin, requester, None)

    async def review_again(self) -> ConfigChanged | ConfigRejected:
        """The lifecycle's own review. Under the lock, as every reading: events come in the order of what was read."""
        async with self._lock:
            return await self.review(Origin.FILE, "review")

    async def notice(self, origin: Origin, requester: str) -> None:
        """The file may have changed: read it and post what it says, after any write that is under way."""
        async with self._lock:
            event = await self.review(origin, requester)
            self._dispatcher.post(LIFECYCLE, event, requester)

    def _event(self, proposal: Proposal, origin: Origin, requester: str, delay: float | None) -> ConfigChanged:
        config, revision = proposal.revision.config, proposal.revision.id
        self.issues = []
        known = self._events.get(revision)
        seconds = config.gateway.restart.delay_ms / 1000 if delay is None else min(max(delay, 0.0), 60.0)
        ticket = Ticket(new_id("restart"), requester, "config change", revision, self._clock.monotonic() + seconds)
        event = ConfigChanged(
            revision=revision,
            base=proposal.base,
            impact=proposal.impact,
            overlay=not proposal.complete,
            origin=origin,
            reload=self._ledger.applied.gateway.reload.mode == "hybrid",
            ticket=replace(known.ticket, id=ticket.id) if known is not None else ticket,
        )
        self._events[revision] = event
        return event

    # Planning

    async def plan(self, edit: Edit, base: str | None = None) -> dict[str, Any]:
        """What writing this would do; nothing is written or remembered. Raises StaleHashError for a base that is given, ConfigError."""
        # Imported when asked for: a boot plans nothing.
        from gateway.config.preview import preview  # noqa: PLC0415

        current = await asyncio.to_thread(self._current)
        here = MISSING if current is None else file.revision_of(current)
        if base not in (None, here):
            raise StaleHashError(here, base)
        new = await asyncio.to_thread(edit, current or b"")
        revision = await asyncio.to_thread(self._reader.load, new)
        proposal, applied = self._ledger.plan(revision), self._ledger.applied
        shown = await asyncio.to_thread(preview, proposal, applied, current, LIFECYCLE)
        # Its secrets are nobody's yet: they are kept out of this answer, and not learnt.
        hiding = Redactor()
        hiding.learn(secrets_of(revision.config))
        return hiding.tree(shown)  # type: ignore[no-any-return]

    # Writing

    async def write(self, write: Write) -> dict[str, Any]:
        """Change the file and see it through; the receipt that its caller is sent.

        Raises StaleHashError, ConfigError, ConfigWriteError or UnavailableError: nothing was changed then.
        """
        # The caller being cancelled cancels nothing: what was begun is seen through.
        running = asyncio.ensure_future(self._run(write))
        running.add_done_callback(lambda done: done.cancelled() or done.exception())
        return await asyncio.shield(running)

    async def _run(self, write: Write) -> dict[str, Any]:
        request = self._requests.open("change", write.requester).id
        try:
            receipt = await self._carry_out(request, write)
        except UnavailableError as error:
            self._requests.close(request, "failed", self._redactor.text(str(error)))
            raise
        except Exception as error:
            self._requests.close(request, "refused", self._redactor.text(str(error)))
            raise
        self._requests.close(request, "done", receipt["outcome"])
        return receipt

    async def _carry_out(self, request: str, write: Write) -> dict[str, Any]:
        async with self._lock:
            if is_ending(self._dispatcher.machine(LIFECYCLE)):
                raise UnavailableError("the gateway is stopping; nothing was written")
            proposal = await self._write_file(write)
            event = self._event(proposal, Origin.CALL, write.requester, write.delay)
            settled = self._expect(proposal.revision.id)
            answer = await self._dispatcher.post(LIFECYCLE, event, request)
        if isinstance(answer, Refusal):
            raise UnavailableError(f"written, and not applied: {answer.why}")
        return self._receipt(request, proposal, await self._outcome(settled))

    async def _outcome(self, settled: asyncio.Future[Settled]) -> Settled:
        """What became of it. If a restart begins first, then that: its caller is told now, since its connection ends with it."""
        restarting = asyncio.ensure_future(self._dispatcher.until(LIFECYCLE, is_restarting))
        try:
            await asyncio.wait((settled, restarting), return_when=asyncio.FIRST_COMPLETED)
        finally:
            restarting.cancel()
        return settled.result() if settled.done() else Settled("", "restart_pending", "a restart has begun", {})

    async def _write_file(self, write: Write) -> Proposal:
        current = await asyncio.to_thread(self._current)
        here = file.revision_of(current) if current is not None else None
        if here is not None and write.base != here:
            raise StaleHashError(here, write.base)
        new = await asyncio.to_thread(write.edit, current or b"")
        revision = await asyncio.to_thread(self._reader.load, new)
        self._redactor.learn(secrets_of(revision.config))
        if new == current:
            await self.chronicle.found(revision, write.requester)
        else:
            await self._replace(current, revision, write)
            log.info("config_written", revision=revision.id[:12], requester=write.requester, note=write.note)
        return self._ledger.propose(revision)

    def _current(self) -> bytes | None:
        try:
            return file.read(self.path)
        except ConfigError:
            if self.path.exists():
                raise
            return None

    async def _replace(self, current: bytes | None, revision: Revision, write: Write) -> None:
        await self.chronicle.begin(revision, current, write.requester, write.note)
        try:
            await asyncio.to_thread(self._put, current, revision.raw, write.base)
        except (ConfigError, ConfigWriteError, StaleHashError) as error:
            self.chronicle.settle(revision.id, REFUSED, str(error))
            raise

    def _put(self, current: bytes | None, new: bytes, base: str | None) -> None:
        # Once more, at the last moment: an editor asks for no lock, and may have saved meanwhile.
        here = self._current()
        if here != current:
            raise StaleHashError(MISSING if here is None else file.revision_of(here), base)
        file.write(self.path, new)

    def _receipt(self, request: str, proposal: Proposal, settled: Settled) -> dict[str, Any]:
        if settled.outcome in ("failed", "rejected"):
            raise UnavailableError(f"written, and not applied: {settled.why}")
        outcome = "restart_pending" if settled.outcome == "noted" else settled.outcome
        plan = proposal.whole.describe()
        plan["accounts"] |= {name: result for name, result in settled.accounts.items() if name in plan["accounts"]}
        return {
            "request": request,
            "revision": proposal.revision.id,
            "hash": proposal.revision.id,
            "changed_paths": proposal.whole.paths,
            "plan": plan,
            "outcome": outcome,
            "restart": self.pending_restart() if outcome == "restart_pending" else None,
        }

    def pending_restart(self) -> dict[str, Any] | None:
        """The ticket that is due first, or is being served, and when; None when there is none."""
        data = self._dispatcher.machine(LIFECYCLE).data
        tickets = data.served or data.tickets
        if not tickets:
            return None
        first = min(tickets, key=lambda ticket: ticket.due_at)
        due = max(first.due_at, data.cooled_at) - self._clock.monotonic()
        return {"id": first.id, "due_in_ms": max(0, round(due * 1000))}

    # Outcomes

    def report(self, revision: str, accounts: dict[str, Any]) -> None:
        """What carrying out a revision's plan did to each account that it touched."""
        self._results[revision] = accounts

    def settle(self, _: str, said: SettleRevision) -> None:
        """The lifecycle's word on a revision. Who waits for one that was superseded waits on for the newer one that holds it."""
        self._ledger.note(said.revision, said.outcome)
        self.chronicle.settle(said.revision, said.outcome, said.why)
        self._events.pop(said.revision, None)
        waiters = self._waiters.pop(said.revision, [])
        if said.outcome == "superseded":
            self._waiters.setdefault(said.why, []).extend(waiters)
            return
        settled = Settled(said.revision, said.outcome, said.why, self._results.pop(said.revision, {}))
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(settled)

    def _expect(self, revision: str) -> asyncio.Future[Settled]:
        """A future for what becomes of a revision. Ask before the event is posted."""
        waiter: asyncio.Future[Settled] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(revision, []).append(waiter)
        return waiter
