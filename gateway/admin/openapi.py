"""The OpenAPI 3.1 document of the HTTP API, made from the routes that the router has and the models of what they take and give."""

from __future__ import annotations

import re
from collections.abc import Sequence
from inspect import getdoc
from typing import Any

import msgspec

from gateway import __version__
from gateway.admin import answers
from gateway.admin.auth import ForbiddenError, TooManyAttemptsError, UnauthorizedError
from gateway.admin.errors import WORDS, BadRequestError, RefusedError
from gateway.admin.routes import JSON, MERGE_PATCH, YAML_TYPES, Route, is_brought, is_open
from gateway.admin.schema import secret_schema
from gateway.admin.schemas import Send
from gateway.admin.webhooks import SECRET_HEADER
from gateway.config.model import Config
from gateway.errors import ConfigError, GatewayError, StaleHashError

Json = dict[str, Any]

REF = "#/components/schemas/"
DOOR: dict[type[GatewayError], int] = {UnauthorizedError: 401, ForbiddenError: 403, TooManyAttemptsError: 429}
"""The refusals at the door, by status."""
DETAILS: dict[type[GatewayError], Json] = {
    RefusedError: {"$ref": f"{REF}Refusal"},
    StaleHashError: {"$ref": f"{REF}CurrentHash"},
    ConfigError: {"$ref": f"{REF}Issues"},
    BadRequestError: {"anyOf": [{"$ref": f"{REF}Issues"}, {"type": "null"}]},
}
"""What an error has to say beside its message."""
NO_DETAILS: Json = {"type": "null"}
TEXT: Json = {"schema": {"type": "string"}}
TOO_LARGE = 413
CONFIG_BODIES = ("config", "patch", "plan")
UPDATE: Json = {
    "type": "object", "properties": {"update_id": {"type": "integer"}}, "required": ["update_id"],
    "externalDocs": {"url": "https://core.telegram.org/bots/api#update"},
}  # fmt: skip


def document(routes: Sequence[Route], model: type[Config]) -> Json:
    """The whole document. Each path, method, parameter and status in it is that of a route."""
    gives = [answer for route in routes for answer in route.gives.values() if isinstance(answer, str)]
    names = [name for answer in gives for name in answer.split(" | ")]
    models = [getattr(answers, name) for name in dict.fromkeys((*names, "Refusal", "CurrentHash", "Issues"))]
    taken = [route.takes for route in routes if isinstance(route.takes, type)]
    _, components = _schemas([*models, *taken, model])
    paths: dict[str, Json] = {}
    for route in routes:
        path = re.sub(r"\{(\w+):[^}]*\}", r"{\1}", route.path)
        paths.setdefault(path, {})[route.method.lower()] = _operation(route, components, model)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Gateway",
            "version": __version__,
            "description": "The control plane over HTTP. The WebSocket at `/ws` and `/` has the same calls and more.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "telegram": {"type": "apiKey", "in": "header", "name": SECRET_HEADER},
            },
        },
        "security": [{"token": []}],
    }


def _schemas(models: Sequence[type]) -> tuple[Any, dict[str, Any]]:
    return msgspec.json.schema_components(models, schema_hook=secret_schema, ref_template=REF + "{name}")


def _operation(route: Route, components: dict[str, Any], model: type[Config]) -> Json:
    text = getdoc(route.handler) or ""
    operation: Json = {
        "operationId": getattr(route.handler, "__name__", route.path),
        "summary": re.split(r"[.;:](?:\s|$)", text, maxsplit=1)[0],
        "description": text,
        "parameters": [*_path_parameters(route), *_query_parameters(route), *_header_parameters(route)],
        "responses": _responses(route, components),
    }
    if route.takes:
        operation["requestBody"] = _body(route, model)
    if is_brought(route.path):
        return operation | {"security": [{"telegram": []}]}
    return operation | ({"security": []} if is_open(route.path) else {})


# What it takes


def _path_parameters(route: Route) -> list[Json]:
    found = re.findall(r"\{(\w+)(?::([^}]*))?\}", route.path)
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1} | _choice(pattern)}
        for name, pattern in found
    ]


def _choice(pattern: str) -> Json:
    return {"enum": pattern.split("|")} if pattern else {}


def _query_parameters(route: Route) -> list[Json]:
    if route.query is None:
        return []
    _, found = _schemas([route.query])
    schema = found[route.query.__name__]
    return [
        {"name": name, "in": "query", "required": name in schema.get("required", ()), "schema": kind}
        for name, kind in schema["properties"].items()
    ]


def _header_parameters(route: Route) -> list[Json]:
    if route.takes is Send:
        return [_parameter("traceparent", "The trace that it belongs to (https://www.w3.org/TR/trace-context/).")]
    if route.takes not in CONFIG_BODIES:
        return []
    text = "The hash of the config that the change is made for, as its ETag has it."
    text += (
        " Where it is given it must be the current one." if route.takes == "plan" else " Needed once there is a file."
    )
    return [_parameter("If-Match", text)]


def _parameter(name: str, text: str) -> Json:
    return {"name": name, "in": "header", "required": False, "description": text, "schema": {"type": "string"}}


def _body(route: Route, model: type[Config]) -> Json:
    if isinstance(route.takes, type):
        schema = {"anyOf": [{"$ref": REF + route.takes.__name__}, {"type": "null"}]}
        return {"required": False, "content": {JSON: {"schema": schema}}}
    if route.takes not in CONFIG_BODIES:
        return {"required": True, "content": {JSON: {"schema": UPDATE}}}
    whole = {"schema": {"$ref": REF + model.__name__} if route.takes == "config" else {"type": "object"}}
    content = {JSON: whole} | dict.fromkeys(YAML_TYPES, TEXT) | ({MERGE_PATCH: whole} if route.takes == "plan" else {})
    return {"required": True, "content": content}


# What it gives


def _responses(route: Route, components: dict[str, Any]) -> Json:
    found = {str(status): _success(answer, route.also, components) for status, answer in route.gives.items()}
    errors: dict[int, list[type[GatewayError]]] = {}
    for kind in route.errors:
        errors.setdefault(DOOR[kind] if kind in DOOR else WORDS[kind][0], []).append(kind)
    for kind, status in DOOR.items():
        if kind not in route.errors and (kind is ForbiddenError or not is_open(route.path)):
            errors.setdefault(status, []).append(kind)
    if route.takes:
        errors[TOO_LARGE] = []
    return found | {str(status): _failure(status, kinds) for status, kinds in sorted(errors.items())}


def _success(answer: str | tuple[str, ...], also: tuple[str, ...], components: dict[str, Any]) -> Json:
    if isinstance(answer, tuple):
        return {"description": "As asked." if answer else "The WebSocket."} | (
            {"content": dict.fromkeys(answer, TEXT)} if answer else {}
        )
    names = answer.split(" | ")
    unlike = [{"$ref": REF + name} for name in names]
    response = {
        "description": " ".join(components[name]["description"] for name in names),
        "content": {JSON: {"schema": unlike[0] if len(unlike) == 1 else {"anyOf": unlike}}} | dict.fromkeys(also, TEXT),
    }
    if answer in ("Receipt", "ConfigFile"):
        # There is none of a file that is not there.
        response["headers"] = _header("ETag", "The config's hash, in quotes.", required=answer == "Receipt")
    return response


def _failure(status: int, kinds: Sequence[type[GatewayError]]) -> Json:
    details = [DETAILS.get(kind, NO_DETAILS) for kind in kinds] or [NO_DETAILS]
    unlike = [detail for number, detail in enumerate(details) if detail not in details[:number]]
    body = {
        "code": {"type": "string"},
        "message": {"type": "string"},
        "details": unlike[0] if len(unlike) == 1 else {"anyOf": unlike},
    }
    texts = " ".join((kind.__doc__ or "").split(". `")[0].strip().rstrip(".") + "." for kind in kinds)
    response: Json = {
        "description": texts or "The body is larger than it may be.",
        "content": {JSON: {"schema": _exactly({"error": _exactly(body)})}},
    }
    if status in (429, 503):
        response["headers"] = _header("Retry-After", "Seconds.", required=True)
    if status == WORDS[StaleHashError][0]:
        response["headers"] = _header("ETag", "The current hash, in quotes.", required=True)
    if status == DOOR[UnauthorizedError]:
        response["headers"] = _header("WWW-Authenticate", "Bearer", required=True)
    return response


def _exactly(properties: Json) -> Json:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _header(name: str, text: str, *, required: bool) -> Json:
    return {name: {"description": text, "required": required, "schema": {"type": "string"}}}
