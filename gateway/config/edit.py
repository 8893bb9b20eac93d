"""Changes to the text of a config: a merge patch that keeps comments, order and quotes; redaction marks put back."""

from __future__ import annotations

import json
import re
from codecs import BOM_UTF8
from collections.abc import Callable, Collection, Mapping
from typing import Any

from ruamel.yaml.error import YAMLError

from gateway.config.declared import Model
from gateway.config.file import NOT_YAML, UNTRUE_VALUES, parse
from gateway.config.merge import identity, losses, merged, with_kept_secrets
from gateway.config.model import Config
from gateway.config.places import scalars
from gateway.config.splice import spliced
from gateway.config.wording import UnwritableError, double_quoted
from gateway.errors import ConfigError, Issue
from gateway.redact import MARK, Redactor, Secret

Edit = Callable[[bytes], bytes]
"""The file's new bytes out of its present ones. Raises ConfigError."""


_REFERENCES = re.compile(r"(?:\$\{[A-Za-z_][A-Za-z0-9_]*\})+")
"""A value that is nothing but references to the environment."""
BEYOND = (
    "the patch cannot be written into this file without changing more than it names, or less: there are merge keys (<<), "
    "or a text in an unusual form; write that out plainly in the file, or replace the whole file"
)


def replacement(text: str) -> Edit:
    """The whole text anew, YAML or JSON (JSON5 as people write it by hand is taken, and written as JSON)."""

    def edit(current: bytes) -> bytes:
        raw = _encoded(text)
        try:
            parse(raw)
        except ConfigError:
            loose = _json5(text)
            if loose is None:
                raise
            raw = _encoded(json.dumps(loose, indent=2, ensure_ascii=False) + "\n")
        return _with_kept_secrets(raw, current)

    return edit


def merge_patch(patch: Any, replace_paths: Collection[str] | None = None) -> Edit:
    """RFC 7396 on the text. With `replace_paths` a list loses entries only where its path is named there."""
    if not isinstance(patch, dict):
        raise ConfigError([Issue("", "a patch must be a mapping")])

    def edit(current: bytes) -> bytes:
        try:
            plain = parse(current)  # an empty file is no empty config: a patch would be all that is left
        except ConfigError as error:
            raise ConfigError([Issue("", "the file on disk is not valid; mend or replace it first")]) from error
        if replace_paths is not None and (issues := losses(plain, patch, replace_paths)):
            raise ConfigError(issues)
        return _spliced(current, plain, with_kept_secrets(merged(plain, patch), plain))

    return edit


def _spliced(current: bytes, plain: dict[Any, Any], wanted: dict[Any, Any]) -> bytes:
    """The bytes with the values that differ in the place of those that were. Raises ConfigError where that cannot be done."""
    mark = BOM_UTF8 if current.startswith(BOM_UTF8) else b""
    text = current.decode("utf-8-sig")
    issues = [Issue("", BEYOND)]
    for ended in (False, True):  # a block of text may need the line end, and the reader has the last word
        try:
            raw = mark + _encoded(spliced(text, plain, wanted, ended=ended))
        except (UnwritableError, YAMLError, RecursionError, *UNTRUE_VALUES):
            continue
        try:
            if identity(parse(raw)) == identity(wanted):
                return raw
        except ConfigError as error:
            if not error.issues[0].message.startswith(NOT_YAML):
                issues = error.issues
    raise ConfigError(issues)


def parse_patch(text: str) -> Any:
    """A patch as people send it: YAML, JSON or JSON5. Raises ConfigError."""
    try:
        return parse(_encoded(text))
    except ConfigError:
        loose = _json5(text)
        if loose is None:
            raise
        return loose


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise ConfigError([Issue("", "it holds half of a character, and is no text")]) from error


def _json5(text: str) -> Any:
    """The text read as JSON5, or None. Imported here: hardly any write needs it."""
    if not text.lstrip().startswith(("{", "/")):
        return None
    import pyjson5  # noqa: PLC0415

    try:
        return pyjson5.decode(text)
    except pyjson5.Json5DecoderException:
        return None


# Redaction, on the text


def redacted_text(raw: bytes, config: Config, redactor: Redactor) -> str:
    """The file's text without its literal secrets; `${NAME}` and `{file: ...}` are no secrets and stay."""
    text = raw.decode("utf-8-sig", "replace")
    places = scalars(raw)
    # A set: an anchor and its aliases are one place.
    spans = {places[path] for path in secret_paths(config) if path in places}
    for begin, end, value in sorted(spans, reverse=True):
        if not _REFERENCES.fullmatch(value):
            text = text[:begin] + f'"{MARK}"' + text[end:]
    return redactor.text(text)


def secret_paths(value: Any, path: str = "") -> list[str]:
    """Where the secrets of a validated config are."""
    if isinstance(value, Secret):
        return [path]
    items: list[tuple[Any, Any]] = []
    if isinstance(value, Mapping):
        items = list(value.items())
    elif isinstance(value, tuple):
        items = list(enumerate(value))
    elif isinstance(value, Model):
        items = [(name, getattr(value, name)) for name in value.__struct_fields__]
    return [found for key, item in items for found in secret_paths(item, f"{path}.{key}".lstrip("."))]


def _with_kept_secrets(raw: bytes, current: bytes) -> bytes:
    """A mark that came back stands for what is there: put that in its place, in its source form where that says the same there."""
    text, old_text = raw.decode("utf-8-sig"), current.decode("utf-8-sig", "replace")
    if MARK not in text:
        return raw
    try:
        old, new = scalars(current), scalars(raw)
    except (ConfigError, YAMLError, RecursionError, *UNTRUE_VALUES):
        return raw
    # By place: an anchor and its aliases are one.
    marks = {(begin, end): path for path, (begin, end, value) in new.items() if value == MARK and path in old}
    kept = {path: old_text[slice(*old[path][:2])] for path in marks.values()}
    result = _put_in(text, marks, kept)
    if not _holds(result, new, {path: old[path][2] for path in kept}):
        result = _put_in(text, marks, {path: double_quoted(old[path][2]) for path in kept})
    return (BOM_UTF8 if raw.startswith(BOM_UTF8) else b"") + result.encode()


def _put_in(text: str, places: Mapping[tuple[int, int], str], sources: Mapping[str, str]) -> str:
    for (begin, end), path in sorted(places.items(), reverse=True):
        text = text[:begin] + sources[path] + text[end:]
    return text


def _holds(text: str, before: Collection[str], values: Mapping[str, str]) -> bool:
    """Whether the text has the places that it had before, and these values at theirs."""
    try:
        found = scalars(text.encode())
    except (ConfigError, YAMLError, RecursionError, *UNTRUE_VALUES):
        return False
    return found.keys() == set(before) and all(found[path][2] == value for path, value in values.items())
