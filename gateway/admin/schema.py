"""The config's JSON Schema with hints, from the one declaration in `config/model.py`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, get_args, get_origin

import msgspec

from gateway.config.model import Config, Model
from gateway.config.plan import reload_class
from gateway.config.validate import fields_of
from gateway.redact import Secret


def config_schema(model: type[Config], version: str) -> dict[str, Any]:
    """The answer to config.schema: `uiHints` has, by path, the label, the help, and the reload class as a tag."""
    return {
        "schema": msgspec.json.schema(model, schema_hook=secret_schema),
        "uiHints": dict(_hints(model, "")),
        "version": version,
        "generatedAt": datetime.now(UTC).isoformat(),
    }


def secret_schema(kind: type) -> dict[str, Any]:
    """For what the library has no schema of."""
    if kind is Secret:
        text = {"type": "string", "format": "password", "writeOnly": True}
        file = {"type": "object", "properties": {"file": {"type": "string"}}, "required": ["file"]}
        return {"anyOf": [text, file | {"additionalProperties": False}]}
    raise TypeError(f"the config has a type without a schema: {kind!r}")


def _hints(model: type[Model], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, field in fields_of(model).items():
        place = f"{path}.{name}".lstrip(".")
        kinds = list(_kinds(field.type))
        hint: dict[str, Any] = {"label": name.replace("_", " "), "tags": [f"reload:{reload_class(field).word}"]}
        help_text = next((mark.description for mark in field.type.__metadata__ if isinstance(mark, msgspec.Meta)), None)
        if help_text:
            hint["help"] = help_text
        if Secret in kinds:
            hint["sensitive"] = True
        yield place, hint
        for kind in kinds:
            if isinstance(kind, type) and issubclass(kind, Model):
                yield from _hints(kind, f"{place}.*" if _holds_many(get_args(field.type)[0]) else place)


def _holds_many(kind: Any) -> bool:
    origin = get_origin(kind)
    return isinstance(origin, type) and issubclass(origin, (Mapping, tuple))


def _kinds(annotation: Any) -> Iterator[Any]:
    """The types inside an annotation."""
    arguments = get_args(annotation)
    if not arguments:
        yield annotation
    for argument in arguments:
        yield from _kinds(argument)
