"""Where secrets come from, and finding them again."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.config.secrets import interpolate, secrets_of, secrets_of_environment
from gateway.errors import Issue
from tests.gateway.configs import config, faults, telegram

ENVIRON = {"A": "a-value", "B_2": "b-value", "EMPTY": ""}


@pytest.mark.parametrize(
    ("text", "becomes"),
    [
        ("${A}", "a-value"),
        ("<${A}-${B_2}>", "<a-value-b-value>"),
        ("${EMPTY}", ""),
        ("$${A}", "${A}"),
        ("$$${A}", "$${A}"),
        ("$${NOT_THERE}", "${NOT_THERE}"),
        ("$A", "$A"),
        ("$$A", "$$A"),
        ("${}", "${}"),
        ("${1}", "${1}"),
        ("${A", "${A"),
        ("${A-b}", "${A-b}"),
        ("nothing", "nothing"),
    ],
)
def test_references(text: str, becomes: str) -> None:
    issues: list[Issue] = []
    assert interpolate(text, ENVIRON, issues) == becomes
    assert issues == []


def test_everything_is_looked_through_and_only_texts_are_changed() -> None:
    tree: dict[str, Any] = {"a": ["${A}", {"b": "${B_2}"}], "n": 1, "t": True, "none": None, "${A}": "key"}
    assert interpolate(tree, ENVIRON, []) == {
        "a": ["a-value", {"b": "b-value"}], "n": 1, "t": True, "none": None, "${A}": "key",
    }  # fmt: skip
    assert tree["a"][0] == "${A}", "the tree that was given is as it was"


def test_a_name_that_is_not_there_is_told_with_its_path() -> None:
    issues: list[Issue] = []
    interpolate({"a": {"b": ["${X}", "${A}${Y}"]}}, ENVIRON, issues)
    assert [(issue.path, issue.message.split(";")[0]) for issue in issues] == [
        ("a.b.0", "the environment has no X"),
        ("a.b.1", "the environment has no Y"),
    ]
    assert "$${X}" in issues[0].message


def test_every_secret_of_a_config() -> None:
    found = secrets_of(config(telegram(main="token: one-token", other="token: '${TELEGRAM_TOKEN}'")))
    assert found == {"the-admin-token", "one-token", "1001:from-the-environment"}
    assert secrets_of(config("{}")) == set()


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("make", "what"),
    [
        (os.mkfifo, "it is no regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "it is no regular file"),
        (lambda path: path.write_bytes(bytes(100_000)), "it is 100,000 bytes long"),
        (Path.mkdir, "it is a folder"),
        (lambda path: path.write_bytes(b"\xff"), "can't decode"),
    ],
    ids=["a pipe", "a device", "much too long", "a folder", "no text"],
)
def test_a_secret_s_file_that_is_none(tmp_path: Path, make: Callable[[Path], Any], what: str) -> None:
    """Nobody waits for it, and it is not taken into memory; the fault names the path of the key."""
    make(tmp_path / "token")
    (fault,) = faults("gateway: {admin: {token: {file: token}}}\n", tmp_path)
    assert fault.path == "gateway.admin.token"
    assert "the secret's file cannot be read: " in fault.message
    assert what in fault.message


@pytest.mark.parametrize(
    "name", ["TELEGRAM_TOKEN", "token", "HOOK_SECRET", "DB_PASSWORD", "PASS", "OPENAI_API_KEY", "APIKEY", "Credentials"]
)
def test_a_variable_whose_name_says_so_holds_a_secret(name: str) -> None:
    assert secrets_of_environment({name: "a-long-value", "HOME": "/home/somebody"}) == {"a-long-value"}


@pytest.mark.parametrize(
    "name", ["TOKEN_FILE", "KEYBOARD", "MONKEYS", "PASSAGE", "SECRETARY", "HOST", "", "TOKENS_PATH"]
)
def test_another_one_does_not(name: str) -> None:
    assert secrets_of_environment({name: "a-long-value"}) == set()


def test_nor_does_one_with_an_everyday_word() -> None:
    assert secrets_of_environment({"A_TOKEN": "enabled"}) == set()
