"""The file on disk: read it, say precisely what is wrong with it, write it whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import glob
import hashlib
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from io import StringIO
from pathlib import Path
from types import EllipsisType
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode
from ruamel.yaml.resolver import VersionedResolver

from gateway.config import swap
from gateway.config.bounds import check_events, may_exceed
from gateway.config.model import Config
from gateway.config.reading import TooLongError, read_whole
from gateway.config.secrets import interpolate
from gateway.config.validate import Validator
from gateway.errors import ConfigError, ConfigWriteError, Issue
from gateway.redact import MARK

MAX_BYTES = 1024 * 1024
MOST_FAULTS = 100
"""Faults that are told one by one."""
LONGEST_WORDS = 400
"""Characters of a fault's path, and of its message."""
MOST_READ = 16 * MAX_BYTES
"""Bytes of a file that are taken into memory at all. What is longer than a config may be, but not that long, can be replaced by a call."""
REMEMBERED = 8
"""Revisions that are not read again: each is the bytes and what they mean."""
MAX_SLOWLY = 100_000
"""The longest text for the slow reader, which takes microseconds a character."""
UNTRUE_VALUES = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError)
"""What the YAML library raises for a value that is not what its tag or its looks say: `!!int ""`, a date in month 13."""
STRICTER = {
    "found unexpected ':'",
    "did not find expected node content",
    "did not find expected ',' or '}'",
    "did not find expected ',' or ']'",
}
"""What the quick reader, which is of YAML 1.1, may find where there is nothing wrong."""
REMEDIES = {
    "found character that cannot start any token": "; indent with spaces, not with tabs, and quote what begins with @ or `",
    "found duplicate key": "; keep one of them",
    "could not determine a constructor for the tag": "; only plain values are read: leave the tag out",
    "but found another document": "; a config is one document",
}
"""What helps against what the YAML library finds wrong, by the beginning of its words."""
NOT_YAML = "not YAML"
"""How a fault of the text itself begins, and none of what it stands for."""
NOT_OURS_TO_GIVE = (errno.EPERM, errno.EINVAL)
"""What the system says to an owner that we may not name; EINVAL in a container that does not know him."""
MISSING = "missing"
"""Stands where a revision would, when there is no file."""


@dataclass(frozen=True)
class Revision:
    """One config, whole: the bytes, their hash, and what they mean."""

    id: str
    raw: bytes
    config: Config


def revision_of(raw: bytes) -> str:
    """A config's identity: the SHA-256 of its bytes, in hex."""
    return hashlib.sha256(raw).hexdigest()


def read(path: Path) -> bytes:
    """The file's bytes, as they were at one moment. Raises ConfigError when there is none, or it cannot be read."""
    try:
        return read_whole(path, MOST_READ)
    except FileNotFoundError as error:
        raise ConfigError([Issue("", f"there is no file {path}")], MISSING) from error
    except OSError as error:
        raise ConfigError([Issue("", f"{path} cannot be read: {error.strerror}")], MISSING) from error
    except TooLongError as error:
        raise ConfigError([_too_long(error.size)], error.digest) from error


def _too_long(size: int) -> Issue:
    return Issue("", f"it is {size:,} bytes long; a config has at most {MAX_BYTES:,}")


class Reader:
    """Turns bytes into a Revision, or into a list of faults with their places. `model_for` has the model for a tree."""

    def __init__(self, model_for: Callable[[Any], type[Config]], environ: Mapping[str, str], folder: Path) -> None:
        self._model_for = model_for
        self._environ = environ
        self._folder = folder
        self._known: dict[str, Revision] = {}
        """What was read last: one change reads the same bytes several times."""
        self._known_with: dict[str, str] = {}
        """The environment of that reading."""

    def load(self, raw: bytes) -> Revision:
        """Raises ConfigError with every fault that was found and the revision of `raw`."""
        revision = revision_of(raw)
        try:
            return self._remembered(revision) or self._load(revision, raw)
        except ConfigError as error:
            raise ConfigError(_told(error.issues, raw), revision) from error
        except RecursionError as error:
            raise ConfigError([Issue("", "it is nested too deeply, or in itself")], revision) from error

    def _remembered(self, revision: str) -> Revision | None:
        environ = dict(self._environ)
        if environ != self._known_with:
            self._known, self._known_with = {}, environ
        return self._known.get(revision)

    def _load(self, revision: str, raw: bytes) -> Revision:
        config, rests_on_files = self._validate(parse(raw))
        found = Revision(revision, raw, config)
        if not rests_on_files:
            self._known[revision] = found
            for older in list(self._known)[:-REMEMBERED]:
                self._known.pop(older, None)
        return found

    def _validate(self, tree: dict[str, Any]) -> tuple[Config, bool]:
        """The config, and whether it says what other files hold."""
        issues = [Issue(path, "this is a redaction mark, not a secret") for path in _marks(tree)]
        values = interpolate(tree, self._environ, issues)
        validator = Validator(self._folder)
        config = validator.build(self._model_for(values), values)
        issues += validator.issues
        if config is None or issues:
            raise ConfigError(issues)
        return config, validator.rests_on_files


def parse(raw: bytes) -> dict[str, Any]:
    """YAML 1.2 (and so JSON) to plain data. Raises ConfigError."""
    if len(raw) > MAX_BYTES:
        raise ConfigError([_too_long(len(raw))])
    try:
        text = text_of(raw)
        check_bounds(text)
        tree = by_yaml(lambda yaml: yaml.load(text), text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = (mark.line + 1, mark.column + 1) if mark else (None, None)
        # A duplicate key is reported with both values, and a value may be a secret.
        problem = str(error.problem or error.context).split(" with value")[0]
        remedy = next((words for begin, words in REMEDIES.items() if problem.startswith(begin)), "")
        raise ConfigError([Issue("", f"{NOT_YAML}: {problem}{remedy}", *place)]) from None
    except UNTRUE_VALUES:
        # Not the error's text: it has the value, and a value may be a secret.
        raise ConfigError([Issue("", f"{NOT_YAML}: a value is not the number or date that it claims to be")]) from None
    except (YAMLError, RecursionError) as error:
        raise ConfigError([Issue("", f"{NOT_YAML}: {error}")]) from error
    if tree is None:
        raise ConfigError([Issue("", "it is empty; a config that wants nothing says so with {}")])
    if not isinstance(tree, dict):
        raise ConfigError([Issue("", f"it must be a mapping, and is a {type(tree).__name__}")])
    return tree


def check_bounds(text: str) -> None:
    """Raises ConfigError for what would keep the readers too long, or end the process: the quick one recurses in C."""
    if may_exceed(text):
        with contextlib.suppress(YAMLError):  # where it ends, the reading ends too
            by_yaml(lambda yaml: check_events(yaml.parse(text)), text)


class _Resolver(VersionedResolver):
    """The library's own, which asks for the version of YAML at every value; it is one for a whole text."""

    @cached_property
    def versioned_resolver(self) -> Any:
        return super().versioned_resolver


class _Yaml(YAML):
    """The library's own. What reads a text holds itself, and the text: let go, it need not wait for the garbage collector."""

    def __init__(self, **more: Any) -> None:
        super().__init__(typ="safe", **more)
        self.Resolver = _Resolver
        self._readers: list[Any] = []

    def get_constructor_parser(self, stream: Any) -> Any:
        readers = super().get_constructor_parser(stream)
        self._readers += readers
        return readers

    def read(self, read_by: Callable[[YAML], Any]) -> Any:
        try:
            return read_by(self)
        finally:
            for each in (*self._readers, self):
                vars(each).clear()


def by_yaml(read_by: Callable[[YAML], Any], text: str) -> Any:
    """Read with the quick reader, and with the slow one what only that takes: in YAML 1.2 [http://host:80, ::1, why?] needs no quotes."""
    try:
        return _Yaml().read(read_by)
    except MarkedYAMLError as error:
        if error.problem not in STRICTER or len(text) > MAX_SLOWLY:
            raise
        try:
            return _Yaml(pure=True).read(read_by)
        except YAMLError:
            raise error from None


def text_of(raw: bytes) -> str:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError([Issue("", "it is not UTF-8 text", line, 1)]) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise ConfigError([Issue("", "it holds a NUL byte: this is not a text file", line, 1)])
    return text


def _marks(tree: Any, path: str = "") -> list[str]:
    """Where a redaction mark stands in the place of a value."""
    if isinstance(tree, dict):
        return [found for key, value in tree.items() for found in _marks(value, f"{path}.{key}".lstrip("."))]
    if isinstance(tree, list):
        return [found for number, value in enumerate(tree) for found in _marks(value, f"{path}.{number}")]
    return [path] if isinstance(tree, str) and MARK in tree else []


# Places in the text


def _told(issues: list[Issue], raw: bytes) -> list[Issue]:
    """The first of them, each with its place, and how many more there are."""
    node = _composed(raw) if any(issue.line is None and issue.path for issue in issues) else None
    told = [_short(_placed(issue, node)) for issue in issues[:MOST_FAULTS]]
    rest = len(issues) - len(told)
    return [*told, Issue("", f"and {rest:,} more faults; mend these first")] if rest else told


def _composed(raw: bytes) -> Node | None:
    try:
        text = text_of(raw)
        return by_yaml(lambda yaml: yaml.compose(StringIO(text)), text)  # type: ignore[no-any-return]
    except (YAMLError, RecursionError, ConfigError, *UNTRUE_VALUES):
        return None


def _placed(issue: Issue, node: Node | None) -> Issue:
    """The issue with the line and column of its path, or of the nearest part of it that is in the text."""
    if issue.line is not None or not issue.path or node is None:
        return issue
    mark = _find(node, issue.path.split(".")).start_mark
    return replace(issue, line=mark.line + 1, column=mark.column + 1)


def _short(issue: Issue) -> Issue:
    """A key may be as long as the file."""
    path, message = (
        text if len(text) <= LONGEST_WORDS else text[:LONGEST_WORDS] + "…" for text in (issue.path, issue.message)
    )
    return replace(issue, path=path, message=message)


def _find(node: Node, path: list[str]) -> Node:
    """The deepest node along the path; for a mapping entry its key, which is where a person looks."""
    place = node
    for step in path:
        entry = _entry(node, step)
        if entry is None:
            break
        place, node = entry
    return place


def _entry(node: Node, step: str) -> tuple[Node, Node] | None:
    if isinstance(node, MappingNode):
        return next(((key, value) for key, value in node.value if key.value == step), None)
    if isinstance(node, SequenceNode) and step.isdigit() and int(step) < len(node.value):
        return node.value[int(step)], node.value[int(step)]
    return None


# Writing


def write(path: Path, raw: bytes, expected: bytes | EllipsisType | None = ...) -> bool:
    """Put `raw` in the place of the file at once: temporary file beside it, fsync, rename, fsync of the folder.

    With `expected` (None: that there is no file) it is put only where the file holds that to the last moment; False says
    that it does not. Symlinks are followed. Mode, owner, group and attributes are those of the old file, as far as we may
    give them; a new file has 0600. Raises ConfigWriteError. Whatever is not put leaves the old file whole.
    """
    target = path.resolve()
    try:
        old = target.stat() if target.exists() else None
        _sweep(target)
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent)
    except OSError as error:
        raise ConfigWriteError(f"{path} cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), _taken_over(file.fileno(), target, old) if old else 0o600)
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        if isinstance(expected, EllipsisType):
            Path(name).replace(target)
        elif not swap.put(Path(name), target, expected):
            _take_away(Path(name))
            return False
    except OSError as error:
        _take_away(Path(name))
        raise ConfigWriteError(f"{path} cannot be written: {error.strerror}") from error
    sync_folder(target.parent)
    return True


def _take_away(left: Path) -> None:
    """What cannot be written cannot be taken away either, where it is the folder's fault: the next write sweeps it."""
    with contextlib.suppress(OSError):
        left.unlink(missing_ok=True)


def _sweep(target: Path) -> None:
    """Take away what a crash has left of an earlier write: there is one writer at a time, and it is here."""
    for left in target.parent.glob(f".{glob.escape(target.name)}.*.tmp"):
        left.unlink(missing_ok=True)


def _taken_over(descriptor: int, target: Path, old: os.stat_result) -> int:
    """Give a file the owner, the group and the attributes (ACLs, too) of the old one. The mode that is then right for it."""
    mode = old.st_mode & 0o7777
    if not _given(descriptor, -1, old.st_gid):
        # What another group may do here is what everybody may.
        return mode & ~0o070 | (mode & 0o007) << 3
    _given(descriptor, old.st_uid, -1)
    with contextlib.suppress(OSError):  # many file systems have none
        for name in os.listxattr(target):
            with contextlib.suppress(OSError):
                os.setxattr(descriptor, name, os.getxattr(target, name))
    return mode


def _given(descriptor: int, owner: int, group: int) -> bool:
    try:
        os.fchown(descriptor, owner, group)
    except OSError as error:
        if error.errno not in NOT_OURS_TO_GIVE:
            raise
        return False
    return True


def sync_folder(folder: Path) -> None:
    """Make what was renamed or made in it lasting.

    Where a file system cannot do it the new file is in its place all the same, and "not written" would be untrue.
    """
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
