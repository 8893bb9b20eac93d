"""Networks and handlers from elsewhere: installed packages that offer them by entry points.

The groups are `gateway.channels`, whose entries are adapters (`gateway.channels.base.Adapter`, made without arguments), and
`gateway.handlers`, whose entries have `settings`, a model derived from `gateway.config.handlers.Handler`, and are called
with a name, settings and tools to make a handler. The entry's name is the network's, or the handler's type.
`gateway.testing` has what either must keep.

They are looked for at the start, and only when the config file names what is not built in: looking costs time.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.channels.base import Adapter
from gateway.config.file import parse, read
from gateway.config.handlers import HANDLERS, Handler
from gateway.errors import ConfigError
from gateway.handlers.base import Make


@dataclass(frozen=True)
class Plugins:
    """What was found. `settings` has the models of all types of handlers, the built-in ones too."""

    channels: Mapping[str, Adapter] = field(default_factory=dict)
    handlers: Mapping[str, Make] = field(default_factory=dict)
    settings: Mapping[str, type[Handler]] = field(default_factory=lambda: HANDLERS)


def plugins_for(config: Path, channels: Collection[str]) -> Plugins:
    """Those that a config file names. What nobody offers is told of when the file is validated."""
    named, typed = _unknown(config, channels)
    if not named and not typed:
        return Plugins()
    # Imported when it is needed: it reads what is said of every installed package.
    from importlib.metadata import entry_points  # noqa: PLC0415

    adapters = {entry.name: entry.load()() for entry in entry_points(group="gateway.channels") if entry.name in named}
    makers = {entry.name: entry.load() for entry in entry_points(group="gateway.handlers") if entry.name in typed}
    return Plugins(adapters, makers, {**HANDLERS, **{name: maker.settings for name, maker in makers.items()}})


def _unknown(config: Path, channels: Collection[str]) -> tuple[set[str], set[str]]:
    """Networks and types of handlers in the file that are not built in; nothing where it cannot be read, which is told of later."""
    try:
        tree: Any = parse(read(config))
    except ConfigError:
        return set(), set()
    named, handlers = tree.get("channels"), tree.get("handlers")
    entries = handlers.values() if isinstance(handlers, dict) else ()
    types = {entry["type"] for entry in entries if isinstance(entry, dict) and isinstance(entry.get("type"), str)}
    return set(named or ()) - set(channels) if isinstance(named, dict) else set(), types - set(HANDLERS)
