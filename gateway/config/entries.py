"""Entries of a mapping or a list that come and go, in a text: those that stay keep their lines and their comments."""

from __future__ import annotations

from bisect import bisect_left

from gateway.config.cuts import Cuts
from gateway.config.places import Mapping, Sequence, skip

Added = list[tuple[int, str]]
"""New entries as text, each with the number of the old entry that it comes before."""


def spans(node: Mapping | Sequence) -> list[tuple[int, int]]:
    """Where each entry begins, with its key or its dash, and ends."""
    if isinstance(node, Mapping):
        return [(key.entry, value.end) for key, value in node.entries]
    return [(item.entry, item.end) for item in node.items]


class Rows:
    """The entries of a block: whole lines each, but for a first one that stands behind the dash of the list it is in."""

    def __init__(self, cuts: Cuts, node: Mapping | Sequence) -> None:
        self._cuts = cuts
        self._node = node
        self._spans = spans(node)
        self.column = cuts.column(node.begin)
        self.inline = not cuts.begins_line(node.begin)

    def lines(self, number: int) -> tuple[int, int]:
        """Where the lines of an entry begin and end."""
        begin, end = self._spans[number]
        after = self._spans[number - 1][1] if number else self._node.after
        return self._cuts.head(begin, after), self._cuts.tail(end, self.column)

    def replace(self, text: str) -> None:
        """All of them by these lines."""
        begin = self._node.begin if self.inline else self.lines(0)[0]
        self._cuts.cut(begin, self.lines(len(self._spans) - 1)[1], text)

    def arrange(self, stays: list[bool], added: Added) -> None:
        kept = [number for number, stay in enumerate(stays) if stay]
        first = kept[0] if kept else len(stays)
        front = "".join(text for place, text in added if place <= first)
        if self.inline:
            self._arrange_first(first, front)
        elif front:
            at = self.lines(0)[0]
            self._cuts.cut(at, at, front)
        for place, text in added:
            if place > first:
                at = self.lines(kept[bisect_left(kept, place) - 1])[1]
                self._cuts.cut(at, at, text)
        for number in range(first + 1 if self.inline else 0, len(stays)):
            if not stays[number]:
                self._cuts.cut(*self.lines(number))

    def _arrange_first(self, first: int, front: str) -> None:
        """Behind a dash: what comes before the first entry that stays."""
        begin = self._node.begin
        front = front[self.column :]
        if first == len(self._spans):
            self.replace(front)
            return
        if first == 0:
            end = begin
        else:
            end, entry = self.lines(first - 1)[1], self._spans[first][0]
            if self._cuts.text[end:entry].strip():  # a comment, which stays
                begin = begin if front else self._cuts.blanks_before(begin)
                self._cuts.cut(begin, end, front or self._cuts.line_end)
                return
            end = entry
        self._cuts.cut(begin, end, front + " " * self.column if front else "")


class Brackets:
    """The entries between brackets, with commas between them."""

    def __init__(self, cuts: Cuts, node: Mapping | Sequence) -> None:
        self._cuts = cuts
        self._node = node
        self._spans = spans(node)

    def arrange(self, stays: list[bool], added: Added) -> None:
        kept = [number for number, stay in enumerate(stays) if stay]
        if not kept:
            self._replace([text for _, text in added])
            return
        for number, stay in enumerate(stays):
            if not stay:
                self._remove(number, ends=number > kept[-1])
        behind: dict[int, list[str]] = {number: [] for number in kept}
        for place, text in added:
            if place > kept[0]:
                behind[kept[bisect_left(kept, place) - 1]].append(text)
        for number, new in behind.items():
            ends = number == kept[-1] and not stays[-1] and self._comma(len(stays) - 1) is None
            if new:
                self._add(number, new, ends=ends)
            elif ends:
                self._cut_comma(number)
        self._add_first(kept[0], [text for place, text in added if place <= kept[0]])

    def _replace(self, new: list[str]) -> None:
        """All of them."""
        text, begin, end = self._cuts.text, self._node.begin + 1, self._node.end - 1
        gone = [self._whole(number) for number in range(len(self._spans))]
        borders = [begin, *(at for span in gone for at in span), end]
        left = "".join(text[slice(*span)] for span in zip(borders[::2], borders[1::2], strict=True)).strip()
        if not gone:
            self._cuts.cut(begin, begin if left else end, ", ".join(new))
        elif not new and not left:
            self._cuts.cut(begin, end)
        else:
            for span in gone:
                self._cuts.cut(*span)
            self._cuts.cut(gone[0][0], gone[0][0], self._joined(0, new))

    def _joined(self, number: int, new: list[str]) -> str:
        """As the entry of that number stands: in lines of their own, or all in one."""
        if not new or not self._has_its_line(number):
            return ", ".join(new)
        indent = " " * self._cuts.column(self._spans[number][0])
        return f",{self._cuts.line_end}".join(indent + text for text in new) + self._cuts.line_end

    def _whole(self, number: int) -> tuple[int, int]:
        """An entry with its comma, and with its line where it has one."""
        begin, end = self._spans[number][0], self._end(number)
        if not self._has_its_line(number):
            between = self._comma(number) is not None and not self._cuts.ends_line(end)
            return begin, self._cuts.blanks_behind(end) if between else end
        after = self._spans[number - 1][1] if number else self._node.begin
        return self._cuts.head(begin, after), self._cuts.next_line(end)

    def _comma(self, number: int) -> int | None:
        """Where the comma behind an entry is."""
        at = skip(self._cuts.text, self._spans[number][1])
        return at if self._cuts.text.startswith(",", at) else None

    def _end(self, number: int) -> int:
        """Where an entry ends, with its comma."""
        comma = self._comma(number)
        return self._spans[number][1] if comma is None else comma + 1

    def _has_its_line(self, number: int) -> bool:
        return self._cuts.begins_line(self._spans[number][0]) and self._cuts.ends_line(self._end(number))

    def _remove(self, number: int, *, ends: bool) -> None:
        """`ends` where nothing behind it stays."""
        begin, end = self._spans[number][0], self._end(number)
        if not self._has_its_line(number) and (ends or self._cuts.ends_line(end)):
            self._cuts.cut(self._cuts.blanks_before(begin), end)
        else:
            self._cuts.cut(*self._whole(number))

    def _cut_comma(self, number: int) -> None:
        comma = self._comma(number)
        if comma is not None:
            self._cuts.cut(comma, comma + 1)

    def _add(self, number: int, new: list[str], *, ends: bool) -> None:
        """Behind an entry that stays; `ends` where all that came behind it goes."""
        end = self._spans[number][1]
        if not self._has_its_line(number):
            blank = " " * (self._cuts.text[end - 1] == ":")
            self._cuts.cut(end, end, blank + "".join(f", {text}" for text in new))
            if ends:
                self._cut_comma(number)
            return
        comma = self._comma(number)
        if comma is None:
            self._cuts.cut(end, end, ",")
        lines, line_end = self._joined(number, new), self._cuts.line_end
        if comma is not None and not ends:
            lines = lines.removesuffix(line_end) + "," + line_end
        at = self._cuts.next_line(self._end(number))
        self._cuts.cut(at, at, lines)

    def _add_first(self, number: int, new: list[str]) -> None:
        begin = self._spans[number][0]
        between = f",{self._cuts.line_end}{' ' * self._cuts.column(begin)}" if self._has_its_line(number) else ", "
        self._cuts.cut(begin, begin, "".join(text + between for text in new))
