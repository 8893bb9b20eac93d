"""The reference of every key as Markdown, out of the config's schema: docs/config.md is what this makes of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from gateway.admin.schema import RELOAD, inner_of

Json = dict[str, Any]

HEAD = """\
# The config file, key by key

This page is made from the models that read the file, by `make reference`; `python -m gateway schema` prints it, too.
The file is YAML. It may change while the gateway runs: save it, and what changed is applied.
What is not set has its default. A key that is not listed here is an error, and so is a value of another type;
`python -m gateway check` names the line, the column and the nearest key.

```yaml
gateway:
  name: home
  admin: {port: 18790}
channels:
  telegram:
    accounts:
      main:                           # a name of your choice
        token: ${TELEGRAM_TOKEN}      # or {file: telegram-token}
        allow_from: ["@me", 12345]
  webchat:
    accounts:
      default: {}
handlers:
  echo: {type: echo}                  # a name of your choice
routes:                               # the first that matches wins
  - {channel: telegram, account: main, match: "^/help", handler: echo}
  - {channel: "*", handler: echo}
```

## How to read it

A path names each key from the top of the file, with dots between. A `*` in it stands for a name of your choice
(an account's, a handler's), or for the number of an entry of a list, counted from 0.
A name has 1 to 64 letters, digits, dots, dashes and underscores.
A section is a mapping whose keys are given; where to read on is linked.
A key that ends in `_ms` is in milliseconds, one in `_s` in seconds.

### What a change needs

| word | what happens when the value changes |
| --- | --- |
| `live` | nothing is interrupted; from now on the new value counts |
| `channel` | the accounts under it that are touched are started, stopped or restarted, and no others |
| `gateway` | the gateway restarts itself, after `gateway.restart.delay_ms` |

A section has no word of its own: a change in it needs what its changed keys need. What is said of a mapping or a list
holds for a whole entry that is added or removed.

### Values from the environment

`${NAME}` in any text is replaced by the variable NAME of the gateway's environment; a variable that is not set is an error.
`$${` stands for `${` itself. A value that is wholly a variable may be a number or true or false, too: `port: ${PORT}`.

### Secrets

A secret is best not written into the file itself. It is one of

- `${NAME}`: the value of an environment variable;
- `{file: path}`: what the file of that name holds, without the white space around it; a relative path begins at the
  folder of the config file;
- a plain text.

A secret is in no log, no answer and no page: there it reads `__REDACTED__`. Sent back in a change, that mark keeps the secret."""


def reference(schema: Json) -> str:
    """The whole page."""
    parts = [HEAD]
    for path, section in _sections(schema):
        title = f"`{path}`" if path else "The keys at the top"
        text = section.get("description", "") if path else ""
        rows = [
            _row(f"{path}.{key}".lstrip("."), key in section["required"], inner) for key, inner in inner_of(section)
        ]
        head = "| key | type | default | a change needs | meaning |\n| --- | --- | --- | --- | --- |"
        parts.append("\n\n".join(filter(None, (f"## {title}", text, "\n".join((head, *rows))))))
    return "\n\n".join(parts)


def _sections(schema: Json, path: str = "") -> Iterator[tuple[str, Json]]:
    """Every place that has keys of its own, by its path."""
    if "properties" in schema:
        yield path, schema
    for key, inner in inner_of(schema):
        yield from _sections(inner, f"{path}.{key}".lstrip("."))


def _row(path: str, required: bool, schema: Json) -> str:
    meaning = schema["description"]
    if "examples" in schema:
        meaning += f" For example `{_value(schema['examples'][0])}`."
    default = "**required**" if required else ""
    need = ""
    if "properties" not in schema:
        default = default or (_default(schema["default"]) if "default" in schema else _by_type(meaning))
        need = f"`{schema[RELOAD]}`"
    cells = (f"`{path}`", _linked(type_of(schema), schema, path), default, need, meaning)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _by_type(meaning: str) -> str:
    """Of what only some types of a handler have: its meaning says the defaults, unless they have none."""
    return "by type" if "Unless it is set" in meaning else "**required**"


def _default(value: Any) -> str:
    return "not set" if value in (None, "") else f"`{_value(value)}`"


def _value(value: Any) -> str:
    """A value as one writes it in the file."""
    return value if isinstance(value, str) and value != "*" else json.dumps(value)


def _linked(text: str, schema: Json, path: str) -> str:
    """A type, with a link to where more is said of it."""
    entries = "properties" in (schema.get("additionalProperties") or schema.get("items") or {})
    anchor = re.sub(r"[^a-z0-9_]", "", f"{path}.*" if entries else path)
    return re.sub(r"\bsections?$", rf"[\g<0>](#{anchor})", text.replace("secret", "[secret](#secrets)"))


def type_of(schema: Json) -> str:
    """What a value must be, in words."""
    if schema.get("writeOnly"):
        return "secret"
    if "anyOf" in schema:
        return _either(type_of(one) for one in schema["anyOf"] if one.get("type") != "null")
    if "enum" in schema:
        return _either(f"`{choice}`" for choice in schema["enum"])
    if "properties" in schema:
        return "section"
    words = {"string": "text", "boolean": "`true` or `false`", "integer": "integer", "number": "number"}
    kind = schema["type"]
    return words[kind] + _bounds(schema) if kind in words else _container(schema)


def _container(schema: Json) -> str:
    if schema["type"] == "array":
        return f"list of {_many(schema['items'])}"
    return f"mapping of names to {_many(schema['additionalProperties'])}"


def _either(choices: Iterable[str]) -> str:
    *others, last = dict.fromkeys(choices)
    return f"{', '.join(others)} or {last}" if others else last


def _many(entry: Json) -> str:
    return re.sub(r"\b(text|integer|number|section)\b", r"\1s", type_of(entry))


def _bounds(schema: Json) -> str:
    low = schema.get("minimum", schema.get("minLength"))
    high = schema.get("maximum", schema.get("maxLength"))
    unit = " characters" if schema["type"] == "string" else ""
    if low is not None:
        return f", {low} to {high}{unit}" if high is not None else f", {low} or more{unit}"
    return f" that matches `{schema['pattern']}`" if "pattern" in schema else ""
