"""Changes to the text of a config: a merge patch that keeps comments, order and quotes; redaction marks put back."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from io import StringIO
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from gateway.config.file import UNTRUE_VALUES, parse, scalars
from gateway.config.merge import Merge, identity, merged
from gateway.config.model import Config, Model
from gateway.errors import ConfigError, Issue
from gateway.redact import MARK, Redactor, Secret

Edit = Callable[[bytes], bytes]
"""The file's new bytes out of its present ones. Raises ConfigError."""


_BLANK = r"(?:[ \t]*(?:#.*)?\n)*"
_KEY = r"^(?P<key> *)[^\s#-][^\n]*:[ \t]*(?:#.*)?\n"
_NESTED_MAPPING = re.compile(_KEY + _BLANK + r"(?P<entry> +)[^\s#-]", re.MULTILINE)
_NESTED_LIST = re.compile(_KEY + _BLANK + r"(?P<entry> *)- ", re.MULTILINE)
_REFERENCES = re.compile(r"(?:\$\{[A-Za-z_][A-Za-z0-9_]*\})+")
"""A value that is nothing but references to the environment."""
BEYOND = (
    "the patch would change more than it names, or less: the file has merge keys (<<), or a value that is another one "
    "when it is written again; write that out in the file, or replace the whole file"
)


def _round_trip(text: str) -> YAML:
    """A reader and writer that keeps the text's own ways: quotes, long lines, and how far it indents."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096  # a line that its author left long stays long
    mapping = _indent(_NESTED_MAPPING, text, 2)
    offset = _indent(_NESTED_LIST, text, 0)
    yaml.indent(mapping=mapping, sequence=offset + 2, offset=offset)
    return yaml


def _indent(pattern: re.Pattern[str], text: str, default: int) -> int:
    found = pattern.search(text)
    return max(0, len(found["entry"]) - len(found["key"])) if found else default


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
            wanted = merged(
                parse(current), patch
            )  # an empty file is no empty config: a patch would be all that is left
        except ConfigError as error:
            raise ConfigError([Issue("", "the file on disk is not valid; mend or replace it first")]) from error
        # Unquoted where it can be; the writer does not quote all that the reader wants quoted.
        for quoted in (False, True):
            raw = _patched(current.decode("utf-8-sig"), patch, replace_paths, quoted=quoted)
            if _says(raw, wanted):
                return _with_kept_secrets(raw, current)
        raise ConfigError([Issue("", BEYOND)])

    return edit


def _patched(source: str, patch: dict[str, Any], replace_paths: Collection[str] | None, *, quoted: bool) -> bytes:
    yaml, text = _round_trip(source), StringIO()
    try:
        tree = yaml.load(source)
        merge = Merge(tree, replace_paths, quoted=quoted)
        merge.apply(patch)
        yaml.dump(tree, text)
    except (YAMLError, RecursionError, *UNTRUE_VALUES) as error:
        raise ConfigError([Issue("", BEYOND)]) from error
    if merge.issues:
        raise ConfigError(merge.issues)
    return _encoded(text.getvalue())


def _says(raw: bytes, wanted: Any) -> bool:
    try:
        return identity(parse(raw)) == identity(wanted)
    except ConfigError:
        return False


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
    """A mark that came back stands for what is there: put that in its place, in its source form."""
    text = raw.decode()
    if MARK not in text:
        return raw
    try:
        old, new = scalars(current), scalars(raw)
    except (ConfigError, YAMLError, RecursionError, *UNTRUE_VALUES):
        return raw
    old_text = current.decode("utf-8-sig")
    # By place: an anchor and its aliases are one.
    marks = {(begin, end): path for path, (begin, end, value) in new.items() if value == MARK and path in old}
    for (begin, end), path in sorted(marks.items(), reverse=True):
        text = text[:begin] + old_text[old[path][0] : old[path][1]] + text[end:]
    return text.encode()
