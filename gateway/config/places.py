"""Where each value stands in a config's text: a tree of places, out of the parser's events. Offsets are in characters.

The events of the quick reader come with exact places and cost a twentieth of what a tree that remembers its text costs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml.events import (
    AliasEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from gateway.config.file import by_yaml, check_bounds, text_of
from gateway.errors import ConfigError, Issue

BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
"""What the quick reader takes for the end of a line."""
_GAP = re.compile("(?:[ \t\n\r\x85\u2028\u2029\ufeff]|#[^\n\r\x85\u2028\u2029]*)*")
"""What may stand between two tokens: blanks, line ends, comments."""
_PROPERTY = re.compile(r"[&!]\S*")
_KEEPS = re.compile(r"[|>]\d*\+")
"""How a block text begins whose empty lines at the end are part of it."""


@dataclass(eq=False, slots=True, kw_only=True)
class Node:
    """A value, and where it stands. `start` is with its anchor and tag, `begin` without."""

    start: int
    begin: int
    end: int
    """A block collection ends with its last value, a block text with its last line."""
    entry: int
    """Where the entry begins that it is the value of: its key, or its dash. -1 for the whole."""
    after: int
    """Where what introduces it ends: `:`, `-`, `,`, a bracket."""
    flow: bool
    """Whether it stands within brackets."""
    dash: bool = False
    """Whether it is an entry of a block list."""
    anchor: str | None = None
    tagged: bool = False


@dataclass(eq=False, slots=True, kw_only=True)
class Scalar(Node):
    value: str
    style: str
    """The quote, `|` or `>`; "" for a plain one."""


@dataclass(eq=False, slots=True, kw_only=True)
class Mapping(Node):
    brackets: bool
    bare: bool = False
    """Whether it is the one pair of a list's entry that is written without brackets: [a: 1]."""
    entries: list[tuple[Node, Node]] = field(default_factory=list)


@dataclass(eq=False, slots=True, kw_only=True)
class Sequence(Node):
    brackets: bool
    items: list[Node] = field(default_factory=list)


@dataclass(eq=False, slots=True, kw_only=True)
class Alias(Node):
    target: Node
    merges: bool = False
    """Whether it is what a merge key (<<) takes in."""


def compose(text: str) -> tuple[Node, list[Alias]]:
    """The places of a text within bounds, and its aliases in their order. Raises ConfigError, or what the YAML library raises."""
    composer = _Composer(text)
    if composer.is_empty:
        raise ConfigError([Issue("", "it is empty")])
    return composer.node(entry=-1, after=0, flow=False), composer.aliases


def scalars(raw: bytes) -> dict[str, tuple[int, int, str]]:
    """Every scalar of the text by path: where it begins and ends, and its value. Raises ConfigError, or what the YAML library raises."""
    found: dict[str, tuple[int, int, str]] = {}
    text = text_of(raw)
    check_bounds(text)
    pending: list[tuple[str, Node]] = [("", compose(text)[0])]
    while pending:
        path, node = pending.pop()
        node = meant(node)
        if isinstance(node, Scalar):
            found[path] = (node.begin, node.end, node.value)
        pending += [(f"{path}.{step}".lstrip("."), value) for step, value in _children(node)]
    return found


def _children(node: Node) -> Iterator[tuple[Any, Node]]:
    if isinstance(node, Mapping):
        for key, value in node.entries:
            if isinstance(name := meant(key), Scalar):
                yield name.value, value
    elif isinstance(node, Sequence):
        yield from enumerate(node.items)


def meant(node: Node) -> Node:
    """The node itself, or what it is an alias of."""
    return node.target if isinstance(node, Alias) else node


def is_merge(key: Node) -> bool:
    return isinstance(key, Scalar) and key.value == "<<" and key.style == "" and not key.tagged


def skip(text: str, at: int) -> int:
    """Where the next token begins."""
    gap = _GAP.match(text, at)
    return gap.end() if gap else at


class _Composer:
    def __init__(self, text: str) -> None:
        self.aliases: list[Alias] = []
        self._text = text
        self._anchors: dict[str, Node] = {}
        events: list[Any] = by_yaml(lambda yaml: list(yaml.parse(text)), text)
        kinds = (ScalarEvent, AliasEvent, MappingStartEvent, SequenceStartEvent, MappingEndEvent, SequenceEndEvent)
        values = [event for event in events if isinstance(event, kinds)]
        self.is_empty = not values
        self._events = iter(values)

    def node(self, *, entry: int, after: int, flow: bool, dash: bool = False, event: Any = None) -> Node:
        event = event or next(self._events)
        start, end = event.start_mark.index, event.end_mark.index
        anchor, tagged = event.anchor, getattr(event, "tag", None) is not None
        begin = self._without(event, (anchor is not None) + tagged)
        place: dict[str, Any] = {"start": start, "begin": begin, "end": end, "entry": entry, "after": after}
        place |= {"flow": flow, "dash": dash, "anchor": anchor, "tagged": tagged}
        if isinstance(event, AliasEvent):
            alias = Alias(**place | {"anchor": None}, target=self._anchors[anchor])
            self.aliases.append(alias)
            return alias
        node: Node
        if isinstance(event, ScalarEvent):
            node = self._scalar(Scalar(**place, value=event.value, style=_style(event)))
        elif isinstance(event, MappingStartEvent):
            node = Mapping(**place, brackets=bool(event.flow_style))
        else:
            node = Sequence(**place, brackets=bool(event.flow_style))
        if anchor is not None:
            self._anchors[anchor] = node
        if isinstance(node, Mapping):
            self._mapping(node)
        elif isinstance(node, Sequence):
            self._sequence(node)
        return node

    def _without(self, event: Any, properties: int) -> int:
        """Where it begins after its anchor and its tag."""
        at: int = event.start_mark.index
        for _ in range(0 if isinstance(event, AliasEvent) else properties):
            found = _PROPERTY.match(self._text, at, max(at, event.end_mark.index))
            at = skip(self._text, found.end()) if found else at
        return at

    def _scalar(self, node: Scalar) -> Scalar:
        """With the end of what can be seen of it; the parser says where the next begins."""
        source = self._text[node.begin : node.end]
        if node.style == "" and node.value == "":
            node.begin = node.end = max(node.after, node.end) if node.anchor or node.tagged else node.after
            node.start = min(node.start, node.begin)
        elif node.style in ("|", ">"):
            if not _KEEPS.match(source):
                node.end = node.begin + len(source.rstrip(" \t\n\r\x85\u2028\u2029"))
            elif BREAK.match(source[-1:]):
                node.end -= 2 if source.endswith("\r\n") else 1
        return node

    def _mapping(self, node: Mapping) -> None:
        flow = node.flow or node.brackets
        node.bare = node.brackets and not self._text.startswith("{", node.begin)
        at = node.begin + (node.brackets and not node.bare)
        while not isinstance(event := next(self._events), MappingEndEvent):
            begin = skip(self._text, at)
            begin = begin if self._text.startswith("?", begin) else event.start_mark.index
            key = self.node(entry=begin, after=begin, flow=flow, event=event)
            value = self.node(entry=begin, after=self._past(key.end, ":"), flow=flow)
            if is_merge(key):
                for part in value.items if isinstance(value, Sequence) else (value,):
                    if isinstance(part, Alias):
                        part.merges = True
            node.entries.append((key, value))
            at = self._past(value.end, ",") if flow and not node.bare else value.end
        if node.brackets and not node.bare:
            node.end = event.end_mark.index
        else:
            node.begin, node.end = node.entries[0][0].entry, at

    def _sequence(self, node: Sequence) -> None:
        flow = node.flow or node.brackets
        at = node.begin + 1 if node.brackets else node.begin
        while not isinstance(event := next(self._events), SequenceEndEvent):
            begin = event.start_mark.index if flow else skip(self._text, at)
            after = at if flow else self._past(at, "-")
            item = self.node(entry=begin, after=after, flow=flow, dash=not flow, event=event)
            node.items.append(item)
            at = self._past(item.end, ",") if flow else item.end
        if node.brackets:
            node.end = event.end_mark.index
        else:
            node.begin, node.end = node.items[0].entry, at

    def _past(self, at: int, sign: str) -> int:
        """Behind the sign that comes next; where it does not come, the same place."""
        found = skip(self._text, at)
        return found + 1 if self._text.startswith(sign, found) else at


def _style(event: Any) -> str:
    return event.style if event.style in ("'", '"', "|", ">") else ""
