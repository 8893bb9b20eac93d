"""The referee of messages: who said what, what was confirmed to the network, handled and sent, and what the store had by then.

It knows what people said, what the network saw, and what is on the disk; never what the gateway has in memory. The one
thing that it is told from inside is which messages a process calls finished, since that is on the disk only a little later.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.channels.telegram_receiver import AGAIN
from gateway.store.store import FILE

if TYPE_CHECKING:
    from gateway.messages.model import Message
    from tests.simulation.process import Process
    from tests.simulation.referee import Referee

KEPT, ONCE, SENT_ONCE, UNKNOWN, ORDERED, ENDS = (
    "what was confirmed is kept", "nothing is handled twice", "nothing is sent twice unmarked",
    "unknown is what nobody can know", "messages are in order", "every message ends",
)  # fmt: skip
AFTER_ALL = 2**62
SETTLED = ("sent", "dead", "unknown")
"""Where a reply lets those after it go first."""


@dataclass
class Letter:
    """What somebody said to a bot. `arrived`: how often the network was sent the reply."""

    bot: str
    number: int
    chat: int
    text: str
    answered_by: Process | None = None
    """The process in which its handler answered last."""
    arrived: int = 0
    tried: int = 0
    """How often somebody began to send it."""

    @property
    def id(self) -> str:
        """As the gateway calls it."""
        return f"telegram:{self.bot}:{self.number}"


@dataclass
class Letters:
    """Of one schedule, over all its processes."""

    folder: Path
    referee: Referee
    by_id: dict[str, Letter] = field(default_factory=dict)
    by_text: dict[tuple[str, str], Letter] = field(default_factory=dict)
    _disk: sqlite3.Connection | None = None

    @property
    def counts(self) -> Counter[str]:
        return self.referee.counts

    def close(self) -> None:
        if self._disk is not None:
            self._disk.close()

    def read(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        """From what is committed. Nothing, as long as there is no store."""
        if self._disk is None:
            path = self.folder / FILE
            if not path.exists():
                return []
            self._disk = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)
            self._disk.row_factory = sqlite3.Row
        try:
            return self._disk.execute(sql, values).fetchall()
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):  # the first boot has not come so far
                return []
            raise

    # People and the network

    def said(self, bot: str, number: int, chat: int, text: str) -> str:
        """Somebody says something; no two texts to one bot are the same, so that each reply tells whose it is."""
        letter = Letter(bot, number, chat, f"{text} ({number})")
        self.by_id[letter.id] = self.by_text[bot, letter.text] = letter
        self.counts["messages"] += 1
        return letter.text

    def confirmed(self, bot: str, numbers: list[int]) -> None:
        """The network will not say these again: whoever confirmed them must have them."""
        for number in numbers:
            letter = self.by_id[f"telegram:{bot}:{number}"]
            kept = self.read("SELECT 1 FROM inbox WHERE id = ?", letter.id)
            self.referee.expect(bool(kept), KEPT, f"{letter.id} was confirmed, and is not in the store")

    def _of(self, bot: str, text: str) -> Letter | None:
        return self.by_text.get((bot, text.removeprefix(AGAIN)))

    def tries(self, bot: str, text: str) -> None:
        """Somebody begins to send a reply; whether it arrives is another matter."""
        letter = self._of(bot, text)
        if letter is not None:
            letter.tried += 1
            doubtful = letter.tried > 1 or self.counts["boots"] > 1
            self.referee.expect(
                doubtful or not text.startswith(AGAIN),
                UNKNOWN,
                f"the reply to {letter.id} was never sent, and says that it may be there",
            )

    def arrives(self, bot: str, text: str) -> None:
        """The network is sent a reply."""
        marked = text.startswith(AGAIN)
        letter = self._of(bot, text)
        if letter is None:
            self.referee.blame("a message is answered", f"bot {bot} was sent {text!r}, which nobody said")
            return
        again = letter.arrived > 0
        letter.arrived += 1
        self.counts["replies"] += 1
        self.counts["replies sent twice, and marked"] += again and marked
        self.referee.expect(
            marked or not again, SENT_ONCE, f"the reply to {letter.id} was sent again as if it were new"
        )
        rows = self.read("SELECT * FROM outbox WHERE key = ?", f"{letter.id}#1")
        written = bool(rows) and rows[0]["state"] not in ("queued", "retry_wait") and bool(rows[0]["marked"]) >= marked
        here = tuple(rows[0])[5:9] if rows else "nothing"
        self.referee.expect(
            written, SENT_ONCE, f"the reply to {letter.id} ({marked=}) reaches the network, and the store has {here}"
        )
        if rows:
            self._in_line(letter, rows[0])

    def _in_line(self, letter: Letter, row: sqlite3.Row) -> None:
        """Those before it in its conversation are there, or will not be, or wait for a person."""
        earlier = self.read(
            "SELECT key, state FROM outbox WHERE account = ? AND conversation = ? AND number < ?",
            row["account"], row["conversation"], row["number"],
        )  # fmt: skip
        for other in earlier:
            before = self.by_id[other["key"].rpartition("#")[0]]
            self.referee.expect(
                other["state"] in SETTLED or before.arrived > 0,
                ORDERED,
                f"the reply to {letter.id} was sent before that to {before.id}, which is {other['state']}",
            )

    # Handlers

    def given(self, message: Message, process: Process, *, outside: bool) -> Letter:
        """A handler gets a message, for the first time unless a crash came before its end was written down.

        One that acts `outside` is given what is in the store; to one that only answers it may be on its way there.
        """
        letter = self.by_id[message.id]
        rows = self.read("SELECT * FROM inbox WHERE id = ?", message.id)
        state = rows[0]["state"] if rows else "not there"
        allowed = ("received",) if outside else ("received", "not there")
        self.referee.expect(state in allowed, ONCE, f"{message.id} is handled, and in the store it is {state}")
        self.referee.expect(
            letter.answered_by is not process,
            ONCE,
            f"{message.id} was answered, and is handled again in the same process",
        )
        self.counts["messages handled again after a crash"] += letter.answered_by is not None
        earlier = self.read(
            "SELECT id, number FROM inbox WHERE account = ? AND conversation = ? AND number < ? AND state = 'received'",
            message.name, message.conversation, rows[0]["number"] if rows else AFTER_ALL,
        )  # fmt: skip
        for other in earlier:
            finished = f"incoming/{other['number']}" in process.monitor.finished
            self.referee.expect(finished, ORDERED, f"{message.id} is handled before {other['id']} has ended")
        return letter

    # In the end

    def at_rest(self, process: Process) -> None:
        """Everything that was received has ended, and so has everything that was to be sent, as far as it can be."""
        for row in self.read("SELECT id FROM inbox WHERE state = 'received'"):
            self.referee.blame(ENDS, f"{row['id']} is in the store, and was never handled")
        for row in self.read("SELECT * FROM outbox"):
            self._reply_at_rest(process, row)
        for row in self.read(
            "SELECT id FROM inbox WHERE state = 'handled' AND NOT EXISTS (SELECT 1 FROM outbox WHERE key = inbox.id || '#1')"
        ):
            self.referee.blame(ENDS, f"{row['id']} was answered, and the answer is nowhere")

    def _reply_at_rest(self, process: Process, row: sqlite3.Row) -> None:
        letter, state = self.by_id[row["key"].rpartition("#")[0]], row["state"]
        self.counts[f"replies that are {state}"] += 1
        if state == "sent":
            self.referee.expect(letter.arrived > 0, ENDS, f"the reply to {letter.id} is called sent, and never was")
        elif state in ("dead", "unknown"):
            doubtful = state == "dead" or letter.tried > 0 or self.counts["boots"] > 1
            self.referee.expect(doubtful, UNKNOWN, f"the reply to {letter.id} was never sent, and is called unknown")
            self.referee.expect(bool(row["why"]), ENDS, f"the reply to {letter.id} is {state}, and nothing says why")
        else:
            waits = not process.app._receivers.is_up(row["account"])
            self.referee.expect(waits, ENDS, f"the reply to {letter.id} is {state}, and {row['account']} runs")

    def received(self, bot: str, number: int) -> bool:
        return bool(self.read("SELECT 1 FROM inbox WHERE id = ?", f"telegram:{bot}:{number}"))
