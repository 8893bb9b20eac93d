"""How a new value is written into a config's text: quoted where the reader needs it, indented as the rest of the file is."""

from __future__ import annotations

import datetime as dt
import json
import math
import re
from dataclasses import dataclass
from functools import cache
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.nodes import ScalarNode

from gateway.config.places import BREAK, Mapping, Node, Scalar, Sequence

_STRING = "tag:yaml.org,2002:str"
_PLAIN = re.compile(r"(?!.*(?:: | #))[^\s\-?:,\[\]{}#&*!|>'\"%@`](?:.*[^\s:])?")
"""A text that needs no quotes, if it does not look like a number or the like."""
_NOT_WITHIN_BRACKETS = re.compile(r"[,\[\]{}:?]")


class UnwritableError(Exception):
    """There is no text for this value."""


@dataclass(frozen=True)
class Wording:
    """The ways of one file. Columns count from 0, and are those of the key or the dash that a value stands behind."""

    line_end: str
    mapping_indent: int
    list_indent: int

    def scalar(self, value: Any, style: str = "", *, flow: bool) -> str:
        """`style` is the quote to use where the value allows it. Raises UnwritableError."""
        if isinstance(value, str):
            return self._string(value, style, flow=flow)
        if value is None:
            return "null"
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, float) and not math.isfinite(value):
            return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
        if isinstance(value, (int, float, dt.date)):
            return str(value)
        raise UnwritableError

    def _string(self, value: str, style: str, *, flow: bool) -> str:
        if style == '"' or not value.isprintable():
            return double_quoted(value)
        if style != "'" and _needs_no_quotes(value, flow=flow):
            return value
        return "'" + value.replace("'", "''") + "'"

    def flow(self, value: Any, style: str = "") -> str:
        """On one line."""
        if isinstance(value, dict):
            return "{" + ", ".join(self.flow_entry(key, item, style) for key, item in value.items()) + "}"
        if isinstance(value, list):
            return "[" + ", ".join(self.flow(item, style) for item in value) + "]"
        return self.scalar(value, style, flow=True)

    def flow_entry(self, key: Any, value: Any, style: str) -> str:
        return f"{self.scalar(key, style, flow=True)}: {self.flow(value, style)}"

    def block(self, value: Any, column: int, *, dash: bool = False, style: str = "") -> list[str]:
        """What follows a key or a dash: the rest of its line, and the lines below it."""
        if isinstance(value, dict) and value:
            below = column + (2 if dash else self.mapping_indent)
            lines = [line for key, item in value.items() for line in self.entry(key, item, below)]
        elif isinstance(value, list) and value:
            below = column + (2 if dash else self.list_indent)
            lines = [line for item in value for line in self.item(item, below)]
        else:
            return [self.flow(value) if isinstance(value, (dict, list)) else self.scalar(value, style, flow=False)]
        return [lines[0][below:], *lines[1:]] if dash else ["", *lines]

    def block_text(self, value: Any, style: str, column: int) -> list[str] | None:
        """A text as a block (`|`, `>`) whose lines begin at the column; None where it is no text for one."""
        if not isinstance(value, str) or value[:1] in ("", " ", "\n") or value.endswith("\n\n"):
            return None
        lines = value.removesuffix("\n").split("\n")
        if not all(line.isprintable() for line in lines):
            return None
        sign = style if len(lines) == 1 else "|"
        return [sign + "-" * (not value.endswith("\n")), *(" " * column * bool(line) + line for line in lines)]

    def entry(self, key: Any, value: Any, column: int, style: str = "") -> list[str]:
        """The lines of a mapping's entry."""
        head, *below = self.block(value, column)
        return [f"{' ' * column}{self.scalar(key, style, flow=False)}:{' ' * bool(head)}{head}", *below]

    def item(self, value: Any, column: int, style: str = "") -> list[str]:
        """The lines of a list's entry."""
        head, *below = self.block(value, column, dash=True, style=style)
        return [f"{' ' * column}- {head}", *below]


def wording(text: str, root: Node) -> Wording:
    """As the file itself does it, where it shows how."""
    found = BREAK.search(text)
    line_end = found[0] if found and found[0] in ("\r\n", "\r") else "\n"
    indents: dict[type[Node], int] = {}
    pending = [root]
    while pending and len(indents) < 2:
        node = pending.pop()
        if isinstance(node, Mapping):
            pending += [value for _, value in reversed(node.entries)]
        elif isinstance(node, Sequence):
            pending += reversed(node.items)
        shows = (
            isinstance(node, (Mapping, Sequence)) and not (node.flow or node.brackets or node.dash) and node.entry >= 0
        )
        if shows and type(node) not in indents:
            indents[type(node)] = _column(text, node.begin) - _column(text, node.entry)
    return Wording(line_end, indents.get(Mapping, 2), indents.get(Sequence, 0))


def _column(text: str, at: int) -> int:
    return len(BREAK.split(text[:at])[-1])


def style_of(node: Node | None) -> str:
    """The quote of a text, to be used for its neighbours."""
    return node.style if isinstance(node, Scalar) and node.style in ("'", '"') else ""


def double_quoted(text: str) -> str:
    """As both JSON and YAML read it, but for what is beyond them both: half a character."""
    return "".join(map(_escaped, json.dumps(text, ensure_ascii=False)))


def read_plainly(text: str) -> Any:
    """What a text without quotes means."""
    return text if _resolver().resolve(ScalarNode, text, (True, False)) == _STRING else YAML(typ="safe").load(text)


def _needs_no_quotes(value: str, *, flow: bool) -> bool:
    if not _PLAIN.fullmatch(value) or (flow and _NOT_WITHIN_BRACKETS.search(value)):
        return False
    return bool(_resolver().resolve(ScalarNode, value, (True, False)) == _STRING)


def _escaped(character: str) -> str:
    """What an editor would not show is written in a way that it does; half a character can be written in no way."""
    code = ord(character)
    if character.isprintable() or 0xD800 <= code <= 0xDFFF:
        return character
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


@cache
def _resolver() -> Any:
    return YAML(typ="safe").resolver
