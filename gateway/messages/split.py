"""Long texts in parts that a network takes, none of which is marked up worse than the whole.

What is counted is what a reader sees: UTF-16 code units, as Telegram counts, without the tags of HTML. The marks of
Markdown are counted, since the text is sent with them where a network refuses what they were made into.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

from gateway.messages.model import Format
from gateway.messages.texts import whole

FENCE = re.compile(r"^[ \t]*(?P<mark>`{3,}|~{3,})(?P<info>[^`\n]*)$", re.MULTILINE)
"""A line that opens a block of code in Markdown, or closes it."""
FENCE_SHARE = 8
"""A longer line than this part of the limit is no fence: it would be said again in each part."""
TAG = re.compile(r"<(?P<end>/?)(?P<name>[a-zA-Z][a-zA-Z0-9-]*)[^<>]*>")
REFERENCE = re.compile(r"&(?:lt|gt|amp|quot|#[0-9]{1,7}|#x[0-9a-fA-F]{1,6});")
"""The character references that Telegram knows; others stay as they are."""
TOKEN = re.compile(rf"{TAG.pattern}|{REFERENCE.pattern}")
LINE_ENDS = re.compile(r"(?i)<(?:br|hr)\b|</(?:p|div|li|tr|h[1-6]|ul|ol)\b")
"""Tags after which a reader is on a new line, where they are taken out."""
VOID = frozenset({"br", "hr", "img"})
BLANK = re.compile(r"[ \n]*")


def split(text: str, form: Format = "plain", limit: int = 4096) -> list[str]:
    """Cut a text into parts of at most `limit` UTF-16 code units. Nothing but white space at the cuts is lost.

    Each cut is at the last line end in the second half of what fits; where there is none, so that a part would be short,
    at the last line end or space at all; and where there is none of these, in the middle of a word.
    A block of code of Markdown that is cut is closed at the end of the part and opened again, with its language, in the
    next; so are the tags of HTML. Parts without anything to be seen are left out, and so are NULs.
    """
    text = whole(text).replace("\0", "")
    if form == "html":
        return _split_html(text, limit)
    parts = (
        _split_markdown(text, limit) if form == "markdown" else [text[begin:end] for begin, end in _cuts(text, limit)]
    )
    return [part for part in parts if part.strip()]


def units(text: str) -> int:
    """UTF-16 code units, in which Telegram counts."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2


def shown(text: str) -> str:
    """What a reader sees of a text in HTML."""
    return _seen(text)[0]


def closes(line: re.Match[str], opening: re.Match[str]) -> bool:
    """Whether a fence closes the block that another has opened."""
    mark = line["mark"]
    return mark[0] == opening["mark"][0] and len(mark) >= len(opening["mark"]) and not line["info"].strip()


# Where to cut


def _cuts(text: str, limit: int) -> Iterator[tuple[int, int]]:
    """Where each part begins and ends."""
    begin = 0
    while (most := _fitting(text, begin, limit)) < len(text):
        cut = _border(text, begin, begin + 1, most)
        yield begin, cut
        begin = _behind(text, cut)
    yield begin, len(text)


def _fitting(text: str, begin: int, limit: int) -> int:
    """The end of the longest part that begins there and fits; one character always does."""
    whole = text[begin : begin + limit].encode("utf-16-le")[: 2 * limit].decode("utf-16-le", "ignore")
    return begin + max(len(whole), 1)


def _border(text: str, begin: int, least: int, most: int) -> int:
    """The best end of a part that begins there and ends between `least` and `most`."""
    border = text.rfind("\n", max(least, (begin + most) // 2), most + 1)
    if border < 0:
        border = max(text.rfind("\n", least, most + 1), text.rfind(" ", least, most + 1))
    return border if border >= 0 else most


def _behind(text: str, cut: int) -> int:
    """Where the next part begins: behind the white space at a cut, but for what indents a line."""
    blank = BLANK.match(text, cut)
    assert blank is not None  # it matches nothing, too
    line_end = text.rfind("\n", cut, blank.end())
    return line_end + 1 if line_end >= 0 else blank.end()


# Markdown


def _split_markdown(text: str, limit: int) -> list[str]:
    parts = []
    while units(text) > limit:
        cut = _border(text, 0, 1, _fitting(text, 0, limit))
        fence = _open_fence(text, cut, limit // FENCE_SHARE)
        if fence is None:
            part, text = text[:cut], text[_behind(text, cut) :]
        elif units(text[: fence.start()]) >= limit // 2:
            part, text = text[: fence.start()], text[fence.start() :]
        else:
            part, text = _cut_in_fence(text, fence, limit)
        parts.append(part)
    return [*parts, text]


def _open_fence(text: str, cut: int, longest: int) -> re.Match[str] | None:
    """The line that has opened the block of code in which a cut is."""
    opening: re.Match[str] | None = None
    for line in FENCE.finditer(text, 0, cut):
        if opening is None:
            opening = line if units(line.group()) <= longest else None
        elif closes(line, opening):
            opening = None
    return opening


def _cut_in_fence(text: str, fence: re.Match[str], limit: int) -> tuple[str, str]:
    """The part, closed, and the rest, opened again. In code all white space is kept but the line end at the cut."""
    least = fence.end() + 2
    most = max(_fitting(text, 0, limit - units(fence["mark"]) - 1), least)
    cut = _border(text, 0, least, most)
    part, rest = f"{text[:cut]}\n{fence['mark']}", text[cut:].removeprefix("\n")
    if not text[fence.end() : cut].strip():
        part = text[: fence.start()]
    line = FENCE.match(rest)
    if line is not None and closes(line, fence):
        return part, rest[line.end() :].lstrip("\n")
    return part, f"{fence.group()}\n{rest}" if rest.strip() else ""


# HTML


def _split_html(text: str, limit: int) -> list[str]:
    visible, places = _seen(text)
    parts: list[str] = []
    tags: list[re.Match[str]] = []
    behind = 0
    for begin, end in _cuts(visible, limit):
        # What is between the parts is blank, but for its tags.
        start = places[begin] if parts or begin else 0
        tags = _open_tags(tags, text[behind:start])
        behind = places[end]
        source, opened = text[start:behind], "".join(tag.group() for tag in tags)
        tags = _open_tags(tags, source)
        if visible[begin:end].strip():
            parts.append(opened + source + "".join(f"</{tag['name']}>" for tag in reversed(tags)))
    return parts


def _open_tags(tags: list[re.Match[str]], source: str) -> list[re.Match[str]]:
    """The tags that are open behind a piece, of those that are open before it and those in it."""
    tags = list(tags)
    for tag in TAG.finditer(source):
        if not tag["end"]:
            if tag["name"].lower() not in VOID:
                tags.append(tag)
        elif tags and tags[-1]["name"].lower() == tag["name"].lower():
            tags.pop()
    return tags


def _seen(text: str) -> tuple[str, list[int]]:
    """What a reader sees, and where each character of it stands in the source; the last place is the source's end."""
    characters: list[str] = []
    places: list[int] = []
    at = 0
    for token in TOKEN.finditer(text):
        character = _character(token)
        characters += [text[at : token.start()], character]
        places += [*range(at, token.start()), *range(token.start(), token.start() + len(character))]
        at = token.end()
    return "".join([*characters, text[at:]]), [*places, *range(at, len(text) + 1)]


def _character(token: re.Match[str]) -> str:
    """What is seen of a tag or a reference. One that stands for nothing stays as it is."""
    source = token.group()
    if source.startswith("<"):
        return "\n" if LINE_ENDS.match(source) else ""
    character = html.unescape(source)
    return character if len(character) == 1 and character != "\ufffd" else source
