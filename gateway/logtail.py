"""The newest log lines, kept in memory for who asks over the control plane: redacted already, as JSON, oldest first."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

MAX_BYTES = 1_000_000
"""What is kept of the log, and the most that one answer may hold."""


@dataclass(frozen=True)
class Tail:
    """Lines, and the cursor to ask on with.

    `reset`: the cursor that was given is none of this process, and was not used.
    `skipped`: so many bytes that were asked for came before the first line, and are not told.
    """

    lines: list[str]
    cursor: int
    reset: bool
    skipped: int


class LogTail:
    """A ring of lines. A cursor counts the bytes logged since the process began, and one more a line for its end."""

    def __init__(self) -> None:
        self._lines: deque[tuple[int, str]] = deque()
        self._end = 0
        # Libraries log from threads of their own.
        self._lock = threading.Lock()

    def add(self, line: str) -> None:
        with self._lock:
            self._lines.append((self._end, line))
            # Half a character, which JSON can say and UTF-8 cannot, is no reason to lose a log line.
            self._end += len(line.encode(errors="replace")) + 1
            while len(self._lines) > 1 and self._end - self._lines[0][0] > MAX_BYTES:
                self._lines.popleft()

    def read(self, cursor: int | None, limit: int, max_bytes: int) -> Tail:
        """The newest lines that begin at the cursor or after it, at most `limit`, and at most `max_bytes` in all."""
        with self._lock:
            end, kept = self._end, tuple(self._lines)
        reset = cursor is not None and cursor > end
        begin = 0 if cursor is None or reset else cursor
        found = [line for line in kept if line[0] >= max(begin, end - max_bytes)][-limit:]
        first = found[0][0] if found else end
        return Tail([text for _, text in found], end, reset, first - begin)
