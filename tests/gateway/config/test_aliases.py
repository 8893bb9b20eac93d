"""A patch of a file with anchors: what it names changes, and what shares its text does not."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.config.edit import merge_patch
from gateway.config.file import parse
from gateway.errors import ConfigError

ALIAS = """\
accounts:
  main: &m   # the first
    token: one   # a secret
    poll: 30
    allow: [1, 2]
  other: *m
  third: *m
"""
MERGED = """\
base: &b {poll: 30, allow: [1], inner: {x: 1, y: 2}}
main:
  <<: *b
  token: one
"""


def patched(text: str, patch: dict[str, Any]) -> tuple[str, Any]:
    new = merge_patch(patch)(text.encode()).decode()
    return new, parse(new.encode())


@pytest.mark.parametrize("name", ["main", "other", "third"])
@pytest.mark.parametrize(
    "change", [{"poll": 5}, {"token": None}, {"allow": [1, 2, 3]}, {"allow": [9]}, {"more": {"x": 1}}]
)
def test_a_patch_through_an_alias_changes_that_place_alone(name: str, change: dict[str, Any]) -> None:
    before = parse(ALIAS.encode())["accounts"]
    new, after = patched(ALIAS, {"accounts": {name: change}})
    expected = {key: value for key, value in (before[name] | change).items() if value is not None}
    assert after["accounts"] == before | {name: expected}
    assert "# the first" in new
    assert new.count("&m") == 1  # the other two still share it


def test_a_shared_list_is_changed_at_one_place_alone() -> None:
    text = "a: &l [1, {x: 1}]\nb: *l\nc: {in: *l}\n"
    _, after = patched(text, {"b": [1, {"x": 1}, 2]})
    assert after == {"a": [1, {"x": 1}], "b": [1, {"x": 1}, 2], "c": {"in": [1, {"x": 1}]}}


def test_what_is_shared_within_what_is_shared() -> None:
    text = "a: &a {in: &in {x: 1}, also: *in}\nb: *a\nc: *in\n"
    _, after = patched(text, {"b": {"in": {"x": 2}}})
    assert after == {"a": {"in": {"x": 1}, "also": {"x": 1}}, "b": {"in": {"x": 2}, "also": {"x": 1}}, "c": {"x": 1}}


def test_a_patch_brings_its_values_and_no_anchors() -> None:
    shared = {"x": [1]}
    new, after = patched("a: 1\n", {"b": [shared, shared], "c": shared})
    assert after == {"a": 1, "b": [shared, shared], "c": shared}
    assert "&" not in new


@pytest.mark.parametrize("change", [{"poll": 5}, {"inner": {"x": 3}}, {"allow": [1, 2]}])
def test_over_what_is_merged_in_a_value_of_its_own_is_written(change: dict[str, Any]) -> None:
    _, after = patched(MERGED, {"main": change})
    inner = {"x": 1, "y": 2} | change.get("inner", {})
    before = parse(MERGED.encode())
    assert after == before | {"main": before["main"] | change | {"inner": inner}}


@pytest.mark.parametrize("patch", [{"main": {"poll": None}}, {"base": {"poll": 5}}])
def test_what_cannot_be_done_without_touching_more_is_refused(patch: dict[str, Any]) -> None:
    """Taking away what is merged in, or changing what others merge: both would need another text than the author's."""
    with pytest.raises(ConfigError, match=r"merge keys.*replace the whole file"):
        patched(MERGED, patch)


def test_what_is_merged_stays_merged_when_its_own_place_goes() -> None:
    new, after = patched(MERGED, {"base": None})
    assert after == {"main": parse(MERGED.encode())["main"]}
    assert "<<:" in new


@pytest.mark.parametrize(("old", "new"), [("1", True), ("true", 1), ("1", 1.0), ("0", False)])
def test_a_value_of_another_kind_is_another_value(old: str, new: Any) -> None:
    _, after = patched(f"a: {old}\n", {"a": new})
    assert repr(after["a"]) == repr(new)


def test_an_entry_that_comes_twice_is_written_twice() -> None:
    new, after = patched('{"routes": [{"handler": "echo"}]}', {"routes": [{"handler": "echo"}] * 3})
    assert after == {"routes": [{"handler": "echo"}] * 3}
    assert "&" not in new


@pytest.mark.parametrize("value", ["?", "? x", ":", "::", "- x", "[", "\u2028", "\x07", "😀"])
def test_a_text_that_needs_quotes_gets_them(value: str) -> None:
    for text in ("{a: {b: 1}}", "a:\n  b: 1\n", '{"a": {"b": 1}}'):
        _, after = patched(text, {"a": {"b": value, value: [value]}})
        assert after == {"a": {"b": value, value: [value]}}
