"""The base of what calls answer."""

from __future__ import annotations

from msgspec import Struct


class Body(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Exactly these keys."""
