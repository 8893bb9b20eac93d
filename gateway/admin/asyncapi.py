"""The AsyncAPI 3.0 document of the WebSocket, made from the methods and events that there are and the models of what they carry."""

from __future__ import annotations

import re
from inspect import getdoc
from typing import Any, get_args

import msgspec

from gateway import __version__
from gateway.admin import frame_answers, schemas
from gateway.admin.errors import WORDS
from gateway.admin.methods import EVENTS, METHODS
from gateway.admin.websocket import PROTOCOL
from gateway.traces import LONGEST

Json = dict[str, Any]

SCHEMAS, MESSAGES = "#/components/schemas/", "#/components/messages/"
CHANNEL = "gateway"
CONNECT = "connect"
REFUSAL = "refusal"
CHALLENGE = "connect.challenge"
TEXT: Json = {"type": "string", "minLength": 1}
SIGN_IN = (
    "Sign in: the first request of a connection, within 10 s and 64 KiB. "
    "The versions must be around the one that the gateway speaks."
)
TRACEPARENT = (
    "The trace that a message belongs to, which is handed over with the request (https://www.w3.org/TR/trace-context/)."
)
ABOUT = (
    f"The control plane over a WebSocket at `/ws`, and at `/` too. The frames are those of OpenClaw's gateway protocol, "
    f"wire version {PROTOCOL}: the gateway sends `{CHALLENGE}`, the client answers with `{CONNECT}`, and is answered with "
    f"`hello-ok`. From then on each request is answered exactly once, by its `id` and in any order, and events come as they "
    f"happen, numbered by `seq`. A client that does not read is dropped."
)


def document(host: str) -> Json:
    """The whole document. `host` is where the gateway was asked for it: a name and a port."""
    messages = _messages()
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Gateway",
            "version": __version__,
            "description": ABOUT,
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "servers": {CHANNEL: {"host": host, "protocol": "ws", "description": "The gateway that was asked."}},
        "channels": {
            CHANNEL: {
                "address": "/ws",
                "description": "One connection.",
                "messages": {name: {"$ref": MESSAGES + name} for name in messages},
                "bindings": {"ws": {"method": "GET"}},
            }
        },
        "operations": _operations(),
        "components": {"schemas": _schemas(), "messages": messages},
    }


def _schemas() -> Json:
    names = [*(name for method in METHODS.values() for name in method.gives.split(" | ")), *EVENTS.values()]
    models = [getattr(frame_answers, name) for name in dict.fromkeys(("HelloOk", *names))]
    params = [schemas.Connect, *(method.params for method in METHODS.values())]
    _, found = msgspec.json.schema_components(
        list(dict.fromkeys((*params, *models, *get_args(frame_answers.Details)))), ref_template=SCHEMAS + "{name}"
    )
    return dict(found)


# What is done


def _operations() -> Json:
    """The gateway receives requests, and sends events."""
    asked = {CONNECT: SIGN_IN} | {name: getdoc(method.call) or "" for name, method in METHODS.items()}
    operations = {name: _request_operation(name, text) for name, text in asked.items()}
    return operations | {
        f"event.{name}": {
            "action": "send",
            "channel": {"$ref": f"#/channels/{CHANNEL}"},
            "summary": _doc(model),
            "messages": [_message_ref(f"event.{name}")],
        }
        for name, model in EVENTS.items()
    }


def _request_operation(name: str, text: str) -> Json:
    operation: Json = {
        "action": "receive",
        "channel": {"$ref": f"#/channels/{CHANNEL}"},
        "summary": re.split(r"[.;:](?:\s|$)", text, maxsplit=1)[0],
        "description": text,
        "messages": [_message_ref(f"{name}.request")],
        "reply": {
            "channel": {"$ref": f"#/channels/{CHANNEL}"},
            "messages": [_message_ref(f"{name}.answer"), _message_ref(REFUSAL)],
        },
    }
    if name in METHODS:
        operation["tags"] = [{"name": METHODS[name].scope, "description": "The scope that it needs, or a greater one."}]
    return operation


def _message_ref(name: str) -> Json:
    return {"$ref": f"#/channels/{CHANNEL}/messages/{name}"}


# Frames


def _messages() -> Json:
    methods: dict[str, tuple[type[schemas.Params], str]] = {CONNECT: (schemas.Connect, "HelloOk")}
    methods |= {name: (method.params, method.gives) for name, method in METHODS.items()}
    messages: Json = {}
    for name, (params, gives) in methods.items():
        messages[f"{name}.request"] = _message(f"Ask for {name}.", _request(name, params))
        messages[f"{name}.answer"] = _message(" ".join(map(_doc, gives.split(" | "))), _answer(gives))
    messages[REFUSAL] = _message("A request that was not carried out, and why.", _refusal())
    return messages | {f"event.{name}": _message(_doc(model), _event(name, model)) for name, model in EVENTS.items()}


def _message(text: str, frame: Json) -> Json:
    message: Json = {"summary": text, "payload": frame}
    if "id" in frame["properties"]:
        message["correlationId"] = {
            "location": "$message.payload#/id",
            "description": "The client's own; the answer has it again.",
        }
    return message


def _request(name: str, params: type[schemas.Params]) -> Json:
    """As `websocket.parse_frame` takes it: more keys do no harm."""
    needed = any(field.required for field in msgspec.structs.fields(params))
    given = {"$ref": SCHEMAS + params.__name__}
    return {
        "type": "object",
        "properties": {
            "type": {"const": "req"},
            "id": TEXT,
            "method": {"const": name},
            "params": given if needed else {"anyOf": [given, {"type": "null"}]},
            "traceparent": {"type": "string", "maxLength": LONGEST, "description": TRACEPARENT},
        },
        "required": ["type", "id", "method", *(["params"] if needed else [])],
    }


def _answer(gives: str) -> Json:
    unlike = [{"$ref": SCHEMAS + name} for name in gives.split(" | ")]
    payload = unlike[0] if len(unlike) == 1 else {"anyOf": unlike}
    return _exactly({"type": {"const": "res"}, "id": TEXT, "ok": {"const": True}, "payload": payload})


def _refusal() -> Json:
    """As `websocket.shape` makes it."""
    details = [{"$ref": SCHEMAS + model.__name__} for model in get_args(frame_answers.Details)]
    error = _exactly(
        {
            "code": {"enum": sorted({frame_code for _, _, frame_code in WORDS.values()})},
            "message": {"type": "string"},
            "details": {"anyOf": details},
            "retryable": {"const": True},
            "retryAfterMs": {"type": "integer", "minimum": 0},
        },
        may_lack=("details", "retryable", "retryAfterMs"),
    )
    return _exactly({"type": {"const": "res"}, "id": TEXT, "ok": {"const": False}, "error": error})


def _event(name: str, model: str) -> Json:
    """The first one comes before anything is numbered."""
    frame = {"type": {"const": "event"}, "event": {"const": name}, "payload": {"$ref": SCHEMAS + model}}
    return _exactly(frame if name == CHALLENGE else frame | {"seq": {"type": "integer", "minimum": 1}})


def _exactly(properties: Json, may_lack: tuple[str, ...] = ()) -> Json:
    required = [name for name in properties if name not in may_lack]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _doc(model: str) -> str:
    return getdoc(getattr(frame_answers, model)) or ""
