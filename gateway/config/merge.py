"""A merge patch on plain data: what the text has to say after it, and what it must not lose."""

from __future__ import annotations

from collections.abc import Collection, Hashable
from typing import Any

from gateway.errors import Issue
from gateway.redact import MARK

MANY = 250_000
"""Pairs of entries of two lists that are compared each with each: some tenths of a second."""


def merged(plain: Any, patch: dict[str, Any]) -> dict[Any, Any]:
    """RFC 7396. What the patch does not name is the same object in the result."""
    result = dict(plain) if isinstance(plain, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value) if isinstance(value, dict) else value
    return result


def losses(plain: Any, patch: dict[str, Any], replace_paths: Collection[str], path: str = "") -> list[Issue]:
    """Lists that would lose entries, and whose path is not among those where that is meant. A null is plain enough."""
    found = []
    for key, value in patch.items():
        place = f"{path}.{key}".lstrip(".")
        old = plain.get(key) if isinstance(plain, dict) else None
        if value is not None and place not in replace_paths and _loses_entries(old, value):
            why = "the patch takes entries out of this list; name its path in replacePaths"
            found.append(Issue(place, why))
        elif isinstance(value, dict):
            found += losses(old, value, replace_paths, place)
    return found


def _loses_entries(old: Any, new: Any) -> bool:
    if not isinstance(old, list):
        return False
    return not isinstance(new, list) or not set(map(identity, old)) <= set(map(identity, new))


def with_kept_secrets(new: Any, old: Any) -> Any:
    """A mark that came back stands for what is there."""
    if new is old or not _has_mark(new):
        return new
    if isinstance(new, dict) and isinstance(old, dict):
        return {key: with_kept_secrets(value, old.get(key)) for key, value in new.items()}
    if isinstance(new, list) and isinstance(old, list):
        return [with_kept_secrets(value, _before(value, number, new, old)) for number, value in enumerate(new)]
    return old if new == MARK and old is not None and not isinstance(old, (dict, list)) else new


def _has_mark(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_mark, value.values()))
    return any(map(_has_mark, value)) if isinstance(value, list) else isinstance(value, str) and value == MARK


def _before(value: Any, number: int, new: list[Any], old: list[Any]) -> Any:
    """The entry that this one was: the same but for marks; else, in a list that is as long as it was, the one at its place."""
    if _has_mark(value) and len(old) * len(new) <= MANY:
        for entry in old:
            if identity(with_kept_secrets(value, entry)) == identity(entry):
                return entry
    return old[number] if len(old) == len(new) else None


def identity(value: Any) -> Hashable:
    """Equal for values that are the same to a reader of the config. `1`, `1.0` and `true` are three."""
    if isinstance(value, dict):
        return "mapping", frozenset((identity(key), identity(item)) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return "list", tuple(map(identity, value))
    if isinstance(value, bool):
        return "bool", value
    for kind in (int, float, str):
        if isinstance(value, kind):
            return kind.__name__, repr(kind(value))  # as text: a NaN is none other than itself
    return "other", str(value)
