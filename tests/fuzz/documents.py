"""A strategy for config texts as people write them, with the place of each value: comments, quotes, blank lines, brackets, anchors.

Every comment and every value is there once, so that each can be found again in an edited text.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

Path = tuple[Any, ...]


@dataclass
class Place:
    """Where a value stands, and the whole entry that it is the value of (its key or dash, its lines, its comments)."""

    value: tuple[int, int]
    entry: tuple[int, int]
    kind: str


@dataclass
class Document:
    text: str = ""
    places: dict[Path, Place] = field(default_factory=dict)
    tokens: list[tuple[int, str]] = field(default_factory=list)
    """Every comment and every scalar's source, and where it stands."""


class _Writer:
    def __init__(self, draw: st.DrawFn, *, anchors: bool) -> None:
        self.draw = draw
        self.document = Document()
        self.line_end = draw(st.sampled_from(["\n", "\n", "\r\n"]))
        self.step = draw(st.sampled_from([2, 2, 4]))
        self.offset = draw(st.sampled_from([0, 2]))
        self.anchors = anchors
        self.known: list[str] = []
        self._number = 100  # of three digits each: none is the beginning of another

    @property
    def at(self) -> int:
        return len(self.document.text)

    def chance(self, of: int) -> bool:
        return bool(self.draw(st.integers(1, of)) == of)

    def number(self) -> int:
        self._number += 1
        return self._number

    def write(self, text: str) -> None:
        self.document.text += text

    def token(self, text: str) -> None:
        self.document.tokens.append((self.at, text))
        self.write(text)

    def end_line(self) -> None:
        if self.chance(3):
            self.write(self.draw(st.sampled_from([" ", "   "])))
            self.token(f"# ä{self.number()}: - {{x")
        self.write(self.line_end)

    def gap(self, indent: int) -> None:
        """Blank lines and comments of their own between two entries."""
        for _ in range(self.draw(st.sampled_from([0, 0, 0, 1, 2]))):
            if self.chance(2):
                self.write(" " * indent)
                self.token(f"# 😀{self.number()}")
            self.write(self.line_end)

    def key(self) -> tuple[str, str]:
        name = f"k{self.number()}"
        return name, self.draw(st.sampled_from([name, name, name, f"'{name}'", f'"{name}"']))

    # Values

    def anchor(self) -> str:
        if not self.anchors or not self.chance(3):
            return ""
        name = f"a{self.number()}"
        self.write(f"&{name} ")
        return name

    def mapping(self, path: Path, indent: int, depth: int, *, inline: bool = False) -> None:
        for number in range(self.draw(st.integers(1, 3))):
            if number or not inline:
                self.gap(indent)
                self.write(" " * indent)
            begin = self.at
            name, source = self.key()
            self.write(f"{source}:")
            self.value((*path, name), begin, indent, depth)

    def sequence(self, path: Path, indent: int, depth: int, *, inline: bool = False) -> None:
        for number in range(self.draw(st.integers(1, 4))):
            if number or not inline:
                self.gap(indent)
                self.write(" " * indent)
            begin = self.at
            self.write("-")
            self.value((*path, number), begin, indent, depth, dash=True)

    def value(self, path: Path, entry: int, indent: int, depth: int, *, dash: bool = False) -> None:
        kinds = ["scalar"] * 3 + ["null", "block text", "flow", "flow"] + ["mapping", "sequence"] * 2 * (depth > 0)
        kind = self.draw(st.sampled_from(kinds + ["alias"] * 3 * bool(self.known)))
        begin = self.at
        anchor = ""
        if kind == "null":
            self.end_line()
        elif kind in ("mapping", "sequence"):
            below = indent + (2 if dash else self.step if kind == "mapping" else self.offset)
            inline = dash and self.chance(2)
            self.write(" ")
            begin = self.at
            if not inline:
                anchor = self.anchor()
                self.end_line()
            getattr(self, kind)(path, below, depth - 1, inline=inline)
        else:
            self.write(" " * (1 if dash else self.draw(st.integers(1, 3))))
            anchor = self.anchor() if kind != "alias" else ""
            begin = self.at
            if kind == "alias":
                self.write(f"*{self.draw(st.sampled_from(self.known))}")
            elif kind == "scalar":
                self.scalar()
            elif kind == "flow":
                self.flow(path, indent + 2, depth)
            else:
                self.block_text(indent + 2)
            if kind != "block text":
                end = self.at
                self.end_line()
                self.document.places[path] = Place((begin, end), (entry, self.at), kind)
        self.document.places.setdefault(path, Place((begin, self.at), (entry, self.at), kind))
        if anchor:
            self.known.append(anchor)

    def scalar(self) -> None:
        number = self.number()
        sources = [
            f"v{number}",
            f"v{number} it's",
            f"'v{number} it''s'",
            f'"v{number}\\u0041 \\"x\\""',
            f"0x{number:X}F",
        ]
        self.token(self.draw(st.sampled_from([*sources, f"1{number}.50", f"${{V{number}}}x", f"'${{V{number}}}'"])))

    def block_text(self, indent: int) -> None:
        self.write(self.draw(st.sampled_from(["|", "|-", ">", ">-"])))
        self.end_line()
        for _ in range(self.draw(st.integers(1, 2))):
            self.write(" " * indent)
            self.token(f"text {self.number()}")
            self.write(self.line_end)

    def flow(self, path: Path, indent: int, depth: int) -> None:
        left, right = self.draw(st.sampled_from([("{", "}"), ("[", "]")]))
        count = self.draw(st.integers(0, 3))
        lines = count > 0 and self.chance(3)
        blank = self.draw(st.sampled_from(["", " "]))
        self.write(left + blank * (not lines))
        if lines:
            self.end_line()
        for number in range(count):
            self.write(" " * indent * lines)
            entry = self.at
            step: Any = number
            if left == "{":
                step, _ = self.key()
                self.write(f'"{step}":{blank}' if self.chance(3) else f"{step}: ")
            begin = self.at
            if depth > 0 and self.chance(4):
                self.flow((*path, step), indent + 2, depth - 1)
            else:
                self.token(
                    self.draw(st.sampled_from([f"v{self.number()}", f"'v{self.number()}, x'", f'"v{self.number()}"']))
                )
            end = self.at
            if number < count - 1 or self.chance(5):
                self.write("," + " " * (not lines and number < count - 1) * self.draw(st.integers(1, 2)))
            if lines:
                self.end_line()
            self.document.places[*path, step] = Place((begin, end), (entry, self.at if lines else end), "in brackets")
        self.write(" " * (indent - 2) * lines)
        self.write(blank * (not lines) * (count > 0) + right)


@st.composite
def documents(draw: st.DrawFn, *, anchors: bool = False) -> Document:
    writer = _Writer(draw, anchors=anchors)
    writer.write(draw(st.sampled_from(["", "", f"# The head.{writer.line_end}", f"---{writer.line_end}"])))
    writer.mapping((), 0, 3)
    writer.gap(0)
    document = writer.document
    last = max(document.places.values(), key=lambda place: place.value[1])
    if draw(st.booleans()) and last.kind != "block text":
        document.text = document.text.removesuffix(writer.line_end)
    return document


def within(data: Any, path: Path) -> Any:
    for step in path:
        data = data[step]
    return data


def patch_of(path: Path, value: Any) -> dict[str, Any]:
    """A merge patch that puts the value there: a list on the way to it is no way for a patch."""
    for step in reversed(path):
        value = {step: value}
    return dict(value)
