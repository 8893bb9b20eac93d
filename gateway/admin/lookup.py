"""One place of the config: its schema, its hint, and what is one level down. Imported when it is asked for."""

from __future__ import annotations

import re
from difflib import get_close_matches

from gateway.admin.errors import NotFoundError
from gateway.admin.schema import ENTRY, RELOAD, Json, hints_of, inner_of, json_schema
from gateway.config.declared import GATEWAY
from gateway.config.model import Config

ROOT = "."
"""The path of the config as a whole."""
DEEPEST = 32
"""Steps of a path that are looked at: the config is not that deep, and a name may have some dots."""
Steps = tuple[str, ...]


def look_up(model: type[Config], path: str) -> Json:
    """The answer to config.schema.lookup. Raises NotFoundError that names the nearest path there is.

    A path is dotted. An entry is `*`, its own name or its number, also as `[0]`, `[*]` or `[]`.
    A name that has dots itself is known by the field that follows it.
    """
    schema = json_schema(model)
    steps = _steps_of(path)
    found = _resolve(schema, steps)
    if found is None or len(steps) > DEEPEST:
        raise NotFoundError(f"the config has no path {path!r}; {_nearest(schema, steps)}")
    place, below = found
    hints = dict(hints_of(schema))
    return {
        "path": ".".join(steps) or ROOT,
        "schema": place,
        **_said(place, ".".join(below), hints),
        "children": [_child(place, key, inner, steps, below, hints) for key, inner in inner_of(place)],
    }


def _steps_of(path: str) -> Steps:
    dotted = re.sub(r"\[(\*|[0-9]*)\]", lambda entry: f".{entry[1] or ENTRY}", path)
    return tuple(step for step in dotted.split(".") if step)[: DEEPEST + 1]


def _child(parent: Json, key: str, schema: Json, steps: Steps, below: Steps, hints: dict[str, Json]) -> Json:
    kinds = _types(schema)
    return {
        "key": key,
        "path": ".".join((*steps, key)),
        "type": kinds if len(kinds) > 1 else kinds[0],
        "required": key in parent.get("required", ()),
        "hasChildren": any(True for _ in inner_of(schema)),
        **_said(schema, ".".join((*below, key)), hints),
    }


def _said(schema: Json, place: str, hints: dict[str, Json]) -> Json:
    """What is said of every place but the whole."""
    return {"reloadKind": _reload_kind(schema), "hint": hints[place], "hintPath": place} if place else {}


def _reload_kind(schema: Json) -> str:
    """The published word for what a change may need, there or below: what is done without a restart of the gateway is hot."""
    below = [_reload_kind(inner) for _, inner in inner_of(schema)]
    return "restart" if schema[RELOAD] == GATEWAY.word or "restart" in below else "hot"


def _types(schema: Json) -> list[str]:
    if "anyOf" in schema:
        return list(dict.fromkeys(kind for one in schema["anyOf"] for kind in _types(one)))
    return [schema["type"]]


def _resolve(schema: Json, steps: Steps) -> tuple[Json, Steps] | None:
    """What is at the end of the steps, and the steps to it with `*` for every entry."""
    if not steps:
        return schema, ()
    for key, inner in inner_of(schema):
        for length in _lengths(schema, key, steps):
            found = _resolve(inner, steps[length:])
            if found is not None:
                return found[0], (key, *found[1])
    return None


def _lengths(schema: Json, key: str, steps: Steps) -> list[int]:
    """How many of the steps may be the key: more than one where a name has dots."""
    if steps[0] == key:
        return [1]
    if key != ENTRY:
        return []
    if schema["type"] == "array":
        return [1] if re.fullmatch(r"[0-9]+", steps[0]) else []
    name = re.compile(schema["propertyNames"]["pattern"])
    return [length for length in (1, *range(2, len(steps))) if name.search(".".join(steps[:length]))]


def _nearest(schema: Json, steps: Steps) -> str:
    """The known path that comes closest: steps that are missing are put in, a misspelt one is mended."""
    paths = [tuple(path.split(".")) for path, _ in hints_of(schema)]
    while True:
        length, (place, below) = _known(schema, steps)
        known, rest = steps[:length], steps[length:]
        if rest:
            deeper = (path[len(below) :] for path in paths if path[: len(below)] == below and path[-1] == rest[0])
            longer = ((*known, *path, *rest[1:]) for path in deeper)
            if whole := next((path for path in longer if _resolve(schema, path)), None):
                known = whole
            elif near := get_close_matches(rest[0], [key for key, _ in inner_of(place)], 1):
                steps = (*known, near[0], *rest[1:])
                continue
        if not known:
            return f"it begins with one of {', '.join(key for key, _ in inner_of(schema))}"
        return f"the nearest known path is {'.'.join(known)!r}"


def _known(schema: Json, steps: Steps) -> tuple[int, tuple[Json, Steps]]:
    """How many of the steps lead somewhere, and where."""
    for length in range(len(steps), 0, -1):
        if (found := _resolve(schema, steps[:length])) is not None:
            return length, found
    return 0, (schema, ())
