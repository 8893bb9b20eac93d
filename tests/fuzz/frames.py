"""Strategies for the WebSocket: requests of every method, right and wrong, and what is no request at all."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from hypothesis import strategies as st

from gateway.admin.methods import METHODS
from gateway.admin.schemas import Params
from gateway.admin.websocket import MAX_AFTER
from tests.fuzz.values import JSON, SCALARS, TEXTS, nested
from tests.gateway.admin.house import TEXT, TOKEN

CURRENT = "<the hash of now>"
"""Stands for it until the frame is sent."""
KNOWN: dict[str, st.SearchStrategy[Any]] = {
    "raw": st.one_of(
        st.sampled_from([TEXT, TEXT + "# more\n", "gateway: {name: x}", "{gateway: {name: null}}", "a: &a [*a]", "{"]),
        st.dictionaries(TEXTS, JSON, max_size=2).map(json.dumps),
        TEXTS,
    ),
    "baseHash": st.one_of(st.just(CURRENT), st.just("stale"), st.none()),
    "channel": st.sampled_from(["webchat", "telegram", "nothing", ""]),
    "accountId": st.sampled_from(["default", "main", "nobody", ""]),
    "path": st.sampled_from(
        [".", "gateway.admin.port", "routes[0].match", "channels.x.accounts", "a." * 500, "x" * 10_000]
    ),
    "sessionKey": st.sampled_from(["webchat:default:main", "webchat:nobody:main", "webchat:", "x", ""]),
    "delayMs": st.sampled_from([0, 60_000, 10**400, -1]),
    "deliveryContext": st.sampled_from([0, 1, 900]).map(
        lambda levels: json.loads('{"a":' * levels + "{}" + "}" * levels)
    ),
}
"""Values that lead further than those of the right type."""


def right(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values of the type that a parameter's schema names, not always within its bounds."""
    if "anyOf" in schema:
        return st.one_of([right(one) for one in schema["anyOf"]])
    kinds: dict[str, st.SearchStrategy[Any]] = {
        "null": st.none(),
        "boolean": st.booleans(),
        "integer": st.integers(-1, 2_000),
        "string": TEXTS,
        "array": st.lists(TEXTS, max_size=3),
        "object": st.dictionaries(TEXTS, SCALARS, max_size=3),
    }
    return kinds.get(schema.get("type", ""), JSON)


def params_of(model: type[Params]) -> st.SearchStrategy[Any]:
    """Parameters of a method: all that it needs, some that it may have, and now and then what it may not."""
    _, found = msgspec.json.schema_components([model])
    schema = found[model.__name__]
    fields = {name: st.one_of(KNOWN.get(name, st.nothing()), right(one)) for name, one in schema["properties"].items()}
    needed = {name: field for name, field in fields.items() if name in schema.get("required", ())}
    rest = {name: field for name, field in fields.items() if name not in needed}
    whole = st.fixed_dictionaries(needed, optional=rest)
    bent = st.fixed_dictionaries({}, optional={name: st.one_of(field, JSON) for name, field in fields.items()})
    more = st.tuples(bent, st.dictionaries(TEXTS, JSON, max_size=1)).map(lambda pair: pair[0] | pair[1])
    return st.one_of(whole, whole, bent, more, JSON)


IDS = st.one_of(st.sampled_from(["1", "1", "2", "same"]), TEXTS.filter(bool))
REQUESTS = st.sampled_from(sorted(METHODS)).flatmap(
    lambda name: st.fixed_dictionaries(
        {"type": st.just("req"), "id": IDS, "method": st.just(name), "params": params_of(METHODS[name].params)},
        optional={"traceparent": st.text(max_size=128)},
    )
)
CONNECT = {
    "type": "req",
    "id": "c",
    "method": "connect",
    "params": {
        "minProtocol": 4,
        "maxProtocol": 4,
        "client": {"id": "fuzz", "version": "1", "platform": "linux", "mode": "test"},
        "role": "operator",
        "scopes": ["operator.read"],
        "auth": {"token": TOKEN},
    },
}


def bent(whole: Any) -> st.SearchStrategy[Any]:
    """The same with one part of it, at any depth, missing or something else."""
    if not isinstance(whole, dict) or not whole:
        return st.one_of(st.just(whole), JSON)
    without = st.sampled_from(sorted(whole)).map(lambda key: {name: whole[name] for name in whole if name != key})
    changed = st.sampled_from(sorted(whole)).flatmap(lambda key: bent(whole[key]).map(lambda new: whole | {key: new}))
    return st.one_of(without, changed, JSON)


ODD_REQUESTS = REQUESTS.flatmap(bent)
ODD_TEXTS = st.one_of(
    TEXTS,
    st.sampled_from([900, 100_000]).map(lambda levels: nested(levels, "[", "]")),
    st.sampled_from(['{"type":"req","id":"1","method":"health"', "{}"]),
    JSON.map(json.dumps),
)


def too_large(size: int) -> str:
    return json.dumps({"type": "req", "id": "big", "method": "health", "pad": "x" * size})


Frame = tuple[str, Any]
"""What to send: (`request`, the frame), (`text`, a text), (`bytes`, what is not text), (`raw`, a text frame's bytes), (`ping`, ...)."""
FRAMES: st.SearchStrategy[Frame] = st.one_of(
    REQUESTS.map(lambda frame: ("request", frame)),
    REQUESTS.map(lambda frame: ("request", frame)),
    st.one_of(ODD_REQUESTS, bent(CONNECT), st.just(CONNECT)).map(lambda frame: ("request", frame)),
    ODD_TEXTS.map(lambda text: ("text", text)),
    st.binary(max_size=20).map(lambda data: ("ping", data)),
)
LAST_FRAMES: st.SearchStrategy[Frame] = st.one_of(
    st.binary(max_size=20).map(lambda data: ("bytes", data)),
    st.sampled_from([b"\xff", b"\xed\xa0\x80", b'{"type": "\xc3']).map(lambda data: ("raw", data)),
    st.just(MAX_AFTER).map(lambda size: ("text", too_large(size))),
)
"""After one of these the connection is closed, with 1003, 1007 or 1009."""
