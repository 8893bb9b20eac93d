"""The base of the config's models, and the marks that their fields carry."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from statemachine.lifecycle_events import Impact

LIVE, CHANNEL, GATEWAY = Impact.LIVE, Impact.CHANNEL, Impact.GATEWAY


class Model(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Frozen, and strict about names: an unknown key is an error, never ignored."""


class OneOf:
    """Marks a field, or the entries of one: which model it has is said by its key `type`."""

    def __init__(self, models: Mapping[str, type[Model]]) -> None:
        self.models = dict(models)
