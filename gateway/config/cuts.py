"""A text, its lines, and what is to be cut out of it and put in: all else stays as it is, byte for byte."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable

from gateway.config.places import BREAK

_ON_ITS_OWN = re.compile("[ \t]*(?P<comment>#)?")
_REST = re.compile("[ \t]*(?:#[^\n\r\x85\u2028\u2029]*)?(?=[\n\r\x85\u2028\u2029])")


class Cuts:
    """Every line has an end here; a last line that has none gets its own back."""

    def __init__(self, text: str, line_end: str) -> None:
        self._unended = not BREAK.match(text[-1:])
        self.text = text + line_end * self._unended
        self.line_end = line_end
        self._lines = [0, *(found.end() for found in BREAK.finditer(self.text))]
        self._cuts: list[tuple[int, int, str]] = []

    def cut(self, begin: int, end: int, new: str = "") -> None:
        """Put `new` in the place of what stands there. What is put in at one place stands in the order of the calls."""
        self._cuts.append((begin, end, new))

    def put(self, at: int, lines: list[str]) -> None:
        """Put in whole lines, at the beginning of one."""
        self.cut(at, at, self.chunk(lines))

    def chunk(self, lines: list[str]) -> str:
        return "".join(line + self.line_end for line in lines)

    def gone(self) -> Callable[[int], bool]:
        """Whether the text at a place is cut out by now."""
        spans = sorted((begin, end) for begin, end, _ in self._cuts if end > begin)
        begins = [begin for begin, _ in spans]

        def is_gone(at: int) -> bool:
            number = bisect_right(begins, at) - 1
            return number >= 0 and at < spans[number][1]

        return is_gone

    def result(self, *, ended: bool) -> str:
        """`ended` leaves a line end at the end where there was none. What is cut twice is cut."""
        parts, at = [], 0
        for begin, end, new in sorted(self._cuts, key=lambda cut: cut[:2]):
            parts += [self.text[at:begin], new]
            at = max(at, end)
        text = "".join([*parts, self.text[at:]])
        return text.removesuffix(self.line_end) if self._unended and not ended else text

    # Lines

    def line_start(self, at: int) -> int:
        return self._lines[self._line(at)]

    def next_line(self, at: int) -> int:
        return self._lines[self._line(at) + 1]

    def column(self, at: int) -> int:
        return at - self.line_start(at)

    def begins_line(self, at: int) -> bool:
        """Whether nothing but blanks is before it."""
        return self.blanks_before(at) == self.line_start(at)

    def ends_line(self, at: int) -> bool:
        """Whether nothing but blanks and a comment is behind it."""
        return _REST.match(self.text, at) is not None

    def blanks_before(self, at: int) -> int:
        """Where the blanks before a place begin."""
        while at > 0 and self.text[at - 1] in " \t":
            at -= 1
        return at

    def blanks_behind(self, at: int) -> int:
        """Where the blanks behind a place end."""
        while self.text[at : at + 1] in (" ", "\t"):
            at += 1
        return at

    def head(self, begin: int, after: int) -> int:
        """Where the lines of an entry begin, with the comment right above it; not beyond what it comes after.

        What a file begins with is about the file.
        """
        line = own = self._line(begin)
        while line - 1 > self._line(after) - (after == 0) and self._comment(line - 1) == self.column(begin):
            line -= 1
        return self._lines[line] if line > 0 else self._lines[own]

    def tail(self, end: int, column: int) -> int:
        """Where the lines of an entry end: its comments are those that stand deeper than the entry does."""
        line = beyond = self._line(end) + 1
        while line < len(self._lines) - 1:
            comment = self._comment(line)
            if comment is None or (comment >= 0 and comment <= column):
                break
            line += 1
            beyond = line if comment >= 0 else beyond
        return self._lines[beyond]

    def _line(self, at: int) -> int:
        return bisect_right(self._lines, at) - 1

    def _comment(self, line: int) -> int | None:
        """The column of a line's comment, -1 where the line is empty, None where something else is in it."""
        begin, end = self._lines[line], self._lines[line + 1]
        found = _ON_ITS_OWN.match(self.text, begin, end)
        if found and found["comment"]:
            return found.start("comment") - begin
        return None if self.text[begin:end].strip() else -1
