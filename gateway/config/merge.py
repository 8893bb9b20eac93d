"""A merge patch on a tree that remembers its text (comments, order, quotes, anchors), and the same on plain data.

An alias is one node of the text at several places. A patch names a place, so what is shared is written out in full where
it is changed, and stays shared elsewhere.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable
from copy import deepcopy
from typing import Any

from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.scalarbool import ScalarBoolean
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from gateway.errors import Issue


class Merge:
    """RFC 7396. With `replace_paths` a list loses entries only where its path is named there; `issues` has where it did.

    `quoted` puts every new text in quotes.
    """

    def __init__(self, tree: Any, replace_paths: Collection[str] | None, *, quoted: bool = False) -> None:
        self._tree = tree
        self._quoted = quoted
        self._replace_paths = replace_paths
        self._shared = _shared(tree)
        self.issues: list[Issue] = []

    def apply(self, patch: dict[str, Any]) -> None:
        self._into(self._tree, patch, "")

    def _into(self, tree: Any, patch: dict[str, Any], path: str) -> None:
        for key, value in patch.items():
            place = f"{path}.{key}".lstrip(".")
            old = tree.get(key)
            new_key = key if key in tree else self._new(key)
            if value is None:
                tree.pop(key, None)
            elif isinstance(value, dict):
                tree[new_key] = self._own(old) if isinstance(old, dict) else {}
                self._into(tree[key], value, place)
            elif self._may_not_lose(place) and _loses_entries(old, value):
                why = "the patch takes entries out of this list; name its path in replacePaths"
                self.issues.append(Issue(place, why))
            elif key in tree and identity(old) == identity(value):
                continue
            elif isinstance(old, list) and isinstance(value, list):
                tree[key] = self._own(old)
                self._replace_entries(tree[key], value)
            else:
                tree[new_key] = self._new(value)

    def _may_not_lose(self, place: str) -> bool:
        return self._replace_paths is not None and place not in self._replace_paths

    def _own(self, value: Any) -> Any:
        """The value itself, or a copy of it that no other place shares."""
        return _unshared(value) if id(value) in self._shared else value

    def _replace_entries(self, old: Any, new: list[Any]) -> None:
        """In place, and with the entries that stay: they and the list keep their style and their comments."""
        stay: dict[Hashable, list[Any]] = {}
        for entry in reversed(old):
            stay.setdefault(identity(entry), []).append(entry)
        # Each of them once: at two places it would become an anchor.
        old[:] = [stay[key].pop() if stay.get(key := identity(entry)) else self._new(entry) for entry in new]

    def _new(self, value: Any) -> Any:
        """A value of the patch, on its own: nothing that the patch shares becomes an anchor."""
        if isinstance(value, dict):
            return {self._new(key): self._new(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._new(item) for item in value]
        return DoubleQuotedScalarString(value) if self._quoted and isinstance(value, str) else value


def merged(plain: Any, patch: dict[str, Any]) -> dict[Any, Any]:
    """RFC 7396 on plain data: what a patch of the text must come to."""
    result = dict(plain) if isinstance(plain, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value) if isinstance(value, dict) else value
    return result


def identity(value: Any) -> Hashable:
    """Equal for values that are the same to a reader of the config. `1`, `1.0` and `true` are three."""
    if isinstance(value, dict):
        return "mapping", frozenset((identity(key), identity(item)) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return "list", tuple(map(identity, value))
    if isinstance(value, (bool, ScalarBoolean)):
        return "bool", bool(value)
    for kind in (int, float, str):
        if isinstance(value, kind):
            return kind.__name__, repr(kind(value))  # as text: a NaN is none other than itself
    return "other", str(value)


def _loses_entries(old: Any, new: Any) -> bool:
    if not isinstance(old, list):
        return False
    return not isinstance(new, list) or not set(map(identity, old)) <= set(map(identity, new))


def _shared(tree: Any) -> frozenset[int]:
    """The collections that can be reached in more than one way, and all that is below them."""
    seen: set[int] = set()
    shared: set[int] = set()
    pending = [(tree, False)]
    while pending:
        value, below = pending.pop()
        if not isinstance(value, (dict, list)) or id(value) in shared:
            continue
        below = below or id(value) in seen
        (shared if below else seen).add(id(value))
        pending += [(item, below) for item in (value.values() if isinstance(value, dict) else value)]
    return frozenset(shared)


def _unshared(value: Any) -> Any:
    """A copy whose every collection is its own, with the comments and the style of the original and without its anchors."""
    copy: Any
    if isinstance(value, dict):
        copy = CommentedMap() if isinstance(value, CommentedMap) else {}
        copy.update((key, _unshared(item)) for key, item in value.items())
    elif isinstance(value, list):
        copy = CommentedSeq() if isinstance(value, CommentedSeq) else []
        copy.extend(_unshared(item) for item in value)
    else:
        return value
    if isinstance(value, (CommentedMap, CommentedSeq)):
        copy._yaml_comment, copy._yaml_format = deepcopy(value.ca), value.fa  # noqa: SLF001 - it offers no other way
    return copy
