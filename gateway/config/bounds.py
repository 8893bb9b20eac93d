"""How much a config may stand for: levels, and values once every alias is written out.

A few hundred bytes of aliases of aliases stand for hundreds of millions of values, and a reader that makes them is busy
for as long as that takes. So they are counted on the parser's events, which cost nothing of the kind.
Other readers bound them too: SnakeYAML by the number of aliases, go-yaml by their share of what is decoded.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, ScalarEvent

from gateway.errors import ConfigError, Issue

DEEPEST = 100
MAX_VALUES = 50_000
"""Some five thousand accounts. The reader takes microseconds a value, and the writer ten times as many."""
LONG = 1_000
"""A text counts once more for each so many characters: whoever looks at it looks at all of them."""
SURELY_SHALLOW = 2_000


@dataclass(eq=False)
class _Open:
    """A collection whose end has not come yet: how much is in it, and how deep it goes."""

    values: int = 1
    levels: int = 0


def may_exceed(text: str) -> bool:
    """Whether the text must be looked at more closely: no alias, few brackets and short lines are surely within bounds."""
    lines = text.splitlines()
    brackets = text.count("[") + text.count("{")
    # A level takes a bracket, or a column of its line, and most of them take one at its beginning.
    deep = brackets + max(map(len, lines), default=0) > SURELY_SHALLOW
    deep = deep or max((len(line) - len(line.lstrip(" \t-?")) for line in lines), default=0) > DEEPEST
    return deep or most_values(text, len(lines)) > MAX_VALUES or ("&" in text and "*" in text)


def most_values(text: str, lines: int) -> int:
    """No fewer than the text has without its aliases: what parts them is counted, with what may be left out beside it.

    `{a, b}` has two values at a comma, the second of them empty; `[a: b]` has a mapping that nothing else shows.
    """
    return 1 + 2 * sum(map(text.count, "[{,?")) + sum(map(text.count, ":-")) + lines


def check_events(events: Iterable[Any]) -> None:
    """Raises ConfigError where what they stand for is nested too deeply, or in itself, or is too much."""
    whole = _Open(values=0)
    stack = [whole]
    anchors: dict[str | None, _Open] = {}
    for event in events:
        if isinstance(event, CollectionStartEvent):
            stack.append(_Open())
            anchors[event.anchor] = stack[-1]  # no alias means None
        elif isinstance(event, CollectionEndEvent):
            _add(stack[-2], stack.pop())
        elif isinstance(event, AliasEvent):
            meant = anchors.get(event.anchor) or _Open(levels=-1)  # of nothing: the reader will say so
            if meant in stack:
                raise _fault(event, "it is nested in itself")
            _add(stack[-1], meant)
        elif isinstance(event, ScalarEvent):
            anchors[event.anchor] = scalar = _Open(values=1 + len(event.value) // LONG, levels=-1)
            stack[-1].values += scalar.values
        if len(stack) + stack[-1].levels - 1 > DEEPEST:
            raise _fault(event, f"it is nested too deeply: more than {DEEPEST} levels")
        if sum(part.values for part in stack) > MAX_VALUES:
            raise _fault(event, f"it stands for more than {MAX_VALUES:,} values; a config has at most that many")


def _add(outer: _Open, inner: _Open) -> None:
    outer.values += inner.values
    outer.levels = max(outer.levels, inner.levels + 1)


def _fault(event: Any, message: str) -> ConfigError:
    return ConfigError([Issue("", message, event.start_mark.line + 1, event.start_mark.column + 1)])
