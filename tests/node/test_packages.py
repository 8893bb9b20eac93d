"""The published packages themselves: that they are installed as pinned, and that what is kept of them here is theirs."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest

from gateway.admin.methods import ADMIN, METHODS, READ, WRITE
from tests.debian import go_without
from tests.node.packages import NO_REGISTRY, NODE, PINNED, SCHEMA, npm_ci
from tests.protocol.frames import KEPT


@pytest.fixture(scope="module")
def published(packages: Path) -> dict[str, dict[str, dict[str, object]]]:
    assert SCHEMA.is_relative_to(packages)
    found: dict[str, dict[str, dict[str, object]]] = json.loads(SCHEMA.read_text())
    return found


def test_node_is_the_one_of_the_wheel() -> None:
    assert subprocess.run([NODE, "--version"], capture_output=True, text=True, check=True).stdout.startswith("v24.")


def test_the_lock_pins_versions_and_names_no_registry() -> None:
    wanted, lock = (json.loads(file.read_text()) for file in PINNED)
    ours = {name: version for name, version in wanted["dependencies"].items() if name.startswith("@openclaw/")}
    assert set(ours.values()) == {"2026.9.1"}
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in wanted["dependencies"].values())
    packages = {path: package for path, package in lock["packages"].items() if path}
    assert {path.rpartition("node_modules/")[2] for path in packages} > set(wanted["dependencies"])
    assert all(package["integrity"].startswith("sha512-") for package in packages.values())
    assert "resolved" not in PINNED[1].read_text()


@pytest.mark.parametrize("registry", ["http://127.0.0.1:9", "https://no-such-host.invalid"])
def test_without_a_registry_npm_says_so(tmp_path: Path, registry: str) -> None:
    for file in PINNED:
        shutil.copy(file, tmp_path)
    fault = npm_ci(tmp_path, npm_config_registry=registry, npm_config_cache=str(tmp_path / "cache"))
    assert NO_REGISTRY.search(fault), fault


def test_what_is_our_own_fault_is_another(tmp_path: Path) -> None:
    """A folder without a lock, say; that is not skipped."""
    shutil.copy(PINNED[0], tmp_path)
    fault = npm_ci(tmp_path)
    assert "EUSAGE" in fault
    assert not NO_REGISTRY.search(fault)


def test_what_cannot_be_had_is_skipped_and_fails_where_that_must_not_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="because"):
        go_without("because")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="because"):
        go_without("because")


def test_the_kept_definitions_are_the_published_ones(published: dict[str, dict[str, dict[str, object]]]) -> None:
    kept = json.loads(KEPT.read_text())["definitions"]
    assert kept == {name: published["definitions"][name] for name in kept}


@pytest.mark.parametrize("name", METHODS)
def test_a_method_takes_what_is_published_with_the_scope_that_is(
    published: dict[str, dict[str, dict[str, object]]], name: str
) -> None:
    """Every parameter that the schema names, and a connection that may call it there may call it here."""
    method = METHODS[name]
    assert method.scope in (READ, WRITE, ADMIN)
    if name in published["methods"]:
        assert method.scope == published["methods"][name]["scope"]
    words = "".join(word[:1].upper() + word[1:] for word in name.split("."))
    definition = published["definitions"].get(f"{words}Params", {})
    taken = {field.encode_name for field in msgspec.structs.fields(method.params)}
    if method.params.__struct_config__.forbid_unknown_fields:
        assert set(definition.get("properties", {})) <= taken  # type: ignore[call-overload]
