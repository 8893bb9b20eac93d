"""The vendored module is what its manifest says, and nothing in it comes without its licence or its pinned version."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.debian import go_without
from tests.node.packages import NO_REGISTRY
from tests.vendor.bundle import BETWEEN, HERE, LICENCES, MANIFEST, MODULE, VENDORED, bundle, hash_of

SAID = json.loads((VENDORED / MANIFEST).read_text())
LOCK = json.loads((HERE / "package-lock.json").read_text())


def test_each_file_has_the_hash_that_the_manifest_says() -> None:
    found = {file.name: hash_of(file.read_bytes()) for file in VENDORED.iterdir() if file.name != MANIFEST}
    assert found == SAID["sha256"]
    assert found.keys() == {MODULE, LICENCES}


def test_every_package_in_it_has_its_licence_beside_it() -> None:
    texts = (VENDORED / LICENCES).read_text().split(BETWEEN)
    assert [text.splitlines()[0] for text in texts] == [
        f"{name} {version}" for name, version in SAID["packages"].items()
    ]
    for text in texts:
        assert "Permission is hereby granted, free of charge" in text, text.splitlines()[0]
        assert "Copyright (C)" in text, text.splitlines()[0]


def test_it_is_made_of_what_the_lock_pins_and_the_lock_names_no_registry() -> None:
    wanted = json.loads((HERE / "package.json").read_text())["dependencies"]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in wanted.values())
    packages = {path.removeprefix("node_modules/"): package for path, package in LOCK["packages"].items() if path}
    assert wanted == LOCK["packages"][""]["dependencies"]
    assert SAID["packages"] == {name: packages[name]["version"] for name in SAID["packages"]}
    assert all(package["integrity"].startswith("sha512-") for package in packages.values())
    assert "resolved" not in (HERE / "package-lock.json").read_text()


def test_it_is_one_module_that_runs_no_text_and_imports_nothing() -> None:
    text = (VENDORED / MODULE).read_text()
    assert not re.search(r"\beval\(|new Function\(|\bimport\b *[({\"']|\bfrom\"", text)


def test_the_same_lock_makes_the_same_bytes(tmp_path: Path) -> None:
    fault = bundle(tmp_path)
    if no_registry := NO_REGISTRY.search(fault):
        go_without(f"needs the npm registry, and npm says {no_registry[1]}")
    assert fault == ""
    for file in VENDORED.iterdir():
        assert (tmp_path / file.name).read_bytes() == file.read_bytes(), file.name
