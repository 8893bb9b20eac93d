"""Performs what the machines of changes ask for: prepare, try, write, submit, keep the window, put back, report.

Each change has a machine of its own. This module opens them, and tells them what the lifecycle
said; it decides nothing that their table does.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import structlog

from gateway.clock import Clock
from gateway.config import file
from gateway.config.file import Revision
from gateway.config.history import KEPT, History, HistoryEntry
from gateway.config.ledger import Ledger, Proposal
from gateway.config.model import Config
from gateway.config.standing import Record, Standing, Window
from gateway.dispatcher import LIFECYCLE, AnyMachine, Dispatcher
from gateway.errors import ConfigWriteError, GatewayError, NoWindowError, UnavailableError, WindowOpenError
from gateway.journal import Entry
from gateway.process.errands import Errands
from gateway.process.pending import Decision, Pending, Report, Settled
from gateway.redact import Redactor
from gateway.runner import Runner
from statemachine import Event, Refusal, Step
from statemachine import change_events as events
from statemachine.change import (
    Change,
    awaits_word_on,
    gives_way_to,
    has_ended,
    is_on_its_way,
    is_watched,
    may_yet_run,
    restores,
)
from statemachine.change_events import ChangeData, Settlement, Stage
from statemachine.channel import is_running
from statemachine.lifecycle import is_ending, is_serving

log: structlog.stdlib.BoundLogger = structlog.get_logger()

SETTLEMENTS = {
    "applied": Settlement.RUNS,
    "noop": Settlement.RUNS,
    "restart_pending": Settlement.WAITS,
    "failed": Settlement.BROKE,
}
"""What the lifecycle's words mean to a change; any other one means that it does not run."""
ROLLING_BACK = "rolling_back"
RESTART_PENDING = "restart_pending"
PROBATION = "probation"
UNDECIDED = frozenset({"pending", RESTART_PENDING, PROBATION, ROLLING_BACK})
"""Outcomes in the history after which another one is to come."""
ROLLBACK_PATIENCE = 60.0
"""Seconds that the answer to a cancelling waits for what ran before to be back."""


class Transactions:
    """Owns the changes that are under way."""

    def __init__(
        self,
        write: Callable[[Pending], None],
        ledger: Ledger,
        standing: Standing,
        history: History,
        dispatcher: Dispatcher,
        redactor: Redactor,
        clock: Clock,
    ) -> None:
        self._write_file = write
        self._ledger = ledger
        self._standing = standing
        self._history = history
        self._dispatcher = dispatcher
        self._redactor = redactor
        self._clock = clock
        self._pending: dict[str, Pending] = {}
        self._opened = 0
        self._errands = Errands()
        self._to_write: deque[Callable[[], None]] = deque()
        self._writing: asyncio.Future[Any] | None = None
        self._restore: Callable[[str], Awaitable[None]] = _nothing
        self._look_again: Callable[[], Awaitable[None]] = _nothing
        self._try_out: Callable[[Config, Proposal], Awaitable[None]] = _nothing

    def connect(
        self,
        restore: Callable[[str], Awaitable[None]],
        look_again: Callable[[], Awaitable[None]],
        try_out: Callable[[Config, Proposal], Awaitable[None]],
    ) -> None:
        """`restore` tells the lifecycle that a base is wanted, `look_again` reads the file, `try_out` raises ConfigError."""
        self._restore, self._look_again, self._try_out = restore, look_again, try_out

    def register(self, runner: Runner) -> None:
        """Tell the runner who performs what, and which completion an exception becomes."""
        stages: tuple[tuple[Any, Any, Stage], ...] = (
            (events.ValidateChange, self._validate, Stage.VALIDATE),
            (events.ProvisionChange, self._provision, Stage.PROVISION),
            (events.WriteChange, self._write, Stage.WRITE),
        )
        for kind, perform, stage in stages:
            runner.work(kind, perform, _unfit_in(stage))
        runner.work(events.CheckHealth, self._check_health, lambda e, _: events.HealthChecked(e.work, healthy=False))
        runner.command(events.CancelStage, lambda machine, _: runner.cancel(machine))
        runner.command(events.SubmitRevision, self._submit)
        runner.command(events.OpenWindow, self._open_window)
        runner.command(events.CloseWindow, self._close_window)
        runner.command(events.RestoreBase, self._restore_base)
        runner.command(events.PromoteRevision, self._promote)
        runner.command(events.ReportChange, self._report)
        self._dispatcher.journal.listen(self._on_entry)

    async def close(self) -> None:
        """Wait for what is being written down, and for nothing else: nobody decides anything any more."""
        await self._errands.close()

    async def written_down(self) -> None:
        """Return when all that was said of changes is on disk, or the fault is shown."""
        await self._errands.seen_through()

    # Opening one

    def open(self, pending: Pending) -> None:
        """Propose it. Its `submitted` says when the lifecycle has it, or why it never will."""
        pending.ran = tuple(name for name in self._ledger.applied.accounts() if self._runs(name))
        window = self._standing.record.window is not None
        self._begin(pending, events.ChangeProposed(pending.writes, pending.confirm, window))

    async def resume(self, pending: Pending, revision: str, base: str, *, overdue: bool = False) -> None:
        """Take up a revision that nobody proposed here: what a boot finds, or a restart has read."""
        pending.submitted.set_result(None)
        if pending.revision is not None:
            self._write_down(partial(self._enter_unless_there, pending, pending.revision))
        await self._begin(pending, events.ChangeResumed(revision, base, pending.confirm, overdue))
        self.supersede(revision, pending.name)

    def _begin(self, pending: Pending, event: Event) -> asyncio.Future[Step | Refusal]:
        self._opened += 1
        pending.name = f"change/{self._opened}"
        self._pending[pending.name] = pending
        self._dispatcher.add(Change(pending.name, ChangeData()))
        return self._dispatcher.post(pending.name, event, pending.requester)

    def awaits_newer(self) -> bool:
        """Whether a change, or what one goes back to, is on its way: the lifecycle has not said what becomes of it."""
        return any(is_on_its_way(machine) for _, machine in self._machines())

    def follows(self, revision: str) -> bool:
        """Whether a change that may yet run brings this revision."""
        return any(machine.data.revision == revision and may_yet_run(machine) for _, machine in self._machines())

    def being_restored(self) -> str | None:
        """The base that a change is putting back, if one is."""
        return next((base for _, machine in self._machines() if (base := restores(machine)) is not None), None)

    def _machines(self) -> list[tuple[str, AnyMachine]]:
        return [(name, self._dispatcher.machine(name)) for name in self._pending]

    # Deciding

    async def decide(self, revision: str, decision: Decision, by: str, seconds: float) -> Report:
        """Tell a change that must be confirmed what a person says; what became of it.

        Raises NoWindowError when no such change waits, ConfigWriteError when it cannot be made lasting.
        """
        name = next((name for name, machine in self._machines() if machine.data.revision == revision), None)
        if name is None:
            raise NoWindowError(await asyncio.to_thread(self._what_became_of, revision))
        pending = self._pending[name]
        answer = await self._dispatcher.post(name, _event_of(decision, by, seconds), by)
        if isinstance(answer, Refusal):
            raise NoWindowError(answer.why)
        await asyncio.to_thread(self._standing.flush)
        if decision is Decision.EXTEND:
            return pending.last or Report("probation")
        done, _ = await asyncio.wait({pending.ended}, timeout=ROLLBACK_PATIENCE)
        return pending.ended.result() if done else Report(ROLLING_BACK)

    def _what_became_of(self, revision: str) -> str:
        try:
            entry = self._history.find(revision)
        except GatewayError as error:
            return f"no change with this revision waits to be confirmed: {error}"
        ended = f"{entry.outcome}: {entry.why}" if entry.why else entry.outcome
        return f"change {entry.number} does not wait to be confirmed: {ended}"

    # Stages

    async def _validate(self, name: str, effect: events.ValidateChange) -> Event:
        pending = self._pending[name]
        assert pending.prepare is not None, "what is proposed says how it is made ready"
        try:
            await pending.prepare(pending)
        except GatewayError as error:
            return self._unfit(pending, effect.work, Stage.VALIDATE, error)
        assert pending.proposal is not None, "made ready, it has a plan"
        return events.ChangeValidated(effect.work, pending.proposal.revision.id, pending.base)

    async def _provision(self, name: str, effect: events.ProvisionChange) -> Event:
        """The network's word on what is new comes while the old receivers still run."""
        pending = self._pending[name]
        assert pending.proposal is not None, "what was planned has a plan"
        try:
            await self._try_out(self._ledger.applied, pending.proposal)
        except GatewayError as error:
            return self._unfit(pending, effect.work, Stage.PROVISION, error)
        if not pending.writes:
            await asyncio.to_thread(self._enter_if_it_can_be, pending, pending.proposal.revision)
        return events.ChangeProvisioned(effect.work)

    async def _write(self, name: str, effect: events.WriteChange) -> Event:
        pending = self._pending[name]
        try:
            await asyncio.to_thread(self._write_whole, pending, effect)
        except GatewayError as error:
            return self._unfit(pending, effect.work, Stage.WRITE, error)
        finally:
            self._keep_later_if_it_failed()
        return events.ChangeWritten(effect.work)

    def _window(self, pending: Pending, effect: events.WriteChange) -> Window:
        return Window(effect.revision, effect.base, effect.confirm or 0.0, pending.number, pending.ran)

    def _write_whole(self, pending: Pending, effect: events.WriteChange) -> None:
        """History first, then the promise to roll back, then the file: whatever dies in between, each of them holds."""
        assert pending.proposal is not None, "what is written has a plan"
        if pending.old != pending.new or self._ledger.applied_id != pending.proposal.revision.id:
            self._enter(pending, pending.proposal.revision)
        if effect.confirm is not None:
            self._standing.hold(self._window(pending, effect))
            self._history.keep(pending.base_raw)  # from here on it is named, if by nothing else than this
            self._standing.flush()
        self._write_file(pending)
        self._standing.adopt()
        self._flush()  # that this fails does not undo what was written

    def _enter(self, pending: Pending, revision: Revision) -> None:
        """Put it into the history. Blocks. Raises ConfigWriteError: then nothing may be written over."""
        base = None if pending.old is None else file.revision_of(pending.old)
        paths = pending.proposal.whole.paths if pending.proposal is not None else []
        pending.number = self._history.open(
            revision.id, revision.raw, base=base, base_raw=pending.old, requester=pending.requester,
            road=pending.road, note=self._redactor.text(pending.note), paths=paths,
        )  # fmt: skip

    def _enter_if_it_can_be(self, pending: Pending, revision: Revision) -> None:
        """The file holds an edit already: that it cannot be entered is no reason against it."""
        try:
            self._enter(pending, revision)
        except GatewayError as error:
            log.error("history_not_written", why=str(error))

    def _enter_unless_there(self, pending: Pending, revision: Revision) -> None:
        """A boot with what ran before is no news."""
        try:
            if all(entry.revision != revision.id for entry in self._history.entries(KEPT)):
                self._enter(pending, revision)
        except GatewayError as error:
            log.error("history_not_written", why=str(error))

    def conclude_earlier(self, begun_with: Revision, resumed: int) -> None:
        """A boot: what an earlier process left undecided is over, but for the change that is taken up, by its number."""
        self._write_down(partial(self._conclude_for_the_dead, begun_with, resumed, self._standing.record))

    def _conclude_for_the_dead(self, begun_with: Revision, resumed: int, stood: Record) -> None:
        try:
            for entry in self._history.entries(KEPT):
                if entry.outcome in UNDECIDED and entry.number != resumed:
                    self._history.conclude(entry.number, *_became(entry, begun_with, stood))
        except GatewayError as error:
            log.error("history_not_written", why=str(error))

    def _unfit(self, pending: Pending, work: int, stage: Stage, error: GatewayError) -> Event:
        pending.error = error
        return events.ChangeUnfit(work, stage, self._redactor.text(str(error)))

    # The lifecycle

    def _submit(self, name: str, effect: events.SubmitRevision) -> None:
        pending = self._pending[name]
        assert pending.event is not None, "what was planned has its event"
        answer = self._dispatcher.post(LIFECYCLE, pending.event, name)
        answer.add_done_callback(lambda done: self._on_answer(name, effect.revision, done))
        pending.submitted.set_result(None)
        self.supersede(effect.revision, name)

    def _on_answer(self, name: str, revision: str, answer: asyncio.Future[Step | Refusal]) -> None:
        if answer.cancelled() or name not in self._pending:
            return
        result = answer.result()
        if isinstance(result, Refusal):
            self._pending[name].refused.set_result(result.why)
            self._say(name, revision, Settlement.ENDS, "refused", result.why)

    def supersede(self, revision: str, by: str) -> None:
        """A newer change brings this revision; `by` is its name. The others are told."""
        for name, machine in self._machines():
            if name != by and gives_way_to(machine, revision):
                self._dispatcher.post(name, events.ChangeSuperseded(by), f"change {revision[:12]}")

    def settle(self, said: Settled) -> None:
        """The lifecycle's word on a revision, for those that wait for it."""
        settlement = SETTLEMENTS.get(said.outcome, Settlement.PASSED)
        if settlement is Settlement.BROKE and is_ending(self._dispatcher.machine(LIFECYCLE)):
            settlement = Settlement.ENDS
        for name, machine in self._machines():
            if awaits_word_on(machine, said.revision):
                self._say(name, said.revision, settlement, said.outcome, said.why)

    def _say(self, name: str, revision: str, settlement: Settlement, word: str, why: str) -> None:
        event = events.RevisionSettled(revision, settlement, word, why, *self._lost(self._pending[name]))
        self._dispatcher.post(name, event, f"lifecycle {word}")

    # Watching

    def _channel(self, account: str) -> AnyMachine | None:
        return self._dispatcher.find(account)

    def _runs(self, account: str) -> bool:
        machine = self._channel(account)
        return machine is not None and is_running(machine)

    def _is_lost(self, account: str) -> bool:
        """It has failed; one that is not to run any more is stopped, or gone."""
        machine = self._channel(account)
        return machine is not None and machine.has_failed

    def _lost(self, pending: Pending) -> tuple[str, str]:
        """An account that ran before this change and is lost, and what its network said; empty where none is."""
        name = next(filter(self._is_lost, pending.ran), "")
        return name, self._dispatcher.machine(name).data.last_error if name else ""

    def _on_entry(self, entry: Entry) -> None:
        """Called for each entry of the journal: an account may just have failed."""
        if not self._is_lost(entry.machine):
            return
        for name, machine in self._machines():
            if is_watched(machine) and entry.machine in self._pending[name].ran:
                self._dispatcher.post(name, events.AccountLost(entry.machine, entry.why), f"step:{entry.seq}")

    async def _check_health(self, _: str, effect: events.CheckHealth) -> Event:
        enabled = [name for name, account in self._ledger.applied.accounts().items() if account.enabled]
        serves = is_serving(self._dispatcher.machine(LIFECYCLE))
        return events.HealthChecked(effect.work, serves and all(map(self._runs, enabled)))

    # What outlives the process

    def _open_window(self, name: str, effect: events.OpenWindow) -> None:
        pending = self._pending[name]
        lost, why = self._lost(pending)
        if lost:
            # It failed after the lifecycle's word was posted, and before anybody watched.
            self._dispatcher.post(name, events.AccountLost(lost, why), name)
        until = self._clock.wall_ms() + round(effect.seconds * 1000)
        if pending.until is not None:
            # What a boot has found is not put off by the time that the boot took.
            until, pending.until = pending.until, None
        base = self._dispatcher.machine(name).data.base
        window = Window(effect.revision, base, effect.seconds, pending.number, pending.ran, until)
        self._keep(self._standing.hold, window)

    def _close_window(self, _: str, effect: events.CloseWindow) -> None:
        self._keep(self._standing.release, effect.revision)
        # The file may have been edited beside it.
        self._errands.run(self._look_again())

    def _promote(self, name: str, effect: events.PromoteRevision) -> None:
        pending = self._pending[name]
        revision = pending.revision or (pending.proposal.revision if pending.proposal is not None else None)
        if revision is None or pending.writes:
            self._keep(self._standing.promote, effect.revision)  # its bytes were kept before it was written
        else:
            self._errands.see_through(self._keep_and_promote(revision))

    async def _keep_and_promote(self, revision: Revision) -> None:
        """What a boot could not read is nothing to fall back to."""
        try:
            await asyncio.to_thread(self._history.keep, revision.raw)
        except ConfigWriteError as error:
            log.error("last_good_not_kept", revision=revision.id[:12], why=str(error))
        else:
            self._standing.promote(revision.id)
            await self.keep()

    def _restore_base(self, name: str, effect: events.RestoreBase) -> None:
        self._pending[name].restored = True
        last = self._pending[name].last or Report(ROLLING_BACK)
        self._keep(self._standing.put_aside, effect.revision, effect.base, last.why, last.stage)
        self._errands.run(self._restore(effect.base))

    def _keep(self, change: Callable[..., None], *arguments: Any) -> None:
        """In force at once; on disk as soon as it can be, and the fault shown where it cannot."""
        change(*arguments)
        self.keep_soon()

    def keep_soon(self) -> None:
        self._errands.see_through(self.keep())

    def _flush(self) -> None:
        try:
            self._standing.flush()
        except ConfigWriteError as error:
            log.error("standing_not_kept", why=str(error))

    async def keep(self) -> None:
        """What stands now is on disk when this returns, or the fault is shown: nothing is told that a crash would unsay."""
        await asyncio.to_thread(self._flush)
        self._keep_later_if_it_failed()

    def _keep_later_if_it_failed(self) -> None:
        if self._standing.fault:
            self._errands.later(self.keep)

    def look_again_later(self) -> None:
        """What the file holds could not be taken up now."""
        self._errands.later(self._look_again)

    def adopt(self) -> None:
        """What the file holds is wanted, even if it was rolled back before."""
        self._keep(self._standing.adopt)

    def _conclude(self, pending: Pending, report: Report) -> None:
        if pending.number:
            self._history.conclude(pending.number, report.outcome, report.why, report.stage)

    def _write_down(self, work: Callable[[], None]) -> None:
        """In a thread, and in the order of the telling: an outcome comes after its entry, and the last one last."""
        self._to_write.append(work)
        if self._writing is None or self._writing.done():
            self._writing = self._errands.see_through(self._write_all_down())

    async def _write_all_down(self) -> None:
        while self._to_write:
            await asyncio.to_thread(self._to_write.popleft())

    # What is said of it

    def _report(self, name: str, effect: events.ReportChange) -> None:
        pending = self._pending[name]
        earlier = pending.last
        if earlier is not None and earlier.outcome == ROLLING_BACK:
            # Why it is rolled back was said when that began.
            why = "; ".join(filter(None, (earlier.why, effect.why)))
            effect = events.ReportChange(effect.outcome, earlier.stage, why)
        report = pending.last = Report(effect.outcome, effect.stage, self._redactor.text(effect.why))
        if not pending.submitted.done():
            # The lifecycle never had it.
            kind = WindowOpenError if report.stage == Stage.CONFIRM.value else UnavailableError
            pending.submitted.set_exception(pending.error or kind(report.why))
            pending.submitted.exception()  # whoever asked may have gone
        elif not pending.reported.done() and report.outcome != ROLLING_BACK:
            pending.reported.set_result(report)
        self._write_down(lambda: self._conclude(pending, report))
        if has_ended(self._dispatcher.machine(name)):
            pending.ended.set_result(report)
            self._dispatcher.remove(name)
            del self._pending[name]
            if pending.restored:
                # The file may have been edited beside it.
                self._errands.run(self._look_again())


def _event_of(decision: Decision, by: str, seconds: float) -> Event:
    if decision is Decision.CONFIRM:
        return events.ChangeConfirmed(by)
    return events.ChangeCancelled(by) if decision is Decision.CANCEL else events.ProbationExtended(seconds, by)


def _unfit_in(stage: Stage) -> Callable[[Any, str], Event]:
    return lambda effect, why: events.ChangeUnfit(effect.work, stage, why)


async def _nothing(*_: Any) -> None:
    """Before the parts are connected."""


def _became(entry: HistoryEntry, begun_with: Revision, stood: Record) -> tuple[str, str, str]:
    """The outcome, why and the stage of what a process left undecided that left `stood`: of the rest nobody will decide."""
    runs, aside = entry.revision == begun_with.id, stood.set_aside
    if entry.outcome == RESTART_PENDING and runs:
        return "applied", "", ""
    if entry.outcome == ROLLING_BACK and not runs:
        return "rolled_back", entry.why, entry.stage
    if entry.outcome == PROBATION and aside is not None and aside.revision == entry.revision:
        return "rolled_back", aside.why, aside.stage
    if entry.outcome == PROBATION and stood.last_good == entry.revision:
        return "committed", "", ""
    return "interrupted", "the gateway ended before it was decided", ""
