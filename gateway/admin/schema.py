"""The config's JSON Schema with hints, from the one declaration in `config/model.py`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec
from msgspec.structs import FieldInfo

from gateway.config.declared import Model, OneOf
from gateway.config.model import Config
from gateway.config.plan import reload_class
from gateway.config.validate import fields_of
from gateway.redact import Secret

Json = dict[str, Any]

RELOAD = "x-reload"
"""The keyword that has the reload class of a field: `live`, `channel` or `gateway`."""
DEFAULTLESS: Any = object()
ENTRY = "*"
"""The key of any entry of a list or a mapping."""


def config_schema(model: type[Config], version: str) -> Json:
    """The answer to config.schema: `uiHints` has what forms need of each field, by its path."""
    schema = json_schema(model)
    return {
        "schema": schema,
        "uiHints": dict(hints_of(schema)),
        "version": version,
        "generatedAt": datetime.now(UTC).isoformat(),
    }


@lru_cache(maxsize=1)
def json_schema(model: type[Config]) -> Json:
    """The schema with every reference written out: the published clients look for `properties`, and follow none.

    A field has its title, description, reload class and, unless it is required, its default; a secret is `writeOnly`.
    It takes some milliseconds to make, so everybody gets the same one: it is not to be changed.
    """
    whole = msgspec.json.schema(model, schema_hook=secret_schema)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | _written_out(whole, model, whole.pop("$defs"))


def secret_schema(kind: type) -> Json:
    """For what the library has no schema of."""
    if kind is Secret:
        text = {"type": "string", "format": "password", "writeOnly": True}
        name = {"type": "string", "description": "The file that holds it; a relative path is one beside the config."}
        file = {"type": "object", "properties": {"file": name}, "required": ["file"]}
        return {"anyOf": [text, file | {"additionalProperties": False}]}
    raise TypeError(f"the config has a type without a schema: {kind!r}")


def inner_of(schema: Json) -> Iterator[tuple[str, Json]]:
    """What is one level down: fields by their names, and what every entry is by `*`."""
    yield from schema.get("properties", {}).items()
    for entry in (schema.get("additionalProperties"), schema.get("items")):
        if entry:
            yield ENTRY, entry


def hints_of(schema: Json, path: str = "") -> Iterator[tuple[str, Json]]:
    """Each path below, with its hint in the published shape."""
    for order, (key, inner) in enumerate(inner_of(schema)):
        place = f"{path}.{key}".lstrip(".")
        yield place, _hint(inner, order)
        yield from hints_of(inner, place)


def _hint(schema: Json, order: int) -> Json:
    hint: Json = {"label": schema["title"], "tags": [f"reload:{schema[RELOAD]}"], "order": order}
    if "description" in schema:
        hint["help"] = schema["description"]
    if schema.get("writeOnly"):
        hint["sensitive"] = True
    if "examples" in schema:
        example = schema["examples"][0]
        hint["placeholder"] = example if isinstance(example, str) else msgspec.json.encode(example).decode()
    return hint


def _written_out(schema: Json, annotation: Any, models: Mapping[str, Json], word: str = "") -> Json:
    """The library's schema of a type, with what is said of a field before what is said of its model.

    `word` is the reload class of the field, and so of adding an entry to it, or removing one.
    """
    kind = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
    choice = next((mark for mark in getattr(annotation, "__metadata__", ()) if isinstance(mark, OneOf)), None)
    if choice is not None:
        return _one_of(choice)
    schema = models[schema["$ref"].rpartition("/")[2]] | schema if "$ref" in schema else dict(schema)
    schema.pop("$ref", None)
    if isinstance(kind, type) and issubclass(kind, Model):
        fields = fields_of(kind)
        properties = {name: _field(inner, fields[name], models) for name, inner in schema["properties"].items()}
        return schema | {"title": title_of(kind.__name__), "properties": properties}
    if get_origin(kind) is Mapping:
        entry = _entry(schema["additionalProperties"], get_args(kind)[1], models, word)
        return schema | {"additionalProperties": entry}
    if get_origin(kind) is tuple:
        return schema | {"items": _entry(schema["items"], get_args(kind)[0], models, word)}
    if get_origin(kind) is Literal:
        # The library sorts them; here they are in the order in which they are declared.
        return schema | {"type": "string", "enum": list(get_args(kind))}
    return schema


def _one_of(choice: OneOf) -> Json:
    """Every key of every type, each with the types that have it: a form, and a reader, look for one list of keys."""
    kinds: dict[str, Json] = {}
    for name, model in choice.models.items():
        whole = msgspec.json.schema(model, schema_hook=secret_schema)
        kinds[name] = _written_out(whole, model, whole.pop("$defs"))
    keys = dict.fromkeys(key for kind in kinds.values() for key in kind["properties"])
    having = {
        key: {name: kind["properties"][key] for name, kind in kinds.items() if key in kind["properties"]}
        for key in keys
    }
    properties = {key: _of_several(by_kind) for key, by_kind in having.items()}
    said = "What the handler does. " + " ".join(kind["properties"]["type"]["description"] for kind in kinds.values())
    properties["type"] = properties["type"] | {"enum": list(kinds), "description": said}
    return {
        "title": "Handler",
        "type": "object",
        "properties": properties,
        "required": ["type"],
        "additionalProperties": False,
        # And what goes together.
        "oneOf": list(kinds.values()),
    }


def _of_several(by_kind: Mapping[str, Json]) -> Json:
    """A key as the first type has it that has it; its default where they agree on one, and in words where they do not."""
    told = dict(next(iter(by_kind.values())))
    told["description"] = f"For {_listed(list(by_kind))}. {told['description']}"
    defaults = {name: inner.get("default", DEFAULTLESS) for name, inner in by_kind.items()}
    if any(value != told.get("default", DEFAULTLESS) for value in defaults.values()):
        told.pop("default", None)
        each = _listed(
            [f"{json.dumps(value)} for {name}" for name, value in defaults.items() if value is not DEFAULTLESS]
        )
        told["description"] += f" Unless it is set it is {each}."
    return told


def _listed(names: list[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def _field(schema: Json, field: FieldInfo, models: Mapping[str, Json]) -> Json:
    word = reload_class(field).word
    title: Json = {"title": schema.get("title", title_of(field.name))}
    marks: Json = {RELOAD: word} | ({"writeOnly": True} if Secret in _kinds(field.type) else {})
    # First of all keys, and before the title of the field's model.
    return title | _written_out(schema, field.type, models, word) | title | marks


def _entry(schema: Json, annotation: Any, models: Mapping[str, Json], word: str) -> Json:
    return {"title": "Entry"} | _written_out(schema, annotation, models) | {RELOAD: word}


def title_of(name: str) -> str:
    """A name of the code in words, with its unit in brackets."""
    words = re.sub(r"_|(?<=[a-z])(?=[A-Z])", " ", name).capitalize()
    return re.sub(r" (ms|s)$", r" (\1)", words)


def _kinds(annotation: Any) -> Iterator[Any]:
    """The types inside an annotation."""
    arguments = get_args(annotation)
    if not arguments:
        yield annotation
    for argument in arguments:
        yield from _kinds(argument)
