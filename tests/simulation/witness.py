"""The witness of every change: who wanted what, what was answered, what the file held, and what ran when.

It knows what was done, the answers that were given, and what is on the disk; never why the gateway did what it did.
From that alone it says what may run, and what must.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gateway.config.file import revision_of
from tests.simulation.trial import Call, Trial

if TYPE_CHECKING:
    from tests.simulation.play import Play
    from tests.simulation.process import Process

GRACE = 1.0
"""Seconds after a deadline at which it is looked for the first time whether it was kept."""
LAZY = 15
"""Seconds in which a gateway with nothing else to do may leave undone what it owes."""
AT_ONCE = 0.5
"""Seconds around an instant in which two things may be seen in either order."""
LONGER = 2.0
SHORTLY = 5.0
"""Seconds within which a file may be changed and changed back without anybody having seen it."""


class Witness:
    """Of one schedule, over all its processes."""

    def __init__(self, play: Play) -> None:
        self._play = play
        self._expect = play.referee.expect
        self.texts: dict[str, bytes] = {}
        self.calls: list[Call] = []
        self.trials: list[Trial] = []
        self.away: dict[str, Trial] = {}
        """What was rolled back, and nobody has asked for since."""
        self.asked: dict[str, tuple[float, Process | None]] = {}
        """When somebody asked for a revision that had been rolled back, and which process was there to hear it."""
        self.ever_ran: set[str] = set()
        self.runs = ""
        self._process: Process | None = None
        self._usable: dict[str, bool] = {}
        self._last_usable = ""
        self._changed_at = -SHORTLY
        self._before: bytes | None = None
        """What the file held before it was changed last."""

    # What is done

    def called(self, process: Process, raw: bytes | None, confirm: float | None) -> Call:
        call = Call(process, f"call {len(self.calls) + 1}", raw, confirm, self._now, self._healthy(process))
        self.calls.append(call)
        if raw is not None:
            self._ask_for(self._know(raw))
        return call

    def _healthy(self, process: Process) -> frozenset[str]:
        return frozenset(name for name, machine in process.channels().items() if machine.state.value == "running")

    def placed(self, raw: bytes) -> None:
        """The gateway has put this into the file's place."""
        revision = self._know(raw)
        waiting = (
            call for call in self.calls if call.process is self._play.process and not (call.answer or call.wrote)
        )
        callers = [call for call in waiting if call.raw in (raw, None)]
        self._expect(bool(callers), "the file is written for a call alone", f"nobody who waits wants {revision[:8]}")
        # Those who want the same come one after the other, in the order of their calls.
        call = next((call for call in callers if call.raw == raw), callers[0] if len(callers) == 1 else None)
        if call is not None:
            call.wrote = True
            call.healthy &= self._healthy(call.process)
            if call.confirm is not None:
                self._begin_trial(call, revision)

    def edited(self, raw: bytes | None) -> None:
        """Somebody else has changed the file. Who saves what it holds already asks for nothing."""
        if raw is None or raw == self._before:
            return
        revision = self._know(raw)
        self._ask_for(revision)
        shortly = self._now - self._changed_at < SHORTLY or self._play.disk.is_slow
        self._changed_at = self._now
        if revision == self._last_usable or shortly:
            # Between the two it could not be used, or hardly be seen: whether the same is meant again nobody can say.
            self.asked[revision] = self._now, None

    def restarts_dropped(self, kept: str | None) -> None:
        """No restart is asked for any more: what waited for one will not run. What was kept meanwhile is looked at now."""
        for trial in self.trials:
            if trial.is_open and trial.began is None and trial.revision != kept:
                self._end(trial)

    def wanted(self) -> None:
        """Somebody has sent SIGHUP: what the file holds is wanted."""
        if (raw := self._play.disk.raw()) is not None:
            self._ask_for(revision_of(raw))

    def _ask_for(self, revision: str) -> None:
        self.away.pop(revision, None)
        self.asked[revision] = self._now, self._play.process

    def _know(self, raw: bytes) -> str:
        revision = revision_of(raw)
        self.texts[revision] = raw
        return revision

    def before_placing(self) -> None:
        """The file is about to be changed: what it holds now may be what is put back."""
        raw = self._before = self._play.disk.raw()
        if raw is not None and self.is_usable(revision := self._know(raw)):
            self._last_usable = revision

    def _begin_trial(self, call: Call, revision: str) -> None:
        bases = {self.runs, self._last_usable}
        for older in self.trials:
            # What one on trial was to be put back to is what a second one may be put back to.
            if older.revision in bases and not older.confirmed:
                bases |= older.bases
                due = older.deadline is not None and older.deadline < self._now - AT_ONCE and not older.deciding
                if older.revision in self.away or (due and older.is_open):
                    bases -= {older.revision} - older.bases
        trial = Trial(
            call,
            revision,
            call.confirm or 0.0,
            frozenset(bases - {""}),
            self._play.disk.version,
            self._play.time.wall_jump,
        )
        trial.granted.append(trial.seconds)
        trial.good = self.standing().get("last_good") == revision
        for earlier in self.trials:
            if earlier.revision == revision and earlier.is_open:
                self._end(earlier)
        self.asked.pop(revision, None)
        self.away.pop(revision, None)
        self.trials.append(trial)
        self._play.counts["trials"] += 1
        if self.runs == revision:
            self._runs(trial)

    # What is answered

    def refused(self, call: Call, error: Exception) -> None:
        call.answer = type(error).__name__
        if str(error).startswith("written"):
            if call.confirm is not None and self.of(call) is None and (raw := self._play.disk.raw()) is not None:
                # The file held it already; it is on trial from the next boot on.
                self.before_placing()
                self._begin_trial(call, revision_of(raw))
            return
        self._expect(not call.wrote, "what is refused changes nothing", f"it was written, and its caller told {error}")
        if call.answer == "WindowOpenError":
            maybe = any(
                trial.is_open or trial.adopted or trial.deciding or self._ended_lately(trial) for trial in self.trials
            )
            others = any(other.confirm is not None and not other.answer for other in self.calls)
            self._expect(maybe or others, "a refusal is true", "no change waits to be confirmed")
        elif call.answer != "UnavailableError":
            self._hold_one_trial(call, f"refused: {error}")

    def _ended_lately(self, trial: Trial) -> bool:
        return trial.ended is not None and self._now - trial.ended < 10 * LONGER

    def answered(self, call: Call, receipt: dict[str, Any]) -> None:
        call.answer = outcome = receipt["outcome"]
        revision = receipt["revision"]
        if call.raw is not None:
            self._expect(revision == revision_of(call.raw), "an answer is true", f"it names {revision[:8]}")
        self._hold_one_trial(call, "taken")
        if call.confirm is None:
            self._ask_for(revision)
            for older in self.trials:
                # It was taken: so no change was on trial any more.
                older.adopted |= older.is_open and older.revision == revision
            return
        trial = self.of(call)
        if trial is None:
            # The file held it already.
            self.before_placing()
            self._begin_trial(call, revision)
            trial = self.trials[-1]
        if outcome == "rolled_back":
            self._end(trial)
        elif outcome == "probation":
            if trial.began is None:
                trial.began = self._now
            if receipt["confirm_by"] is not None:  # or it is over already
                self._told_deadline(trial, receipt["confirm_by"], trial.began)

    def of(self, call: Call) -> Trial | None:
        return next((trial for trial in self.trials if trial.call is call), None)

    def _hold_one_trial(self, call: Call, told: str) -> None:
        """Beside a change that waits for its confirmation no other is taken, whatever is wrong with it."""
        for trial in self.trials:
            if trial.call is call or not trial.is_open or trial.began is None or trial.deadline is None:
                continue
            doubtful = trial.deciding or trial.excuses or trial.cancelled or call.process is not trial.call.process
            beside = call.at > trial.began + AT_ONCE and self._now < trial.deadline and self.runs == trial.revision
            self._expect(
                not beside or bool(doubtful),
                "one change is on trial",
                f"beside {trial.revision[:8]} another was {told}",
            )

    def decides(self, revision: str, seconds: float) -> Trial | None:
        """Somebody confirms, extends or cancels; the trial that is meant."""
        trial = next((trial for trial in reversed(self.trials) if trial.revision == revision), None)
        if trial is not None:
            trial.deciding += 1
            trial.asked_for.append(seconds)
            trial.asked_at, trial.asked_wall = self._now, self._play.time.wall_jump
        return trial

    def decided(self, trial: Trial | None, decision: str, outcome: str, seconds: float, confirm_by: int | None) -> None:
        """`outcome` is the answer's, or the error's name."""
        if trial is None:
            self._expect(
                outcome.endswith("Error"), "an answer is true", f"{decision} of nothing was answered {outcome}"
            )
            return
        trial.deciding -= 1
        if outcome.endswith("Error"):
            if outcome == "ConfigWriteError":
                trial.deciding += 1  # it counts now, and may not after a crash
            return
        if decision == "confirm":
            self._expect(outcome == "committed", "an answer is true", f"a confirmation was answered {outcome}")
            # It may have been replaced by an edit when it was confirmed, and that been told later.
            self._expect(
                trial.ended is None or trial.ended >= trial.asked_at,
                "what nobody confirms is rolled back",
                f"{trial.revision[:8]} was confirmed after its end",
            )
            trial.confirmed = True
            self.away.pop(trial.revision, None)
        elif decision == "cancel":
            trial.cancelled = True
            if outcome == "rolled_back":
                self._end(trial)
        elif outcome == "probation":
            trial.seconds = seconds
            trial.granted.append(seconds)
            trial.wall = trial.asked_wall
            if confirm_by is None:  # it is over already
                trial.earliest = trial.deadline = trial.asked_at + seconds
            else:
                self._told_deadline(trial, confirm_by, trial.asked_at)
        else:
            trial.excuses.add("it was over when it was extended")

    def _told_deadline(self, trial: Trial, confirm_by: int, since: float) -> None:
        """By the wall clock, at some moment from `since` on."""
        if trial.wall != self._play.time.wall_jump:
            # By one that was set since: its time began at some moment between the two.
            trial.earliest, trial.deadline = since + min(trial.granted), self._now + trial.seconds
            return
        deadline = self._play.time.at_wall(confirm_by)
        # It is told of the newest decision, which need not be its own.
        most = max(trial.granted + trial.asked_for)
        self._expect(
            deadline <= self._now + most + 0.001, "an answer is true", f"it has {deadline - self._now} s of {most}"
        )
        trial.earliest = trial.deadline = deadline

    # What runs

    def look(self, process: Process) -> None:
        """After each decision: what runs now, and how the accounts are."""
        runs = process.app._ledger.applied_id
        if process is not self._process:
            self._boots(process, runs)
        elif runs != self.runs:
            self._moves(runs)
        for trial in self.trials:
            if trial.is_open and trial.deadline is None and runs == trial.revision:
                self._runs(trial)
            if trial.is_open and runs == trial.revision:
                self._watch_accounts(process, trial)

    def _boots(self, process: Process, runs: str) -> None:
        self._process = process
        raw = self._play.disk.raw()
        here = None if raw is None else self._know(raw)
        promise = self.standing().get("window")
        for trial in self.trials:
            unsure = trial.deciding or not trial.cancelled
            if trial.ended is not None and unsure and promise is not None and promise["revision"] == trial.revision:
                # That it was over was not on the disk yet. What is left of its time it may have, and by a clock that was set
                # all of it; but nobody was told that it is over.
                trial.ended, trial.deadline = None, max(self._now, trial.deadline or 0.0)
                trial.excuses.add("a crash")
                self.away.pop(trial.revision, None)
            if trial.is_open:
                self._boot_of(trial, runs, here, promise)
        self._moves(runs)
        self._judge_boot(runs, here)

    def _boot_of(self, trial: Trial, runs: str, here: str | None, promise: dict[str, Any] | None) -> None:
        """What a boot may make of a change that nobody had confirmed."""
        if promise is None or promise["revision"] != trial.revision:
            if trial.revision not in (here, runs):
                trial.adopted = True  # the file was edited before it had begun to run: it is on trial no more
            return
        if trial.wall != self._play.time.wall_jump:
            trial.excuses.add("the wall clock was set")
            if trial.deadline is not None:
                trial.deadline = max(trial.deadline, self._now + trial.seconds)
            trial.wall = self._play.time.wall_jump
        elif promise.get("until") is None and trial.deadline is not None:
            # It was not on the disk yet that it runs: it has all its time again.
            trial.deadline = max(trial.deadline, self._now + trial.seconds)
        if here != trial.revision and promise.get("until") is None:
            trial.adopted = True  # the file was edited before it had begun to run: it is on trial no more

    def _judge_boot(self, runs: str, here: str | None) -> None:
        """With an unusable file it is something good that runs; with none it must not have come so far."""
        if here is not None and self.is_usable(here):
            return
        standing = self.standing()
        assert self._play.process is not None, "it boots"
        carried = self._play.process.app._options.image.carried
        kept = {standing.get("last_good"), *(carried.revisions if carried is not None else ())}
        kept |= {
            (standing.get(name) or {}).get(key) for name in ("window", "set_aside") for key in ("revision", "base")
        }
        self._expect(
            runs in kept, "a boot falls back to what was good", f"{runs[:8]} runs, and nothing says it is good"
        )
        self._play.counts["boots with the last good config"] += 1

    def _moves(self, runs: str) -> None:
        """Another revision runs from now on."""
        before, self.runs = self.runs, runs
        self.ever_ran.add(runs)
        gone = self.away.get(runs)
        self._expect(
            gone is None or runs in gone.bases or self._process_is_astray(),
            "what was rolled back stays away",
            f"{runs[:8]} was rolled back, nobody asked for it again, and it runs",
        )
        asked_at, _ = self.asked.get(runs, (-1.0, None))
        for trial in self.trials:
            if trial.revision == before != runs:
                self._ends_running(trial)
            elif trial.revision == runs and trial.deadline is not None and asked_at > trial.deadline:
                trial.adopted = True

    def _ends_running(self, trial: Trial) -> None:
        if trial.confirmed:
            untouched = self._play.disk.version == trial.version and self._play.disk.hash == trial.revision
            self._expect(
                not untouched or self._process_is_astray(),
                "what was confirmed stays",
                f"{trial.revision[:8]} was confirmed, is in the file, and does not run any more",
            )
            return
        if not trial.is_open or self._process_is_astray():
            return  # or it broke off, and may come with the restart that stands by
        early = trial.earliest is not None and self._now < trial.earliest - AT_ONCE
        excused = trial.excuses or trial.deciding or trial.cancelled
        self._expect(
            not early or bool(excused),
            "a change on trial has its time",
            f"{trial.revision[:8]} ended {(trial.earliest or 0) - self._now:.1f} s before its time",
        )
        self._end(trial)

    def _process_is_astray(self) -> bool:
        return self._process is not None and self._process.monitor.astray

    def _end(self, trial: Trial) -> None:
        if trial.ended is not None:
            return
        trial.ended = self._now
        asked_at, _ = self.asked.get(trial.revision, (-1.0, None))
        if asked_at < self._now - AT_ONCE and trial.revision not in trial.bases and not trial.deciding:
            self.away[trial.revision] = trial
            self.asked.pop(trial.revision, None)

    def _runs(self, trial: Trial) -> None:
        """It runs: from when the lifecycle has nothing more to do about that its time begins."""
        if trial.began is None:
            trial.began, trial.earliest = self._now, self._now + trial.seconds
        process = self._process
        if process is None or process.lifecycle.state.value in ("starting", "hot_reloading", "restarting"):
            return
        trial.deadline = self._now + trial.seconds
        self._look_at(trial.deadline + GRACE, lambda: self._hold_deadline(trial))

    def _look_at(self, at: float, look: Callable[[], None]) -> None:
        self._play.time.after(at - self._now, look)

    def _is_idle(self) -> bool:
        """There is a gateway that has nothing in its way."""
        process = self._play.process
        if process is None or not process.built or self._play.frozen or process is not self._process:
            return False
        free = process.lifecycle.state.value == "running" and not process.monitor.dropped
        return free and not self._play.disk.is_slow

    def _hold_deadline(self, trial: Trial) -> None:
        """Look every second until it is over, and count those in which a gateway with nothing else to do lets it run on."""
        if not trial.is_open or self._play.over or trial.deadline is None or trial.revision in trial.bases:
            return
        if self._now < trial.deadline + GRACE:
            self._look_at(trial.deadline + GRACE, lambda: self._hold_deadline(trial))
            return
        asked_at, _ = self.asked.get(trial.revision, (-1.0, None))
        if asked_at > trial.deadline:
            trial.adopted = True
            return
        if self.runs == trial.revision and self._is_idle() and not trial.deciding:
            trial.lazy += 1
            if trial.lazy > LAZY:
                over = self._now - trial.deadline
                self._expect(
                    False,
                    "what nobody confirms is rolled back",
                    f"{trial.revision[:8]} runs {over:.0f} s after its time",
                )
                trial.ended = self._now
                return
        self._look_at(self._now + 1.0, lambda: self._hold_deadline(trial))

    # Accounts

    def _watch_accounts(self, process: Process, trial: Trial) -> None:
        failed = {name for name, machine in process.channels().items() if machine.has_failed}
        if not failed:
            return
        trial.excuses.add("an account has failed")
        trial.failed_at = self._now if trial.failed_at is None else trial.failed_at
        if failed & trial.call.healthy and not trial.negligent:
            trial.negligent = 1
            self._look_at(self._now + 1.0, lambda: self._hold_accounts(trial))

    def _hold_accounts(self, trial: Trial) -> None:
        """An account that ran before, and has failed, ends it."""
        if not trial.is_open or self.runs != trial.revision or self._play.over or trial.revision in trial.bases:
            return
        asked_at, _ = self.asked.get(trial.revision, (-1.0, None))
        if trial.failed_at is not None and asked_at > trial.failed_at:
            trial.adopted = True
            return
        process = self._play.process
        if self._is_idle() and process is not None and trial.began is not None and not trial.deciding:
            enabled = process.app._ledger.applied.accounts()
            lost = [
                name
                for name, machine in process.channels().items()
                if machine.has_failed and name in trial.call.healthy and name in enabled and enabled[name].enabled
            ]
            if not lost:
                trial.negligent = 0
                return
            trial.negligent += 1
            if trial.negligent > LAZY:
                self._expect(
                    False, "a lost account ends a trial", f"{lost} failed under {trial.revision[:8]}, which runs on"
                )
                return
        self._look_at(self._now + 1.0, lambda: self._hold_accounts(trial))

    # In the end

    def is_usable(self, revision: str) -> bool:
        known = self._usable.get(revision)
        if known is None:
            known = self._usable[revision] = self._play.judge.is_usable(self.texts[revision])
        return known

    def must(self, here: str) -> frozenset[str] | None:
        """What must run while the file holds this: one of these. None where nobody can say."""
        trial = next((trial for trial in reversed(self.trials) if trial.revision == here), None)
        if trial is None and any(
            call.confirm and call.raw == self.texts[here] and not call.answer for call in self.calls
        ):
            return None  # promised by a call that a crash cut off, and put there by somebody else
        if trial is None or trial.confirmed:
            return frozenset({here})
        if here in self.away:
            return trial.bases
        asked_at, heard = self.asked.get(here, (-1.0, None))
        heard_it = heard is not None and heard is self._play.process
        if trial.ended is not None and heard_it and asked_at > trial.ended + LONGER:
            return frozenset({here})
        return None if trial.deciding or asked_at >= 0 or trial.ended is None else trial.bases | {here}

    def standing(self) -> dict[str, Any]:
        """What the gateway has promised itself on the disk."""
        try:
            found: dict[str, Any] = json.loads((self._play.disk.state_dir / "standing.json").read_bytes())
        except FileNotFoundError:
            return {}
        return found

    @property
    def _now(self) -> float:
        return self._play.time.now
