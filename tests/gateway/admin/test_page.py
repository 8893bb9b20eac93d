"""The page's files: small, on their own, and without a way to run text."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest

from gateway.admin.http import CSP, PAGE
from statemachine import MACHINES

FILES = sorted(file for file in PAGE.iterdir() if file.is_file())
SCRIPTS = [file for file in FILES if file.suffix == ".js"]
MOST = 150_000


def test_all_of_it_is_small() -> None:
    """But for what others made, which is loaded when the editor is opened."""
    assert sum(len(gzip.compress(file.read_bytes())) for file in FILES) < MOST


def test_nothing_but_its_own_scripts_and_styles_may_run() -> None:
    assert "default-src 'none'; script-src 'self'; style-src 'self'" in CSP
    assert "unsafe" not in CSP


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda file: file.name)
def test_a_script_imports_what_is_there_and_parses_no_html(script: Path) -> None:
    text = script.read_text()
    for name in re.findall(r'from "([^"]+)"', text):
        assert name.startswith("./"), name
        assert (PAGE / name).is_file(), name
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|text/html", text)


def test_the_editor_alone_is_loaded_later() -> None:
    asked = {script.name: re.findall(r'import\("([^"]+)"\)', script.read_text()) for script in SCRIPTS}
    assert {name: files for name, files in asked.items() if files} == {"editor.js": ["./vendor/codemirror.js"]}


def test_what_is_loaded_ahead_is_every_script() -> None:
    index = (PAGE / "index.html").read_text()
    assert set(re.findall(r'/page/([\w-]+\.js)"', index)) == {file.name for file in SCRIPTS}


def test_every_machine_can_be_looked_at_and_is_told_from_an_account_by_its_name() -> None:
    index, store = (PAGE / "index.html").read_text(), (PAGE / "store.js").read_text()
    (offered,) = re.findall(r'<select id="machine">(.*?)</select>', index, re.DOTALL)
    kinds = {machine.kind for machine in MACHINES}
    assert set(re.findall(r'<option value="(\w+)"', offered)) == kinds
    (told_apart,) = re.findall(r"return \[([^\]]+)\]\.includes\(first\)", store)
    others = kinds - {"lifecycle", "channel"}
    assert set(re.findall(r'"(\w+)"', told_apart)) == others
    assert set(re.findall(r'<option value="(\w+)/\*"', index)) == others
