"""Make a config's text say something else by changing nothing but the values that differ.

An alias is one node of the text at several places, and data has places alone. So what is shared is written out in full
where it is changed, and stays shared elsewhere: the first alias that is left takes the anchor and the old value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import SequenceMatcher
from typing import Any

from gateway.config.cuts import Cuts
from gateway.config.entries import Added, Brackets, Rows
from gateway.config.merge import MANY, identity
from gateway.config.places import Alias, Mapping, Node, Scalar, Sequence, compose, is_merge, meant
from gateway.config.wording import UnwritableError, read_plainly, style_of, wording

_ANCHOR = re.compile(r"&\S+")
_TAG = re.compile(r"!\S*")
_PROPERTIES = re.compile(r"[&!]\S*(?:[ \t]+[&!]\S*)*")
_BLOCK_HEADER = re.compile(r"[|>][-+\d]*")
_UNKNOWN = object()
"""The name of a key that no patch can name."""


def spliced(text: str, old: dict[Any, Any], new: dict[Any, Any], *, ended: bool = False) -> str:
    """The text, which says `old`, changed to say `new`. `ended` gives it a line end where it had none.

    Raises UnwritableError, or what the YAML library raises; whoever calls looks at what the result says.
    """
    return _Splice(text).result(old, new, ended=ended)


class _Splice:
    def __init__(self, text: str) -> None:
        self._root, self._aliases = compose(text)
        self._wording = wording(text, self._root)
        self._cuts = Cuts(text, self._wording.line_end)
        self._text = self._cuts.text
        self._changed: set[Node] = set()
        in_brackets = self._root.entries if isinstance(self._root, Mapping) and self._root.brackets else []
        self._style = style_of(in_brackets[0][0]) if in_brackets else ""
        """The quote of every text, where the whole is JSON."""

    def result(self, old: Any, new: Any, *, ended: bool) -> str:
        self._become(self._root, old, new)
        self._keep_shared(old)
        return self._cuts.result(ended=ended)

    def _become(self, node: Node, old: Any, new: Any) -> bool:
        """Whether it had to be changed."""
        if old is new:
            return False
        if isinstance(node, Mapping) and not node.bare and isinstance(old, dict) and isinstance(new, dict):
            changed = self._mapping(node, old, new)
        elif isinstance(node, Sequence) and isinstance(old, list) and isinstance(new, list):
            changed = self._sequence(node, old, new)
        else:
            changed = identity(old) != identity(new)
            if changed:
                self._put(node, new)
        if changed and node.anchor:
            self._changed.add(node)
        return changed

    def _mapping(self, node: Mapping, old: dict[Any, Any], new: dict[Any, Any]) -> bool:
        names = [_name(key) for key, _ in node.entries]
        stays = [name is _UNKNOWN or name in new for name in names]
        changed = not all(stays)
        for name, (_, value) in zip(names, node.entries, strict=True):
            if name is not _UNKNOWN and name in new:
                changed |= self._become(value, old[name], new[name])
        own = set(names)
        # What is merged in is in `old` as well, and has no entry of its own.
        added = {
            key: value
            for key, value in new.items()
            if key not in own and (key not in old or identity(old[key]) != identity(value))
        }
        styles = {style_of(key) for key, _ in node.entries} or {self._style}
        style = styles.pop() if len(styles) == 1 else ""
        if added and self._unfolds(node):
            self._put(node, added)
        elif not added and all(stays):
            return changed
        elif node.brackets:
            texts = [(len(names), self._wording.flow_entry(key, value, style)) for key, value in added.items()]
            Brackets(self._cuts, node).arrange(stays, texts)
        else:
            entries = [self._wording.entry(*entry, self._cuts.column(node.begin), style) for entry in added.items()]
            self._arrange_rows(node, stays, [(len(names), self._cuts.chunk(lines)) for lines in entries], "{}")
        return True

    def _sequence(self, node: Sequence, old: list[Any], new: list[Any]) -> bool:
        before, after = [identity(item) for item in old], [identity(item) for item in new]
        if before == after:
            return False
        if self._unfolds(node):
            self._put(node, new)
            return True
        stays, added = [False] * len(old), []
        for place, i, j in _matches(before, after, old, new):
            if i is None:
                added.append((place, j))
            else:
                stays[i] = True
                self._become(node.items[i], old[i], new[j])
        rows = Rows(self._cuts, node)
        style = next((style_of(item) for item in node.items if style_of(item)), self._style)
        gone = {identity_: i for i, identity_ in enumerate(before) if not stays[i] and self._can_move(node, i)}
        texts = []
        for place, j in added:
            i = gone.pop(after[j], None)
            if i is not None:  # it stood elsewhere in the list
                span = (node.items[i].start, node.items[i].end) if node.brackets else rows.lines(i)
                texts.append((place, self._text[slice(*span)]))
            elif node.brackets:
                texts.append((place, self._wording.flow(new[j], style)))
            else:
                texts.append((place, self._cuts.chunk(self._wording.item(new[j], rows.column, style))))
        if node.brackets:
            Brackets(self._cuts, node).arrange(stays, texts)
        else:
            self._arrange_rows(node, stays, texts, "[]")
        return True

    def _can_move(self, node: Sequence, number: int) -> bool:
        """Whether the text of an entry says the same elsewhere: it is whole lines, and names nothing."""
        item = node.items[number]
        source = self._text[item.start : item.end]
        if any(sign in source for sign in "&*") or (node.brackets and len(source.splitlines()) > 1):
            return False
        return node.brackets or self._cuts.begins_line(item.entry)

    def _unfolds(self, node: Mapping | Sequence) -> bool:
        """Whether it is an empty pair of brackets, which lines can take the place of."""
        if node.flow or not node.brackets or self._text[node.begin + 1 : node.end - 1].strip():
            return False
        return node.entry >= 0 or (self._cuts.begins_line(node.start) and self._cuts.column(node.start) == 0)

    def _arrange_rows(self, node: Mapping | Sequence, stays: list[bool], added: Added, empty: str) -> None:
        rows = Rows(self._cuts, node)
        if not any(stays) and not added:
            if rows.inline or node.entry < 0:
                added = [(0, self._cuts.chunk([" " * rows.column + empty]))]
            else:
                opening = self._opening(node)
                self._cuts.cut(opening, opening, f" {empty}")
        rows.arrange(stays, added)

    # One value in the place of another

    def _put(self, node: Node, new: Any, anchor: str = "") -> None:
        named = f"&{anchor} " if anchor else ""
        if node.tagged:
            self._cut_property(_TAG, node)
        if node.flow or (node.entry < 0 and not self._cuts.begins_line(node.begin)):
            style = self._style or ("" if isinstance(new, (dict, list)) else style_of(node))
            text = named + self._wording.flow(new, style)
            self._cuts.cut(node.begin, node.end, self._blank_before(node.begin) + text)
            return
        # The whole is no entry of anything: as if behind a dash two columns before it.
        column, dash = (self._cuts.column(node.entry), node.dash) if node.entry >= 0 else (-2, True)
        in_block = self._in_block(node, new, column)
        head, *below = in_block or self._wording.block(new, column, dash=dash, style=style_of(node))
        if named and dash and isinstance(new, (dict, list)) and new:
            head, below = "", [" " * (column + 2) + head, *below]
        head = (named + head).rstrip(" ") if named else head
        if isinstance(node, (Mapping, Sequence)) and not node.brackets:
            self._put_for_block(node, head, below)
            return
        begin, end = node.begin if head or node.anchor or node.tagged else node.after, node.end
        if isinstance(node, Scalar) and (header := _BLOCK_HEADER.match(self._text, node.begin)):
            end = header.end()
            self._cuts.cut(self._cuts.next_line(end), self._cuts.next_line(node.end))
        self._cuts.cut(begin, end, self._blank_before(begin) + head if head else "")
        self._cuts.put(self._cuts.next_line(node.end), below)

    def _in_block(self, node: Node, new: Any, column: int) -> list[str] | None:
        """A text in the place of a block of text is written as one, and as far indented."""
        if not isinstance(node, Scalar) or node.style not in ("|", ">"):
            return None
        source = self._text[self._cuts.next_line(node.begin) : node.end].lstrip("\r\n")
        indent = len(source) - len(source.lstrip(" "))
        return self._wording.block_text(new, node.style, indent or column + 2)

    def _put_for_block(self, node: Mapping | Sequence, head: str, below: list[str]) -> None:
        rows = Rows(self._cuts, node)
        if rows.inline:
            rows.replace(self._cuts.chunk([head, *below]))
            return
        opening = self._opening(node)
        self._cuts.cut(opening, opening, f" {head}" if head else "")
        rows.replace(self._cuts.chunk(below))

    def _blank_before(self, at: int) -> str:
        return "" if at == 0 or self._text[at - 1].isspace() or self._text[at - 1] in "[{," else " "

    def _opening(self, node: Node) -> int:
        """Where the value of a block begins: after what introduces it, and its anchor and tag."""
        found = _PROPERTIES.match(self._text, node.start) if node.anchor or node.tagged else None
        return found.end() if found else node.after

    # Anchors

    def _keep_shared(self, old: Any) -> None:
        """What aliases stand for stays what it was, whatever happened to the text that they are aliases of."""
        is_gone = self._cuts.gone()
        left: dict[Node, list[Alias]] = {}
        for alias in self._aliases:
            if not is_gone(alias.start):
                left.setdefault(alias.target, []).append(alias)
        values: dict[Node, Any] = {}
        for target, aliases in left.items():
            gone = is_gone(target.start)
            if not gone and target not in self._changed:
                continue
            if not gone and any(alias.merges for alias in aliases):
                raise UnwritableError  # whoever merges it in is meant to get the new value
            if not gone:
                self._cut_property(_ANCHOR, target)
            values = values or self._values(old)
            self._put(aliases[0], values[target], target.anchor or "")

    def _cut_property(self, pattern: re.Pattern[str], node: Node) -> None:
        """With the blanks before it, or else those behind it."""
        found = pattern.search(self._text, node.start)
        if found:
            begin, end = found.span()
            before = self._cuts.blanks_before(begin)
            self._cuts.cut(before, end if before < begin else self._cuts.blanks_behind(end))

    def _values(self, old: Any) -> dict[Node, Any]:
        """What each node says; not those that are merged in, which have no place in data."""
        found: dict[Node, Any] = {}
        pending = [(self._root, old)]
        while pending:
            node, value = pending.pop()
            found[node] = value
            if isinstance(node, Mapping) and isinstance(value, dict):
                named = [(_name(key), item) for key, item in node.entries]
                pending += [(item, value[name]) for name, item in named if name is not _UNKNOWN]
            elif isinstance(node, Sequence) and isinstance(value, list):
                pending += zip(node.items, value, strict=True)
        return found


def _name(key: Node) -> Any:
    """A key as it is in data."""
    scalar = meant(key)
    if is_merge(key) or not isinstance(scalar, Scalar) or scalar.tagged:
        return _UNKNOWN
    return scalar.value if scalar.style else read_plainly(scalar.value)


def _matches(
    before: list[Any], after: list[Any], old: list[Any], new: list[Any]
) -> Iterator[tuple[int, int | None, int]]:
    """For each new entry the number that an old one before it has, that of the old one that it is or was, and its own."""
    for kind, i1, i2, j1, j2 in _differences(before, after):
        if kind == "equal":
            yield from zip(range(i1, i2), range(i1, i2), range(j1, j2), strict=True)
        elif kind != "delete":
            place, pairs = i1, _pairs(old[i1:i2], new[j1:j2]) if kind == "replace" else {}
            for j in range(j1, j2):
                i = i1 + pairs[j - j1] if j - j1 in pairs else None
                place = place if i is None else i + 1
                yield place, i, j


def _differences(old: list[Any], new: list[Any]) -> list[tuple[str, int, int, int, int]]:
    """As difflib tells them. It takes the square of the length at worst: where that is too long, all in the middle differs."""
    if len(old) * len(new) <= MANY:
        return list(SequenceMatcher(None, old, new, autojunk=False).get_opcodes())
    most = min(len(old), len(new))
    begin = next((n for n in range(most) if old[n] != new[n]), most)
    end = next((n for n in range(most - begin) if old[-1 - n] != new[-1 - n]), most - begin)
    return [
        ("equal", 0, begin, 0, begin),
        ("replace", begin, len(old) - end, begin, len(new) - end),
        ("equal", len(old) - end, len(old), len(new) - end, len(new)),
    ]


def _pairs(old: list[Any], new: list[Any]) -> dict[int, int]:
    """Which of the new entries are which of the old ones, changed: by number, in their order."""
    if len(old) == len(new):
        kinds = (dict, list)
        same = [type(a) is type(b) and type(a) in kinds for a, b in zip(old, new, strict=True)]
        return {number: number for number, paired in enumerate(same) if paired}
    pairs: dict[int, int] = {}
    begin = 0
    for j, value in enumerate(new if len(old) * len(new) <= MANY else ()):
        likes = [(_likeness(old[i], value), -i) for i in range(begin, len(old))]
        likeness, i = max(likes, default=(0, 0))
        if likeness:
            pairs[j] = -i
            begin = 1 - i
    return pairs


def _likeness(old: Any, new: Any) -> int:
    """How many fields two mappings have in common."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return 0
    return sum(key in new and identity(new[key]) == identity(value) for key, value in old.items())
