"""The config's JSON Schema and its hints, out of the one declaration."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from gateway.admin.schema import config_schema
from gateway.config.file import parse
from gateway.config.model import Model
from gateway.config.plan import reload_class
from gateway.config.secrets import as_data
from gateway.config.validate import fields_of
from tests.gateway.config.test_file import FAULTS
from tests.gateway.config.test_model import models
from tests.gateway.configs import HEAD, MODEL, config, telegram

ANSWER = config_schema(MODEL, "1.2.3")
SCHEMA: dict[str, Any] = ANSWER["schema"]
HINTS: dict[str, dict[str, Any]] = ANSWER["uiHints"]
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def properties(schema: dict[str, Any], path: str = "") -> Iterator[str]:
    """The path of every key that the schema knows, with `*` for a key or a place that is anybody's choice."""
    if "$ref" in schema:
        schema = SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]]
    for name, inner in schema.get("properties", {}).items():
        yield f"{path}.{name}".lstrip(".")
        yield from properties(inner, f"{path}.{name}")
    for inner in (schema.get("additionalProperties"), schema.get("items")):
        if isinstance(inner, dict):
            yield from properties(inner, f"{path}.*")


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


def test_every_key_has_a_hint_and_every_hint_a_key() -> None:
    assert set(HINTS) == set(properties(SCHEMA))


def test_a_hint_says_what_a_change_of_the_key_needs() -> None:
    assert HINTS["gateway.admin.port"]["tags"] == ["reload:gateway"]
    assert HINTS["channels.telegram.accounts.*.token"]["tags"] == ["reload:channel"]
    assert HINTS["channels.telegram.accounts.*.allow_from"]["tags"] == ["reload:live"]
    assert HINTS["routes.*.match"]["tags"] == ["reload:live"]
    classes = {f"reload:{reload_class(field).word}" for model in models() for field in fields_of(model).values()}
    assert {tag for hint in HINTS.values() for tag in hint["tags"]} == classes


def test_a_hint_has_a_label_and_the_help_that_is_declared() -> None:
    assert HINTS["gateway.admin.port"]["label"] == "port"
    assert HINTS["gateway.admin.port"]["help"] == "0 picks a free one"
    assert all(hint["label"] for hint in HINTS.values())


def test_secrets_and_no_others_are_sensitive() -> None:
    assert {path for path, hint in HINTS.items() if hint.get("sensitive")} == {
        "gateway.admin.token",
        "channels.telegram.accounts.*.token",
    }


def test_a_config_as_data_has_every_key_and_no_secret() -> None:
    data = json.loads(json.dumps(as_data(config(telegram(main="token: a-secret-token, allow_from: [1, '@me']")))))
    assert "a-secret-token" not in json.dumps(data)
    assert "the-admin-token" not in json.dumps(data)
    account = data["channels"]["telegram"]["accounts"]["main"]
    assert (account["token"], account["allow_from"], account["enabled"]) == ("__REDACTED__", [1, "@me"], True)
    assert list(data) == list(fields_of(MODEL))
    VALIDATOR.validate(data)


def test_no_model_is_left_out() -> None:
    assert {model.__name__ for model in models()} == set(SCHEMA["$defs"])
    assert all(issubclass(model, Model) for model in models())
