"""What the referee makes of the gateway's log: every line is one journal entry, one report, or something that must not be."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from typing import Any

from tests.chaos.process import Life, now
from tests.chaos.record import Record

DEFECTS = {
    "broken_action",
    "dispatcher_ended",
    "receiver_crashed",
    "http_failed",
    "call_failed",
    "message_failed",
    "work_failed",
    "did_not_end",
    "library",
}
"""Events that no misfortune outside accounts for."""
ROUTINE = {"transition", "handled", "refused", "signal", "page_ready", "config_written"}
NOTES_KEPT = 2_000
MOVES_KEPT = 12


class Ear:
    """Hears a gateway's log. `life` returns the process that is speaking."""

    def __init__(self, record: Record, life: Callable[[], Life], is_secret: Callable[[str], bool]) -> None:
        self._record = record
        self._life = life
        self._is_secret = is_secret
        self.written: dict[str, float] = {}
        """The notes of writes that were carried out, and when; the oldest are forgotten."""
        self.moves: dict[str, deque[str]] = {}
        """The latest moves of each account, for whoever looks for the cause of an overlap."""

    def hear(self, raw: bytes) -> None:
        text = raw.decode("utf-8", "replace")
        self._record.counts["log lines"] += 1
        if self._is_secret(text):
            self._record.violation("a secret is in the log")
        else:
            self._life().said.append(text.strip()[:600])
        try:
            line: dict[str, Any] = json.loads(text)
        except ValueError:
            if text.startswith("gateway: "):
                self._record.log["complaint"] += 1
                return
            # A process that was killed may have been in the middle of a line.
            self._record.expect(not text.endswith("\n"), f"the log has a line that is none: {text[:500]!r}")
            return
        self._judge(line, text)
        if line["event"] == "transition":
            self._follow(line)
        if line["event"] == "config_written":
            self.written[line["note"]] = now()
            if len(self.written) > NOTES_KEPT:
                del self.written[next(iter(self.written))]
        cause = str(line.get("cause", ""))
        if line.get("machine") == "gateway" and cause.startswith("change-"):
            self._life().changes.add(cause)

    def _judge(self, line: dict[str, Any], text: str) -> None:
        event = line["event"]
        if event not in ROUTINE:
            self._record.log[event] += 1
        if event in DEFECTS or "exception" in line or "defect" in str(line.get("why", "")):
            self._record.violation(f"the log says: {text.strip()[-1800:]}")

    def _follow(self, line: dict[str, Any]) -> None:
        machine, dest, life = line["machine"], line["dest"], self._life()
        self._record.counts[f"{'gateway' if machine == 'gateway' else 'channel'} {dest}"] += 1
        if machine != "gateway":
            move = f"{now():.3f} {line['source']} -> {dest} by {line['trigger']} (process {life.pid})"
            self.moves.setdefault(machine, deque(maxlen=MOVES_KEPT)).append(move)
            return
        if dest in ("restarting", "hot_reloading", "failed", "stopping"):
            self._record.note(f"gateway {line['source']} -> {dest}")
        if dest == "restarting":
            life.restarting_since = now()
        elif line["source"] == "restarting":
            life.restarting_since, life.restarted_at = None, now()
