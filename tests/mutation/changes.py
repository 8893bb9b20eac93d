"""Mutants of what carries out changes: what is wanted, which promise is on disk before what, who is told, what is put back."""

from __future__ import annotations

from tests.mutation.swaps import Swap

CHANGES_PY, TRANSACTIONS_PY = "gateway/process/changes.py", "gateway/process/transactions.py"
WANTED_PY = "gateway/process/wanted.py"
FIRST_PY, STANDING_PY, LIMITS_PY = "gateway/process/first.py", "gateway/config/standing.py", "gateway/admin/limits.py"
ROWS = ("tests/gateway/process/test_rows.py",)
WRITES = ("tests/gateway/process/test_changes.py", "tests/gateway/process/test_changes_refused.py")
CONFIRM, ENDS, FENCES = (
    ("tests/gateway/process/test_confirm.py", "tests/gateway/process/test_confirm_crashes.py"),
    ("tests/gateway/process/test_change_ends.py",),
    ("tests/gateway/process/test_change_fences.py",),
)
PLANNED = ("tests/gateway/process/test_planned.py",)
FAULTS = ("tests/gateway/process/test_change_faults.py",)
STANDING, LIMITS = ("tests/gateway/config/test_standing.py",), ("tests/gateway/admin/test_limits.py",)
SWAP_PY, SWAPPED = "gateway/config/swap.py", ("tests/gateway/config/test_swap.py",)

CHANGES = (
    # Writing: what its writer saw, the history, the promise, the file, in this order
    Swap(
        "a stale base is written over", CHANGES_PY,
        "        if here is not None and write.base != here and not write.insists:", "        if False:", WRITES,
    ),
    Swap(
        "what was saved between reading and writing is written over", CHANGES_PY,
        "not file.write(self.path, pending.new, pending.old):", "not file.write(self.path, pending.new):", WRITES,
    ),
    Swap(
        "the file is not looked at in the last moment", SWAP_PY,
        "    if _read(target) != expected:", "    if False:", SWAPPED,
    ),
    Swap(
        "what was replaced is not looked at", SWAP_PY,
        "        if _read(fresh) == expected:", "        if True:", SWAPPED,
    ),
    Swap(
        "what somebody saves while a swap is taken back is lost", SWAP_PY,
        "        if fresh.stat().st_ino != ours:", "        if False:", SWAPPED,
    ),
    Swap(
        "a file that has come meanwhile is replaced", SWAP_PY,
        "_rename(fresh, target, NO_REPLACE)", "_rename(fresh, target, 0)", SWAPPED,
    ),
    Swap(
        "something is written while the gateway stops", CHANGES_PY,
        "            if is_ending(self._dispatcher.machine(LIFECYCLE)):", "            if False:", FENCES,
    ),
    Swap(
        "the file is written before the promise to roll it back", TRANSACTIONS_PY,
        "        if effect.confirm is not None:\n            self._standing.hold(",
        "        self._write_file(pending)\n        if effect.confirm is not None:\n            self._standing.hold(",
        CONFIRM,
    ),
    Swap(
        "the promise to roll back is not on the disk when the file is written", TRANSACTIONS_PY,
        "            self._standing.flush()\n        self._write_file(", "        self._write_file(", FENCES,
    ),
    Swap(
        "the file is written before the history has what it held", TRANSACTIONS_PY,
        "            self._enter(pending, pending.proposal.revision)\n        if effect", "            pass\n        if effect", FENCES,
    ),
    Swap(
        "what was rolled back is not wanted when a person writes it again", TRANSACTIONS_PY,
        "        self._standing.adopt()\n        self._flush()", "        self._flush()", FENCES,
    ),
    Swap(
        "that a person wants what was rolled back is not on the disk", TRANSACTIONS_PY,
        "        self._standing.adopt()\n        self._flush()", "        self._standing.adopt()", FENCES,
    ),
    Swap(
        "who waits for a revision that was never submitted keeps waiting for it", CHANGES_PY,
        "                    self._forget(pending)\n", "                    pass\n", FENCES,
    ),
    Swap(
        "the bytes to go back to are not kept where the file cannot be used", TRANSACTIONS_PY,
        "            self._history.keep(pending.base_raw)  # from here on it is named, if by nothing else than this\n", "", FENCES,
    ),
    Swap(
        "a rollback goes back to what was rolled back before", CHANGES_PY,
        "                wanted = self._standing.wanted(here)\n", "                wanted = here\n", FENCES,
    ),
    # Before anything is touched
    Swap(
        "the network is not asked about a new token", TRANSACTIONS_PY,
        "            await self._try_out(self._ledger.applied, pending.proposal)\n", "            pass\n", CONFIRM,
    ),
    Swap(
        "an edit is not in the history", TRANSACTIONS_PY,
        "        if not pending.writes:\n", "        if False:\n", FENCES,
    ),
    # What is wanted
    Swap(
        "what must be confirmed is not held against the file", STANDING_PY,
        "        if window is not None:\n            return window.revision\n", "", STANDING,
    ),
    Swap(
        "what was rolled back is wanted again", STANDING_PY,
        "        return aside.base if aside is not None and aside.revision == on_disk else on_disk",
        "        return on_disk", STANDING,
    ),
    Swap(
        "what was rolled back is set aside whatever the file holds", STANDING_PY,
        "if aside is not None and aside.revision == on_disk else", "if aside is not None else", STANDING,
    ),
    Swap(
        "a change that is confirmed is set aside by an older rollback", STANDING_PY,
        "None if aside is None or aside.revision == window.revision else aside)", "aside)", STANDING,
    ),
    Swap(
        "one change closes another one's window", STANDING_PY,
        "        if window is not None and window.revision == revision:", "        if window is not None:", STANDING,
    ),
    Swap(
        "a rollback leaves its window open", STANDING_PY,
        "        self.change(window=None, set_aside=SetAside(revision, base, why, stage))",
        "        self.change(set_aside=SetAside(revision, base, why, stage))", STANDING,
    ),
    Swap(
        "the bytes of what is put back are not kept", STANDING_PY,
        "for revision in (*named, aside.base if aside else None) if revision}", "for revision in named if revision}", STANDING,
    ),
    Swap(
        "the bytes of what a window goes back to are not kept", STANDING_PY,
        "((window.revision, window.base) if window else ())", "()", STANDING,
    ),
    Swap(
        "a record that was not written counts as written", STANDING_PY,
        "            try:\n                self._path.parent.mkdir(", "            self._written = record\n            try:\n"
        "                self._path.parent.mkdir(", STANDING,
    ),
    Swap(
        "what is held in the place of the file is news", CHANGES_PY,
        "        return not known and revision == self.on_disk", "        return not known", FENCES,
    ),
    Swap(
        "every look at the file is news", CHANGES_PY,
        "            if isinstance(event, ConfigRejected) or not self._is_news(event.revision):",
        "            if isinstance(event, ConfigRejected):", FENCES,
    ),
    Swap(
        "a person who asks for the file does not get it", CHANGES_PY,
        "            self.transactions.adopt()\n", "            pass\n", CONFIRM,
    ),
    Swap(
        "who asked for the file before it was rolled back gets it after that", CHANGES_PY,
        "        if origin is Origin.CALL:\n            self.transactions.adopt()\n        async with self._lock:\n",
        "        async with self._lock:\n            if origin is Origin.CALL:\n                self.transactions.adopt()\n", CONFIRM,
    ),
    Swap(
        "what was good once is fallen back to although it was rolled back since", FIRST_PY,
        "self._kept(known and self._standing.wanted(known))", "self._kept(known)", CONFIRM,
    ),
    Swap(
        "what was set aside long ago is set aside still", WANTED_PY,
        "            self._standing.forget(self._seen)\n", "            pass\n", FAULTS,
    ),
    Swap(
        "what was set aside before a boot is set aside still", CHANGES_PY,
        "            self._standing.forget(first.on_disk)\n", "            pass\n", FAULTS,
    ),
    Swap(
        "what was set aside is forgotten while the file holds it", STANDING_PY,
        "        if aside is not None and aside.revision != on_disk:", "        if aside is not None:", STANDING,
    ),
    Swap(
        "another revision that was set aside is forgotten by a window", STANDING_PY,
        "None if aside is None or aside.revision == window.revision else aside)", "None)", FAULTS,
    ),
    # Window, confirmation, rollback
    Swap(
        "what a person decided is not on the disk", TRANSACTIONS_PY,
        "        await asyncio.to_thread(self._standing.flush)\n", "", FENCES,
    ),
    Swap(
        "a deadline is told that is not on the disk", CHANGES_PY,
        "            await self.transactions.keep()\n", "            pass\n", CONFIRM,
    ),
    Swap(
        "what stands is never written down", TRANSACTIONS_PY,
        "        change(*arguments)\n        self.keep_soon()\n", "        change(*arguments)\n", FENCES,
    ),
    Swap(
        "a window that is closed holds on", TRANSACTIONS_PY,
        "        self._keep(self._standing.release, effect.revision)\n", "", CONFIRM,
    ),
    Swap(
        "an edit beside a window is lost", TRANSACTIONS_PY,
        "        self._keep(self._standing.release, effect.revision)\n        # The file may have been edited beside it.\n"
        "        self._errands.run(self._look_again())\n",
        "        self._keep(self._standing.release, effect.revision)\n", CONFIRM,
    ),
    Swap(
        "what is rolled back is not set aside", TRANSACTIONS_PY,
        "        self._keep(self._standing.put_aside, effect.revision, effect.base, last.why, last.stage)\n", "", CONFIRM,
    ),
    Swap(
        "the lifecycle is not told what is put back", TRANSACTIONS_PY,
        "        self._errands.run(self._restore(effect.base))\n", "", CONFIRM,
    ),
    Swap(
        "an edit that cannot be used keeps what is rolled back running", CHANGES_PY,
        "            if isinstance(event, ConfigRejected):\n                await self._restore_beside(base)\n",
        "            if isinstance(event, ConfigRejected):\n", CONFIRM,
    ),
    Swap(
        "an edit beside a rollback is proposed twice", CHANGES_PY,
        "            elif not self.transactions.follows(event.revision):\n", "            else:\n", ENDS,
    ),
    Swap(
        "an edit that cannot run keeps what is rolled back running", CHANGES_PY,
        "                    await self._restore_beside(base)\n", "", FENCES,
    ),
    Swap(
        "an edit that cannot run is a defect", CHANGES_PY,
        "            except GatewayError as error:\n                self._refuse_edit(event.revision, error, requester)\n",
        "            except UnavailableError as error:\n                self._refuse_edit(event.revision, error, requester)\n",
        CONFIRM,
    ),
    Swap(
        "what is put back is never known to be good", CHANGES_PY,
        '                await self._watch(self._ledger.proposal(base).revision, "rollback")\n', "", FENCES,
    ),
    Swap(
        "what is put back beside an edit is never known to be good", CHANGES_PY,
        '        await self._watch(revision, "rollback")\n', "", FENCES,
    ),
    Swap(
        "bytes that are not kept are a defect", WANTED_PY,
        "        except UnknownRevisionError as error:", "        except ZeroDivisionError as error:", ENDS,
    ),
    Swap(
        "why it was rolled back is forgotten", TRANSACTIONS_PY,
        '            why = "; ".join(filter(None, (earlier.why, effect.why)))\n', "            why = effect.why\n", ENDS,
    ),
    # Accounts
    Swap(
        "an account that fails in the probation is not noticed", TRANSACTIONS_PY,
        '                self._dispatcher.post(name, events.AccountLost(entry.machine, entry.why), f"step:{entry.seq}")\n',
        "                pass\n", CONFIRM,
    ),
    Swap(
        "an account that did not run before ends a change", TRANSACTIONS_PY,
        "            if is_watched(machine) and entry.machine in self._pending[name].ran:",
        "            if is_watched(machine):", FENCES,
    ),
    Swap(
        "an account that fails when the probation begins is not noticed", TRANSACTIONS_PY,
        "            self._dispatcher.post(name, events.AccountLost(lost, why), name)\n", "            pass\n", ENDS,
    ),
    Swap(
        "an account that does not come back is not noticed", TRANSACTIONS_PY,
        "        return machine is not None and machine.has_failed", "        return False", CONFIRM,
    ),
    Swap(
        "an account that did not run before counts as lost", TRANSACTIONS_PY,
        "for name in self._ledger.applied.accounts() if self._runs(name))", "for name in self._ledger.applied.accounts())", FENCES,
    ),
    Swap(
        "what does not run well is called good", TRANSACTIONS_PY,
        "serves and all(map(self._runs, enabled))", "serves", CONFIRM,
    ),
    Swap(
        "what runs in a gateway that restarts is called good", TRANSACTIONS_PY,
        "serves and all(map(self._runs, enabled))", "all(map(self._runs, enabled))", FENCES,
    ),
    Swap(
        "an account that is not to run keeps a config from being good", TRANSACTIONS_PY,
        "self._ledger.applied.accounts().items() if account.enabled]", "self._ledger.applied.accounts().items()]", FENCES,
    ),
    # Newer ones, restarts, ends
    Swap(
        "a newer change does not end an older one", TRANSACTIONS_PY,
        "        pending.submitted.set_result(None)\n        self.supersede(effect.revision, name)\n",
        "        pending.submitted.set_result(None)\n", ROWS,
    ),
    Swap(
        "what a restart has read does not end what ran before", TRANSACTIONS_PY,
        "        self.supersede(revision, pending.name)\n", "", FENCES,
    ),
    Swap(
        "the last good config comes back, and what ran before is watched on", CHANGES_PY,
        "            self.transactions.supersede(revision.id, road)\n", "            pass\n", ENDS,
    ),
    Swap(
        "what an earlier process left undecided stays so", TRANSACTIONS_PY,
        "                if entry.outcome in UNDECIDED and entry.number != resumed:\n", "                if False:\n", FENCES,
    ),
    Swap(
        "what was on trial when the process was killed stays so", TRANSACTIONS_PY,
        'UNDECIDED = frozenset({"pending", RESTART_PENDING, PROBATION, ROLLING_BACK})',
        'UNDECIDED = frozenset({"pending", RESTART_PENDING, ROLLING_BACK})', CONFIRM,
    ),
    Swap(
        "what was put aside is forgotten before it is said what became of it", TRANSACTIONS_PY,
        "    if entry.outcome == PROBATION and aside is not None and aside.revision == entry.revision:\n",
        "    if False:\n", CONFIRM,
    ),
    Swap(
        "what was confirmed counts as undecided after a crash", TRANSACTIONS_PY,
        "    if entry.outcome == PROBATION and stood.last_good == entry.revision:\n", "    if False:\n", CONFIRM,
    ),
    Swap(
        "a plan that was not seen is carried out", "gateway/process/consent.py",
        "        if write.plan != current:", "        if False:", PLANNED,
    ),
    Swap(
        "most of a file is dropped unseen", "gateway/process/consent.py",
        "after < before / 2 and", "False and", PLANNED,
    ),
    Swap(
        "what a restart has read is not followed", CHANGES_PY,
        '        await self._follow(now, "restart")\n', "", FENCES,
    ),
    Swap(
        "nobody is told that a restart has brought it", CHANGES_PY,
        '        self.transactions.settle(Settled(now.id, "applied", "", {}))\n', "", CONFIRM,
    ),
    Swap(
        "what is newer is ended by what a restart or a review has read", CHANGES_PY,
        "        if not self.transactions.awaits_newer():\n            await", "        if True:\n            await", FENCES,
    ),
    Swap(
        "a reload that the end of the gateway breaks off counts as rolled back", TRANSACTIONS_PY,
        "            settlement = Settlement.ENDS\n", "            pass\n", FENCES,
    ),
    Swap(
        "that the lifecycle refuses it is not told", TRANSACTIONS_PY,
        '            self._say(name, revision, Settlement.ENDS, "refused", result.why)\n', "            pass\n", FENCES,
    ),
    # Boot
    Swap(
        "what was never written is waited for", FIRST_PY,
        "            if window.revision != on_disk:", "            if False:", CONFIRM,
    ),
    Swap(
        "a time that is over goes on", FIRST_PY, "        if left > 0:", "        if True:", CONFIRM,
    ),
    Swap(
        "what nobody has confirmed runs at boot", FIRST_PY,
        '        self._standing.put_aside(window.revision, window.base, "it was not confirmed in time", Stage.CONFIRM.value)\n',
        "", CONFIRM,
    ),
    Swap(
        "what cannot be had is rolled back to", FIRST_PY,
        "            overdue = seconds_left = None\n", "", ENDS,
    ),
    Swap(
        "what cannot be had holds the place of the file", FIRST_PY,
        "            self._standing.change(window=None, set_aside=None)\n", "", ENDS,
    ),
    Swap(
        "a file that cannot be used is the end, whatever ran well before", FIRST_PY,
        "            if last_good is None:\n", "            if True:\n", CONFIRM,
    ),
    Swap(
        "a deadline begins anew with each boot", TRANSACTIONS_PY,
        "        if pending.until is not None:\n", "        if False:\n", CONFIRM,
    ),
    Swap(
        "a clock that was set back gives more time", FIRST_PY, "        if left > window.seconds:", "        if False:", FAULTS,
    ),
    Swap(
        "what ran before is not what a boot falls back to", FIRST_PY,
        "self._kept(overdue.base) if overdue is not None else None", "None", FAULTS,
    ),
    Swap(
        "an edit that was not applied is not tried again", CHANGES_PY,
        "            self.transactions.look_again_later()\n", "            pass\n", ENDS,
    ),
    Swap(
        "what could not be made lasting is not tried again", TRANSACTIONS_PY,
        "            self._errands.later(self.keep)\n", "            pass\n", FAULTS,
    ),
    Swap(
        "who ran before a boot is forgotten", CHANGES_PY,
        "number=window.number, ran=window.accounts)", "number=window.number)", FENCES,
    ),
    # How often
    Swap(
        "a client writes as often as it likes", LIMITS_PY, "        if len(writes) >= limit:", "        if False:", LIMITS,
    ),
    Swap(
        "what wrote nothing counts as a write", LIMITS_PY,
        "                writes.remove(now)\n", "                pass\n", LIMITS,
    ),
)  # fmt: skip
