"""The config's JSON Schema with hints, from the one declaration in `config/model.py`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, get_args, get_origin

from pydantic import BaseModel, SecretStr

from gateway.config.model import Config
from gateway.config.plan import reload_class


def config_schema(model: type[Config], version: str) -> dict[str, Any]:
    """The answer to config.schema: `uiHints` has, by path, the label, the help, and the reload class as a tag."""
    return {
        "schema": model.model_json_schema(),
        "uiHints": dict(_hints(model, "")),
        "version": version,
        "generatedAt": datetime.now(UTC).isoformat(),
    }


def _hints(model: type[BaseModel], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, field in model.model_fields.items():
        place = f"{path}.{name}".lstrip(".")
        hint: dict[str, Any] = {"label": name.replace("_", " "), "tags": [f"reload:{reload_class(field).word}"]}
        if field.description:
            hint["help"] = field.description
        kinds = list(_kinds(field.annotation))
        if SecretStr in kinds:
            hint["sensitive"] = True
        yield place, hint
        for kind in kinds:
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from _hints(kind, f"{place}.*" if _holds_many(field.annotation) else place)


def _holds_many(annotation: Any) -> bool:
    origin = get_origin(annotation)
    return isinstance(origin, type) and issubclass(origin, (Mapping, tuple))


def _kinds(annotation: Any) -> Iterator[Any]:
    """The types inside an annotation."""
    arguments = get_args(annotation)
    if not arguments:
        yield annotation
    for argument in arguments:
        yield from _kinds(argument)
