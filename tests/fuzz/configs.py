"""Strategies for configs: valid ones made from the model, and texts that are nearly one, or none at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from io import StringIO
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec
from hypothesis import strategies as st
from ruamel.yaml import YAML

from gateway.config.declared import Model, OneOf
from gateway.config.file import parse
from gateway.config.validate import fields_of
from gateway.errors import ConfigError
from gateway.redact import MARK, Secret
from tests.fuzz.values import JSON, SCALARS, TEXTS
from tests.gateway.configs import MODEL

PLAIN_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="$\0", exclude_categories=["Cc"]), max_size=20)
NAMES = st.from_regex(r"\A[A-Za-z0-9_.-]{1,12}\Z")
HANDLERS = st.lists(NAMES, min_size=1, max_size=3, unique=True)
SPECIAL: dict[str, st.SearchStrategy[Any]] = {
    "host": st.sampled_from(["127.0.0.1", "localhost", "::1"]),
    "api_base": st.sampled_from(["https://api.telegram.org", "http://[::1]:80/x"]),
    "match": st.sampled_from(["^/help", "a|b", "(?i)ä", "[0-9]+", ""]),
    "handler": st.just("echo"),
    "url": st.sampled_from(["http://127.0.0.1:9000/hook", "https://example.org/a?b=c#d"]),
    "base_url": st.sampled_from(["http://127.0.0.1:11434/v1", "https://api.openai.com/v1/"]),
    "target": st.sampled_from(["my_bot:answer", "bots.one:f"]),
    "webhook_url": st.sampled_from(
        ["https://bot.example.org", "https://[2001:db8::1]:8443/bots", "http://127.0.0.1:1"]
    ),
    "LeaseSettings.url": st.sampled_from(["nats://10.0.0.5:4222", "tls://a.example.org,nats://[::1]:4222", "wss://b/"]),
    "LeaseSettings.bucket": st.from_regex(r"\A[A-Za-z0-9_-]{1,12}\Z"),
    "LeaseSettings.credentials": st.sampled_from(["/etc/gateway/nats.creds"]),
    "argv": st.lists(PLAIN_TEXT.filter(str.strip), min_size=1, max_size=3),
}
"""Fields whose rule the type does not say, by their name, or by that of their section as well."""
NEEDED = frozenset({"webhook_url"})
"""Fields without which a value of another one cannot be used."""


def valid(model: type[Model]) -> st.SearchStrategy[dict[str, Any]]:
    """Plain data that the model takes: what is required, and some of what is not."""
    fields = {name: _field(model, name, field.type) for name, field in fields_of(model).items()}
    required = {name: fields[name] for name, field in fields_of(model).items() if field.required or name in NEEDED}
    return st.fixed_dictionaries(required, optional={name: fields[name] for name in fields if name not in required})


def _field(model: type[Model], name: str, annotation: Any) -> st.SearchStrategy[Any]:
    special = SPECIAL.get(f"{model.__name__}.{name}", SPECIAL.get(name))
    return _of(annotation) if special is None else special


def _of(annotation: Any) -> st.SearchStrategy[Any]:
    marks = [mark for mark in getattr(annotation, "__metadata__", ()) if isinstance(mark, msgspec.Meta)]
    kind = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
    arguments = get_args(kind)
    choice = next((mark for mark in getattr(annotation, "__metadata__", ()) if isinstance(mark, OneOf)), None)
    if choice is not None:
        # A bridge must lead to an account that is there: of those the tests of the model know.
        return st.one_of([valid(model) for name, model in choice.models.items() if name != "bridge"])
    if isinstance(kind, type) and issubclass(kind, Model):
        return valid(kind)
    if get_origin(kind) is Literal:
        return st.sampled_from(arguments)
    if get_origin(kind) is Mapping:
        return st.dictionaries(NAMES, _of(arguments[1]), max_size=2)
    if get_origin(kind) is tuple:
        return st.lists(_of(arguments[0]), max_size=3)
    if arguments:
        return st.one_of([_of(argument) for argument in arguments if argument is not type(None)])
    return _scalar(kind, marks)


def _scalar(kind: Any, marks: list[msgspec.Meta]) -> st.SearchStrategy[Any]:
    bounds = {name: value for mark in marks for name in ("ge", "le") if (value := getattr(mark, name)) is not None}
    if kind is int:
        least = int(bounds.get("ge", -(2**53)))
        return st.integers(least, int(bounds.get("le", max(least, 0) + 2**53)))
    if kind is float:
        lowest = float(bounds.get("ge", -(2.0**53)))
        return st.floats(lowest, float(bounds.get("le", max(lowest, 0.0) + 2.0**53)))
    if kind is bool:
        return st.booleans()
    assert kind in (str, Secret), f"no strategy for {kind}"
    return PLAIN_TEXT.filter(lambda text: text.strip() != "" and MARK not in text)


def _completed(tree: dict[str, Any]) -> dict[str, Any]:
    """With the handler that routes name, and each account a bot of its own."""
    accounts = tree.get("channels", {}).get("telegram", {}).get("accounts", {})
    for name, account in accounts.items():
        account["token"] = f"{int.from_bytes(name.encode())}:{account['token']}"
    return tree | {"handlers": {**tree.get("handlers", {}), "echo": {"type": "echo"}}}


CONFIGS = valid(MODEL).map(_completed)


def as_yaml(tree: Any, *, flow: bool) -> str:
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = flow
    yaml.allow_unicode = True
    text = StringIO()
    yaml.dump(tree, text)
    try:
        parse(text.getvalue().encode())
    except ConfigError:  # the library writes some flow mappings ({:0: 1}) that it does not read
        return json.dumps(tree, ensure_ascii=False)
    return text.getvalue()


WRITERS = st.sampled_from(
    [
        lambda tree: json.dumps(tree, indent=2, ensure_ascii=False),
        lambda tree: as_yaml(tree, flow=False),
        lambda tree: as_yaml(tree, flow=True),
    ]
)
"""Ways to write a tree as a text. YAML, unlike JSON, has no escapes of half characters: `json.dumps` alone is for calls."""

_PIECES = (
    "a: ¦b:\n¦- ¦&x ¦*x¦*x ¦{¦}¦[¦]¦,¦\n¦\n  ¦\n    ¦ ¦\t¦'¦\"¦\\¦|\n¦>-\n¦? ¦: ¦#¦<<: ¦---\n¦...\n¦\r\n¦//c\n¦/*¦*/¦"
    "!!int ¦!!binary ¦!!set ¦!!omap ¦!!python/object:os.system ¦!x ¦%YAML 1.1\n¦%TAG ! x\n¦2020-01-01¦0x1F¦0o17¦1_000¦"
    ".nan¦.inf¦1:20¦~¦null¦yes¦1e999¦${HOME}¦${NO_SUCH}¦$${X}¦${¦gateway: ¦channels: ¦token: ¦"
    "\x85¦\u2028¦\ufeff¦\0¦\x07¦\ud800¦😀"
)
PIECES = st.sampled_from([*_PIECES.split("¦"), MARK, "9" * 5_000])
SOUP = st.lists(PIECES, max_size=25).map("".join)


@st.composite
def spoilt(draw: st.DrawFn) -> str:
    """A valid text with a few pieces of it cut out, doubled, or something else put in."""
    text: str = draw(WRITERS)(draw(CONFIGS))
    for _ in range(draw(st.integers(1, 3))):
        begin = draw(st.integers(0, len(text)))
        end = draw(st.integers(begin, min(len(text), begin + 20)))
        middle = draw(st.one_of(st.just(""), PIECES, st.just(text[begin:end] * 2), st.just("\n" + text[begin:end])))
        text = text[:begin] + middle + text[end:]
    return text


ANY_TEXT = st.one_of(SOUP, spoilt(), TEXTS, st.dictionaries(TEXTS, JSON, max_size=3).map(json.dumps))
ANY_BYTES = st.one_of(
    ANY_TEXT.map(lambda text: text.encode(errors="replace")),
    ANY_TEXT.map(lambda text: text.encode("utf-16", errors="replace")),
    st.binary(max_size=60),
)

KEYS = st.one_of(st.sampled_from(["a", "b", "c", "gateway"]), PLAIN_TEXT)
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), PLAIN_TEXT, st.sampled_from([0.5, -1.25, 100.0])
)
TREES = st.dictionaries(
    KEYS,
    st.recursive(
        LEAVES,
        lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=4)),
        max_leaves=10,
    ),
    min_size=1,
    max_size=4,
)
"""What a text may hold, whether it is a config or not; and a patch as well, where a null takes away."""
SCALAR_PATCHES = st.dictionaries(TEXTS, SCALARS, max_size=3)
