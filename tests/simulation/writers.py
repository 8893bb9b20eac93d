"""Those who write the config, by call, by hand and from another gateway; and those who decide about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gateway.config.edit import Edit, merge_patch, replacement
from gateway.config.file import revision_of
from gateway.errors import (
    ConfigError,
    ConfigWriteError,
    NoWindowError,
    StaleHashError,
    UnavailableError,
    UnknownRevisionError,
    WindowOpenError,
)
from gateway.process.changes import Write
from gateway.process.pending import Decision
from tests.simulation.disk import ANY

if TYPE_CHECKING:
    from collections import Counter

    from tests.simulation.clock import Time
    from tests.simulation.disk import Disk
    from tests.simulation.process import Process
    from tests.simulation.referee import Referee
    from tests.simulation.schedule import Schedule
    from tests.simulation.witness import Witness

RECEIPTS = ("noop", "applied", "restart_pending", "rolled_back")
REFUSALS = (StaleHashError, ConfigError, ConfigWriteError, UnavailableError, WindowOpenError)
ANOTHER_TRY = 0.05
"""Seconds after which another gateway tries again to take the lock."""


class Writers:
    """The part of a play that writes. What a schedule says is done by the method of its name."""

    schedule: Schedule
    time: Time
    disk: Disk
    referee: Referee
    witness: Witness
    counts: Counter[str]
    process: Process | None
    calm_since: float | None
    _call: Callable[[Any, str], None]

    @property
    def alive(self) -> Process:
        assert self.process is not None
        return self.process

    def do_write(self, text: str, delay: float | None) -> None:
        self._call(self._write(text, self.disk.hash, delay), "write")

    def do_trial(self, text: str, delay: float | None, confirm: float) -> None:
        self._call(self._write(text, self.disk.hash, delay, confirm), "trial")

    def do_stale_write(self, text: str, base: str | None) -> None:
        base = revision_of(self.schedule.first.encode()) if base == "first" else base
        self._call(self._write(text, base, None), "stale write")

    def do_patch(self, patch: dict[str, Any]) -> None:
        self._call(self._change(merge_patch(patch), None, self.disk.hash), "patch")

    def do_rollback(self, text: str, confirm: float | None) -> None:
        self._call(self._roll_back(text.encode(), confirm), "rollback")

    async def _roll_back(self, raw: bytes, confirm: float | None) -> None:
        """As the call of that name does it."""
        try:
            kept = self.alive.app._history.raw(revision_of(raw))
        except UnknownRevisionError:
            self.counts["rollback: not kept"] += 1
            return
        self.referee.expect(kept == raw, "the history is true", "what it has kept is something else")
        await self._change(lambda _: kept, raw, ANY, confirm=confirm)

    def _write(self, text: str, base: str | None, delay: float | None, confirm: float | None = None) -> Any:
        return self._change(replacement(text), text.encode(), base, delay, confirm)

    async def _change(
        self, edit: Edit, raw: bytes | None, base: Any, delay: float | None = None, confirm: float | None = None
    ) -> None:
        process, insists = self.alive, base is ANY
        call = self.witness.called(process, raw, confirm)
        write = Write(
            edit, None if insists else base, "client", call.note, delay=delay, confirm=confirm, insists=insists
        )
        self.disk.bases.append(base)
        try:
            receipt = await process.app._changes.write(write)
        except REFUSALS as error:
            self.counts[f"write: {type(error).__name__}"] += 1
            self.witness.refused(call, error)
        else:
            self.counts[f"write: {receipt['outcome']}"] += 1
            allowed = RECEIPTS if confirm is None else (*RECEIPTS, "probation")
            self.referee.expect(receipt["outcome"] in allowed, "one outcome a request", str(receipt))
            self.witness.answered(call, receipt)
        finally:
            if self.process is process:
                self.disk.bases.remove(base)

    def do_decide(self, decision: str, seconds: float, back: int) -> None:
        trials = self.witness.trials[::-1]
        if len(trials) > back:
            self._call(self._decide(trials[back].revision, Decision(decision), seconds), "decide")

    async def _decide(self, revision: str, decision: Decision, seconds: float) -> None:
        trial = self.witness.decides(revision, seconds)
        confirm_by = None
        try:
            told = await self.alive.app._changes.decide(revision, decision, "client", seconds)
            outcome, confirm_by = told["outcome"], told["confirm_by"]
        except (NoWindowError, ConfigWriteError) as error:
            outcome = type(error).__name__
        self.counts[f"{decision.value}: {outcome}"] += 1
        self.witness.decided(trial, decision.value, outcome, seconds, confirm_by)

    # Others

    def do_save_in(self, text: str, n: int) -> None:
        """An editor saves in the middle of the product's next writing, at its n-th step."""
        self.disk.save_in, self.disk.to_save = n, text

    def do_edit_back(self, text: str) -> None:
        """Somebody saves what was wished for earlier."""
        self.disk.save(text)
        self.disk.tell(0.0, moved=True)

    def do_rival(self, text: str, holds: float) -> None:
        """Another gateway writes the same file: it reads, has its own reasons to take its time, and writes, all under the lock."""
        if self.calm_since is not None:
            return
        if self.disk.rival is not None or not self.disk.take():
            self.time.after(ANOTHER_TRY, lambda: self.do_rival(text, holds))
            return
        self.counts["writes of another gateway"] += 1
        self.time.after(holds, lambda: self._rival_writes(text))

    def _rival_writes(self, text: str) -> None:
        if self.disk.rival is not None:
            self.disk.save(text)
            self.disk.let_go()
            self.disk.tell(0.0, moved=True)
