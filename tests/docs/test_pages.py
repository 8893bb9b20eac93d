"""What holds for every page: its links lead somewhere, its blocks are of a known kind, and some test uses them."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from pathlib import Path

import pytest

from tests.docs.pages import SHOWN, USED, Page, pages
from tests.docs.shell import shell
from tests.real.process import ROOT

TESTS = Path(__file__).parents[1]
TAKEN = re.compile(r'with Page\("([^"]+)"\)')


@pytest.mark.parametrize("path", pages())
def test_no_link_is_dead(path: str) -> None:
    page = Page(path)
    for link in page.links:
        file, _, anchor = link.partition("#")
        target = (ROOT / path).parent / file if file else ROOT / path
        assert target.exists(), f"{path} leads to {link}, which is not there"
        if anchor:
            assert target.suffix == ".md", link
            there = Page(str(target.resolve().relative_to(ROOT)))
            assert anchor in there.headings, f"{path} leads to {link}; there are {sorted(there.headings)}"


@pytest.mark.parametrize("path", pages())
def test_what_stands_in_a_fence_is_of_a_known_kind(path: str) -> None:
    """So that a snippet cannot hide from the tests behind another word, or another fence."""
    page = Page(path)
    assert [str(block) for block in page.blocks if block.language not in USED | SHOWN] == []
    assert len(re.findall(r"```|~~~", page.text)) == 2 * len(page.blocks)


@pytest.mark.parametrize("path", pages())
def test_what_is_named_in_a_line_is_there(path: str) -> None:
    """Commands within sentences are not run; their modules and tests exist."""
    for module in re.findall(r"`python -m ([\w.]+)", Page(path).text):
        assert importlib.util.find_spec(module), module
    for tests in re.findall(r"`(?:python -m )?pytest ([^`]+)`", Page(path).text):
        for word in tests.split():
            assert not word.startswith("tests/") or (ROOT / word).exists(), word


def test_the_changelog_is_of_its_form() -> None:
    """Releases, groups with the names of Keep a Changelog, and under them entries of one line each; nothing else."""
    title, introduction, *rest = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").split("\n\n")
    assert title == "# Changelog"
    assert "keepachangelog.com" in introduction
    lines = [line for block in rest for line in block.splitlines()]
    heading = re.compile(r"## \[.+\]|### (Added|Changed|Deprecated|Removed|Fixed|Security)")
    assert [line for line in lines if not (heading.fullmatch(line) or line.startswith("- "))] == []
    entries = [line for line in lines if line.startswith("- ")]
    assert sorted(set(entries)) == sorted(entries), "said twice"


def test_every_page_with_something_to_run_is_used_by_a_test() -> None:
    used = {path for file in TESTS.rglob("*.py") for path in TAKEN.findall(file.read_text(encoding="utf-8"))}
    assert {path for path in pages() if Page(path).left} == used


def test_every_page_is_found_from_the_front() -> None:
    """In two steps: the README names the index, and one of the two names every page."""
    front = {path.split("#")[0] for path in Page("README.md").links}
    index = {f"docs/{path.split('#')[0]}" for path in Page("docs/README.md").links}
    named = {str((ROOT / path).resolve().relative_to(ROOT)) for path in front | index}
    assert set(pages()) <= named | {"README.md"}


def test_make_knows_every_target_that_a_page_names() -> None:
    """Whoever runs these tests runs some of them; the rest take hours."""
    with Page("docs/code.md") as page:
        blocks = [page.take("console").text for _ in page.left]
    assert all(line.startswith("make ") for block in blocks for line in block.splitlines())
    named = {
        target for path in pages() for target in re.findall(r"(?:^|`)make ([a-z-]+)", Page(path).text, re.MULTILINE)
    }
    assert {"run", "test", "screenshots"} <= named
    for target in sorted(named):
        dry = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=False)
        assert dry.returncode == 0, f"{target}: {dry.stderr}"


async def test_the_example_of_the_reference_is_valid(tmp_path: Path) -> None:
    with Page("docs/config.md") as page:
        (tmp_path / "gateway.yaml").write_text(page.take("yaml").text)
        await shell("python -m gateway check", tmp_path, TELEGRAM_TOKEN="1:a-token")
