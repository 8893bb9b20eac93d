"""A config change from whatever road: read or written, planned, posted to the lifecycle, and answered with its outcome.

Every road ends in the same event. The file event of a write that is already known is absorbed by the lifecycle's table;
nothing here ignores anything for a span of time. What is read is what is *wanted*: the file, unless `Standing` says that
another revision is held in its place.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import structlog
from msgspec.structs import replace

from gateway.clock import Clock
from gateway.config import file
from gateway.config.custody import refuse_if_owned
from gateway.config.edit import Edit
from gateway.config.file import MISSING, Reader, Revision
from gateway.config.history import History
from gateway.config.ledger import Ledger, Proposal
from gateway.config.secrets import secrets_of
from gateway.config.standing import Standing
from gateway.config.writerlock import WriterLock
from gateway.dispatcher import LIFECYCLE, Dispatcher
from gateway.errors import (
    ConfigError,
    GatewayError,
    StaleHashError,
    UnavailableError,
)
from gateway.process.consent import check_consent, moved_since
from gateway.process.first import First
from gateway.process.pending import Decision, Pending, Report, Settled, Write
from gateway.process.transactions import Transactions
from gateway.process.wanted import Wanted
from gateway.redact import Redactor
from gateway.requests import Requests, new_id
from statemachine.change_events import Stage
from statemachine.lifecycle import is_ending, is_restarting, knows, may_be_reloaded
from statemachine.lifecycle_events import ConfigChanged, ConfigRejected, Origin, SettleRevision, Ticket

__all__ = ["LIFECYCLE", "Changes", "Write"]

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Changes:
    """Reads, plans, writes and posts. One writer at a time; what it posts comes in the order of the writes."""

    def __init__(
        self,
        path: Path,
        first: First,
        reader: Reader,
        ledger: Ledger,
        standing: Standing,
        history: History,
        dispatcher: Dispatcher,
        requests: Requests,
        redactor: Redactor,
        clock: Clock,
    ) -> None:
        self.path = path
        self._first = first
        self._reader = reader
        self._wanted = Wanted(path, first.on_disk, reader, standing, history, redactor)
        self._ledger = ledger
        self._standing = standing
        self._history = history
        self._dispatcher = dispatcher
        self._requests = requests
        self._redactor = redactor
        self._clock = clock
        self._lock = asyncio.Lock()
        self._writers = WriterLock(path)
        self._events: dict[str, ConfigChanged] = {}
        self._waiters: dict[str, list[asyncio.Future[Settled]]] = {}
        self._results: dict[str, dict[str, Any]] = {}
        self.transactions = Transactions(self._replace, ledger, standing, history, dispatcher, redactor, clock)
        self.issues: list[dict[str, Any]] = []
        """What is wrong with the file on disk, if anything is."""

    # Reading

    @property
    def on_disk(self) -> str:
        """The hash of the file when it was read last, "missing" when there was none."""
        return self._wanted.on_disk

    async def load(self) -> Revision:
        """What is wanted now. Raises ConfigError."""
        return await self._wanted.load()

    async def load_to_run(self) -> Revision:
        """What a restart runs: what is wanted, or what a change puts back beside a file that cannot be used. Raises ConfigError."""
        try:
            return await self.load()
        except ConfigError:
            base = self.transactions.being_restored()
            if base is None:
                raise
            return await self._wanted.load_kept(base)

    async def load_file(self) -> Revision:
        """The file as it is, whatever is wanted. Raises ConfigError."""
        return await self._wanted.load_file()

    async def review(self, origin: Origin, requester: str) -> ConfigChanged | ConfigRejected:
        """Read what is wanted and say what it means to what runs now."""
        try:
            revision = await self.load()
        except ConfigError as error:
            self.issues = [vars(issue) for issue in error.issues]
            return ConfigRejected(error.revision or MISSING, self._redactor.text(str(error)))
        self.issues = []
        known = self._events.get(revision.id)
        if known is not None:
            origin, requester = known.origin, known.ticket.requester
        if revision.id == self.transactions.being_restored():
            # Whoever reads it first: it is no edit, which is only noted where the reload mode is off.
            origin = Origin.CALL
        return self._event(self._ledger.propose(revision), origin, requester, None)

    async def review_again(self) -> ConfigChanged | ConfigRejected:
        """The lifecycle's own review. Under the lock, as every reading: events come in the order of what was read."""
        async with self._lock:
            event = await self.review(Origin.FILE, "review")
            if isinstance(event, ConfigChanged):
                await self._follow(self._ledger.proposal(event.revision).revision, "review")
            return event

    async def notice(self, origin: Origin, requester: str) -> None:
        """The file may have changed: read it and post what it says, after any write that is under way.

        A person who asks for that (by SIGHUP) wants what the file holds, even if it was rolled back before: what is rolled
        back while this waits for its turn was not asked for again.
        """
        if origin is Origin.CALL:
            self.transactions.adopt()
        async with self._lock:
            before = self._ledger.accepted
            event = await self.review(origin, requester)
            if isinstance(event, ConfigRejected) or not self._is_news(event.revision):
                self._dispatcher.post(LIFECYCLE, event, requester)
                return
            try:
                await self._propose_what_was_read(event, before, requester)
            except GatewayError as error:
                self._refuse_edit(event.revision, error, requester)

    def _is_news(self, revision: str) -> bool:
        """Nobody has told the lifecycle of it, and it is not what is held in the place of the file."""
        known = knows(self._dispatcher.machine(LIFECYCLE), revision) or self.transactions.follows(revision)
        return not known and revision == self.on_disk

    async def _propose_what_was_read(self, event: ConfigChanged, before: Revision, requester: str) -> None:
        """An edit is a change like any other; only that nothing has to be written for it. Raises GatewayError: it never will run."""
        pending = Pending(requester, "file", event=event, proposal=self._ledger.proposal(event.revision))
        pending.prepare, pending.base, pending.old = _is_prepared, self._ledger.applied_id, before.raw
        self.transactions.open(pending)
        await pending.submitted

    def _refuse_edit(self, revision: str, error: GatewayError, requester: str) -> None:
        """What runs goes on. Where the network refused it, the file is what is wrong; else it is tried again."""
        if isinstance(error, ConfigError):
            self.issues = [vars(issue) for issue in error.issues]
            rejected = ConfigRejected(revision, self._redactor.text(str(error)))
            self._dispatcher.post(LIFECYCLE, rejected, requester)
        else:
            log.error("edit_not_applied", why=self._redactor.text(str(error)))
            self.transactions.look_again_later()

    async def restore(self, base: str) -> None:
        """A change is rolled back: the base is wanted, unless the file was edited beside it into something that can run."""
        async with self._lock:
            before = self._ledger.accepted
            event = await self.review(Origin.CALL, "rollback")
            if isinstance(event, ConfigRejected):
                await self._restore_beside(base)
                self._dispatcher.post(LIFECYCLE, event, "rollback")
            elif event.revision == base:
                await self._watch(self._ledger.proposal(base).revision, "rollback")
                self._dispatcher.post(LIFECYCLE, event, "rollback")
            elif not may_be_reloaded(event):
                # What is rolled back would run on until that restart. The file is looked at again when the base is back.
                await self._restore_beside(base)
            elif not self.transactions.follows(event.revision):
                try:
                    await self._propose_what_was_read(event, before, "watcher")
                except GatewayError as error:
                    await self._restore_beside(base)
                    self._refuse_edit(event.revision, error, "watcher")

    async def _restore_beside(self, base: str) -> None:
        """The file cannot be used. What is wrong with it is said; what ran before runs all the same."""
        try:
            revision = await self._wanted.load_kept(base)
        except GatewayError as error:
            self.transactions.settle(Settled(base, "failed", self._redactor.text(str(error)), {}))
            return
        event = self._event(self._ledger.propose(revision), Origin.CALL, "rollback", None)
        await self._watch(revision, "rollback")
        self._dispatcher.post(LIFECYCLE, event, "rollback")

    def _event(self, proposal: Proposal, origin: Origin, requester: str, delay: float | None) -> ConfigChanged:
        config, revision = proposal.revision.config, proposal.revision.id
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

    # Boot and restart

    async def begin(self) -> None:
        """The gateway boots: take up the change that brought what it boots with, and say what is wrong with the file."""
        first, window = self._first, self._standing.record.window
        taken_up = first.overdue or window
        self.transactions.conclude_earlier(first.revision, taken_up.number if taken_up is not None else 0)
        if first.revision.id == first.on_disk:
            self._standing.forget(first.on_disk)
        self.transactions.keep_soon()
        if first.overdue is not None:
            pending = Pending("boot", "boot", number=first.overdue.number)
            await self.transactions.resume(pending, first.overdue.revision, first.overdue.base, overdue=True)
        elif window is not None:
            pending = Pending("boot", "boot", number=window.number, ran=window.accounts)
            pending.confirm, pending.until = first.seconds_left, window.until
            if pending.confirm is not None and window.until is not None:
                # Its time goes on while the boot opens its store, however large that is.
                pending.confirm = max(pending.confirm - (self._clock.monotonic() - first.at), 0.0)
            await self.transactions.resume(pending, window.revision, window.base)
        else:
            await self._follow(first.revision, "boot")
        if first.fault is not None:
            self.issues = [vars(issue) for issue in first.fault.issues]
            why = self._redactor.text(str(first.fault))
            self._dispatcher.post(LIFECYCLE, ConfigRejected(first.fault.revision or MISSING, why), "boot")

    async def _follow(self, revision: Revision, road: str) -> None:
        """A revision that nobody proposed is watched, too, until it is known to be good."""
        if not self.transactions.awaits_newer():
            await self._watch(revision, road)

    async def _watch(self, revision: Revision, road: str) -> None:
        if self.transactions.follows(revision.id):
            return
        if revision.id == self._standing.record.last_good:
            self.transactions.supersede(revision.id, road)
            return
        pending = Pending(road, road, revision=revision)
        await self.transactions.resume(pending, revision.id, self._ledger.applied_id)

    async def runs(self, revision: Revision | None = None) -> None:
        """A boot or a restart is complete, and this is what it runs with: None is what it booted with."""
        now = self._first.revision if revision is None else revision
        await self._follow(now, "restart")
        self.transactions.settle(Settled(now.id, "applied", "", {}))

    async def at_rest(self) -> None:
        """Return when no write and no reading is under way."""
        async with self._lock:
            await self.transactions.written_down()

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

        Raises StaleHashError, StalePlanError, ConfigError, ConfigOwnedError, ConfigWriteError, WindowOpenError or
        UnavailableError: nothing was changed then.
        """
        # The caller being cancelled cancels nothing: what was begun is seen through.
        running = asyncio.ensure_future(self._run(write))
        running.add_done_callback(lambda done: done.cancelled() or done.exception())
        return await asyncio.shield(running)

    async def decide(self, revision: str, decision: Decision, by: str, seconds: float = 0.0) -> dict[str, Any]:
        """Confirm, extend or cancel a change that must be confirmed. Raises NoWindowError or ConfigWriteError."""
        report = await self.transactions.decide(revision, decision, by, seconds)
        window = self._standing.record.window
        confirm_by = window.until if window is not None else None
        return {"revision": revision, "outcome": report.outcome, "why": report.why, "confirm_by": confirm_by}

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
        self._requests.close(request, "failed" if receipt["stage"] else "done", receipt["outcome"])
        return receipt

    async def _carry_out(self, request: str, write: Write) -> dict[str, Any]:
        async with self._lock:
            if is_ending(self._dispatcher.machine(LIFECYCLE)):
                raise UnavailableError("the gateway is stopping; nothing was written")
            pending = Pending(
                write.requester, write.road, write.note, write.confirm, writes=True, request=request,
                prepare=lambda pending: self._prepare(pending, write),
            )  # fmt: skip
            try:
                async with self._writers.held():
                    self.transactions.open(pending)
                    await pending.submitted
                self.issues = []
            finally:
                if not pending.submitted.done() or pending.submitted.exception() is not None:
                    self._forget(pending)
        outcome = await self._outcome(pending)
        if pending.confirm is not None:
            await self.transactions.keep()
        return self._receipt(pending, *outcome)

    async def _prepare(self, pending: Pending, write: Write) -> None:
        """Read, check what the writer saw, make the new text, and plan it. Nothing is touched."""
        pending.old = await asyncio.to_thread(self._current_of_ours)
        here = file.revision_of(pending.old) if pending.old is not None else None
        if here is not None and write.base != here and not write.insists:
            moved = await asyncio.to_thread(moved_since, write.base, pending.old, self._reader, self._history)
            raise StaleHashError(here, write.base, moved)
        pending.base_hash = write.base
        pending.new = await asyncio.to_thread(write.edit, pending.old or b"")
        revision = await asyncio.to_thread(self._reader.load, pending.new)
        await asyncio.to_thread(check_consent, write, pending.old, revision, self._reader, self._ledger.applied_id)
        self._redactor.learn(secrets_of(revision.config))
        pending.accepted = self._ledger.accepted
        pending.base, pending.base_raw = await self._wanted_before(pending.old, here, pending.accepted)
        pending.proposal = self._ledger.propose(revision)
        pending.event = self._event(pending.proposal, Origin.CALL, write.requester, write.delay)
        self._waiters.setdefault(revision.id, []).append(pending.settled)

    async def _wanted_before(self, old: bytes | None, here: str | None, valid: Revision) -> tuple[str, bytes]:
        """What a rollback goes back to: what was wanted before, or what was valid last where that cannot be used."""
        try:
            if old is not None and here is not None:
                wanted = self._standing.wanted(here)
                raw = old if wanted == here else await asyncio.to_thread(self._history.raw, wanted)
                return (await asyncio.to_thread(self._reader.load, raw)).id, raw
        except GatewayError:
            log.info("file_was_not_valid", revision=here)
        return valid.id, valid.raw

    def _forget(self, pending: Pending) -> None:
        """It never went to the lifecycle: nobody waits for its word, and it was never accepted."""
        if pending.proposal is not None and pending.accepted is not None:
            self._ledger.accepted = pending.accepted
        revision = pending.proposal.revision.id if pending.proposal is not None else ""
        left = [waiter for waiter in self._waiters.pop(revision, []) if waiter is not pending.settled]
        if left:
            self._waiters[revision] = left

    def _current_of_ours(self) -> bytes | None:
        refuse_if_owned(self.path)
        return self._current()

    def _current(self) -> bytes | None:
        try:
            return file.read(self.path)
        except ConfigError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return None
            raise

    def _replace(self, pending: Pending) -> None:
        """In a thread: put the new text in the place of the old."""
        assert pending.proposal is not None, "what is written has a plan"
        if pending.new != pending.old:
            # An editor asks for no lock, and may have saved meanwhile.
            if not file.write(self.path, pending.new, pending.old):
                here = self._current()
                raise StaleHashError(MISSING if here is None else file.revision_of(here), pending.base_hash)
            revision = pending.proposal.revision.id[:12]
            log.info("config_written", revision=revision, requester=pending.requester, note=pending.note)
        self._wanted.on_disk = pending.proposal.revision.id

    async def _outcome(self, pending: Pending) -> tuple[Settled, Report]:
        """What became of it. If a restart begins first, then that: its caller is told now, since its connection ends with it.

        A plain change is answered with the lifecycle's word; one that must be confirmed when it runs, or is back.
        """
        restarting = asyncio.ensure_future(self._dispatcher.until(LIFECYCLE, is_restarting))
        told: asyncio.Future[Any] = pending.settled if pending.confirm is None else pending.reported
        try:
            await asyncio.wait((told, pending.refused, restarting), return_when=asyncio.FIRST_COMPLETED)
        finally:
            restarting.cancel()
        if pending.refused.done():
            raise UnavailableError(f"written, and not applied: {pending.refused.result()}")
        waits = Settled("", "restart_pending", "a restart has begun", {})
        settled = pending.settled.result() if pending.settled.done() else waits
        if pending.confirm is not None and pending.reported.done():
            return settled, pending.reported.result()
        return settled, Report(settled.outcome, "", settled.why)

    def _receipt(self, pending: Pending, settled: Settled, report: Report) -> dict[str, Any]:
        proposal = pending.proposal
        assert proposal is not None, "what was submitted was planned"
        ends = report.outcome == "failed" and is_ending(self._dispatcher.machine(LIFECYCLE))
        if report.outcome == "rejected" or ends:
            raise UnavailableError(f"written, and not applied: {report.why}")
        outcome = {"noted": "restart_pending", "failed": "rolled_back"}.get(report.outcome, report.outcome)
        plan = proposal.whole.describe()
        plan["accounts"] |= {name: result for name, result in settled.accounts.items() if name in plan["accounts"]}
        window = self._standing.record.window
        return {
            "request": pending.request,
            "revision": proposal.revision.id,
            "hash": proposal.revision.id,
            "changed_paths": proposal.whole.paths,
            "plan": plan,
            "outcome": outcome,
            "stage": (report.stage or Stage.SWAP.value) if outcome == "rolled_back" else None,
            "why": report.why,
            "confirm_by": window.until if window is not None and outcome == "probation" else None,
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
        self._events.pop(said.revision, None)
        waiters = self._waiters.pop(said.revision, [])
        settled = Settled(said.revision, said.outcome, said.why, self._results.pop(said.revision, {}))
        if said.outcome == "superseded":
            self._waiters.setdefault(said.why, []).extend(waiters)
        else:
            for waiter in waiters:
                waiter.set_result(settled)
        self.transactions.settle(settled)


async def _is_prepared(_: Pending) -> None:
    """What was read from the file has its plan already."""
