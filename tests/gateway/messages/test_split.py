"""Long texts in parts: where they are cut, that nothing is lost, and that no part is marked up worse than the whole."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.messages.model import Format
from gateway.messages.split import FENCE, closes, shown, split, units
from tests.fuzz.profiles import tries

FORMATS: tuple[Format, ...] = ("plain", "markdown", "html")
WORDS = st.sampled_from(
    ["a", "ä", "中", "😀", "👩‍👩‍👧", " ", "\n", "  ", "word", "\r\n", "\t", "\u202e", "\U0010fffd", "x" * 40]
)
TEXTS = st.lists(WORDS, max_size=150).map("".join)


def utf16(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def squeezed(text: str) -> str:
    """Without white space."""
    return re.sub(r"\s", "", text)


# Plain texts


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("hello", ["hello"]),
        ("", []),
        (" \n ", []),
        ("a" * 4096, ["a" * 4096]),
        ("a" * 4097, ["a" * 4096, "a"]),
        ("a" * 9000, ["a" * 4096, "a" * 4096, "a" * 808]),
        ("😀" * 2048, ["😀" * 2048]),
        ("😀" * 2049, ["😀" * 2048, "😀"]),
        ("a" + "😀" * 2048, ["a" + "😀" * 2047, "😀"]),
        ("a" * 4000 + " " + "b" * 4000, ["a" * 4000, "b" * 4000]),
        ("a" * 4000 + "\n" + "b" * 4000, ["a" * 4000, "b" * 4000]),
        ("a" * 4000 + "\n" + "b" * 50 + " " + "c" * 4000, ["a" * 4000, "b" * 50 + " " + "c" * 4000]),
        ("a" * 2050 + "\n" + "b" * 50 + " " + "c" * 4000, ["a" * 2050, "b" * 50 + " " + "c" * 4000]),
        ("a" * 100 + "\n" + "b" * 3000 + " " + "c" * 4000, ["a" * 100 + "\n" + "b" * 3000, "c" * 4000]),
        ("a" * 100 + "\n" + "b" * 4090, ["a" * 100, "b" * 4090]),
        ("a" * 100 + " " + "b" * 3995 + " c", ["a" * 100 + " " + "b" * 3995, "c"]),
        ("a" * 4096 + " b", ["a" * 4096, "b"]),
        ("a" * 4095 + " b", ["a" * 4095, "b"]),
        ("\n" + "b" * 4096, ["\n" + "b" * 4095, "b"]),
        (" " * 5000 + "x", ["x"]),
        ("x\n" + " " * 5000 + "y", ["x\n" + " " * 4094, "y"]),
        ("a" * 4096 + "\n\n    indented", ["a" * 4096, "    indented"]),
    ],
)
def test_a_text_is_cut_at_its_borders(text: str, parts: list[str]) -> None:
    assert split(text) == parts


@tries(300)
@given(text=TEXTS, limit=st.integers(2, 40), form=st.sampled_from(FORMATS))
def test_every_part_fits_and_nothing_is_lost(text: str, limit: int, form: Format) -> None:
    parts = split(text, form, limit)
    assert all(0 < utf16(part) <= limit for part in parts)
    assert all(part.strip() for part in parts)
    assert squeezed("".join(parts)) == squeezed(text)


@tries(100)
@given(text=st.text(st.characters(), max_size=60), limit=st.integers(1, 10), form=st.sampled_from(FORMATS))
def test_whatever_a_handler_answers_can_be_written_down_and_sent(text: str, limit: int, form: Format) -> None:
    """Halves of characters and NULs too: a part has none."""
    for part in split(text, form, limit):
        assert part.encode("utf-8")
        assert "\0" not in part


@pytest.mark.parametrize("form", FORMATS)
def test_halves_of_characters_and_nuls(form: Format) -> None:
    assert split("a\0b\ud800c", form) == ["ab\ufffdc"]
    assert split("\ud83d\ude00", form) == ["😀"], "two halves that belong together"
    assert split("\0\0", form) == []


@pytest.mark.parametrize("form", FORMATS)
def test_a_text_of_100000_characters(form: Format) -> None:
    text = "".join(f"line {number} 😀\n" for number in range(8_000))[:100_000]
    parts = split(text, form)
    assert all(utf16(part) <= 4096 for part in parts)
    assert len(parts) < 2 * utf16(text) / 4096, "no part is short"
    assert squeezed("".join(parts)) == squeezed(text)


def test_units_are_those_of_utf16() -> None:
    assert [units(text) for text in ("", "abc", "äö", "😀", "a😀")] == [0, 3, 2, 2, 3]


# Markdown


def code_in(text: str) -> list[tuple[str, str]]:
    """The lines of all blocks of code, each with the line that opened it; every block must be closed."""
    opening, found = None, []
    for line in text.split("\n"):
        fence = FENCE.fullmatch(line)
        if opening is None:
            opening = fence
        elif fence is not None and closes(fence, opening):
            opening = None
        else:
            found.append((opening.group(), line))
    assert opening is None, text
    return found


def test_a_block_of_code_is_closed_at_the_cut_and_opened_again_with_its_language() -> None:
    lines = [f"    line {number}" for number in range(1_000)]
    text = "\n".join(["Look:", "", "```python", *lines, "```", "That is it."])
    parts = split(text, "markdown")
    assert len(parts) > 2
    assert [line for part in parts for line in code_in(part)] == [("```python", line) for line in lines]
    assert parts[0].startswith("Look:\n\n```python\n    line 0\n")
    assert all(part.startswith("```python\n    line") for part in parts[1:])
    assert all(part.endswith("\n```") for part in parts[:-1])
    assert parts[-1].endswith("That is it.")
    assert all(utf16(part) <= 4096 for part in parts)


def test_a_short_block_of_code_at_the_cut_is_left_whole() -> None:
    before, block = "word " * 700, "\n```\n" + "code\n" * 200 + "```"
    assert [part.strip() for part in split(before + block, "markdown")] == [before.strip(), block.strip()]


@pytest.mark.parametrize("closing", ["```", "```````"])
def test_the_closing_fence_alone_is_no_part(closing: str) -> None:
    for length in range(4060, 4100):
        text = f"```\n{'x' * length}\n{closing}\nthe end"
        parts = split(text, "markdown")
        assert all(code_in(part) or part == "the end" for part in parts), length
        assert squeezed("".join(parts)).replace("`", "") == "x" * length + "theend"


def test_a_block_of_blank_lines_is_no_part() -> None:
    parts = split("before\n```\n" + "\n" * 9_000 + "x\n```", "markdown")
    assert [squeezed(part) for part in parts] == ["before", "```x```"]


def test_a_longer_fence_holds_a_shorter_one() -> None:
    inner = ["```", *(f"line {number}" for number in range(1_000)), "```", "not the end"]
    parts = split("\n".join(["````md", *inner, "````", "after"]), "markdown")
    assert [line for part in parts for line in code_in(part)] == [("````md", line) for line in inner]


def test_what_is_no_block_of_code_is_not_opened_again() -> None:
    text = "an ```inline``` one and " + "word " * 2000
    assert all("```" not in part for part in split(text, "markdown")[1:])


@pytest.mark.parametrize(
    "text",
    [
        "`" * 9_000,
        "```" + "x" * 9_000,
        "```" + "x" * 600 + "\n" + "y " * 4_000,
        "~~~\n" * 4_000,
        "```\n" + "\n" * 9_000,
    ],
)
def test_fences_that_make_no_sense(text: str) -> None:
    parts = split(text, "markdown")
    assert all(0 < utf16(part) <= 4096 for part in parts)
    assert Counter("".join(parts))["x"] >= Counter(text)["x"]
    assert Counter("".join(parts))["y"] == Counter(text)["y"]


LINES = st.one_of(
    st.sampled_from(["```", "```py", "````", "~~~", "  ```", "``` a b", ""]),
    st.text("ab😀 ", max_size=30),
)


@tries(300)
@given(lines=st.lists(LINES, max_size=60), limit=st.integers(24, 200))
def test_markdown_in_parts_fits_and_keeps_its_code(lines: list[str], limit: int) -> None:
    """Lines of code stay lines of code, of the language they were; nothing but fences is added."""
    text = "\n".join(lines)
    parts = split(text, "markdown", limit)
    assert all(0 < utf16(part) <= limit for part in parts)
    assert all(part.strip() for part in parts)
    words = Counter(re.sub(r"[`~\s]|py", "", text)) - Counter("ab" * text.count("``` a b"))
    found = Counter(re.sub(r"[`~\s]|py", "", "".join(parts)))
    assert all(found[character] >= count for character, count in words.items())
    assert found["😀"] == words["😀"]


# HTML


class Strict(HTMLParser):
    """Every tag is closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.marked: list[tuple[str, str]] = []
        """Each character that is seen, with the tags around it."""
        self.feed(text)
        self.close()
        assert self.open == [], text

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag + "".join(f" {key}={value}" for key, value in attrs))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, tag
        assert self.open.pop().split(" ")[0] == tag

    def handle_data(self, data: str) -> None:
        self.marked += [(character, "/".join(self.open)) for character in data if not character.isspace()]


def test_tags_are_closed_at_the_cut_and_opened_again() -> None:
    text = '<b>bold <a href="https://example.org/?a=1&amp;b=2">' + "word " * 2_000 + "</a></b> after"
    parts = split(text, "html")
    assert all(part.startswith('<b><a href="https://example.org/?a=1&amp;b=2">word') for part in parts[1:])
    assert all(part.endswith("</a></b>") for part in parts[:-1])
    assert all(utf16(shown(part)) <= 4096 for part in parts)


def test_what_is_counted_is_what_is_seen() -> None:
    text = "<b>&lt;</b>" * 4096
    assert split(text, "html") == [text]
    assert len(split(text + "&amp;", "html")) == 2
    assert (
        shown("<b>a&amp;&lt;&#128512;&#x41;</b><br>b<p>c</p>d &nbsp; 1 < 2 &#0;") == "a&<😀A\nbc\nd &nbsp; 1 < 2 &#0;"
    )


@pytest.mark.parametrize("text", ["<b></b>", "<b> \n </b>", "<i><b></b></i>"])
def test_tags_around_nothing_are_no_part(text: str) -> None:
    assert split(text, "html") == []


PIECES = st.recursive(
    st.one_of(st.text("abc😀 \n", max_size=30), st.sampled_from(["&amp;", "&lt;", "&#128512;", "x" * 30])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=5).map("".join),
        st.tuples(st.sampled_from(["b", "i", 'a href="https://x.y"', "pre"]), inner).map(
            lambda tag: f"<{tag[0]}>{tag[1]}</{tag[0].split()[0]}>"
        ),
    ),
    max_leaves=30,
)


@tries(300)
@given(text=PIECES, limit=st.integers(2, 60))
def test_html_in_parts_fits_is_well_formed_and_marked_as_it_was(text: str, limit: int) -> None:
    parts = split(text, "html", limit)
    assert all(0 < utf16(shown(part)) <= limit for part in parts)
    assert all(shown(part).strip() for part in parts)
    assert [pair for part in parts for pair in Strict(part).marked] == Strict(text).marked


@tries(100)
@given(text=st.text("<>/b&;a \"'\n", max_size=80), limit=st.integers(2, 20))
def test_html_that_is_none_loses_nothing(text: str, limit: int) -> None:
    parts = split(text, "html", limit)
    assert all(0 < utf16(shown(part)) <= limit for part in parts)
    assert squeezed("".join(map(shown, parts))) == squeezed(shown(text))
