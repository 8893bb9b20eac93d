"""From plain data to the models: what is taken for what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.config.validate import Validator, fields_of
from gateway.redact import Secret
from tests.gateway.configs import MODEL


def build(tree: Any, folder: Path = Path()) -> tuple[Any, list[tuple[str, str]]]:
    validator = Validator(folder)
    built = validator.build(MODEL, tree)
    return built, [(issue.path, issue.message) for issue in validator.issues]


def test_either_a_config_or_issues() -> None:
    built, issues = build({"gateway": {"name": "home"}})
    assert (built.gateway.name, issues) == ("home", [])
    built, issues = build({"gateway": {"name": "home"}, "gatway": {}})
    assert built is None
    assert issues == [("gatway", "unknown key 'gatway'; did you mean 'gateway'?")]


@pytest.mark.parametrize("tree", [None, [], "text", 5])
def test_what_is_no_mapping_is_no_config(tree: Any) -> None:
    built, issues = build(tree)
    assert built is None
    assert len(issues) == 1
    assert issues[0][1].startswith("it must be a mapping, and is")


@pytest.mark.parametrize(
    ("value", "read"), [("8080", 8080), (8080, 8080), ("0", 0), (True, None), ("many", None), (None, None), (1.5, None)]
)
def test_a_number_may_come_as_text_since_the_environment_has_nothing_else(value: Any, read: int | None) -> None:
    built, issues = build({"gateway": {"admin": {"port": value}}})
    assert (None if built is None else built.gateway.admin.port) == read
    assert bool(issues) == (read is None)


@pytest.mark.parametrize(("value", "read"), [(True, True), ("true", True), ("false", False), ("2", None), (2, None)])
def test_a_switch_may_come_as_text_too(value: Any, read: bool | None) -> None:
    built, _ = build({"gateway": {"admin": {"metrics_public": value}}})
    assert (None if built is None else built.gateway.admin.metrics_public) == read


def test_ids_and_names_stay_what_they_are() -> None:
    account = {"token": "x", "allow_from": [12, "12", "@me", "*"]}
    built, _ = build({"channels": {"telegram": {"accounts": {"main": account}}}})
    assert built.accounts()["telegram/main"].allow_from == (12, "12", "@me", "*")


@pytest.mark.parametrize("value", ["a text", {"file": "secret"}])
def test_a_secret_is_a_text_or_a_file(value: Any, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("  a text\n\n")
    built, issues = build({"gateway": {"admin": {"token": value}}}, tmp_path)
    assert issues == []
    assert built.gateway.admin.token == Secret("a text")


def test_a_secret_that_may_be_absent_may_be_null() -> None:
    built, _ = build({"gateway": {"admin": {"token": None}}})
    assert built.gateway.admin.token is None


def test_a_secrets_file_may_be_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").write_text("from home")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in (str(tmp_path / "secret"), "~/secret"):
        built, issues = build({"gateway": {"admin": {"token": {"file": name}}}}, Path("/nowhere"))
        # Relative to the config's folder, unless it is absolute: `~` is looked up before that.
        assert issues == []
        assert built.gateway.admin.token == Secret("from home")


def test_a_secrets_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"\xff\xfe")
    _, issues = build({"gateway": {"admin": {"token": {"file": "secret"}}}}, tmp_path)
    assert issues[0][0] == "gateway.admin.token"
    assert "cannot be read" in issues[0][1]


def test_fields_of_a_model_are_those_of_its_bases_too() -> None:
    built, _ = build({})
    assert isinstance(built, MODEL)
    assert list(fields_of(MODEL)) == ["gateway", "store", "channels", "handlers", "routes"]
