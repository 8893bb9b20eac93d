"""Mutants of the ledger of session starts: what is on the disk before what, how long a start counts, and what gives none back."""

from __future__ import annotations

from tests.mutation.swaps import Swap

SESSIONS_PY, BASE_PY, RECEIVERS_PY = (
    "gateway/channels/sessions.py",
    "gateway/channels/base.py",
    "gateway/channels/receivers.py",
)
LEDGER, RECEIVERS = ("tests/gateway/channels/test_sessions.py",), ("tests/gateway/channels/test_receivers.py",)
WHOLE = ("tests/gateway/process/test_session_starts.py::test_no_road_leads_past_a_spent_budget",)

SESSIONS = (
    Swap(
        "a session may be asked for before its start is kept", SESSIONS_PY,
        "                await self._keeper.committed()\n", "                await asyncio.sleep(0)\n", LEDGER,
    ),
    Swap(
        "one session more is started than is allowed", SESSIONS_PY,
        "        if len(starts) >= limit:", "        if len(starts) > limit:", LEDGER,
    ),
    Swap(
        "a start counts for less than a day", SESSIONS_PY,
        "WINDOW_MS = DAY_MS + 60_000", "WINDOW_MS = DAY_MS - 60_000", LEDGER,
    ),
    Swap(
        "under a lower limit the next is allowed when the oldest is a day old", SESSIONS_PY,
        "starts[-limit] + WINDOW_MS", "starts[0] + WINDOW_MS", LEDGER,
    ),
    Swap(
        "a clock that is set forward gives starts back", SESSIONS_PY,
        "starts=tuple(at + set_by for at in kept.starts)", "starts=kept.starts", LEDGER,
    ),
    Swap(
        "what a set clock has moved is not written", SESSIONS_PY,
        "at in kept.starts))\n                    self._write(identity)\n", "at in kept.starts))\n", LEDGER,
    ),
    Swap(
        "a start of the future bars until that has come", SESSIONS_PY,
        "tuple(min(at, now) for at in starts)", "starts", LEDGER,
    ),
    Swap(
        "a start of the future is one of just now at each boot", SESSIONS_PY,
        "            if self._known[identity].starts != starts:\n                self._write(identity)\n", "", LEDGER,
    ),
    Swap(
        "a start that nobody waited for is counted", SESSIONS_PY,
        "                self._take_back(identity, now)\n", "", LEDGER,
    ),
    Swap(
        "what a new session is known by waits to be written", SESSIONS_PY,
        "        if timer := self._resting.pop(identity, None):\n            timer.cancel()\n", "", LEDGER,
    ),
    Swap(
        "the last word of a busy time is not written", SESSIONS_PY,
        "        if identity in self._unwritten:\n            self._write_and_rest(identity)\n", "", LEDGER,
    ),
    Swap(
        "one that was cut off while its start was counted asks for a session", BASE_PY,
        "            self._holding_up -= 1\n        self._check()\n", "            self._holding_up -= 1\n", LEDGER,
    ),
    Swap(
        "one that was cut off keeps its session", BASE_PY,
        "        self._check()\n        self._sessions.keep(", "        self._sessions.keep(", LEDGER,
    ),
    Swap(
        "how far a session is, is not written when its receiver has ended", RECEIVERS_PY,
        "        self._sessions.flush()\n", "", RECEIVERS,
    ),
    Swap(
        "spent starts are a line that was lost", RECEIVERS_PY,
        "SessionsSpentError: Cause.SPENT", "SessionsSpentError: Cause.LOST", RECEIVERS,
    ),
    Swap(
        "an earlier life's starts are forgotten", "gateway/process/messages.py",
        "        self._sessions.restore(beginning.sessions)\n", "", WHOLE,
    ),
    Swap(
        "a suppressed account tries sooner than its network allows", "statemachine/channel.py",
        "half_open_after, at_least=_asked_for(event))", "half_open_after)", ("tests/statemachine/test_channel_stories.py",),
    ),
)  # fmt: skip
