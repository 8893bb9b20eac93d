"""Config texts of any kind: a valid config, or a ConfigError that says where and why; and a patch changes what it names."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.config.edit import merge_patch, parse_patch, redacted_text, replacement
from gateway.config.file import parse, revision_of
from gateway.config.merge import identity, merged
from gateway.config.model import Config
from gateway.config.secrets import as_data, secrets_of
from gateway.errors import ConfigError
from gateway.redact import MARK, Redactor
from tests.fuzz.configs import ANY_BYTES, ANY_TEXT, CONFIGS, SCALAR_PATCHES, TREES, WRITERS
from tests.fuzz.profiles import tries
from tests.gateway.configs import HEAD, reader

Writer = Callable[[Any], str]


def check_error(error: ConfigError, revision: str = "") -> None:
    """It says something of each fault, and its places are places of a text."""
    assert error.issues
    assert error.revision == revision
    for issue in error.issues:
        assert issue.message.strip()
        assert (issue.line is None) == (issue.column is None)
        assert issue.line is None or (issue.line >= 1 and (issue.column or 0) >= 1)


@tries(250)
@given(raw=ANY_BYTES)
def test_any_bytes_are_a_config_or_a_fault_with_its_place(raw: bytes) -> None:
    try:
        revision = reader().load(raw)
    except ConfigError as error:
        check_error(error, revision_of(raw))
        return
    assert revision.raw == raw
    redactor = Redactor()
    redactor.learn(secrets_of(revision.config))
    text = redacted_text(raw, revision.config, redactor)
    assert json.dumps(as_data(revision.config))
    assert not [one for one in secrets_of(revision.config) if len(one) >= 6 and one in text and one not in MARK]


@tries(150)
@given(text=ANY_TEXT, patch=st.one_of(TREES, SCALAR_PATCHES))
def test_whoever_writes_what_gets_bytes_that_can_be_read_or_a_fault(text: str, patch: Any) -> None:
    """By every road of a call, on a good file and on any other."""
    disk = text.encode(errors="replace")
    roads: list[Callable[[], bytes]] = [
        lambda: merge_patch(parse_patch(text))(HEAD.encode()),
        lambda: merge_patch(patch)(disk),
        lambda: merge_patch(patch, ["a"])(disk),
        lambda: replacement(text)(HEAD.encode()),
        lambda: replacement(HEAD.replace("the-admin-token", MARK))(disk),
    ]
    for road in roads:
        try:
            raw = road()
        except ConfigError as error:
            check_error(error)
        else:
            with contextlib.suppress(ConfigError):  # a mark may bring in a text that is wrong in its new place
                parse(raw)


@tries(100)
@given(tree=TREES, write=WRITERS, patch=TREES)
def test_a_patch_changes_what_it_names_and_nothing_else(tree: Any, write: Writer, patch: Any) -> None:
    text = write(tree)
    new = merge_patch(patch)(text.encode())
    assert identity(parse(new)) == identity(merged(parse(text.encode()), patch))


@tries(100)
@given(tree=CONFIGS, write=st.one_of(WRITERS, st.just(json.dumps)), patch=CONFIGS)
def test_what_a_write_writes_is_read_as_the_same_config(tree: Any, write: Writer, patch: Any) -> None:
    """A config made from the model is valid, however it is written; so is it after a patch, and after a patch of nothing."""
    text = write(tree)
    first = reader().load(replacement(text)(HEAD.encode()))
    assert first.config == read_as_json(tree)
    assert merge_patch({})(first.raw) == first.raw or reader().load(merge_patch({})(first.raw)).config == first.config
    second = reader().load(merge_patch(patch)(first.raw))
    assert second.config == read_as_json(merged(tree, patch))


def read_as_json(tree: Any) -> Config:
    return reader().load(json.dumps(tree, ensure_ascii=False).encode()).config
