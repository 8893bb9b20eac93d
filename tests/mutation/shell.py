"""Mutants of the code around the tables: fences on generations, the order of record and effect, one writer, one inbox.

Each is a piece of a file and what stands in its place. The tests that are named with it must find it.
"""

from __future__ import annotations

from tests.mutation.changes import CHANGES
from tests.mutation.leases import LEASES
from tests.mutation.messages import MESSAGES
from tests.mutation.restarts import RESTARTS
from tests.mutation.sessions import SESSIONS
from tests.mutation.swaps import Swap
from tests.mutation.webhooks import WEBHOOKS

DISPATCHER, RUNNER, RECEIVERS = (
    "tests/gateway/test_dispatcher.py",
    "tests/gateway/test_runner.py",
    "tests/gateway/channels",
)
PROCESS, CONFIG, TABLES = "tests/gateway/process", "tests/gateway/config", "tests/statemachine/test_machine.py"


SWAPS = (
    # The way of an event: recorded, answered, then set going; one inbox that nothing ends
    Swap(
        "effects are set going before the step is recorded", "gateway/dispatcher.py",
        "        entry = self.journal.record(result, posted.cause, before)\n",
        "        if isinstance(result, Step):\n"
        "            self._perform(posted.machine, result.effects, 'step:0')\n"
        "        entry = self.journal.record(result, posted.cause, before)\n",
        (DISPATCHER,),
    ),
    Swap(
        "a submitter that was cancelled ends the dispatcher", "gateway/dispatcher.py",
        "        if posted.answer is not None and not posted.answer.done():\n", "        if posted.answer is not None:\n",
        (DISPATCHER,),
    ),
    Swap(
        "a defect in a table ends the dispatcher", "gateway/dispatcher.py",
        "        except BrokenActionError:", "        except ZeroDivisionError:", (DISPATCHER,),
    ),
    Swap(
        "nobody who waits for a state is told of it", "gateway/dispatcher.py",
        "            self._tell_waiters(posted.machine)\n", "            pass\n", (DISPATCHER,),
    ),
    Swap(
        "a machine keeps what it knew", "statemachine/_machine.py",
        "        self.state, self.data = cursor.state, draft.data\n", "        self.state = cursor.state\n", (TABLES,),
    ),
    Swap(
        "another machine's event of the same name is taken", "statemachine/_machine.py",
        "        if type(event) not in self._alphabet:", "        if event.trigger not in {e.trigger for e in self._alphabet}:", (TABLES,),
    ),
    # Every effect has one completion, every machine one timer
    Swap(
        "a timer that is armed anew leaves the old one", "gateway/runner.py",
        "        self._disarm(machine)\n        now =", "        now =", (RUNNER,),
    ),
    Swap(
        "work that was cancelled has no completion", "gateway/runner.py",
        "            completion = worker.failed", "            if done.cancelled():\n                return\n            completion = worker.failed",
        (RUNNER,),
    ),
    Swap(
        "work that fails has no completion", "gateway/runner.py",
        '            return worker.failed(effect, f"{type(error).__name__}: {error}")', "            raise", (RUNNER,),
    ),
    Swap(
        "an early timer is not held back by what the network asked for", "gateway/runner.py",
        "max(wait, effect.at_least, 0.0)", "max(wait, 0.0)", (RUNNER,),
    ),
    # The owner of receivers: fences on generations
    Swap(
        "a second receiver of an account is opened", "gateway/channels/receivers.py",
        "        if name in self._live:\n            raise", "        if False:\n            raise", (RECEIVERS,),
    ),
    Swap(
        "a receiver that was told to end before it began begins", "gateway/channels/receivers.py",
        "        if self._was_told_to_end(name, effect.generation):\n            return", "        if False:\n            return", (RECEIVERS,),
    ),
    Swap(
        "what an older generation is told ends the present one", "gateway/channels/receivers.py",
        "        if live is None or live.generation != effect.generation:", "        if live is None:", (RECEIVERS,),
    ),
    Swap(
        "the present generation is cut off in place of an older one", "gateway/channels/receivers.py",
        "        if live is not None and live.generation == effect.generation:", "        if live is not None:", (RECEIVERS,),
    ),
    Swap(
        "a generation that was cut off delivers", "gateway/channels/receivers.py",
        "            live.intake.revoke()\n            await live.receiver.fence()", "            await live.receiver.fence()", (RECEIVERS,),
    ),
    Swap(
        "a revoked intake takes messages", "gateway/channels/base.py",
        "        if self._revoked:", "        if False:", (RECEIVERS,),
    ),
    Swap(
        "the end is said before the connection is closed", "gateway/channels/receivers.py",
        "        finally:\n            await self._end(name, live)\n", "        finally:\n            asyncio.ensure_future(self._end(name, live))\n",
        (RECEIVERS,),
    ),
    Swap(
        "a late end of one that was cut off takes its successor away", "gateway/channels/receivers.py",
        "        if self._live.get(name) is live:\n            del self._live[name]\n\n    async def _say_goodbye",
        "        self._live.pop(name, None)\n\n    async def _say_goodbye", (RECEIVERS,),
    ),
    # Who is alive, and whether the host slept
    Swap(
        "one that waits for the gateway is taken for one that hangs", "gateway/channels/liveness.py",
        "        if self._intake.held_up or ", "        if ", (RECEIVERS,),
    ),
    Swap(
        "a gap in which nothing ran is the network's", "gateway/channels/liveness.py",
        "        elif asyncio.get_running_loop().time() - self._due < self._every:", "        else:", (RECEIVERS,),
    ),
    Swap(
        "what hangs is told of before its time", "gateway/channels/liveness.py",
        "        self._every = within / LOOKS", "        self._every = within / LOOKS / 2", (RECEIVERS,),
    ),
    Swap(
        "what hangs is told of again and again", "gateway/channels/liveness.py",
        "        else:\n            self._stalled()", "        else:\n            self._arm()\n            self._stalled()", (RECEIVERS,),
    ),
    Swap(
        "the store's delay is the network's", "gateway/channels/base.py",
        "        self._holding_up += 1\n        try:\n            return", "        try:\n            return", (RECEIVERS,),
    ),
    Swap(
        "one that has ended is looked at", "gateway/channels/receivers.py",
        "        self._take_down(name, live)\n        self._look_away(live)\n", "        self._take_down(name, live)\n", (RECEIVERS,),
    ),
    Swap(
        "one that was told to end is looked at", "gateway/channels/receivers.py",
        "        live.confirm = live.confirm or effect.confirm\n        self._look_away(live)\n",
        "        live.confirm = live.confirm or effect.confirm\n", (RECEIVERS,),
    ),
    Swap(
        "the present generation is looked at in place of an older one", "gateway/channels/receivers.py",
        "        if effect.within is None or live is None or live.generation != effect.generation:",
        "        if effect.within is None or live is None:", (RECEIVERS,),
    ),
    Swap(
        "a sleep is looked for by the clock that slept", "gateway/process/host.py",
        "        late = clock.boottime() - before - TICK", "        late = clock.monotonic() - before - TICK", (PROCESS,),
    ),
    Swap(
        "a busy host has slept", "gateway/process/host.py", "        if late >= LATE:", "        if late > 0:", (PROCESS,),
    ),
    Swap(
        "nobody is told that the host slept", "gateway/app.py",
        "watch_host(self._clock, self._accounts.woke)", "watch_host(self._clock, lambda _: None)",
        ("tests/simulation/test_supervision.py",),
    ),
    Swap(
        "a conflict begins each time it comes back", "gateway/process/conflicts.py",
        "        if before is None and now is not None:", "        if now is not None:", (PROCESS,),
    ),
    # One writer, one revision, one outcome
    Swap(
        "two writers at once", "gateway/process/changes.py",
        "        async with self._lock:\n            if is_ending", "        async with asyncio.Lock():\n            if is_ending", (PROCESS,),
    ),
    Swap(
        "a file of somebody else is written over", "gateway/process/changes.py",
        "        refuse_if_owned(self.path)\n", "", (PROCESS,),
    ),
    Swap(
        "a writer does not wait for another process", "gateway/process/changes.py",
        "            async with self._writers.held():\n", "            async with asyncio.Lock():\n", (PROCESS,),
    ),
    Swap(
        "who waits for a revision that was superseded is never told", "gateway/process/changes.py",
        "            self._waiters.setdefault(said.why, []).extend(waiters)\n", "            del waiters\n", (PROCESS,),
    ),
    Swap(
        "a second outcome of a request is taken", "gateway/requests.py",
        "        if request.outcome != PENDING:", "        if False:", ("tests/gateway/test_requests.py",),
    ),
    Swap(
        "a failed reload leaves the new config as the one that runs", "gateway/process/operations.py",
        "lambda _, effect: self._ledger.put_back(effect.revision)", "lambda *_: None", (PROCESS,),
    ),
    Swap(
        "a reload that broke off is forgotten", "gateway/config/ledger.py",
        "            self.astray = True\n", "", (CONFIG, PROCESS),
    ),
    Swap(
        "an account that comes back counts its generations anew", "gateway/process/accounts.py",
        "ChannelData(generation=self._generations.get(name, 0), held=name in self._held)", "ChannelData(held=name in self._held)", (PROCESS,),
    ),
    Swap(
        "a restart into an invalid file is begun", "gateway/process/operations.py",
        '            return events.ConfigUnfit(effect.token, f"the config cannot be used: {error}")',
        "            log.error('unfit', why=str(error))", (PROCESS,),
    ),
    Swap(
        "a restart does not wait for messages in flight", "gateway/process/operations.py",
        "        if at_work := self._messages.at_work:", "        if at_work := 0:", (PROCESS,),
    ),
    Swap(
        "a stage of a stop waits for as long as it likes", "gateway/process/shutdown.py",
        "timeout=self.left(stage)", "timeout=None", ("tests/gateway/process/test_stop.py",),
    ),
    Swap(
        "a second signal shortens nothing", "gateway/process/shutdown.py",
        "            self._budget.hurry(self._stage, seconds, self._clock.monotonic())\n", "",
        ("tests/gateway/process/test_stop.py",),
    ),
    Swap(
        "what a stage leaves over is lost", "gateway/process/budget.py",
        "self._from + self._span * part - now", "self._span * SHARES[stage]", ("tests/gateway/process/test_budget.py",),
    ),
    Swap(
        "a stop is longer than the supervisor allows", "gateway/process/operations.py",
        "budget_of(restart.drain_timeout_ms / 1000, stop_limit)", "restart.drain_timeout_ms / 1000",
        ("tests/gateway/process/test_boot.py",),
    ),
    Swap(
        "a child that somebody waits for is taken from him", "gateway/process/reaper.py",
        "if is_first or pid in inherited:", "if True:", ("tests/gateway/process/test_reaper.py",),
    ),
    Swap(
        "the file is written in place", "gateway/config/file.py",
        "            Path(name).replace(target)\n",
        "            target.write_bytes(raw)\n            Path(name).unlink()\n", (CONFIG,),
    ),
    Swap(
        "a secret is shown", "gateway/redact.py",
        "self._pattern.sub(MARK, text) if self._pattern else text", "text", ("tests/gateway/test_redact.py",),
    ),
    *CHANGES,
    *MESSAGES,
    *RESTARTS,
    *WEBHOOKS,
    *SESSIONS,
    *LEASES,
)  # fmt: skip
