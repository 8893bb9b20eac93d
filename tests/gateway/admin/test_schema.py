"""The config's JSON Schema and its hints, out of the one declaration."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, get_args

import jsonschema
import msgspec
import pytest
from msgspec import structs

from gateway.admin.schema import config_schema, json_schema
from gateway.config.declared import Model
from gateway.config.file import parse
from gateway.config.handlers import HANDLERS
from gateway.config.model import Account, build_config_model
from gateway.config.plan import reload_class
from gateway.config.secrets import as_data
from gateway.config.validate import fields_of
from gateway.redact import Secret
from tests.gateway.config.test_file import FAULTS
from tests.gateway.config.test_model import models
from tests.gateway.configs import HEAD, MODEL, config, faults, telegram
from tests.protocol.frames import faults_in

ANSWER = config_schema(MODEL, "1.2.3")
SCHEMA: dict[str, Any] = ANSWER["schema"]
HINTS: dict[str, dict[str, Any]] = ANSWER["uiHints"]
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def declared(kind: Any = MODEL, path: str = "") -> Iterator[tuple[str, structs.FieldInfo]]:
    """Every field of the models by its path, with `*` for a key or a place that is anybody's choice."""
    for name, field in fields_of(kind).items():
        place = f"{path}.{name}".lstrip(".")
        yield place, field
        bare = get_args(field.type)[0]
        for inner in (bare, *get_args(bare)):
            if isinstance(inner, type) and issubclass(inner, Model):
                yield from declared(inner, place if inner is bare else f"{place}.*")


FIELDS = dict(declared())
OF_HANDLERS = "handlers.*."
"""What is said of them is gathered from several models."""


def at(path: str) -> dict[str, Any]:
    """What the schema has at a path."""
    found = SCHEMA
    for step in path.split("."):
        found = (found.get("additionalProperties") or found["items"]) if step == "*" else found["properties"][step]
    return found


def told(schema: dict[str, Any], path: str = "") -> Iterator[str]:
    """The path of every key and entry that the schema knows."""
    inner = {**schema.get("properties", {}), "*": schema.get("additionalProperties") or schema.get("items")}
    for name, below in inner.items():
        if below:
            yield f"{path}.{name}".lstrip(".")
            yield from told(below, f"{path}.{name}")


def meta_of(field: structs.FieldInfo) -> msgspec.Meta:
    (meta,) = (mark for mark in field.type.__metadata__ if isinstance(mark, msgspec.Meta))
    return meta


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    json.dumps(ANSWER)
    assert ANSWER["version"] == "1.2.3"


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        HEAD,
        telegram(main="token: a-token, allow_from: [1, '@me', '*'], enabled: false"),
        telegram(main="token: {file: token}, poll_timeout_s: 50, api_base: 'http://127.0.0.1:1'"),
        "gateway: {admin: {token: null}, reload: {mode: 'off'}, log: {level: debug, format: json}}\n",
    ],
)
def test_what_is_valid_is_valid_by_the_schema_too(text: str) -> None:
    VALIDATOR.validate(parse(text.encode()))


BY_RULES_BETWEEN_FIELDS = {
    "no such handler", "a bad pattern", "no such variable", "no such variable in a list", "a mark", "a mark within",
    "no such secret file",
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in FAULTS if name not in BY_RULES_BETWEEN_FIELDS and FAULTS[name][1]])
def test_what_is_not_is_not(name: str) -> None:
    """All faults but those that a schema cannot say."""
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate(_with_text_keys(parse(FAULTS[name][0].encode())))


def _with_text_keys(tree: Any) -> Any:
    """JSON has no other keys; a number becomes a text that no name may be."""
    if isinstance(tree, dict):
        return {key if isinstance(key, str) else f"<{key}>": _with_text_keys(value) for key, value in tree.items()}
    return tree


def test_the_walk_finds_fields_at_every_depth() -> None:
    assert {"gateway", "gateway.admin.port", "channels.telegram.accounts.*.token", "routes.*.match"} <= set(FIELDS)
    assert len(FIELDS) > 40


@pytest.mark.parametrize("path", FIELDS)
def test_the_schema_says_of_a_field_what_the_model_says(path: str) -> None:
    field, said = FIELDS[path], at(path)
    assert said["description"] == meta_of(field).description
    assert said["title"] == meta_of(field).title or re.fullmatch(r"[A-Z][a-z]*( [a-z]+)*( \(m?s\))?", said["title"])
    assert said["x-reload"] == reload_class(field).word
    assert said.get("writeOnly", False) == (Secret in (get_args(field.type)[0], *get_args(get_args(field.type)[0])))
    if field.required:
        assert "default" not in said
    else:
        value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
        assert said["default"] == msgspec.to_builtins(value, str_keys=True)
    *_, name = path.split(".")
    parent = at(path.removesuffix(name).rstrip(".")) if "." in path else SCHEMA
    assert (name in parent["required"]) == field.required


def test_the_schema_has_no_other_fields() -> None:
    paths = {path for path in told(SCHEMA) if not path.endswith("*")}
    assert {path for path in paths if not path.startswith(OF_HANDLERS)} == set(FIELDS)


def test_the_keys_of_handlers_are_those_of_their_types() -> None:
    """Each once, with the types that have it; what it means is what the first of them says."""
    keys = {name for model in HANDLERS.values() for name in fields_of(model)}
    properties = at("handlers.*")["properties"]
    assert set(properties) == keys
    assert properties["type"]["enum"] == list(HANDLERS)
    for key in keys - {"type"}:
        having = [kind for kind, model in HANDLERS.items() if key in fields_of(model)]
        said, first = properties[key]["description"], meta_of(fields_of(HANDLERS[having[0]])[key])
        assert str(first.description) in said
        assert all(kind in said.split(".")[0] for kind in having), said
        defaults = {kind: fields_of(HANDLERS[kind])[key].default for kind in having}
        if len(set(map(str, defaults.values()))) == 1:
            assert properties[key].get("default", msgspec.NODEFAULT) == defaults[having[0]]
        else:
            assert "default" not in properties[key]
            assert all(f"{default} for {kind}" in said for kind, default in defaults.items()), said


@pytest.mark.parametrize(
    ("handler", "valid"),
    [
        ("{type: echo}", True),
        ("{type: http, url: 'http://x', timeout_ms: 5}", True),
        ("{type: http}", False),
        ("{type: echo, url: 'http://x'}", False),
        ("{type: htp, url: 'http://x'}", False),
        ("{url: 'http://x'}", False),
        ("{type: command, argv: []}", False),
        ("{type: command, argv: [./a]}", True),
    ],
)
def test_what_goes_together_is_what_the_type_of_a_handler_says(handler: str, valid: bool) -> None:
    text = f"handlers: {{one: {handler}}}\n"
    assert VALIDATOR.is_valid(parse(text.encode())) is valid
    if valid:
        config(text)
    else:
        assert faults(text)


def test_an_entry_is_added_and_removed_as_its_field_is_changed() -> None:
    entries = [path for path in told(SCHEMA) if path.endswith("*")]
    assert {"handlers.*", "routes.*", "channels.webchat.accounts.*", "gateway.admin.allowed_origins.*"} <= set(entries)
    for path in entries:
        assert at(path)["x-reload"] == at(path.removesuffix(".*"))["x-reload"]
        assert at(path)["title"]


def test_nothing_in_the_schema_is_a_reference() -> None:
    """The published clients look for `properties`, and follow none."""
    assert set(SCHEMA["properties"]) == set(fields_of(MODEL))
    assert not re.search(r"\$ref|\$defs", json.dumps(SCHEMA))


def test_a_choice_is_in_the_order_in_which_it_is_declared() -> None:
    assert at("gateway.log.level")["enum"] == ["debug", "info", "warning", "error"]
    assert at("gateway.log.level")["type"] == "string"


def test_a_model_that_is_used_twice_is_told_of_twice() -> None:
    twice = build_config_model({"irc": Account, "xmpp": Account})
    sections = json_schema(twice)["properties"]["channels"]["properties"]
    assert list(sections) == ["irc", "xmpp"]
    one, two = (section["properties"]["accounts"] for section in sections.values())
    assert one == two
    assert one["additionalProperties"]["properties"]["enabled"]["x-reload"] == "channel"


def test_every_key_has_a_hint_and_every_hint_a_key() -> None:
    assert list(HINTS) == list(told(SCHEMA))
    assert faults_in("ConfigSchemaResponse", ANSWER) == []


def test_a_hint_says_what_a_change_of_the_key_needs() -> None:
    assert HINTS["gateway.admin.port"]["tags"] == ["reload:gateway"]
    assert HINTS["channels.telegram.accounts.*.token"]["tags"] == ["reload:channel"]
    assert HINTS["channels.telegram.accounts.*.allow_from"]["tags"] == ["reload:live"]
    assert HINTS["routes.*.match"]["tags"] == ["reload:live"]
    classes = {f"reload:{reload_class(field).word}" for model in models() for field in fields_of(model).values()}
    assert {tag for hint in HINTS.values() for tag in hint["tags"]} == classes


def test_a_hint_has_a_label_and_the_help_that_is_declared() -> None:
    for path, hint in HINTS.items():
        assert (hint["label"], hint.get("help")) == (at(path)["title"], at(path).get("description"))
    assert HINTS["gateway.restart.delay_ms"]["label"] == "Delay (ms)"
    assert HINTS["channels.telegram.accounts.*.api_base"]["label"] == "API base"
    assert HINTS["channels.telegram.accounts.*"]["label"] == "Telegram account"
    assert "free one" in HINTS["gateway.admin.port"]["help"]


def test_a_hint_shows_an_example_and_the_place_among_its_siblings() -> None:
    assert HINTS["gateway.admin.token"]["placeholder"] == "${GATEWAY_TOKEN}"
    assert HINTS["channels.telegram.accounts.*.allow_from"]["placeholder"] == '["@me",12345]'
    assert [path for path in sorted(HINTS, key=lambda path: HINTS[path]["order"]) if "." not in path] == list(
        fields_of(MODEL)
    )


def test_secrets_and_no_others_are_sensitive() -> None:
    assert {path for path, hint in HINTS.items() if hint.get("sensitive")} == {
        "gateway.admin.token",
        "gateway.lease.token",
        "channels.telegram.accounts.*.token",
        "handlers.*.secret",
        "handlers.*.api_key",
    }


def test_a_config_as_data_has_every_key_and_no_secret() -> None:
    data = json.loads(json.dumps(as_data(config(telegram(main="token: a-secret-token, allow_from: [1, '@me']")))))
    assert "a-secret-token" not in json.dumps(data)
    assert "the-admin-token" not in json.dumps(data)
    account = data["channels"]["telegram"]["accounts"]["main"]
    assert (account["token"], account["allow_from"], account["enabled"]) == ("__REDACTED__", [1, "@me"], True)
    assert list(data) == list(fields_of(MODEL))
    VALIDATOR.validate(data)
