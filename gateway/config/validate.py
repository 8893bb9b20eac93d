"""From plain data to the models, with every fault found and its exact path.

The library's own conversion stops at the first fault; here it converts the leaves, and the walk between them is ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec
from msgspec import structs

from gateway.config.declared import Model, OneOf
from gateway.config.model import Config
from gateway.config.reading import TooLongError, read_whole
from gateway.errors import Issue
from gateway.redact import Secret

_FAILED: Any = object()
LOOKED_FOR = 100
LONGEST_NAME = 100
LONGEST_SECRET = 64 * 1024
"""Bytes of a secret's file."""


class Validator:
    """Builds a config out of a tree; `issues` has what is wrong with it. A secret's `{file: path}` is read from `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.issues: list[Issue] = []
        self.rests_on_files = False
        """A secret was read from a file: what the tree means may change while it stays the same."""

    def build(self, model: type[Config], tree: Any) -> Config | None:
        """The config, or None when there are issues."""
        built = self._model(model, tree, "")
        return None if self.issues else built

    def _fail(self, path: str, message: str) -> Any:
        self.issues.append(Issue(path, message))
        return _FAILED

    def _model(self, model: type[Model], tree: Any, path: str) -> Any:
        if not isinstance(tree, dict):
            return self._fail(path, f"it must be a mapping, and is {_word(tree)}")
        fields = fields_of(model)
        for key in tree:
            if key not in fields:
                # To look for the nearest name takes a while: not for every fault of thousands.
                names = list(fields) if len(self.issues) < LOOKED_FOR else []
                self._fail(_join(path, key), _unknown(key, names))
        values = {
            name: self._value(field.type, tree[name], _join(path, name))
            for name, field in fields.items()
            if name in tree
        }
        for name, field in fields.items():
            if field.required and name not in tree:
                values[name] = self._fail(_join(path, name), "this key is required")
        if _FAILED in values.values():
            return _FAILED
        try:
            return model(**values)
        except ValueError as error:
            # A rule between fields says where it is broken, if that is not the model as a whole.
            *steps, message = error.args
            return self._fail(".".join([path, *steps]).lstrip("."), message)

    def _value(self, annotation: Any, value: Any, path: str) -> Any:
        kind = _bare(annotation)
        arguments = get_args(kind)
        if (choice := _choice(annotation)) is not None:
            return self._one_of(choice, value, path)
        if isinstance(kind, type) and issubclass(kind, Model):
            return self._model(kind, value, path)
        if get_origin(kind) is Mapping:
            return self._mapping(arguments, value, path)
        if get_origin(kind) is tuple and isinstance(arguments[0], type) and issubclass(arguments[0], Model):
            return self._list(arguments[0], value, path)
        if kind is Secret or Secret in arguments:
            return None if value is None and Secret in arguments else self._secret(value, path)
        return self._leaf(annotation, value, path)

    def _one_of(self, choice: OneOf, value: Any, path: str) -> Any:
        """The model is the one that its `type` says."""
        if not isinstance(value, dict):
            return self._fail(path, f"it must be a mapping, and is {_word(value)}")
        kind, place = value.get("type"), _join(path, "type")
        if kind is None:
            return self._fail(place, f"this key is required: one of {', '.join(choice.models)}")
        if not isinstance(kind, str) or kind not in choice.models:
            near = get_close_matches(str(kind)[:LONGEST_NAME], choice.models, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            return self._fail(place, f"it must be one of {', '.join(choice.models)}{hint}")
        return self._model(choice.models[kind], value, path)

    def _mapping(self, arguments: tuple[Any, ...], value: Any, path: str) -> Any:
        if not isinstance(value, dict):
            return self._fail(path, f"it must be a mapping, and is {_word(value)}")
        keys = [self._leaf(arguments[0], key, _join(path, key)) for key in value]
        items = {key: self._value(arguments[1], item, _join(path, key)) for key, item in value.items()}
        return _FAILED if _FAILED in (*keys, *items.values()) else items

    def _list(self, model: type[Model], value: Any, path: str) -> Any:
        if not isinstance(value, list):
            return self._fail(path, f"it must be a list, and is {_word(value)}")
        items = tuple(self._model(model, item, _join(path, number)) for number, item in enumerate(value))
        return _FAILED if _FAILED in items else items

    def _leaf(self, annotation: Any, value: Any, path: str) -> Any:
        try:
            # Not strict: a number that came through ${NAME} is a text.
            return msgspec.convert(value, annotation, strict=False)
        except msgspec.ValidationError as error:
            kind = _bare(annotation)
            if get_origin(kind) is Literal:
                return self._fail(path, f"it must be one of {', '.join(get_args(kind))}")
            return self._fail(path, str(error).split(" - at `")[0].replace("`", ""))

    def _secret(self, value: Any, path: str) -> Any:
        """A text, or `{file: path}` for the contents of a file. The fault never shows the value."""
        if isinstance(value, str):
            return Secret(value)
        if not isinstance(value, dict) or set(value) != {"file"}:
            return self._fail(path, "a secret is a text, ${NAME}, or {file: path}")
        self.rests_on_files = True
        try:
            file = self._folder / Path(str(value["file"])).expanduser()
            return Secret(read_whole(file, LONGEST_SECRET).decode().strip())
        except (OSError, RuntimeError, UnicodeDecodeError, TooLongError) as error:
            return self._fail(path, f"the secret's file cannot be read: {error}")


@cache
def fields_of(model: type[Model]) -> dict[str, structs.FieldInfo]:
    """A model's fields by name, with their types resolved."""
    return {field.name: field for field in structs.fields(model)}


def _choice(annotation: Any) -> OneOf | None:
    """The models that it may be one of."""
    return next((mark for mark in getattr(annotation, "__metadata__", ()) if isinstance(mark, OneOf)), None)


def _bare(annotation: Any) -> Any:
    """The type without what is annotated to it."""
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _join(path: str, step: Any) -> str:
    return f"{path}.{step}" if path else str(step)


def _word(value: Any) -> str:
    words = {dict: "a mapping", list: "a list", str: "a text", type(None): "empty"}
    return words.get(type(value), f"a {type(value).__name__}")


def _unknown(key: Any, names: list[str]) -> str:
    near = get_close_matches(str(key)[:LONGEST_NAME], names, 1)
    return f"unknown key {key!r}" + (f"; did you mean {near[0]!r}?" if near else "")
