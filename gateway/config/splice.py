"""Make a config's text say something else by changing nothing but the values that differ.

An alias is one node of the text at several places, and data has places alone. So what is shared is written out in full
where it is changed, and stays shared elsewhere: the first alias that is left takes the anchor and the old value.
"""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from typing import Any

from gateway.config.cuts import Cuts
from gateway.config.entries import Added, Brackets, Rows
from gateway.config.merge import identity
from gateway.config.places import BREAK, Alias, Mapping, Node, Scalar, Sequence, compose, is_merge, meant
from gateway.config.wording import UnwritableError, read_plainly, style_of, wording

_ANCHOR = re.compile(r"&\S+[ \t]*")
_TAG = re.compile(r"!\S*[ \t]*")
_PROPERTIES = re.compile(r"[&!]\S*(?:[ \t]+[&!]\S*)*")
_BLOCK_HEADER = re.compile(r"[|>][-+\d]*")
_UNKNOWN = object()
"""The name of a key that no patch can name."""


def spliced(text: str, old: dict[Any, Any], new: dict[Any, Any], *, quoted: bool = False) -> str:
    """The text, which says `old`, changed to say `new`. `quoted` puts every new text in quotes.

    Raises UnwritableError, ValueError, or what the YAML library raises; whoever calls looks at what the result says.
    """
    return _Splice(text, quoted=quoted).result(old, new)


class _Splice:
    def __init__(self, text: str, *, quoted: bool) -> None:
        self._root, self._aliases = compose(text)
        self._wording = wording(text, self._root, quoted=quoted)
        self._cuts = Cuts(text, self._wording.line_end)
        self._text = self._cuts.text
        self._changed: set[Node] = set()
        is_json = isinstance(self._root, Mapping) and self._root.brackets and self._root.entries
        self._style = style_of(self._root.entries[0][0]) if is_json and isinstance(self._root, Mapping) else ""

    def result(self, old: Any, new: Any) -> str:
        self._become(self._root, old, new)
        self._keep_shared(old)
        return self._cuts.result()

    def _become(self, node: Node, old: Any, new: Any) -> bool:
        """Whether it had to be changed."""
        if old is new:
            return False
        if isinstance(node, Mapping) and isinstance(old, dict) and isinstance(new, dict):
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
        elif node.brackets:
            texts = [(len(names), self._wording.flow_entry(key, value, style)) for key, value in added.items()]
            Brackets(self._cuts, node).arrange(stays, texts)
        elif added or not all(stays):
            entries = [self._wording.entry(*entry, self._cuts.column(node.begin), style) for entry in added.items()]
            self._arrange_rows(node, stays, [(len(names), self._cuts.chunk(lines)) for lines in entries], "{}")
        return changed or bool(added)

    def _sequence(self, node: Sequence, old: list[Any], new: list[Any]) -> bool:
        before, after = [identity(item) for item in old], [identity(item) for item in new]
        if before == after:
            return False
        if self._unfolds(node):
            self._put(node, new)
            return True
        stays, added = [False] * len(old), []
        for kind, i1, i2, j1, j2 in SequenceMatcher(None, before, after).get_opcodes():
            pairs = dict(zip(range(j1, j2), range(i1, i2), strict=False)) if kind == "equal" else {}
            if kind == "replace":
                pairs = {j1 + j: i1 + i for i, j in _pairs(old[i1:i2], new[j1:j2])}
            place = i1
            for j in range(j1, j2):
                if j in pairs:
                    stays[pairs[j]], place = True, pairs[j] + 1
                    self._become(node.items[pairs[j]], old[pairs[j]], new[j])
                else:
                    added.append((place, j))
        gone = {identity_: i for i, identity_ in enumerate(before) if not stays[i] and self._can_move(node, i)}
        texts = [(place, self._item(node, new[j], gone.pop(after[j], None))) for place, j in added]
        if node.brackets:
            Brackets(self._cuts, node).arrange(stays, texts)
        else:
            self._arrange_rows(node, stays, texts, "[]")
        return True

    def _item(self, node: Sequence, value: Any, moved: int | None) -> str:
        """The text of a list's new entry: as it stood elsewhere in the list, or as its neighbours are written."""
        if moved is not None:
            item = node.items[moved]
            span = (item.start, item.end) if node.brackets else Rows(self._cuts, node).lines(moved)
            return self._text[slice(*span)]
        style = next((style_of(item) for item in node.items if style_of(item)), self._style)
        if node.brackets:
            return self._wording.flow(value, style)
        return self._cuts.chunk(self._wording.item(value, self._cuts.column(node.begin), style))

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
        if node.tagged and (tag := _TAG.search(self._text, node.start, node.begin)):
            self._cuts.cut(*tag.span())
        if node.flow or (node.entry < 0 and not self._cuts.begins_line(node.begin)):
            style = self._style or ("" if isinstance(new, (dict, list)) else style_of(node))
            text = named + self._wording.flow(new, style)
            self._cuts.cut(node.begin, node.end, self._blank_before(node.begin) + text)
            return
        # The whole is no entry of anything: as if behind a dash two columns before it.
        column, dash = (self._cuts.column(node.entry), node.dash) if node.entry >= 0 else (-2, True)
        head, *below = self._wording.block(new, column, dash=dash, style=style_of(node))
        if named and dash and below:
            head, below = "", [" " * (column + 2) + head, *below]
        head = (named + head).rstrip(" ") if named else head
        if isinstance(node, (Mapping, Sequence)) and not node.brackets:
            self._put_for_block(node, head, below)
        elif isinstance(node, Scalar) and (header := _BLOCK_HEADER.match(self._text, node.begin)):
            self._cuts.cut(*header.span(), head)
            self._cuts.cut(self._cuts.next_line(node.begin), self._cuts.next_line(node.end))
            self._cuts.put(self._cuts.next_line(node.end), below)
        else:
            begin = node.begin if head or node.anchor or node.tagged else node.after
            self._cuts.cut(begin, node.end, self._blank_before(begin) + head if head else "")
            self._cuts.put(self._cuts.next_line(node.end), below)

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
        left: dict[Node, list[Alias]] = {}
        for alias in self._aliases:
            if not self._cuts.is_gone(alias.start):
                left.setdefault(alias.target, []).append(alias)
        for target, aliases in left.items():
            gone = self._cuts.is_gone(target.start)
            if not gone and target not in self._changed:
                continue
            if not gone and any(alias.merges for alias in aliases):
                raise UnwritableError  # whoever merges it in is meant to get the new value
            if not gone:
                self._cut_anchor(target)
            self._put(aliases[0], self._value_of(target, old), target.anchor or "")

    def _cut_anchor(self, node: Node) -> None:
        found = _ANCHOR.search(self._text, node.start)
        if found:
            begin, end = found.span()
            at_line_end = BREAK.match(self._text, end)
            self._cuts.cut(len(self._text[:begin].rstrip(" \t")) if at_line_end else begin, end)

    def _value_of(self, target: Node, old: Any) -> Any:
        pending = [(self._root, old)]
        while pending:
            node, value = pending.pop()
            if node is target:
                return value
            if isinstance(node, Mapping) and isinstance(value, dict):
                named = [(_name(key), item) for key, item in node.entries]
                pending += [(item, value[name]) for name, item in named if name is not _UNKNOWN]
            elif isinstance(node, Sequence) and isinstance(value, list):
                pending += zip(node.items, value, strict=True)
        raise UnwritableError


def _name(key: Node) -> Any:
    """A key as it is in data."""
    scalar = meant(key)
    if is_merge(key) or not isinstance(scalar, Scalar) or scalar.tagged:
        return _UNKNOWN
    return scalar.value if scalar.style else read_plainly(scalar.value)


def _pairs(old: list[Any], new: list[Any]) -> list[tuple[int, int]]:
    """Which of the new entries are old ones that were changed, and not others: by number, in their order."""
    if len(old) == len(new):
        kinds = (dict, list)
        return [
            (n, n) for n, (a, b) in enumerate(zip(old, new, strict=True)) if type(a) is type(b) and type(a) in kinds
        ]
    pairs, begin = [], 0
    for j, value in enumerate(new):
        likes = [(_likeness(old[i], value), -i) for i in range(begin, len(old))]
        likeness, i = max(likes, default=(0, 0))
        if likeness:
            pairs.append((-i, j))
            begin = 1 - i
    return pairs


def _likeness(old: Any, new: Any) -> int:
    """How many fields two mappings have in common."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return 0
    return sum(key in new and identity(new[key]) == identity(value) for key, value in old.items())
