"""What applying a config would do: which paths change, what each needs, and what happens to each account.

The planner that shows is the planner that commits. It is pure: two configs in, one Plan out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from msgspec import structs

from gateway.config.declared import Model
from gateway.config.model import Channels, Config
from gateway.config.secrets import as_data
from gateway.config.validate import fields_of
from statemachine.lifecycle_events import Impact

Path = tuple[str, ...]
_ABSENT: Any = object()


class AccountAction(Enum):
    """What a plan does to one account."""

    START = "start"
    STOP = "stop"
    RESTART = "restart"
    LIVE = "live"
    NOTHING = "nothing"


@dataclass(frozen=True)
class Change:
    """One path that differs, with the class that it declares, and what is there before and after."""

    path: Path
    impact: Impact
    old: Any
    new: Any

    @property
    def dotted(self) -> str:
        return ".".join(self.path)

    def describe(self) -> dict[str, Any]:
        """As people see it: JSON data, null where there is nothing, a mark where there is a secret."""
        return {"path": self.dotted, "class": self.impact.word, "old": _shown(self.old), "new": _shown(self.new)}


@dataclass(frozen=True)
class Plan:
    """The way from one config to another."""

    changes: tuple[Change, ...]
    accounts: Mapping[str, AccountAction]

    @property
    def impact(self) -> Impact:
        return max((change.impact for change in self.changes), default=Impact.NONE)

    @property
    def paths(self) -> list[str]:
        return [change.dotted for change in self.changes]

    def describe(self) -> dict[str, Any]:
        """The plan as the receipt shows it; accounts to which nothing happens are left out."""
        touched = {name: action.value for name, action in self.accounts.items() if action is not AccountAction.NOTHING}
        return {"class": self.impact.word, "accounts": touched}


def plan_id(applied: str, disk: str, revision: str) -> str:
    """Names a plan by what it was made of: what ran, what was in the file, and what was to come. Another moment has another."""
    return hashlib.sha256(f"{applied}\n{disk}\n{revision}".encode()).hexdigest()[:16]


def make_plan(old: Config, new: Config) -> Plan:
    changes = tuple(_compare(old, new))
    before, after = old.accounts(), new.accounts()
    names = dict.fromkeys((*before, *after))
    return Plan(changes, {name: _action(name, before.get(name), after.get(name), changes) for name in names})


def _compare(old: Model, new: Model, path: Path = ()) -> Iterator[Change]:
    for name, field in (fields_of(type(old)) | fields_of(type(new))).items():
        yield from _differences(_part(old, name, new), _part(new, name, old), (*path, name), reload_class(field))


def _part(model: Model, name: str, other: Model) -> Any:
    """Of a network that a config's model does not know yet it has no account."""
    return getattr(model, name) if hasattr(model, name) else type(getattr(other, name))()


def _differences(old: Any, new: Any, path: Path, impact: Impact) -> Iterator[Change]:
    if old == new:
        return
    if isinstance(old, Model) and isinstance(new, Model) and (type(old) is type(new) or isinstance(new, Channels)):
        yield from _compare(old, new, path)
    elif isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys((*old, *new)):
            yield from _differences(old.get(key, _ABSENT), new.get(key, _ABSENT), (*path, str(key)), impact)
    else:
        yield Change(path, impact, old, new)


def _shown(value: Any) -> Any:
    return None if value is _ABSENT else as_data(value)


def reload_class(field: structs.FieldInfo) -> Impact:
    """The class that a field declares. Raises TypeError where it declares none."""
    for mark in getattr(field.type, "__metadata__", ()):
        if isinstance(mark, Impact):
            return mark
    raise TypeError(f"the field {field!r} declares no reload class")


def _action(name: str, old: Any, new: Any, changes: tuple[Change, ...]) -> AccountAction:
    ran, runs = old is not None and old.enabled, new is not None and new.enabled
    if ran and not runs:
        return AccountAction.STOP
    if runs and not ran:
        return AccountAction.START
    impact = max((change.impact for change in changes if change.path[:4] == place_of(name)), default=Impact.NONE)
    if impact is Impact.NONE or not runs:
        return AccountAction.NOTHING
    return AccountAction.RESTART if impact >= Impact.CHANNEL else AccountAction.LIVE


def place_of(name: str) -> Path:
    """Where the settings of an account are."""
    channel, account = name.split("/", 1)
    return "channels", channel, "accounts", account


def graft(base: Any, source: Any, paths: Collection[Path]) -> Any:
    """`base` with what `source` has at the paths, or without it where `source` has nothing there.

    All at once, since a rule between fields holds for the whole. Raises ValueError where it does not.
    """
    if () in paths:
        return source
    below: dict[str, list[Path]] = {}
    for step, *rest in paths:
        below.setdefault(step, []).append(tuple(rest))
    if isinstance(base, Model):
        parts = {
            step: graft(_part(base, step, source), _part(source, step, base), rests) for step, rests in below.items()
        }
        if isinstance(base, Channels) and not parts.keys() <= fields_of(type(base)).keys():
            # The source's model is the wider one: it knows a network more.
            return type(source)(**{name: getattr(base, name) for name in fields_of(type(base))} | parts)
        return structs.replace(base, **parts)
    changed = {key: value for key, value in base.items() if key not in below or key in source}
    for step, rests in below.items():
        if step in source:
            changed[step] = graft(base[step], source[step], rests) if step in base else source[step]
    return changed
