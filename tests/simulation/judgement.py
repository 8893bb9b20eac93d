"""The judgement: when a process has ended, and when in the end everything is calm, the promises must hold."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from gateway.channels.telegram import TelegramAdapter
from gateway.channels.webchat import WebchatAdapter
from gateway.config.file import Reader
from gateway.config.model import build_config_model
from gateway.errors import ConfigError
from gateway.process.changes import LIFECYCLE
from statemachine.change import Change
from statemachine.delivery import Delivery
from tests.simulation.letters import ENDS, Letter
from tests.simulation.process import EXIT_CONFIG, Process
from tests.simulation.schedule import BOTS

if TYPE_CHECKING:
    from tests.simulation.play import Play

QUIET = 8
"""Seconds without unrest that count as rest: longer than the watcher's reconcile, its debounce and a reading."""
QUESTION = "are you there?"
ENDED = ("done", "cancelled", "superseded", "refused", "failed")
HISTORY = 200
UNDECIDED = ("pending", "probation", "rolling_back", "restart_pending")
CONFIG = build_config_model({"telegram": TelegramAdapter.account_model, "webchat": WebchatAdapter.account_model})


class Judge:
    """Looks at what is left, and tells the referee."""

    def __init__(self, play: Play) -> None:
        self._play = play
        self._expect = play.referee.expect
        self._asked: dict[str, Letter] = {}

    def is_usable(self, raw: bytes) -> bool:
        try:
            Reader(lambda _: CONFIG, os.environ, self._play.disk.path.parent).load(raw)
        except ConfigError:
            return False
        return True

    # A process that has ended

    def ended(self, process: Process, code: int) -> None:
        """Whoever was taken up has been answered, whatever ended the process; nothing of it can receive."""
        if code == EXIT_CONFIG:
            self._refused_to_boot(process)
        if code == EXIT_CONFIG or not process.built:
            return
        ended = code == 0 or process.lifecycle.state.value in ("failed", "stopped")
        self._expect(ended, "no defect", f"it ended with {code} in the middle of {process.lifecycle.state.value}")
        taken_up = {entry.cause for entry in process.entries if entry.machine == LIFECYCLE}
        waiting = [name for name in process.pending() if name in taken_up or name.startswith(("asked-", "restart-"))]
        self._expect(not waiting, "one outcome a request", f"the process has ended, and {waiting} have no outcome")
        self._secrets(process)
        for complaint in process.loop.complaints:
            self._expect(False, "no defect", complaint)
        if self._play.over:
            self._at_the_very_end(process, code)

    def replaced(self, process: Process) -> None:
        """Nothing of it receives when another image takes its place, and that one knows all whom it has to answer."""
        for name, machine in process.channels().items():
            # One that was told to end, and could not even be cut off, ends with the image.
            told = machine.state.value in ("stopping", "stop_overdue")
            self._expect(told or not process.receives(name), "one receiver", f"replaced while {name} received")
        assert process.carried is not None, "it was replaced"
        handed = {ticket.id for ticket in (*process.carried.handover.served, *process.carried.handover.tickets)}
        known = {*process.monitor.open, *process.monitor.served}
        self._expect(handed == known, "one outcome a request", f"handed on were {handed}, open are {known}")
        self._secrets(process)

    def _refused_to_boot(self, process: Process) -> None:
        """Right only with a file that cannot be used, and nothing that could run in its place."""
        handed_on = process.app._options.image.carried is not None
        self._expect(not handed_on, "a boot falls back to what was good", "an image refuses what the one before it ran")
        raw, standing = self._play.disk.raw(), self._play.witness.standing()
        self._play.counts["boots refused"] += 1
        usable = raw is not None and self.is_usable(raw)
        self._expect(not usable, "a boot falls back to what was good", "it refuses to boot, and the file can be used")
        kept = [name for name in ("last_good", "window") if standing.get(name) is not None]
        # What was to come, and was never written, is nothing to run.
        if standing.get("window") is not None and standing["window"].get("until") is None:
            kept.remove("window")
        self._expect(not kept, "a boot falls back to what was good", f"it refuses to boot, and has {kept}")

    def _at_the_very_end(self, process: Process, code: int) -> None:
        self._expect(code == 0, "a stop ends within its budget", f"the last stop ended with exit code {code}")
        left = process.leftovers()
        self._expect(not left, "nothing is left over", f"tasks: {left}")
        sessions = [session.owner for session in process.line_open()]
        self._expect(not sessions, "nothing is left over", f"sessions: {sessions}")
        pending = process.pending()
        self._expect(not pending, "one outcome a request", f"{pending} have no outcome")

    def _secrets(self, process: Process) -> None:
        """What the API shows of journal and requests."""
        told = [f"{entry.why} {entry.cause}" for entry in process.entries]
        told += [f"{request.why} {request.requester}" for request in process.app._requests._requests.values()]
        shown = process.app._redactor.text("\n".join(told))
        self._expect("secret-" not in shown and "-again-" not in shown, "no secret is shown", _around(shown, "secret-"))

    # Calm

    def ask(self) -> None:
        """Somebody says something to every bot."""
        for bot in BOTS.values():
            self._asked[bot] = self._play.letters.by_text[bot, self._play.api.say(bot, QUESTION)]

    def at_rest(self, process: Process) -> None:
        """Nothing has moved for a while."""
        for task, name in process.clients.items():
            error = None if task.cancelled() else task.exception()
            self._expect(error is None, "one outcome a request", f"{name} broke: {error!r}")
        for name in process.pending():
            self._expect(False, "one outcome a request", f"{name} is pending")
        for request in process.app._requests._requests.values():
            self._expect(request.outcome in ENDED, "one outcome a request", f"{request.id}: {request.outcome}")
        open_tickets = {*process.monitor.open, *process.monitor.served}
        self._expect(not open_tickets, "one outcome a request", f"tickets were never closed: {open_tickets}")
        self._config(process)
        self._history(process)
        for name, machine in process.channels().items():
            self._account(process, name, machine)
        self._play.letters.at_rest(process)
        for fault in self._rubbish(process):
            self._expect(False, "nothing is left over", fault)

    def _config(self, process: Process) -> None:
        """What the file holds runs, or what was put back in its place; unless somebody said no, and then that shows."""
        app, data = process.app, process.lifecycle.data
        raw = self._play.disk.raw()
        assert raw is not None, "the file was mended before the calm"
        on_disk = app._reader().load(raw)
        self._expect(
            self._play.witness.standing().get("window") is None or process.monitor.dropped,
            "nothing is left over",
            "no change waits to be confirmed any more, and a window is open on the disk",
        )
        must = self._play.witness.must(on_disk.id)
        if must is None:
            return
        texts = self._play.witness.texts
        known = [texts[revision] for revision in must if revision in texts]  # what ran may have been a part of one
        if any(app._ledger.applied == app._reader().load(raw).config for raw in known) or data.applied in must:
            same = data.applied == app._ledger.applied_id
            self._expect(same, "the last config runs", f"{data.applied[:8]} is called applied, and another one runs")
            return
        shown = data.known != data.applied or data.drift
        refused = data.rejected == on_disk.id and any(
            "its network refuses it" in i["message"] for i in app._changes.issues
        )
        asked = process.monitor.dropped or data.drift or refused
        wanted = " or ".join(sorted(revision[:8] for revision in must))
        told = f"{on_disk.id[:8]} is on disk, {wanted} must run, {app._ledger.applied_id[:8]} does"
        self._expect(asked, "the last config runs", f"{told}, and nobody said no")
        self._expect(shown, "the last config runs", f"{told}, and no drift is shown")

    def standing(self) -> None:
        """Good is what ran, and did not fail on trial."""
        witness = self._play.witness
        good = witness.standing().get("last_good")
        if good is None:
            return
        self._expect(good in witness.ever_ran, "good is what ran well", f"{good[:8]} is called good, and never ran")
        failed = good in witness.away and not witness.away[good].good
        self._expect(not failed, "good is what ran well", f"{good[:8]} is called good, and was rolled back")

    def _history(self, process: Process) -> None:
        """At rest: each write has one entry, which says what became of it."""
        witness, entries = self._play.witness, process.app._history.entries(HISTORY)
        for call in witness.calls:
            outcomes = [entry.outcome for entry in entries if entry.note == call.note]
            told = f"{call.note}, answered {call.answer or 'by nobody'}, has {outcomes}"
            self._expect(len(outcomes) <= 1, "one outcome a request", told)
            if call.process is not process or not outcomes:
                self._expect(call.process is not process or not call.wrote, "one outcome a request", told)
                continue
            trial = witness.of(call)
            settled = outcomes[0] not in UNDECIDED or process.monitor.dropped
            self._expect(settled, "one outcome a request", told)
            if trial is not None and trial.confirmed:
                self._expect(outcomes == ["committed"], "one outcome a request", f"{told}, and was confirmed")
            elif trial is not None and trial.ended is not None and not trial.deciding:
                self._expect(outcomes[0] != "committed", "one outcome a request", f"{told}, and nobody confirmed it")

    def _account(self, process: Process, name: str, machine: Any) -> None:
        state, held = machine.state.value, process.monitor.intents.get(name, machine.data.held)
        settings: Any = process.app._ledger.applied.accounts().get(name)
        bot = BOTS[name.split("/")[1]]
        live = self._play.referee.live.get(bot, [])
        self._expect(
            len(live) == (state == "running"), "what is shown is so", f"{name} is {state} with {len(live)} receivers"
        )
        if process.monitor.dropped:
            return  # somebody took back the restart that was to mend what a failed reload had left
        if settings is None:
            self._expect(state == "stopped", "the last config runs", f"{name} is in no config, and is {state}")
        elif held or not settings.enabled:
            self._expect(state in ("stopped", "failed"), "a stop by a person is kept", f"{name} is {state}")
        else:
            refused = state == "failed" and "Unauthorized" in machine.data.last_error
            self._expect(
                state == "running" or refused, "the last config runs", f"{name} is {state}: {machine.data.last_error}"
            )
        if live and settings is not None:
            self._receiver(name, bot, settings)

    def _receiver(self, name: str, bot: str, settings: Any) -> None:
        """The server knows best with what a receiver polls, and whether it answers."""
        poll = self._play.api.bot(bot).poll
        if poll is not None:
            call: Any = poll.caller
            polls = (call.token, call.params["timeout"])
            wanted = (settings.token.reveal(), settings.poll_timeout_s)
            self._expect(polls == wanted, "the last config runs", f"{name} polls with {polls}, applied is {wanted}")
        self._expect(self._asked[bot].arrived > 0, "a message is answered", f"{name} runs, and did not answer")
        for number, _, _ in self._play.api.bot(bot).updates:
            here = self._play.letters.received(bot, number)
            self._expect(here, ENDS, f"{name} runs, and has not received message {number}")

    def _rubbish(self, process: Process) -> Iterator[str]:
        app, channels = process.app, process.channels()
        idle = {name for name, machine in channels.items() if machine.state.value != "running"}
        idle |= {name for name, machine in channels.items() if machine.data.conflict_since is not None}
        waits = {*app._dispatcher.machines(Change), *app._dispatcher.machines(Delivery)}
        if timers := set(app._runner._timers) - idle - waits:
            yield f"timers: {sorted(timers)}"
        if app._changes._waiters:
            yield f"somebody waits for what becomes of {sorted(app._changes._waiters)}"
        if any(app._dispatcher._waiters.values()):
            yield "somebody waits for a state"
        gone = {bot for bot in self._play.referee.live if self._play.referee.live[bot]}
        if strangers := gone - {BOTS[name.split("/")[1]] for name in channels}:
            yield f"receivers of accounts that are no more: {sorted(strangers)}"

    def tell_unrest(self) -> str:
        process = self._play.process
        if process is None or not process.built:
            return "no process runs"
        states = {name: machine.state.value for name, machine in process.channels().items()}
        clients = [name for task, name in process.clients.items() if not task.done()]
        data = process.lifecycle.data
        kept = {name: getattr(data, name) for name in ("tickets", "served", "kept", "reviewed", "carried")}
        messages = f"{process.app._messages.pipeline.in_flight} messages, {process.unsent()} to be sent"
        busy = f"{process.unsettled()}, {process.app._runner.busy} works, {messages}, clients {clients}"
        return f"{process.lifecycle.state.value}, {states}, { {n: k for n, k in kept.items() if k} }, {busy}"


def _around(text: str, found: str) -> str:
    place = max(text.find(found), 0)
    return text[max(0, place - 60) : place + 40]
