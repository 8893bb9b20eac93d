"""Networks and handlers from elsewhere: installed packages that offer them by entry points.

The groups are `gateway.channels`, whose entries are adapters (`gateway.channels.base.Adapter`, made without arguments), and
`gateway.handlers`, whose entries have `settings`, a model derived from `gateway.config.handlers.Handler`, and are called
with a name, settings and tools to make a handler. The entry's name is the network's, or the handler's type.
`gateway.testing` has what either must keep.

They are looked for only when a config names what is not built in: looking costs time. From then on they stay known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from threading import Lock
from typing import Any

from gateway.config.handlers import HANDLERS, Handler
from gateway.config.model import Account, Config
from gateway.errors import ConfigError, Issue
from gateway.handlers.base import Make

Build = Callable[[Mapping[str, type[Account]], Mapping[str, type[Handler]]], type[Config]]
Named = dict[str, str]
"""What a config names that is not known, with the path where it does."""


class Plugins:
    """What is known: `channels` has adapters by their networks, `handlers` what makes those that are not built in.

    `channels` is added to, and so is what it was given: whoever looks there finds a network as soon as a config has it.
    """

    def __init__(self, channels: dict[str, Any], build: Build) -> None:
        self.channels = channels
        self.handlers: dict[str, Make] = {}
        self._settings = dict(HANDLERS)
        self._build = build
        self._lock = Lock()
        self.model = build(_models(channels), self._settings)

    def model_for(self, tree: Any) -> type[Config]:
        """The config's model, with what the tree names, if anybody offers that. Called in any thread.

        Raises ConfigError where somebody does and it cannot be used.
        """
        channels, handlers = self._unknown(tree)
        if not channels and not handlers:
            return self.model
        with self._lock:
            faults = [*self._load("gateway.channels", channels), *self._load("gateway.handlers", handlers)]
            if faults:
                raise ConfigError(faults)
            return self.model

    def _unknown(self, tree: Any) -> tuple[Named, Named]:
        if not isinstance(tree, dict):
            return {}, {}
        channels, handlers = (
            part if isinstance(part := tree.get(key), dict) else {} for key in ("channels", "handlers")
        )
        types = {
            kind: f"handlers.{name}.type"
            for name, entry in handlers.items()
            if isinstance(entry, dict) and isinstance(kind := entry.get("type"), str) and kind not in self._settings
        }
        return {name: f"channels.{name}" for name in channels if name not in self.channels}, types

    def _load(self, group: str, named: Named) -> Iterable[Issue]:
        """Whatever a package does when it is imported, it is told of as a fault of the config that names it."""
        if not named:
            return
        # Imported when it is needed: it reads what is said of every installed package.
        from importlib.metadata import entry_points  # noqa: PLC0415

        for entry in entry_points(group=group):
            if entry.name not in named:
                continue
            try:
                self._learn(group, entry.name, entry.load())
            except Exception as error:  # noqa: BLE001
                offered = f"{entry.value}, which an installed package offers for {entry.name!r}"
                yield Issue(named[entry.name], f"{offered}, cannot be used: {type(error).__name__}: {error}")

    def _learn(self, group: str, name: str, found: Any) -> None:
        """All of it or nothing: a model that cannot be built with it is none."""
        channels, settings = dict(self.channels), dict(self._settings)
        if group == "gateway.channels":
            adapter = found()
            model = self._build({**_models(channels), name: adapter.account_model}, settings)
            self.channels[name] = adapter
        else:
            settings[name] = found.settings
            model = self._build(_models(channels), settings)
            self.handlers[name], self._settings = found, settings
        self.model = model


def _models(channels: Mapping[str, Any]) -> dict[str, type[Account]]:
    return {name: adapter.account_model for name, adapter in channels.items()}
