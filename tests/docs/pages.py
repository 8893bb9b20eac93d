"""A page taken apart: the blocks in its fences, each used by a test exactly once, and its headings and links."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.real.process import ROOT

FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"""\]\((?!https?:)(?P<link>[^)\s]+)\)|(?:src|srcset|href)="(?!https?:)(?P<html>[^"]+)\"""")
HEADING = re.compile(r"^#{1,6} +(.+?)\s*$", re.MULTILINE)
USED = {"console", "python", "yaml", "json", "toml", "sh"}
"""What must be used by a test."""
SHOWN = {"text", "caddyfile"}
"""What is shown and is nothing of ours."""
ELSEWHERE = {"node_modules"}


@dataclass(frozen=True)
class Block:
    """What stands between two fences. The first may say a name behind the language: the block is that file."""

    page: str
    line: int
    language: str
    name: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line} ({self.language} {self.name})".replace(" )", ")")


class Page:
    """`with Page("docs/handlers.md") as page:`; at the end, nothing on it may be left unused."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.text = (ROOT / path).read_text(encoding="utf-8")
        self.blocks = tuple(
            Block(path, self.text.count("\n", 0, found.start()) + 1, *_said(found["info"]), found["text"])
            for found in FENCE.finditer(self.text)
        )
        self._left = [block for block in self.blocks if block.language in USED]

    def take(self, language: str, name: str = "") -> Block:
        """The next block of that language and name that was not taken yet."""
        found = next((each for each in self._left if (each.language, each.name) == (language, name)), None)
        assert found is not None, f"{self.path} has no other {language} block {name}; left are {self.left}"
        self._left.remove(found)
        return found

    def write(self, folder: Path, *names: str) -> None:
        """Write the blocks that are these files."""
        for name in names:
            block = next((each for each in self._left if each.name == name), None)
            assert block is not None, f"{self.path} has no other {name}; left are {self.left}"
            self._left.remove(block)
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(block.text, encoding="utf-8")

    @property
    def left(self) -> list[str]:
        """What nobody has taken."""
        return [str(block) for block in self._left]

    @property
    def headings(self) -> set[str]:
        """What a link may name behind #, as GitHub makes it of a heading."""
        found: set[str] = set()
        for heading in HEADING.findall(FENCE.sub("", self.text)):
            slug = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()).replace(" ", "-")
            number = sum(each == slug or re.fullmatch(rf"{re.escape(slug)}-\d+", each) is not None for each in found)
            found.add(f"{slug}-{number}" if number else slug)
        return found

    @property
    def links(self) -> list[str]:
        """What it leads to inside the project."""
        text = re.sub(r"`[^`\n]*`", "", FENCE.sub("", self.text))
        return [found["link"] or found["html"] for found in LINK.finditer(text)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if error is None:
            assert not self.left, f"no test uses {self.left}"


def _said(info: str) -> tuple[str, str]:
    language, _, name = info.strip().partition(" ")
    return language, name.strip()


def pages() -> list[str]:
    """Every page of the project, wherever it is."""
    found = []
    for folder, below, files in os.walk(ROOT):
        below[:] = [name for name in below if not name.startswith(".") and name not in ELSEWHERE]
        found += [Path(folder, name).relative_to(ROOT).as_posix() for name in files if name.endswith(".md")]
    return sorted(found, key=lambda path: ("/" in path, path))
