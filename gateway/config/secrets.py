"""Where secrets come from: the environment, and the fields that are declared as such."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.config.declared import Model
from gateway.errors import Issue
from gateway.redact import MARK, Secret

_REFERENCE = re.compile(r"\$?\$\{([A-Za-z_][A-Za-z0-9_]*)\}")

_TELLING = re.compile(r"(?:^|_)(?:TOKEN|SECRET|PASS(?:WORD|WD|PHRASE)?|CREDENTIALS?|(?:API)?KEY)$", re.IGNORECASE)
_SHORTEST = 8
"""Of a variable's value: a shorter one is likely to be an everyday word, and no secret worth the name."""


def secrets_of_environment(environ: Mapping[str, str]) -> set[str]:
    """The values of variables whose names say that they are secrets, whoever reads them: a part of a URL, a handler's own program."""
    return {value for name, value in environ.items() if _TELLING.search(name) and len(value) >= _SHORTEST}


def interpolate(tree: Any, environ: Mapping[str, str], issues: list[Issue], path: str = "") -> Any:
    """Put the environment's values for `${NAME}`; `$${` is a literal `${`. A missing one becomes an issue."""
    if isinstance(tree, dict):
        return {key: interpolate(value, environ, issues, f"{path}.{key}".lstrip(".")) for key, value in tree.items()}
    if isinstance(tree, list):
        return [interpolate(value, environ, issues, f"{path}.{number}") for number, value in enumerate(tree)]
    if not isinstance(tree, str) or "${" not in tree:
        return tree

    def value_of(reference: re.Match[str]) -> str:
        text, name = reference.group(0), reference.group(1)
        if text.startswith("$$"):
            return text[1:]
        if name not in environ:
            issues.append(
                Issue(path, f"the environment has no {name}; set it, or write $${{{name}}} for the literal text")
            )
        return environ.get(name, "")

    return _REFERENCE.sub(value_of, tree)


def secrets_of(model: Model) -> set[str]:
    """Every secret value in a validated config."""
    found: set[str] = set()
    pending: list[Any] = [model]
    while pending:
        value = pending.pop()
        if isinstance(value, Secret):
            found.add(value.reveal())
        elif isinstance(value, Model):
            pending.extend(getattr(value, name) for name in value.__struct_fields__)
        elif isinstance(value, Mapping):
            pending.extend(value.values())
        elif isinstance(value, (list, tuple)):
            pending.extend(value)
    return found


def as_data(value: Any) -> Any:
    """A validated config, or a part of it, as JSON data; a mark stands for each secret."""
    return msgspec.to_builtins(value, enc_hook=lambda _: MARK, str_keys=True)
