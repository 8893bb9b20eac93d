"""`gateway schema`: what the config may say, for people and for programs; no gateway need run."""

from __future__ import annotations

import json
from typing import Any

from gateway.admin.errors import NotFoundError
from gateway.admin.lookup import look_up
from gateway.admin.schema import RELOAD, json_schema
from gateway.cli.check import known
from gateway.cli.exits import EXIT_OK, EXIT_USAGE, complain
from gateway.cli.plain import say, say_json
from gateway.cli.reference import reference, type_of

NEEDS = {"live": "takes effect at once", "channel": "restarts the accounts under it", "gateway": "restarts the gateway"}


def schema(path: str | None, *, as_json: bool) -> int:
    """Print the reference of every key, or what is said of one place; as JSON the JSON Schema, or that place's lookup."""
    model = known().model
    try:
        answer = json_schema(model) if path is None else look_up(model, path)
    except NotFoundError as error:
        complain(str(error))
        return EXIT_USAGE
    if as_json:
        say_json(answer)
    else:
        say(reference(answer) if path is None else _told(answer))
    return EXIT_OK


def _told(place: dict[str, Any]) -> str:
    """A place and what is one level below it."""
    said = place["schema"]
    lines = [f"{place['path']}: {type_of(said)}"]
    if "description" in said:
        lines.append(f"  {said['description']}")
    if "properties" not in said:
        lines.append(f"  A change {NEEDS[said[RELOAD]]}.")
        lines += [f"  Default: {json.dumps(said['default'])}"] if "default" in said else []
    lines += [f"  {child['path']}: {child['hint'].get('help', child['hint']['label'])}" for child in place["children"]]
    return "\n".join(lines)
